"""What a chart tells the pointer on a mark, where someone looks on: in JupyterLab."""

from __future__ import annotations

import altair as alt
import polars as pl

from ciforensics.wording import visible

_NUMBERS = {"y", "n", "requests", "observed", "expected"}


def when(frame: pl.DataFrame) -> pl.Expr:
    """From when to when; the day is said once, and seconds where there are any."""
    x, end = pl.col("x"), pl.col("end")
    fine = frame.select(((x.dt.second() > 0) | (end.dt.second() > 0)).any()).item()
    clock = "%H:%M:%S" if fine else "%H:%M"
    full = f"%Y-%m-%d {clock}"
    until = (
        pl.when(x.dt.date() == end.dt.date()).then(end.dt.strftime(clock)).otherwise(end.dt.strftime(full))
    )
    return pl.format("{} to {}", x.dt.strftime(full), until)


def tips(**titles: str | None) -> list[alt.Tooltip]:
    """What a pointer on a mark is told: columns, and what each is called; those without a name are left out.

    Numbers are written as `number` writes them, shares come as text.
    """
    return [
        alt.Tooltip(field=column, type="quantitative", format=",.1~f", title=visible(title))
        if column in _NUMBERS
        else alt.Tooltip(field=column, type="nominal", title=visible(title))
        for column, title in titles.items()
        if title
    ]


def percent(column: str) -> pl.Expr:
    """A share as a tooltip says it."""
    return pl.format("{} %", (pl.col(column) * 100).round(1))
