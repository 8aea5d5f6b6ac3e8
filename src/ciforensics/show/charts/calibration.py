"""How far an attribution can be trusted, drawn: reliability, expected counts, intervals."""

from __future__ import annotations

import altair as alt
import polars as pl

from ciforensics.show.charts import drawing
from ciforensics.show.charts.drawing import Chart
from ciforensics.show.charts.tooltips import percent, tips
from ciforensics.wording import Data, say, visible

_SAID, _RECALIBRATED = "as the model says", "recalibrated"
_PERCENT = "format(datum.value * 100, '.0f') + ' %'"
_CORNER = 0.99
_SIDE = 420
_SHOWN = 0.05  # a day; less is a rounding error of the model's


def reliability(data: Data, *, title: str, subtitle: str = "") -> Chart:
    """Points against the diagonal: what was said to be so likely, how often was it so?

    Args:
        data: a row for each point, with `predicted` and `observed`, both from 0 to 1, the range that chance
            allows (`low`, `high`), of how many `requests` it is, and whether it is `recalibrated`.
        title: the question.
        subtitle: how to read it.

    Example:
        >>> row = {"predicted": 0.8, "observed": 0.7, "low": 0.6, "high": 0.8, "requests": 100}
        >>> reliability(pl.DataFrame([row | {"recalibrated": False}]), title="Right as often as it says?")
        Right as often as it says? as the model says: 80.0 % said, 70.0 % right (100 requests).
    """
    names = ("predicted", "observed", "low", "high", "requests")
    frame = drawing.frame_of(data, {name: name for name in (*names, "recalibrated")}).drop_nulls()
    if frame.is_empty():
        return drawing.no_rows(title)
    after = pl.col("recalibrated").cast(pl.Boolean)
    frame = frame.select(*names, color=pl.when(after).then(pl.lit(_RECALIBRATED)).otherwise(pl.lit(_SAID)))
    hues = [hue for hue in (_SAID, _RECALIBRATED) if hue in frame["color"]]
    notes = {hue: _noted(frame, hue) for hue in hues}
    least = min(float(frame["predicted"].min() or 0), float(frame["low"].min() or 0))  # type: ignore[arg-type]
    begin = max(0.0, int(least * 10) / 10)
    scale = alt.Scale(domain=[begin, 1], nice=False)
    axis = alt.Axis(tickCount=5, labelExpr=_PERCENT)
    x = alt.X("predicted:Q", scale=scale, axis=axis, title="said: probability of the likeliest workflow")
    y = alt.Y("observed:Q", scale=scale, axis=axis, title="so: share in which it was right")
    ends = pl.DataFrame({"predicted": [begin, 1.0], "observed": [begin, 1.0]})
    told = frame.with_columns(
        said=percent("predicted"),
        right=percent("observed"),
        chance=pl.format("{} to {}", percent("low"), percent("high")),
    )
    tooltip = tips(
        name="probabilities",
        said="said",
        right="was right",
        chance="range that chance allows",
        requests="requests",
    )
    base = alt.Chart(drawing.drawn(told, notes)).encode(x=x, color=drawing.colored(notes), tooltip=tooltip)
    spec = alt.layer(
        alt.Chart(ends).mark_line(color=drawing.LIGHT, strokeDash=[4, 4]).encode(x=x, y=y),
        base.mark_rule(strokeWidth=1.5, clip=True).encode(y=alt.Y("low:Q", scale=scale), y2="high:Q"),
        base.mark_point(filled=True, opacity=0.9).encode(
            y=y, size=alt.Size("requests:Q", legend=None, scale=_area(frame))
        ),
        title=drawing.titled(title, subtitle),
        width=_SIDE,
        height=_SIDE,
    )
    said = [
        f"{hue}: "
        + ", ".join(
            say("{p:%} said, {o:%} right ({n} requests)", p=p, o=o, n=drawing.number(n)).text
            for p, o, n in frame.filter(pl.col("color") == hue)
            .select("predicted", "observed", "requests")
            .rows()
        )
        for hue in hues
    ]
    return Chart(spec, f"{visible(title)} {'; '.join(said)}.")


