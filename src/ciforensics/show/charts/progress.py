"""What moving did, by the time since a workflow moved."""

from __future__ import annotations

import altair as alt
import polars as pl

from ciforensics.show.charts import drawing
from ciforensics.show.charts.drawing import Chart
from ciforensics.wording import Data, say

_HAPPENED, _WITHOUT = "as it was", "had they not moved"
_HOUR_S, _DAY_S = 3600, 86_400


def event_time(data: Data, *, title: str, subtitle: str = "") -> Chart:
    """401s a build before and after a move, as they were and as they would have been.

    Args:
        data: a row for each `event_time`, in periods of `period_s` since the move, with `unauthorized` and
            `without` (401s a build), and how many `builds` that rests on; see `Progress.event_time`.
        title: the question.
        subtitle: how to read it.

    Example:
        >>> rows = {"event_time": [-1, 0], "unauthorized": [4.0, 0.0], "without": [4.0, 4.1]}
        >>> rows |= {"builds": [9, 8], "period_s": [3600.0, 3600.0]}
        >>> event_time(pl.DataFrame(rows), title="Does it work?")
        Does it work? before the move 4 401s a build; since then 0, and 4.1 had they not moved.
    """
    names = ("event_time", "unauthorized", "without", "builds", "period_s")
    frame = drawing.frame_of(data, {name: name for name in names}).drop_nulls().sort("event_time")
    if frame.is_empty():
        return drawing.no_rows(title)
    period = float(frame["period_s"][0])
    unit, length = ("days", _DAY_S) if period >= _DAY_S else ("hours", _HOUR_S)
    frame = frame.with_columns(at=(pl.col("event_time") + 0.5) * period / length)
    rows = pl.concat(
        frame.select("at", "builds", pl.lit(name).alias("line"), y=pl.col(column))
        for name, column in ((_HAPPENED, "unauthorized"), (_WITHOUT, "without"))
    )
    colors = alt.Scale(domain=[_HAPPENED, _WITHOUT], range=[drawing.GREEN, drawing.GREY])
    key = alt.Color("line:N", scale=colors, legend=alt.Legend())
    base = alt.Chart(rows).encode(
        x=alt.X("at:Q", title=f"{unit} since the workflow moved", axis=alt.Axis(grid=False)),
        y=alt.Y("y:Q", title="401s a build", scale=alt.Scale(zero=True), axis=alt.Axis(tickCount=5)),
        color=key,
    )
    rule = alt.Chart(pl.DataFrame({"at": [0.0]})).mark_rule(color=drawing.INK, strokeDash=[4, 4])
    spec = alt.layer(
        rule.encode(x="at:Q"),
        base.mark_line(strokeWidth=2),
        base.mark_point(filled=True).encode(
            size=alt.Size("builds:Q", title="builds", legend=None, scale=alt.Scale(range=[20, 200])),
            tooltip=[
                alt.Tooltip("line:N", title="401s"),
                alt.Tooltip("y:Q", title="a build", format=".2f"),
                "builds:Q",
            ],
        ),
        title=drawing.titled(title, subtitle),
        width=drawing.WIDTH,
        height=260,
    )
    before, after = (frame.filter(side) for side in (pl.col("event_time") < 0, pl.col("event_time") >= 0))
    said = say(
        "{title} before the move {before} 401s a build; since then {after}, and "
        "{without} had they not moved.",
        title=title,
        before=_mean(before, "unauthorized"),
        after=_mean(after, "unauthorized"),
        without=_mean(after, "without"),
    )
    return Chart(spec, said.text)


def _mean(frame: pl.DataFrame, column: str) -> str:
    mean = frame.select((pl.col(column) * pl.col("builds")).sum() / pl.col("builds").sum()).item()
    return drawing.number(round(float(mean), 2)) if len(frame) else "no"
