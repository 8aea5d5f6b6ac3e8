"""The one console of all commands: sentences, tables, cells that a spreadsheet may open."""

from __future__ import annotations

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from ciforensics.wording import visible

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)


def say(sentence: str) -> None:
    """Tells the person at the terminal something: on standard error."""
    err.print(Text(visible(sentence)), soft_wrap=True)


def show_table(names: list[str], rows: list[list[str]]) -> None:
    """Rows as a table; on a screen that is too narrow for it, one below the other."""
    table = Table()
    for name in names:
        table.add_column(Text(name), no_wrap=True)
    for row in rows:
        table.add_row(*map(Text, row))
    needed = Measurement.get(out, out.options.update(max_width=1 << 20), table).maximum
    if needed <= out.width or not out.is_terminal:
        Console(highlight=False, width=max(needed, out.width)).print(table)
        return
    for nth, row in enumerate(rows, start=1):  # too wide for the screen: a record below the other
        out.print(Text(f"row {nth}", style="bold"))
        for name, value in zip(names, row, strict=True):
            out.print(Text(f"  {name}: {value}"), soft_wrap=True)


def spreadsheet_safe(value: object) -> object:
    """A cell that no spreadsheet takes for a formula.

    Example:
        >>> spreadsheet_safe("=HYPERLINK(1)"), spreadsheet_safe(-1)
        ("'=HYPERLINK(1)", -1)
    """
    formula = isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r"))
    return f"'{value}" if formula else value
