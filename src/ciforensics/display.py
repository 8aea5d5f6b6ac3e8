"""What a notebook shows besides charts: tables, sentences and its headline.

All of it is plain text first (a terminal shows it, nbval compares it) and HTML second. Cells come from logs,
so they are hostile: HTML is escaped, and characters that steer a terminal or reorder text are spelt out.
"""

from __future__ import annotations

import html
import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from string import Formatter
from typing import TYPE_CHECKING, Any, TypeAlias

import duckdb
import polars as pl
from rich.cells import cell_len

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Data: TypeAlias = duckdb.DuckDBPyRelation | pl.DataFrame

NOTHING = "–"  # noqa: RUF001 (NULL, set apart from a hyphen in a log)
MARK = "ciforensics"
"""Key in the metadata of our outputs. A report trusts the HTML of marked outputs and of no others."""
FINDINGS = "ciforensics_findings"
"""Key in the metadata of our outputs: the findings that an output leaves as data."""

RIGHT = ' style="text-align:right"'
LEFT = ' style="text-align:left"'
_DECIMALS = 4
_LONG = 30
# Whole numbers that name something: a separator would only be in the way of copying them.
_NAMES = re.compile(r"(?:^|_)(?:id|port|no|status|code|year)$")


def visible(text: str, *, keep: str = "") -> str:
    r"""Spells out the characters that hide, steer a terminal or reorder text.

    Args:
        text: anything.
        keep: such characters that may stay, e.g. a newline.

    Example:
        >>> print(visible("git\x1b[31m\u202egpj.exe"))
        git\x1b[31m\u202egpj.exe
    """
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() or char in keep else repr(char)[1:-1] for char in text)


def cut(text: str, width: int) -> str:
    """Cuts the middle out of a long text; both ends of a URL or a user agent tell something.

    Example:
        >>> cut("https://github.com/acme/shop/info/refs", 20)
        'https://gi…info/refs'
    """
    if len(text) <= width:
        return text
    tail = (width - 1) // 2
    return f"{text[: width - 1 - tail]}…{text[len(text) - tail :]}"


@dataclass(frozen=True)
class Table:
    """A table ready to be shown: texts only, the numbers already written out.

    Attributes:
        right: for each column whether it holds numbers and so is set to the right.
        foot: how many rows there are in all, and the zone of the times.
        findings: what its rows leave as data (`ciforensics.watched`).
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
        return {}, _marked("table", self.findings)


@dataclass(frozen=True)
class Sentence:
    """One sentence, with numbers from the data in it; `kind` is `sentence`, `finding` or `headline`."""

    text: str
    kind: str
    findings: Sequence[Mapping[str, Any]] = ()

    def __repr__(self) -> str:
        return self.text

    def _repr_html_(self) -> str:
        text = html.escape(self.text)
        return (
            f'<p class="ci-{self.kind}">{f"<strong>{text}</strong>" if self.kind == "headline" else text}</p>'
        )

    def _repr_mimebundle_(self, **_: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        return {}, _marked(self.kind, self.findings)


def _marked(kind: str, findings: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {MARK: kind, **({FINDINGS: list(findings)} if findings else {})}


def table(
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
        percent: columns that hold shares between 0 and 1.
        decimals: how many a number has at most.
        width: longer texts lose their middle.

    Example:
        >>> import duckdb
        >>> rows = duckdb.sql("FROM (VALUES ('github.com', 2310, .9), ('quay.io', 256, .1)) t(host, n, part)")
        >>> table(rows, caption="Who was asked", percent=["part"])
        Who was asked
        host            n    part
        -------------------------
        github.com  2,310  90.0 %
        quay.io       256  10.0 %
        (2 rows)
    """
    names, cells, total = fetch(data, rows)
    columns = list(zip(*cells, strict=True)) or [() for _ in names]
    shown = [
        _column(name, column, name in percent, width, decimals)
        for name, column in zip(names, columns, strict=True)
    ]
    timed = any(isinstance(value, datetime) for column in columns for value in column)
    return Table(
        caption=visible(caption),
        columns=tuple(visible(cut(name, width)) for name in names),
        rows=tuple(zip(*shown, strict=True)),
        right=tuple(_is_numeric(column) for column in columns),
        foot=_foot(len(cells), total) + (", times in UTC" if timed else ""),
    )


def only(frame: pl.DataFrame, repos: str, /) -> pl.DataFrame:
    """Keeps the rows of some CI repositories, to show; what an answer rests on is never narrowed.

    In SQL it is `is_chosen`.

    Args:
        frame: with a column `ci_repo`; `a or b` is who cannot be told apart.
        repos: repositories, with commas between; empty: all.

    Example:
        >>> frame = pl.DataFrame({"ci_repo": ["acme/web", "acme/infra", None], "n": [1, 2, 3]})
        >>> only(frame, "acme/web, acme/shop").rows()
        [('acme/web', 1)]
    """
    wanted = [repo for repo in repos.lower().replace(" ", "").split(",") if repo]
    if not wanted:
        return frame
    return frame.filter(
        pl.col("ci_repo")
        .str.to_lowercase()
        .str.split(" or ")
        .list.eval(pl.element().is_in(wanted))
        .list.any()
    )


