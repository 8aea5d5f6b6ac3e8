"""Charts over time: counts, and shares with the range that chance allows them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import altair as alt
import polars as pl

from ciforensics.analysis.trust.shares import wilson
from ciforensics.show.charts import drawing
from ciforensics.show.charts.drawing import Chart
from ciforensics.show.charts.tooltips import percent, tips
from ciforensics.wording import Data, say, visible

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import timedelta


def over_time(
    data: Data,
    *,
    x: str,
    y: str,
    title: str,
    y_title: str,
    x_title: str = "Time (UTC)",
    color: str | None = None,
    subtitle: str = "",
    bucket: timedelta | None = None,
) -> Chart:
    """Bars over time, stacked by colour, with the totals in the legend.

    Args:
        data: a row for each bucket and colour; several for the same are added up.
        x: column with the start of the bucket.
        y: column with what is counted.
        title: the question.
        y_title: what is counted, and in what time, e.g. "requests per {bucket}", the length of a bucket.
        x_title: title of the time axis; the days are put behind it.
        color: column that the bars are stacked by.
        subtitle: how to read it.
        bucket: length of a bucket; None: the smallest distance between two.

    Example:
        >>> import duckdb
        >>> hours = "(TIMESTAMP '2026-11-24 03:00', 7), (TIMESTAMP '2026-11-24 04:00', 35)"
        >>> rows = duckdb.sql(f"FROM (VALUES {hours}) t(hour, n)")
        >>> over_time(rows, x="hour", y="n", title="When?", y_title="requests per {bucket}")
        When? 42 requests from 2026-11-24 03:00 to 2026-11-24 05:00. Most from 2026-11-24 04:00: 35.
    """
    frame = drawing.frame_of(data, {"x": x, "y": y, "color": color}).drop_nulls(["x", "y"])
    if frame.is_empty():
        return drawing.no_rows(title)
    frame, hues = drawing.fold(frame, "color", by="y", most=drawing.HUES)
    frame = drawing.spans(frame.group_by("x", "color").agg(pl.col("y").sum()), bucket)
    y_title = drawing.named(y_title, frame)
    notes = drawing.counted(frame, hues)
    bars = _bars(frame, notes, x_title=x_title, y_title=y_title, color=color)
    spec = bars.properties(title=drawing.titled(title, subtitle), width=drawing.WIDTH, height=280)
    sums = frame.group_by("x").agg(pl.col("y").sum()).sort("y", "x", descending=[True, False])
    said = say(
        "{title} {n} {what} from {start} to {end}{parts}. Most from {peak}: {most}.",
        title=title,
        n=drawing.number(float(sums["y"].sum())),
        what=y_title.partition(" per ")[0],
        start=frame["x"].min(),
        end=frame["end"].max(),
        parts=": " + ", ".join(notes.values()) if color else "",
        peak=sums["x"][0],
        most=drawing.number(sums["y"][0]),
    )
    return Chart(spec, said.text)


def rates(
    data: Data,
    *,
    x: str,
    part: str,
    whole: str,
    color: str,
    title: str,
    y_title: str,
    count_title: str,
    subtitle: str = "",
    bucket: timedelta | None = None,
) -> Chart:
    """A share over time for each class, with the range that chance allows it, and below it the counts.

    Args:
        data: a row for each bucket and class; several for the same are added up.
        x: column with the start of the bucket.
        part: column with how many, e.g. answers of status 401.
        whole: column with how many of, e.g. requests.
        color: column that names the class.
        title: the question.
        y_title: what the share is, e.g. "answered 401".
        count_title: what is counted below, e.g. "requests per {bucket}".
        subtitle: how to read it.
        bucket: length of a bucket; None: the smallest distance between two.

    Example:
        >>> import duckdb
        >>> rows = duckdb.sql("SELECT TIMESTAMP '2026-11-24' AS day, 'stock' AS kind, 9 AS bad, 10 AS n")
        >>> names = {"x": "day", "part": "bad", "whole": "n", "color": "kind"}
        >>> rates(rows, **names, title="Does it work?", y_title="answered 401", count_title="requests a day")
        Does it work? stock: 9 of 10 answered 401 (90.0 %).
    """
    frame = drawing.frame_of(data, {"x": x, "part": part, "y": whole, "color": color}).drop_nulls("x")
    frame = frame.filter(pl.col("y") > 0)
    if frame.is_empty():
        return drawing.no_rows(title)
    frame, hues = drawing.fold(frame, "color", by="y", most=drawing.HUES)
    frame = drawing.spans(frame.group_by("x", "color").agg(pl.col("part", "y").sum()), bucket).with_columns(
        (pl.col("part") / pl.col("y")).alias("share"), *wilson(pl.col("part"), pl.col("y"))
    )
    notes = {
        hue: say("{hue}: {m} of {n} {did} ({share:%})", hue=hue, m=m, n=n, did=y_title, share=m / n).text
        for hue in hues
        for m, n in [(drawing.total(frame, "color", hue, of="part"), drawing.total(frame, "color", hue))]
    }
    strips = [_strip(frame, notes, hue, y_title) for hue in hues]
    counted = drawing.named(count_title, frame)
    counts = _bars(frame, notes, x_title="Time (UTC)", y_title=counted, color=color, key=False)
    below = counts.properties(width=drawing.WIDTH, height=100, title=drawing.over(counted))
    spec = alt.vconcat(*strips, below, title=drawing.titled(title, subtitle), spacing=14)
    return Chart(spec, f"{visible(title)} {'; '.join(notes.values())}.")


def _bars(
    frame: pl.DataFrame,
    notes: Mapping[str, str],
    *,
    x_title: str,
    y_title: str,
    color: str | None,
    key: bool = True,
) -> alt.Chart:
    """Bars; with their key, a legend and the title of the axis."""
    title = y_title if key else None
    bars: alt.Chart = (
        alt.Chart(drawing.drawn(frame, notes))
        .mark_bar(orient="vertical", stroke="white", strokeWidth=drawing.seam(frame))
        .encode(
            x=drawing.time_axis(frame, x_title),
            x2="end:T",
            y=alt.Y("y:Q", stack="zero", title=title, axis=drawing.COUNTS),
            color=drawing.colored(notes, legend=key and color is not None),
            order="rank:Q",
            tooltip=tips(when=x_title, name=color, y=y_title),
        )
    )
    return bars


def _strip(
    frame: pl.DataFrame, notes: Mapping[str, str], hue: str, did: str
) -> alt.LayerChart | alt.FacetChart:
    """One class's share over time. Each has its own strip: those at 0 % would hide one another."""
    x = drawing.time_axis(frame, None, field="middle:T", labels=False)
    y = alt.Y("share:Q", title=None, axis=drawing.SHARES, scale=alt.Scale(domain=[0, 1]))
    counts = (pl.col(name).cast(pl.Int64) for name in ("part", "y"))
    told = frame.filter(pl.col("color") == hue).with_columns(
        said=pl.format("{} of {} ({})", *counts, percent("share")),
        chance=pl.format("{} to {}", percent("low"), percent("high")),
    )
    base = alt.Chart(drawing.drawn(told, notes)).encode(
        x=x,
        color=drawing.colored(notes, legend=False),
        tooltip=tips(when="Time (UTC)", name="class", said=did, chance="range that chance allows"),
    )
    return alt.layer(
        base.mark_rule(strokeWidth=1.5).encode(y=alt.Y("low:Q", title=None), y2="high:Q"),
        base.mark_line(strokeWidth=2).encode(y=y, tooltip=alt.Tooltip(value=None)),
        base.mark_point(filled=True, size=40, opacity=1).encode(y=y),
        width=drawing.WIDTH,
        height=56,
        title=drawing.over(notes[hue]),
    )


