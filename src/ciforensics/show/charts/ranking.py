"""Who has most: bars from the longest down."""

from __future__ import annotations

import altair as alt
import polars as pl

from ciforensics.show.charts import drawing
from ciforensics.show.charts.drawing import Chart
from ciforensics.show.charts.tooltips import tips
from ciforensics.wording import Data, say, visible


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
