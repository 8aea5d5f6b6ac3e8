"""The chart of an attribution: what speaks for the favourite, and what for the runner-up."""

from __future__ import annotations

from typing import TYPE_CHECKING

import altair as alt
import polars as pl

from ciforensics.show.charts import drawing
from ciforensics.show.charts.drawing import Chart
from ciforensics.show.charts.tooltips import tips
from ciforensics.wording import cut, visible

if TYPE_CHECKING:
    from ciforensics.analysis.explanation import Explanation

_LANES = 80  # px that the names of the clues take
_LONGEST = 108


def clues(explanation: Explanation) -> Chart:
    """What speaks for a 401's likeliest workflow, to the right, and for the runner-up, to the left.

    Args:
        explanation: what `explain` says of the 401.

    Example:
        >>> import ciforensics as ci
        >>> attribution = ci.attribute(ci.connect())
        >>> line_no, path = attribution.requests.select("line_no", "path").row(0)
        >>> clues(ci.explain(attribution, line_no=line_no, file=path)).alt[:4]
        'Why '
    """
    name, other = (cut(visible(text or ""), 36) for text in (explanation.candidate, explanation.runner_up))
    notes = {"first": f"for {name}"} | ({"second": f"for the runner-up, {other}"} if other else {})
    bits, detail = pl.col("weight_bits"), explanation.clues["detail"]
    frame = explanation.clues.select(
        pl.col("clue").alias("label"),
        y=bits.fill_null(1.0),
        color=pl.when(bits < 0).then(pl.lit("second")).otherwise(pl.lit("first")),
        text=pl.Series(map(_times, explanation.clues["weight_bits"])),
        detail=pl.Series(cut(visible(text), _LONGEST) for text in detail),
    )
    title = f"Why {cut(visible(explanation.candidate), 60)}?"
    file, line_no = explanation.request.select("file", "line_no").row(0)
    subtitle = f"{cut(visible(file), 50)}, line {line_no}: {explanation.odds}."
    lanes = alt.Y("label:N", sort=frame["label"].to_list(), title=None, axis=alt.Axis(grid=False))
    told = drawing.drawn(frame, notes)
    tooltip = tips(label="clue", color="speaks", text="makes the odds", detail="because")
    base = alt.Chart(told).encode(y=lanes, tooltip=tooltip)
    bars = base.mark_bar(height=14, yOffset=10).encode(
        x=_axis(frame["y"], decided=not other), color=drawing.colored(notes, legend=bool(other))
    )
    numbers = base.encode(x="y:Q", text="text:N")
    right = numbers.transform_filter("datum.y >= 0").mark_text(align="left", dx=6, dy=10)
    left = numbers.transform_filter("datum.y < 0").mark_text(align="right", dx=-6, dy=10)
    facts = base.mark_text(align="left", dy=-9, color=drawing.MUTED).encode(x=alt.value(0), text="detail:N")
    zero = alt.Chart(pl.DataFrame({"y": [0.0]})).mark_rule(color=drawing.PALE).encode(x="y:Q")
    spec = alt.layer(
        zero,
        bars,
        right,
        left,
        facts,
        title=drawing.titled(title, subtitle),
        width=drawing.WIDTH - _LANES,
        height=alt.Step(48),
    )
    said = "; ".join(
        f"{clue} {text}{f' {notes[side]}' if text.endswith('times') else ''} ({fact})"
        for clue, text, side, fact in frame.select("label", "text", "color", "detail").rows()
    )
    return Chart(spec, f"{title} {subtitle} {said}.")


def _axis(weights: pl.Series, *, decided: bool) -> alt.X:
    """Bits of evidence, with room for the numbers at the ends of the bars."""
    low, high = min(0.0, *weights), max(0.0, *weights)
    room = 0.16 * max(high - low, 0.5)
    ticks = alt.Axis(tickCount=6, labelExpr="abs(datum.value)", labels=not decided, grid=False)
    domain = alt.Scale(domain=[low - room * (low < 0), high + room], nice=False)
    title = None if decided else "bits of evidence; each doubles the odds"
    return alt.X("y:Q", scale=domain, axis=ticks, title=title)


def _times(weight: float | None) -> str:
    """How many times the odds a clue makes of what they were."""
    if weight is None:
        return "decides"
    times = 2 ** abs(weight)
    if times < 1.05:
        return "even"
    return f"{times:,.0f} times" if times >= 10 else f"{times:.1f} times"
