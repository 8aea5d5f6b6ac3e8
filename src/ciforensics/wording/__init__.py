"""How values and sentences are written for people.

They come from logs, so they are hostile: HTML is escaped, and characters that steer a terminal or reorder
text are spelt out. All of it is plain text first (a terminal shows it, nbval compares it) and HTML second.
"""

from __future__ import annotations

import html
import json
import re
from abc import ABC, abstractmethod
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from string import Formatter
from typing import TYPE_CHECKING, Any, TypeAlias

import duckdb
import polars as pl

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

Data: TypeAlias = duckdb.DuckDBPyRelation | pl.DataFrame

NOTHING = "–"  # noqa: RUF001 (NULL, set apart from a hyphen in a log)
MARK = "ciforensics"
"""Key in the metadata of our outputs. A report trusts the HTML of marked outputs and of no others."""
FINDINGS = "ciforensics_findings"
"""Key in the metadata of our outputs: the findings that an output leaves as data."""

_DECIMALS = 4
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
        return {}, mark_output(self.kind, self.findings)


class Result(ABC):
    """What shows itself as a few sentences: what it is, how much of it, how sure."""

    @abstractmethod
    def _said(self) -> Iterable[Sentence]: ...

    def __repr__(self) -> str:
        return "\n".join(map(repr, self._said()))

    def _repr_html_(self) -> str:
        return "\n".join(each._repr_html_() for each in self._said())

    def _repr_mimebundle_(self, **_: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        return {}, mark_output("sentence", ())


def mark_output(kind: str, findings: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The metadata of an output of ours: what it is, and the findings that it leaves as data."""
    return {MARK: kind, **({FINDINGS: list(findings)} if findings else {})}


def say(template: str, data: Data | None = None, /, **values: object) -> Sentence:
    """Says one thing, with numbers from the data, which prose in a notebook must not hold.

    Args:
        template: the sentence, with `{name}` for a value, `{name:%}` for a share between 0 and 1.
        data: one row whose columns are the values.
        values: further values.

    Example:
        >>> import duckdb
        >>> row = duckdb.sql("SELECT 844 AS n, 3644 AS total, n / total AS part")
        >>> say("{n} of {total} requests ({part:%}) got a 401.", row)
        844 of 3,644 requests (23.2 %) got a 401.
    """
    return Sentence(_filled(template, data, values), "sentence")


def say_headline(
    template: str, data: Data | None = None, /, *, otherwise: str = "", **values: object
) -> Sentence:
    """Says a notebook's finding, as `say` does; a report puts it into its index.

    Args:
        template: as for `say`.
        data: as for `say`.
        otherwise: what to say where the first value of the template is NULL: there is no finding.
        values: as for `say`.

    Example:
        >>> say_headline("{repo} asks most.", repo="acme/shop")
        acme/shop asks most.
        >>> say_headline("{repo} asks most.", repo=None, otherwise="Nobody asks.")
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
    return write_column("", (value,), percent=False, width=100)[0]


def write_column(name: str, values: Sequence[Any], percent: bool, width: int, decimals: int = 4) -> list[str]:
    """A column's values written alike: as many decimals, as fine a time as the finest of them needs."""
    if percent:
        return [_percent(value) for value in values]
    if is_numeric(values):
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


def is_numeric(values: Sequence[Any]) -> bool:
    """Whether a column holds numbers (and NULLs), and so is set to the right."""
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
