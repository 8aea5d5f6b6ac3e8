"""How far apart the values of each group lie: quantiles, where a mean would hide most of it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import altair as alt
import polars as pl

from ciforensics.show.charts import drawing
from ciforensics.show.charts.drawing import Chart
from ciforensics.show.charts.tooltips import tips
from ciforensics.wording import say, visible

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ciforensics.wording import Data

_QUANTILES = ("p10", "p25", "median", "p75", "p90")
_LEAST = 1e-3
"""Where a logarithmic axis begins: it has no zero."""


def spread(
    data: Data,
    *,
    label: str,
    count: str,
    title: str,
    x_title: str,
    logarithmic: bool = False,
    top: int = 15,
    subtitle: str = "mark and number: the median (of how many); box: the middle half; line: the middle 80 %",
) -> Chart:
    """A lane for each group, the largest first: a mark at its median, a box and a line for where most lie.

    Args:
        data: a row for each group, with the columns p10, p25, median, p75 and p90.
        label: column that names the group.
        count: column with how many values it has; none, and it has no lane.
        title: the question.
        x_title: what is measured.
        logarithmic: each step of the axis is a factor.
        top: how many groups at most; how many more there are is said.
        subtitle: how to read it.

    Example:
        >>> row = {"job": "acme/web · CI", "jobs": 16, "p10": 2, "p25": 3, "median": 3, "p75": 4, "p90": 6}
        >>> rows = pl.DataFrame([row])
        >>> spread(rows, label="job", count="jobs", title="How many?", x_title="containers a job")
        How many? containers a job: acme/web · CI median 3, middle 80 % from 2 to 6 (16 jobs).
    """
    frame = drawing.frame_of(data, {"label": label, "n": count} | {name: name for name in _QUANTILES})
    frame = frame.filter(pl.col("n") > 0).drop_nulls(_QUANTILES)
    if frame.is_empty():
        return drawing.no_rows(title)
    frame = frame.sort("n", "label", descending=[True, False], nulls_last=True)
    kept, more = frame.head(top), max(frame.height - top, 0)
    lanes, labels = drawing.fold(kept, "label", by="n", most=top)
    lanes = lanes.with_columns(
        text=pl.Series([f"{_short(row['median'])} ({row['n']:,.0f})" for row in lanes.iter_rows(named=True)]),
        said=pl.Series([_said(row, count) for row in lanes.iter_rows(named=True)]),
    )
    tail = f"; {more:,} smaller ones are not drawn" if more else ""
    pointed = tips(label=label, said=x_title)
    spec = _lanes(lanes, labels, x_title=x_title, logarithmic=logarithmic, pointed=pointed).properties(
        title=drawing.titled(title, subtitle + tail)
    )
    said = ", ".join(f"{name} {words}" for name, words in lanes.select("label", "said").rows())
    return Chart(spec, say("{t} {what}: ", t=title, what=x_title).text + f"{said}{tail}.")


def _lanes(
    frame: pl.DataFrame, labels: list[str], *, x_title: str, logarithmic: bool, pointed: list[alt.Tooltip]
) -> Any:
    if logarithmic:
        frame = frame.with_columns(pl.col(_QUANTILES).clip(_LEAST))
    x: Any = partial(alt.X, title=visible(x_title), **(_factors(frame) if logarithmic else _steps()))
    lanes = alt.Y("label:N", sort=labels, title=None, axis=alt.Axis(grid=False))
    base = alt.Chart(frame).encode(y=lanes, tooltip=pointed)
    return alt.layer(
        base.mark_rule(strokeWidth=2, color=drawing.BLUE).encode(x=x("p10:Q"), x2="p90:Q"),
        base.mark_bar(height=14, color=drawing.SKY).encode(x=x("p25:Q"), x2="p75:Q"),
        base.mark_tick(thickness=4, size=20, color=drawing.INK, opacity=1).encode(x=x("median:Q")),
        base.mark_text(align="left", dx=10).encode(x=x("p90:Q"), text="text:N"),
        width=drawing.WIDTH - 260,
        height=alt.Step(27),
    )


def _steps() -> dict[str, Any]:
    return {"scale": alt.Scale(zero=True), "axis": drawing.COUNTS}


def _factors(frame: pl.DataFrame) -> dict[str, Any]:
    """From the last of 1, 2, 5, 10, … before all values to the first one behind them."""
    ladder = [step * 10.0**power for power in range(-3, 9) for step in (1, 2, 5)]
    # p10 is the least quantile, p90 the greatest.
    least, most = frame.select(pl.col("p10").min(), pl.col("p90").max()).row(0)
    first = max(nth for nth, rung in enumerate(ladder[:-1]) if rung <= least)
    last = min(
        (nth for nth, rung in enumerate(ladder) if rung >= most and nth > first), default=len(ladder) - 1
    )
    rungs = ladder[first : last + 1]
    axis = alt.Axis(values=rungs, labelExpr="format(datum.value, ',~r')", labelOverlap=True)
    return {"scale": alt.Scale(type="log", domain=[rungs[0], max(rungs[-1], most)], nice=False), "axis": axis}


def _said(row: Mapping[str, Any], count: str) -> str:
    low, high = _short(row["p10"]), _short(row["p90"])
    return f"median {_short(row['median'])}, middle 80 % from {low} to {high} ({row['n']:,.0f} {count})"


def _short(value: float) -> str:
    """Three digits of it, and of a large number all."""
    return f"{value:,.0f}" if value >= 100 or value == round(value) else f"{value:.3g}"
