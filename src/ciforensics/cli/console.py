"""The one console of all commands: sentences, tables, JSON lines, cells that a spreadsheet may open."""

from __future__ import annotations

import json
import re
import sys
from typing import TYPE_CHECKING, Any

import polars as pl
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from ciforensics.wording import visible

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)

_FORMULA = r"^([=+\-@\t\r])"


def show(sentence: object, *, style: str = "", keep: str = "") -> None:
    """Shows a line of what was asked for: on standard output; `keep` as for `visible`."""
    out.print(Text(visible(str(sentence), keep=keep), style=style), soft_wrap=True)


def say(sentence: object, *, style: str = "", keep: str = "") -> None:
    """Tells the person at the terminal something: on standard error; `keep` as for `visible`."""
    err.print(Text(visible(str(sentence), keep=keep), style=style), soft_wrap=True)


def show_table(
    names: Sequence[str], rows: Iterable[Sequence[object]], *, title: str = "", fold: bool = False
) -> None:
    """Rows as a table; on a screen that is too narrow for it, one below the other.

    Args:
        names: of the columns.
        rows: their values; None is an empty cell.
        title: what it shows.
        fold: long texts are folded into the screen instead.
    """
    cells = [["" if value is None else visible(str(value)) for value in row] for row in rows]
    table = Table(title=Text(visible(title)) if title else None, title_justify="left")
    for name in names:
        table.add_column(Text(visible(name)), no_wrap=not fold, overflow="fold")
    for row in cells:
        table.add_row(*map(Text, row))
    needed = Measurement.get(out, out.options.update(max_width=1 << 20), table).maximum
    if fold:
        out.print(table)
    elif needed <= out.width or not out.is_terminal:
        Console(highlight=False, width=max(needed, out.width)).print(table)
    else:
        for nth, row in enumerate(cells, start=1):
            show(f"row {nth}", style="bold")
            for name, value in zip(names, row, strict=True):
                show(f"  {name}: {value}")


def write_json(record: Mapping[str, Any]) -> None:
    """Writes a JSON line to standard output, at once: somebody may be reading."""
    sys.stdout.write(json.dumps(record, default=str) + "\n")
    sys.stdout.flush()


def spreadsheet_safe(value: object) -> object:
    """A cell that no spreadsheet takes for a formula.

    Example:
        >>> spreadsheet_safe("=HYPERLINK(1)"), spreadsheet_safe(-1)
        ("'=HYPERLINK(1)", -1)
    """
    return re.sub(_FORMULA, r"'\1", value) if isinstance(value, str) else value


def spreadsheet_safe_frame(frame: pl.DataFrame) -> pl.DataFrame:
    """The same of all texts of a frame.

    Example:
        >>> spreadsheet_safe_frame(pl.DataFrame({"name": ["=HYPERLINK(1)"], "n": [-1]})).row(0)
        ("'=HYPERLINK(1)", -1)
    """
    return frame.with_columns(pl.col(pl.String).str.replace(_FORMULA, "'$1"))
