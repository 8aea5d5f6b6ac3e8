"""What the charts share: the look, and data made fit to be drawn."""

from __future__ import annotations

import base64
import os
from dataclasses import dataclass
from datetime import UTC, timedelta
from itertools import count
from textwrap import wrap
from typing import TYPE_CHECKING, Any

import altair as alt
import polars as pl
import polars.selectors as cs
import vl_convert

from ciforensics.show.charts.png import packed
from ciforensics.show.charts.tooltips import when
from ciforensics.wording import Data, cut, visible

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

# The hues of Okabe and Ito (2008) without black and yellow, so dark that each stands out from white, 3 to 1.
BLUE, ORANGE, GREEN, PINK, SKY, VERMILION = "#00518F", "#C98600", "#008F68", "#C66FA0", "#339CD8", "#B03A00"
INK, MUTED, GREY, LIGHT, PALE = "#1A1A1A", "#595959", "#6E6E6E", "#949494", "#E8E8E8"

NOT_KNOWN = "not known"
# What recurs in several charts has one colour in all of them.
MEANINGS = {
    "challenge": ORANGE,
    "refused": VERMILION,
    "unknown": GREY,
    "other": GREY,
    "stock": ORANGE,
    "golden": GREEN,
    "tagged, too old": VERMILION,
    "other clients": SKY,
    "checkout": LIGHT,
    "mixed": PINK,
    "pinned by digest": BLUE,
    "silent": LIGHT,
    "the mirror can remove": ORANGE,
    "image of another registry": PINK,
    "other programs": SKY,
    "mirror": GREEN,
    "past the mirror": ORANGE,
    "no registry": GREY,
    "of no known build": GREY,
    "unattributed": GREY,
    NOT_KNOWN: GREY,
}

WIDTH = 720
HUES = 5
SCALE = 2
_LONGEST = 44
# What JupyterLab 4 draws by itself; our charts hold nothing that came after this Vega-Lite.
_VEGA, _SCHEMA = "application/vnd.vegalite.v5+json", "https://vega.github.io/schema/vega-lite/v5.json"
_UNITS = {
    "day": timedelta(days=1),
    "hour": timedelta(hours=1),
    "minute": timedelta(minutes=1),
    "second": timedelta(seconds=1),
}
# d3 would write 0k beside 3k.
_COUNT = "format(datum.value, abs(datum.value) < 1e6 ? ',' : '~s')"
COUNTS = alt.Axis(tickCount=5, tickMinStep=1, labelExpr=_COUNT)
SHARES = alt.Axis(values=[0, 0.5, 1], labelExpr="format(datum.value * 100, '.0f') + ' %'")
# Midnight is a date, whole minutes go without seconds; d3 itself would write 04 AM.
_CLOCK = (
    "utcFormat(datum.value, utchours(datum.value) + utcminutes(datum.value) + utcseconds(datum.value) == 0"
    " ? '%-d %b' : utcseconds(datum.value) ? '%H:%M:%S' : '%H:%M')"
)


@alt.theme.register("ciforensics", enable=False)
def theme() -> alt.theme.ThemeConfig:
    """The look of all charts; for a chart of one's own `alt.theme.enable("ciforensics")`."""
    text: dict[str, Any] = {"labelColor": INK, "labelFontSize": 13, "labelLimit": 420}
    named = {"titleColor": MUTED, "titleFontSize": 13, "titleFontWeight": "normal", "titlePadding": 10}
    quiet = {"domain": False, "ticks": False, "gridColor": PALE, "labelPadding": 6}
    legend = {"orient": "top", "title": None, "symbolType": "square", "symbolSize": 140}
    title = {"anchor": "start", "frame": "bounds", "fontSize": 18, "subtitleFontSize": 13, "offset": 14}
    config: dict[str, Any] = {
        "background": "white",
        # vl-convert carries Liberation Sans: the same picture on every machine.
        "font": "Liberation Sans, Arial, Helvetica, sans-serif",
        "padding": 14,
        "view": {"stroke": None},
        "axis": text | named | quiet,
        "legend": text | legend,
        "title": title | {"color": INK, "subtitleColor": MUTED, "subtitlePadding": 6},
        "text": {"fontSize": 13, "color": INK},
    }
    return alt.theme.ThemeConfig(config=config)  # type: ignore[typeddict-item]


