"""Tables as a notebook, a terminal and a report show them.

Plain text first (a terminal shows it, nbval compares it) and HTML second. Cells come from logs, so they are
hostile: HTML is escaped, and characters that steer a terminal or reorder text are spelt out.
"""

from __future__ import annotations

import html
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from rich.cells import cell_len

from ciforensics.wording import Data, cut, fetch, is_numeric, mark_output, visible, write_column

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

RIGHT = ' style="text-align:right"'
LEFT = ' style="text-align:left"'
_LONG = 30


@dataclass(frozen=True)
class Table:
    """A table ready to be shown: texts only, the numbers already written out.

    Attributes:
        right: for each column whether it holds numbers and so is set to the right.
        foot: how many rows there are in all, and the zone of the times.
        findings: what its rows leave as data (`ciforensics.show.findings`).
    """

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    right: tuple[bool, ...]
    foot: str
    findings: Sequence[Mapping[str, Any]] = ()

    def __repr__(self) -> str:
        lines = (self.columns, *self.rows)
        widths = [max(map(cell_len, column)) for column in zip(*lines, strict=True)]
        head, *body = (self._line(line, widths) for line in lines)
        rule = "-" * min(max(map(cell_len, (head, *body))), 110)
        return "\n".join([*filter(None, [self.caption]), head, rule, *body, f"({self.foot})"])

    def _line(self, cells: tuple[str, ...], widths: list[int]) -> str:
        padded = (
            pad + cell if right else cell + pad
            for cell, width, right in zip(cells, widths, self.right, strict=True)
            for pad in [" " * (width - cell_len(cell))]
        )
        return "  ".join(padded).rstrip()

    def _repr_html_(self) -> str:
        caption = f"<caption>{html.escape(self.caption)}</caption>" if self.caption else ""
        align = [RIGHT if right else LEFT for right in self.right]
        wraps = [
            ' class="ci-long"' * any(len(cell) > _LONG for cell in column)
            for column in zip(*self.rows, strict=True)
        ]
        head = _html("th", self.columns, [f' scope="col"{style}' for style in align])
        how = [f"{style}{wrap}" for style, wrap in zip(align, wraps, strict=False)]
        body = "\n".join(_html("td", row, how) for row in self.rows)
        foot = _html("td", [self.foot], [f' colspan="{len(self.columns)}"{LEFT}'])
        return (
            f'<table class="ci-table">{caption}\n<thead>{head}</thead>\n'
            f"<tbody>\n{body}\n</tbody>\n<tfoot>{foot}</tfoot></table>"
        )

    def _repr_mimebundle_(self, **_: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        return {}, mark_output("table", self.findings)


def show_table(
    data: Data,
    *,
    rows: int = 20,
    caption: str = "",
    percent: Sequence[str] = (),
    decimals: int = 4,
    width: int = 100,
) -> Table:
    """Shows the first rows of a query or a frame, and says how many there are.

    Args:
        data: a DuckDB relation (`con.sql(...)`), in an order of its own, or a polars frame.
        rows: how many rows to show at most.
        caption: what the table says.
        percent: columns that hold shares between 0 and 1, or one.
        decimals: how many a number has at most.
        width: longer texts lose their middle.

    Example:
        >>> import duckdb
        >>> rows = duckdb.sql("FROM (VALUES ('github.com', 2310, .9), ('quay.io', 256, .1)) t(host, n, part)")
        >>> show_table(rows, caption="Who was asked", percent="part")
        Who was asked
        host            n    part
        -------------------------
        github.com  2,310  90.0 %
        quay.io       256  10.0 %
        (2 rows)
    """
    percent = [percent] if isinstance(percent, str) else percent
    names, cells, total = fetch(data, rows)
    columns = list(zip(*cells, strict=True)) or [() for _ in names]
    shown = [
        write_column(name, column, name in percent, width, decimals)
        for name, column in zip(names, columns, strict=True)
    ]
    timed = any(isinstance(value, datetime) for column in columns for value in column)
    return Table(
        caption=visible(caption),
        columns=tuple(visible(cut(name, width)) for name in names),
        rows=tuple(zip(*shown, strict=True)),
        right=tuple(is_numeric(column) for column in columns),
        foot=_foot(len(cells), total) + (", times in UTC" if timed else ""),
    )


def _html(tag: str, cells: Sequence[str], attributes: Sequence[str]) -> str:
    pairs = zip(cells, attributes, strict=True)
    return "<tr>" + "".join(f"<{tag}{how}>{html.escape(cell)}</{tag}>" for cell, how in pairs) + "</tr>"


def _foot(shown: int, total: int) -> str:
    if shown < total:
        return f"{shown:,} of {total:,} rows"
    return "no rows" if total == 0 else f"{total:,} row{'s' * (total != 1)}"