def _noted(frame: pl.DataFrame, hue: str) -> str:
    """The name, and how many points lie on one another where all is certain."""
    points = frame.filter(pl.col("color") == hue)
    certain = points.filter((pl.col("predicted") >= _CORNER) & (pl.col("observed") >= _CORNER)).height
    return f"{hue}: {certain} of {points.height} points above {_CORNER * 100:.0f} %" if certain > 1 else hue


def _area(frame: pl.DataFrame) -> alt.Scale:
    return alt.Scale(domain=[0, float(frame["requests"].max() or 1)], range=[0, 90])  # type: ignore[arg-type]


def expected_counts(
    data: Data, *, title: str, y_title: str = "requests per second of delay", subtitle: str = ""
) -> Chart:
    """Bars of what was observed by delay, and a line of what was expected.

    Args:
        data: a row for each span of delays, from `delay_s` to `to_s`, with how many were `observed` and
            `expected`; spans may differ in length, what is drawn is per second.
        title: the question.
        y_title: what is counted.
        subtitle: how to read it.

    Example:
        >>> rows = {"delay_s": [0, 1], "to_s": [1, 3], "observed": [3.0, 8.0], "expected": [4.0, 6.0]}
        >>> expected_counts(pl.DataFrame(rows), title="After how long?")
        After how long? 11 observed, 10 expected; most per second at 1 to 3 s: 4 observed, 3 expected.
    """
    names = ("delay_s", "to_s", "observed", "expected")
    frame = drawing.frame_of(data, {name: name for name in names}).drop_nulls().sort("delay_s")
    frame = frame.filter(pl.col("to_s") > pl.col("delay_s"))
    if frame.is_empty():
        return drawing.no_rows(title)
    width = pl.col("to_s") - pl.col("delay_s")
    rates = frame.with_columns(pl.col("observed", "expected") / width)
    most = rates.sort("observed", "delay_s", descending=[True, False]).row(0, named=True)
    notes = {name: f"{name} ({drawing.number(round(float(frame[name].sum()), 1))})" for name in names[2:]}
    colors = alt.Scale(domain=list(notes.values()), range=[drawing.SKY, drawing.INK])
    key = alt.Color("color:N", scale=colors, legend=alt.Legend())
    x = alt.X(
        "delay_s:Q",
        title="seconds after the build's start",
        axis=alt.Axis(grid=False),
        scale=alt.Scale(nice=False),
    )
    rates = rates.with_columns(delay=pl.format("{} to {} s", "delay_s", "to_s"))
    tooltip = tips(
        delay="after the build's start", observed="observed per second", expected="expected per second"
    )
    bars = rates.with_columns(color=pl.lit(notes["observed"]))
    line = rates.with_columns(
        color=pl.lit(notes["expected"]), middle=(pl.col("delay_s") + pl.col("to_s")) / 2
    )
    spec = alt.layer(
        alt.Chart(bars)
        .mark_bar(orient="vertical", stroke="white", strokeWidth=0.5)
        .encode(
            x=x,
            x2="to_s:Q",
            y=alt.Y("observed:Q", title=visible(y_title), axis=alt.Axis(tickCount=5)),
            color=key,
            tooltip=tooltip,
        ),
        alt.Chart(line).mark_line(strokeWidth=2).encode(x="middle:Q", y="expected:Q", color=key),
        title=drawing.titled(title, subtitle),
        width=drawing.WIDTH,
        height=260,
    )
    said = say(
        "{title} {o} observed, {e} expected; most per second at {a} to {b} s: {most} observed, "
        "{there} expected.",
        title=title,
        o=drawing.number(round(float(frame["observed"].sum()), 1)),
        e=drawing.number(round(float(frame["expected"].sum()), 1)),
        a=drawing.number(most["delay_s"]),
        b=drawing.number(most["to_s"]),
        most=drawing.number(round(most["observed"], 1)),
        there=drawing.number(round(most["expected"], 1)),
    )
    return Chart(spec, said.text)