@dataclass(frozen=True)
class Chart:
    """A finished chart.

    Attributes:
        spec: the Altair chart, for whoever wants to change it.
        alt: what it shows, in words.
    """

    spec: Any
    alt: str

    def png(self) -> bytes:
        """The picture, at twice the size that it is shown at."""
        return packed(vl_convert.vegalite_to_png(self._drawing(), scale=SCALE))

    def save(self, path: Path) -> None:
        """Writes the picture into a file."""
        path.write_bytes(self.png())

    def __repr__(self) -> str:
        return self.alt

    def _repr_mimebundle_(self, **_: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        png = self.png()
        width, height = (int.from_bytes(png[at : at + 4], "big") // SCALE for at in (16, 20))
        data: dict[str, Any] = {"image/png": base64.b64encode(png).decode(), "text/plain": self.alt}
        metadata: dict[str, Any] = {"image/png": {"width": width, "height": height}}
        # A Jupyter server's kernel: someone looks on, and JupyterLab's own Vega has tooltips. A notebook that
        # nobody looks at while it runs (papermill, nbval) keeps the picture and the words.
        if os.environ.get("JPY_SESSION_NAME"):
            data[_VEGA] = self._drawing() | {"$schema": _SCHEMA, "description": self.alt}
            metadata[_VEGA] = {"embed_options": {"renderer": "svg", "actions": False}}
        return data, metadata

    def _drawing(self) -> dict[str, Any]:
        with alt.theme.enable("ciforensics"), alt.data_transformers.enable("default", max_rows=None):
            drawing: dict[str, Any] = self.spec.to_dict(validate=False)
            return drawing


def no_rows(title: str) -> Chart:
    """Says that there is nothing to draw, where a chart would have been."""
    text = alt.Chart(pl.DataFrame({"text": ["no rows"]})).mark_text(color=MUTED).encode(text="text:N")
    return Chart(text.properties(width=WIDTH, height=60, title=titled(title)), f"{visible(title)} No rows.")


def titled(title: str, subtitle: str = "") -> alt.TitleParams:
    """The question, and below it how to read the answer."""
    return alt.TitleParams(
        wrap(visible(title), 76), subtitle=wrap(visible(subtitle), 108) if subtitle else alt.Undefined
    )


def time_axis(frame: pl.DataFrame, title: str | None, *, field: str = "x:T", labels: bool = True) -> alt.X:
    """A UTC axis over everything from `x` to `end`; its title names the days."""
    first, last = frame.select(pl.col("x").min(), pl.col("end").max()).row(0)
    days = [f"{day.day} {day:%b %Y}" for day in (first, last - timedelta(microseconds=last > first))]
    named = f"{visible(title)}, {' to '.join(dict.fromkeys(days))}" if title else None
    axis = alt.Axis(
        grid=False,
        tickCount=8,
        labels=labels,
        labelExpr=_CLOCK,
        labelOverlap=True,
        ticks=labels,
        tickColor=LIGHT,
    )
    low, high = (round(time.replace(tzinfo=UTC).timestamp() * 1000) for time in (first, last))
    # Not `domain`, which Vega-Lite reads in two ways where there is an `x2`, and complains.
    scale = alt.Scale(type="utc", domainMin=low, domainMax=high, nice=False, padding=0)
    return alt.X(field, scale=scale, axis=axis, title=named)


def colored(notes: Mapping[str, str], *, legend: bool = True) -> Any:
    """The colour for each name, and in the legend what is noted of it."""
    taken = [MEANINGS.get(name) for name in notes]
    free = iter([hue for hue in (BLUE, ORANGE, GREEN, PINK, SKY, VERMILION) if hue not in taken])
    hues = [
        MEANINGS.get(name) or (LIGHT if name.startswith("others (") else next(free, GREY)) for name in notes
    ]
    shown = list(notes.values())
    columns = len(shown) if len("".join(shown)) < 90 - 5 * len(shown) else 3
    key = alt.Legend(columns=columns, symbolOpacity=1, symbolStrokeWidth=0) if legend else None
    return alt.Color("color:N", scale=alt.Scale(domain=shown, range=hues), sort=shown, legend=key)


def frame_of(data: Data, columns: Mapping[str, str | None]) -> pl.DataFrame:
    """The named columns under our own names: floats, UTC times without a zone, names as text."""
    named = {ours: theirs for ours, theirs in columns.items() if theirs is not None}
    if isinstance(data, pl.DataFrame):
        frame = pl.DataFrame([data[theirs].alias(ours) for ours, theirs in named.items()])
    else:
        # Not ColumnExpression, which takes a dotted name apart.
        quoted = {ours: theirs.replace('"', '""') for ours, theirs in named.items()}
        frame = pl.DataFrame(
            data.project(", ".join(f'"{theirs}" AS "{ours}"' for ours, theirs in quoted.items()))
        )
    zoned = cs.datetime(time_zone="*")
    frame = frame.with_columns(zoned.dt.convert_time_zone("UTC").dt.replace_time_zone(None))
    frame = frame.with_columns(
        cs.numeric().cast(pl.Float64), (cs.date() | cs.datetime()).cast(pl.Datetime("us"))
    )
    frame = frame.with_columns(pl.lit("").alias(ours) for ours, theirs in columns.items() if theirs is None)
    return frame.with_columns(
        pl.col(name).cast(pl.String) for name in ("label", "color") if name in frame.columns
    )


def fold(frame: pl.DataFrame, key: str, *, by: str, most: int) -> tuple[pl.DataFrame, list[str]]:
    """Names as they are shown, the largest first; what is beyond `most` becomes one, "others".

    Example:
        >>> frame = pl.DataFrame({"label": ["a", "b", "c", None], "y": [1.0, 9.0, 2.0, 5.0]})
        >>> fold(frame, "label", by="y", most=2)[1]
        ['b', 'not known', 'others (2)']
    """
    sums = frame.group_by(key).agg(pl.col(by).sum()).sort(by, key, descending=[True, False], nulls_last=True)
    names = sums[key].to_list()
    kept = names if len(names) <= most + 1 else names[:most]
    shown: dict[str | None, str] = {}
    for name in kept:
        shown[name] = _free(NOT_KNOWN if name is None else cut(visible(name), _LONGEST), shown)
    others = _free(f"others ({len(names) - len(kept):,})", shown)
    folded = frame.with_columns(pl.col(key).replace_strict(shown, default=others, return_dtype=pl.String))
    return folded, [*shown.values(), *([others] if len(kept) < len(names) else [])]


def _free(text: str, shown: Mapping[str | None, str]) -> str:
    """Names that look alike once cut stay apart: the second is `text (2)`."""
    spellings = (text if n == 1 else f"{text} ({n})" for n in count(1))
    return next(spelling for spelling in spellings if spelling not in shown.values())


def spans(frame: pl.DataFrame, bucket: timedelta | None) -> pl.DataFrame:
    """Adds where each bucket ends: after `bucket`, else after the smallest distance between two starts."""
    steps = frame["x"].unique().sort().diff().drop_nulls().to_list()
    length = bucket or min(steps, default=timedelta(minutes=1))
    return frame.with_columns(end=pl.col("x") + length, middle=pl.col("x") + length / 2).sort("x", "color")


def drawn(frame: pl.DataFrame, notes: Mapping[str, str] | None = None) -> pl.DataFrame:
    """As Vega takes it: times as epoch milliseconds, for text without a zone would be local time.

    `when` and `name` are for tooltips: the time in words, and the colour's name without what is noted of it.
    """
    if {"x", "end"} <= set(frame.columns):
        frame = frame.with_columns(when=when(frame))
    if notes is not None:
        ranks = {name: rank for rank, name in enumerate(notes)}
        rank = pl.col("color").replace_strict(ranks, return_dtype=pl.Int64)
        noted = pl.col("color").replace_strict(notes, return_dtype=pl.String)
        frame = frame.with_columns(noted, rank=rank, name="color")
    return frame.with_columns(cs.datetime().dt.epoch("ms"))


def total(frame: pl.DataFrame, key: str, name: str, *, of: str = "y") -> float:
    """The sum of one name's rows."""
    return float(frame.filter(pl.col(key) == name)[of].sum())


def counted(frame: pl.DataFrame, hues: Sequence[str]) -> dict[str, str]:
    """For each colour's name what the legend says: the name and its sum."""
    return {hue: f"{hue} ({number(total(frame, 'color', hue))})" for hue in hues}


def number(value: float) -> str:
    """A count, or with one decimal an expected count."""
    return f"{value:,.0f}" if abs(value - round(value)) < 1e-6 else f"{value:,.1f}"  # sums of thirds


def named(title: str, frame: pl.DataFrame) -> str:
    """A title in which `{bucket}` becomes the length of a bucket, e.g. `401s per {bucket}`."""
    length: timedelta = frame.select((pl.col("end") - pl.col("x")).first()).item()
    for name, unit in _UNITS.items():
        if length % unit == timedelta(0):
            times = length // unit
            return visible(title.replace("{bucket}", name if times == 1 else f"{times} {name}s"))
    return visible(title.replace("{bucket}", f"{length.total_seconds():g} s"))


def merged(frame: pl.DataFrame) -> pl.DataFrame:
    """Spans of one lane and colour that touch are one span."""
    before = pl.col("end").cum_max().shift(1).over("label", "color")
    run = (pl.col("x") > before).fill_null(value=False).cum_sum().over("label", "color")
    runs = frame.sort("label", "color", "x", "end").group_by("label", "color", run.alias("run"))
    return runs.agg(pl.col("x").min(), pl.col("end").max()).sort("x", "label", "end")


def over(text: str) -> alt.TitleParams:
    """A small title over one strip of a chart."""
    return alt.TitleParams(text, fontSize=13, frame="group", offset=4)


def seam(frame: pl.DataFrame) -> float:
    """White between the bars, until there are so many that it would hide them."""
    return 0.5 if frame["x"].n_unique() < 150 else 0