def sentence(template: str, data: Data | None = None, /, **values: object) -> Sentence:
    """Says one thing, with numbers from the data, which prose in a notebook must not hold.

    Args:
        template: the sentence, with `{name}` for a value, `{name:%}` for a share between 0 and 1.
        data: one row whose columns are the values.
        values: further values.

    Example:
        >>> import duckdb
        >>> row = duckdb.sql("SELECT 844 AS n, 3644 AS total, n / total AS part")
        >>> sentence("{n} of {total} requests ({part:%}) got a 401.", row)
        844 of 3,644 requests (23.2 %) got a 401.
    """
    return Sentence(_filled(template, data, values), "sentence")


def headline(
    template: str, data: Data | None = None, /, *, otherwise: str = "", **values: object
) -> Sentence:
    """Says a notebook's finding, as `sentence` does; a report puts it into its index.

    Args:
        template: as for `sentence`.
        data: as for `sentence`.
        otherwise: what to say where the first value of the template is NULL: there is no finding.
        values: as for `sentence`.

    Example:
        >>> headline("{repo} asks most.", repo="acme/shop")
        acme/shop asks most.
        >>> headline("{repo} asks most.", repo=None, otherwise="Nobody asks.")
        Nobody asks.
    """
    filled = with_row(data, values)
    first = next(name for _, name, _, _ in Formatter().parse(template) if name) if otherwise else ""
    said = otherwise if otherwise and filled[first] is None else _filled(template, None, filled)
    return Sentence(visible(said), "headline")


class _Values(Formatter):
    def format_field(self, value: Any, format_spec: str) -> str:
        if format_spec == "%":
            return _percent(value)
        if format_spec and value is not None:
            return str(super().format_field(value, format_spec))
        return plain(value)


def _filled(template: str, data: Data | None, values: Mapping[str, object]) -> str:
    return visible(_Values().vformat(template, (), with_row(data, values)))


def with_row(data: Data | None, values: Mapping[str, object]) -> Mapping[str, object]:
    """The values that a sentence is filled from: those of one row, and those given by name."""
    if data is None:
        return values
    names, cells, total = fetch(data, 1)
    if total > 1:
        message = f"A sentence is filled from one row, not from {total:,}."
        raise ValueError(message)
    return {**dict(zip(names, cells[0] if cells else (None,) * len(names), strict=True)), **values}


def fetch(data: Data, rows: int) -> tuple[list[str], list[tuple[Any, ...]], int]:
    """Column names, the first rows, and how many there are. Python values: polars cannot take an INTERVAL."""
    if isinstance(data, pl.DataFrame):
        return data.columns, data.head(rows).rows(), data.height
    cells = data.limit(rows + 1).fetchall()
    total = len(cells) if len(cells) <= rows else data.aggregate("count(*)").fetchall()[0][0]
    return data.columns, cells[:rows], total


def plain(value: object) -> str:
    """One value as a table would show it."""
    return _column("", (value,), percent=False, width=100)[0]


def _column(name: str, values: Sequence[Any], percent: bool, width: int, decimals: int = 4) -> list[str]:
    """A column's values written alike: as many decimals, as fine a time as the finest of them needs."""
    if percent:
        return [_percent(value) for value in values]
    if _is_numeric(values):
        if _NAMES.search(name) and all(value is None or float(value).is_integer() for value in values):
            return [NOTHING if value is None else str(int(value)) for value in values]
        decimals = min(decimals, max((_decimals(value) for value in values), default=0))
        return [_number(value, decimals) for value in values]
    times = [value for value in values if isinstance(value, datetime)]
    fine = "microseconds" if any(t.microsecond % 1000 for t in times) else "milliseconds"
    coarse = "seconds" if any(t.second for t in times) else "minutes"
    timespec = fine if any(t.microsecond for t in times) else coarse
    return [visible(cut(_text(value, timespec), width)) for value in values]


def _text(value: Any, timespec: str) -> str:
    match value:
        case None:
            return NOTHING
        case bool():
            return "yes" if value else "no"
        case int() | float() | Decimal():
            return _number(value, _decimals(value))
        case datetime():
            utc = value.astimezone(UTC).replace(tzinfo=None) if value.tzinfo else value
            return utc.isoformat(sep=" ", timespec=timespec)
        case list() | tuple():
            return ", ".join(_text(item, timespec) for item in value)
        case dict():
            return json.dumps(value, default=str, ensure_ascii=False)
        case _:
            return str(value)


def _is_numeric(values: Sequence[Any]) -> bool:
    known = [value for value in values if value is not None]
    return bool(known) and all(
        isinstance(v, int | float | Decimal) and not isinstance(v, bool) for v in known
    )


def _decimals(value: float | Decimal | None) -> int:
    if value is None or isinstance(value, int):
        return 0
    return len(f"{value:.{_DECIMALS}f}".rstrip("0").partition(".")[2])


def _number(value: float | Decimal | None, decimals: int) -> str:
    if value is None:
        return NOTHING
    if value and abs(value) < 10**-_DECIMALS:
        return f"{value:.1g}"
    return f"{value:,.{decimals}f}"


def _percent(value: float | Decimal | None) -> str:
    return NOTHING if value is None else f"{value * 100:,.1f} %"


def _html(tag: str, cells: Sequence[str], attributes: Sequence[str]) -> str:
    pairs = zip(cells, attributes, strict=True)
    return "<tr>" + "".join(f"<{tag}{how}>{html.escape(cell)}</{tag}>" for cell, how in pairs) + "</tr>"


def _foot(shown: int, total: int) -> str:
    if shown < total:
        return f"{shown:,} of {total:,} rows"
    return "no rows" if total == 0 else f"{total:,} row{'s' * (total != 1)}"