def intervals(
    data: Data, *, title: str, x_title: str = "401s a day", top: int = 15, subtitle: str = ""
) -> Chart:
    """Bars from the longest down, a dot at their end, and the range that the truth is in.

    Args:
        data: a row for each workflow (`name`) with `per_day`, its range (`low`, `high`) and of these
            `challenges_per_day` and `refused_per_day`.
        title: the question.
        x_title: what is counted.
        top: how many bars; the rest is one more bar, "others", without a range.
        subtitle: how to read it.

    Example:
        >>> row = {"name": "acme/web · CI", "per_day": 12.0, "low": 9.0, "high": 16.0}
        >>> rows = pl.DataFrame([row | {"challenges_per_day": 2.0, "refused_per_day": 10.0}])
        >>> intervals(rows, title="Who sends how many?")
        Who sends how many? 12 401s a day: challenge (2), refused (10). acme/web · CI: 12 (9 to 16).
    """
    numbers = ("per_day", "low", "high", "challenges_per_day", "refused_per_day")
    frame = drawing.frame_of(data, {"label": "name"} | {name: name for name in numbers}).drop_nulls("per_day")
    if frame.is_empty():
        return drawing.no_rows(title)
    frame, labels = drawing.fold(frame, "label", by="per_day", most=top)
    one = pl.len() == 1  # ranges of several cannot be added up
    ends = frame.group_by("label").agg(
        pl.col("per_day", "challenges_per_day", "refused_per_day").sum(),
        *(pl.when(one).then(pl.col(name).first()).alias(name) for name in ("low", "high")),
        dot=pl.when(one).then(pl.col("per_day").first()),
    )
    ends = pl.DataFrame({"label": labels}).join(ends, on="label", how="left", maintain_order="left")
    ends = ends.with_columns(
        text=pl.struct("per_day", "low", "high").map_elements(_range, return_dtype=pl.String)
    )
    parts = ends.select(
        "label",
        challenge="challenges_per_day",
        refused="refused_per_day",
        other=(pl.col("per_day") - pl.col("challenges_per_day") - pl.col("refused_per_day")).clip(0),
    ).unpivot(index="label", variable_name="color", value_name="y")
    parts = parts.filter(pl.col("y") >= _SHOWN)
    hues = [hue for hue in ("challenge", "refused", "other") if hue in parts["color"]]
    notes = {hue: f"{hue} ({_rounded(drawing.total(parts, 'color', hue))})" for hue in hues}
    lanes = alt.Y("label:N", sort=labels, title=None, axis=alt.Axis(grid=False))
    length = alt.X("y:Q", stack="zero", title=visible(x_title), axis=drawing.COUNTS)
    base = alt.Chart(ends).encode(y=lanes, tooltip=tips(label="workflow", text=x_title))
    spec = alt.layer(
        alt.Chart(drawing.drawn(parts, notes))
        .mark_bar(height=14)
        .encode(
            x=length,
            y=lanes,
            color=drawing.colored(notes),
            order="rank:Q",
            tooltip=tips(label="workflow", name="of these", y=x_title),
        ),
        base.mark_rule(strokeWidth=2, color=drawing.INK).encode(x="low:Q", x2="high:Q"),
        base.mark_point(filled=True, size=45, opacity=1, color=drawing.INK).encode(x="dot:Q"),
        base.transform_calculate(end="max(datum.per_day, datum.high)")
        .mark_text(align="left", dx=8)
        .encode(x="end:Q", text="text:N"),
        title=drawing.titled(title, subtitle),
        width=drawing.WIDTH - 260,
        height=alt.Step(27),
    ).configure_axisX(grid=False)
    said = ", ".join(f"{name}: {text}" for name, text in ends.select("label", "text").rows())
    head = say("{t} {n} {what}: ", t=title, n=_rounded(float(ends["per_day"].sum())), what=x_title).text
    return Chart(spec, f"{head}{', '.join(notes.values())}. {said}.")


def _rounded(value: float) -> str:
    """Two digits at least: what is known to a tenth is not shown to the hundredth."""
    return f"{value:,.0f}" if value >= 10 or value == round(value) else f"{value:.1f}"


def _range(row: dict[str, float | None]) -> str:
    low, high, value = row["low"], row["high"], row["per_day"] or 0.0
    return _rounded(value) + (
        f" ({_rounded(low)} to {_rounded(high)})" if low is not None and high is not None else ""
    )
