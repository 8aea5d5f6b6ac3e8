"""Charts in one look: the title asks the question, units stand on the axes, the colour-blind see the colours.

A chart shows itself as a PNG (GitHub, a report and an e-mail all show that without a script or a network; in
JupyterLab it is drawn, with tooltips) and as a sentence of alternative text, made from the same numbers.
Nothing is dropped silently: what finds no room is added up as "others", with their number.
"""

from __future__ import annotations

import altair as alt
import polars as pl

from ciforensics.show.charts import drawing
from ciforensics.show.charts.attribution import clues
from ciforensics.show.charts.calibration import expected_counts, intervals, reliability
from ciforensics.show.charts.drawing import Chart
from ciforensics.show.charts.progress import event_time
from ciforensics.show.charts.spread import spread
from ciforensics.show.charts.times import over_time, rates
from ciforensics.show.charts.tooltips import tips
from ciforensics.wording import Data, say, visible

__all__ = [
    "Chart",
    "clues",
    "event_time",
    "expected_counts",
    "intervals",
    "over_time",
    "ranked",
    "rates",
    "reliability",
    "spread",
    "timeline",
]


def ranked(
    data: Data,
    *,
    label: str,
    value: str,
    title: str,
    x_title: str,
    color: str | None = None,
    top: int = 15,
    subtitle: str = "",
) -> Chart:
    """Bars from the longest down, each with its count and its share of all.

    Args:
        data: a row for each bar, or for each bar and colour; several for the same are added up.
        label: column that names the bar; long names lose their middle, NULL is "not known".
        value: column with the count.
        title: the question.
        x_title: what is counted.
        color: column that the bars are stacked by.
        top: how many bars; the rest is one more bar, "others".
        subtitle: how to read it.

    Example:
        >>> import duckdb
        >>> rows = duckdb.sql("FROM (VALUES ('acme/shop', 30), ('acme/web', 10)) t(repo, n)")
        >>> ranked(rows, label="repo", value="n", title="Who sent them?", x_title="requests")
        Who sent them? 40 requests: acme/shop 30 (75.0 %), acme/web 10 (25.0 %).
    """
    frame = drawing.frame_of(data, {"label": label, "y": value, "color": color}).drop_nulls("y")
    if frame.is_empty():
        return drawing.no_rows(title)
    frame, labels = drawing.fold(frame, "label", by="y", most=top)
    frame, hues = drawing.fold(frame, "color", by="y", most=drawing.HUES)
    frame = frame.group_by("label", "color").agg(pl.col("y").sum()).sort("label", "color")
    bars = {name: drawing.total(frame, "label", name) for name in labels}
    whole = sum(bars.values())
    shares = [_shared(n, whole) for n in bars.values()]
    notes = drawing.counted(frame, hues)
    lanes = alt.Y("label:N", sort=labels, title=None, axis=alt.Axis(grid=False))
    length = alt.X("y:Q", stack="zero", title=visible(x_title), axis=drawing.COUNTS)
    ends = pl.DataFrame({"label": labels, "y": list(bars.values()), "text": shares})
    told = pl.col("y").map_elements(lambda n: _shared(n, whole), return_dtype=pl.String)
    stacked = alt.Chart(drawing.drawn(frame.with_columns(said=told), notes)).mark_bar(height=18)
    spec = alt.layer(
        stacked.encode(
            x=length,
            y=lanes,
            color=drawing.colored(notes, legend=color is not None),
            order="rank:Q",
            tooltip=tips(label=label, name=color, said=x_title),
        ),
        alt.Chart(ends).mark_text(align="left", dx=6).encode(x="y:Q", y=lanes, text="text:N"),
        title=drawing.titled(title, subtitle),
        width=drawing.WIDTH - 240,
        height=alt.Step(27),
    ).configure_axisX(grid=False)
    said = ", ".join(f"{name} {share}" for name, share in zip(labels, shares, strict=True))
    return Chart(
        spec, say("{t} {n} {what}: ", t=title, n=drawing.number(whole), what=x_title).text + f"{said}."
    )


def _shared(n: float, whole: float) -> str:
    return f"{drawing.number(n)} ({n / whole * 100:.1f} %)" if whole else drawing.number(n)


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