def timeline(
    data: Data,
    *,
    lane: str,
    start: str,
    end: str,
    title: str,
    color: str | None = None,
    subtitle: str = "",
) -> Chart:
    """Spans of time, a lane for each source; where a lane is pale, there is a gap.

    Args:
        data: a row for each span.
        lane: column that names the lane.
        start: column with the start of the span.
        end: column with its end.
        title: the question.
        color: column that colours the spans.
        subtitle: how to read it.

    Example:
        >>> import duckdb
        >>> rows = duckdb.sql("SELECT 'squid' AS log, DATE '2026-11-24' AS a, DATE '2026-11-25' AS b")
        >>> timeline(rows, lane="log", start="a", end="b", title="What is covered?")
        What is covered? squid: 2026-11-24 00:00 to 2026-11-25 00:00.
    """
    frame = drawing.frame_of(data, {"label": lane, "x": start, "end": end, "color": color})
    frame = frame.drop_nulls(["x", "end"])
    if frame.is_empty():
        return drawing.no_rows(title)
    frame, _ = drawing.fold(frame.with_columns(y=1.0), "label", by="y", most=1000)
    frame, hues = drawing.fold(frame, "color", by="y", most=drawing.HUES)
    frame = drawing.merged(frame)
    lanes = frame.group_by("label").agg(pl.col("x").min(), pl.col("end").max(), n=pl.len()).sort("x", "label")
    notes = {hue: hue for hue in hues}
    row = alt.Y("label:N", sort=lanes["label"].to_list(), title=None, axis=alt.Axis(grid=False))
    time = drawing.time_axis(frame, "Time (UTC)")
    spec = alt.layer(
        alt.Chart(drawing.drawn(lanes))
        .mark_bar(height=16, color=drawing.PALE)
        .encode(x=time, x2="end:T", y=row, tooltip=tips(label=lane, when="from first to last", n="spans")),
        # The outline keeps a span of a millisecond in sight.
        alt.Chart(drawing.drawn(frame, notes))
        .mark_bar(height=16, strokeWidth=1, stroke=alt.expr("scale('color', datum.color)"))
        .encode(
            x=time,
            x2="end:T",
            y=row,
            color=drawing.colored(notes, legend=color is not None),
            tooltip=tips(label=lane, name=color, when="Time (UTC)"),
        ),
        title=drawing.titled(title, subtitle),
        width=drawing.WIDTH - 100,
        height=alt.Step(30),
    )
    said = [
        say("{lane}: {a} to {b}{n}", lane=name, a=a, b=b, n=f" in {n:,} spans" if n > 1 else "").text
        for name, a, b, n in lanes.rows()
    ]
    return Chart(spec, f"{visible(title)} {'; '.join(said)}.")
