"""What can be asked of a case: every question by room, and of one all that there is to know."""

from __future__ import annotations

import html
import itertools
import textwrap
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import duckdb

from ciforensics import views
from ciforensics.case import store
from ciforensics.errors import CiforensicsError, suggest
from ciforensics.wording.tables import Table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_WIDE = 100


@dataclass(frozen=True, repr=False)
class Questions:
    """Every question that a case answers; `questions()["unauthorized"]` says all of one.

    Attributes:
        known: the questions by name, room by room.
    """

    known: Mapping[str, views.Question]

    def __getitem__(self, name: str) -> Entry:
        """All of one question; of a name that is not known the error says which is close."""
        if name not in self.known:
            raise CiforensicsError(
                f"There is no question '{name}'.",
                hint=suggest(name, self.known, otherwise="`ciforensics questions` lists them."),
            )
        return Entry(self.known[name])

    def __repr__(self) -> str:
        lines = []
        for room, questions in itertools.groupby(self.known.values(), lambda each: each.room):
            lines.append(room)
            for each in questions:
                lines.append(f"  {each.name:<26}  {each.asks}")
                lines += [" " * 30 + _choices(each)] if each.parameters else []
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        rows = [(each.room, each.name, each.asks, _choices(each)) for each in self.known.values()]
        return _table(("room", "name", "question", "what can be chosen"), rows)._repr_html_()

    def _ipython_key_completions_(self) -> list[str]:
        return list(self.known)


@dataclass(frozen=True, repr=False)
class Entry:
    """One question: what counts, what can be chosen, what comes out, and the line to paste."""

    question: views.Question

    @property
    def columns(self) -> tuple[tuple[str, str, str], ...]:
        """Name, type and meaning of each column that comes out; of a macro that gives a value none."""
        return _columns().get(self.question.name, ())

    @property
    def line(self) -> str:
        """What to type into a shell; of a macro that gives a value, what to write into a condition."""
        sql = self.question.sql
        return f"... WHERE {sql}" if self.question.kind == "MACRO" else f'ciforensics sql "{sql}"'

    def __repr__(self) -> str:
        rule = textwrap.wrap(self.question.rule, _WIDE)
        tables = (f"\n{table!r}" for table in self._tables)
        return "\n".join([self.question.asks, *rule, *tables, "", self.line])

    def _repr_html_(self) -> str:
        texts = (f"<p>{html.escape(text)}</p>" for text in (self.question.asks, self.question.rule))
        tables = (table._repr_html_() for table in self._tables)
        return "".join([*texts, *tables, f"<pre>{html.escape(self.line)}</pre>"])

    @property
    def _tables(self) -> list[Table]:
        chosen = [
            (f"p_{each.name}", each.type, each.unit, each.written.partition(" := ")[2], each.meaning)
            for each in self.question.parameters
        ]
        given = (
            zip(self.question.arguments, self.question.meanings, strict=True)
            if self.question.kind == "MACRO"
            else ()
        )
        tables = (
            _table(("parameter", "type", "unit", "default", "meaning"), chosen),
            _table(("argument", "meaning"), list(given)),
            _table(("column", "type", "meaning"), self.columns),
        )
        return [table for table in tables if table.rows]


def questions() -> Questions:
    """Lists what can be asked of a case in SQL: every view by room, with its question and parameters.

    Example:
        >>> questions()["observed_hours"]  # doctest: +ELLIPSIS
        In which hours did the observer see requests?
        ...
        ciforensics sql "FROM observed_hours(p_observer := NULL)"
    """
    by_room = sorted(views.questions(), key=lambda each: (each.room, each.name))
    return Questions({question.name: question for question in by_room})


def _choices(question: views.Question) -> str:
    units = (
        f" {each.unit}" if each.unit and each.default is not None else "" for each in question.parameters
    )
    return ", ".join(each.written + unit for each, unit in zip(question.parameters, units, strict=True))


def _table(names: Sequence[str], rows: Sequence[tuple[str, ...]]) -> Table:
    foot = f"{len(rows)} row{'s' * (len(rows) != 1)}"
    return Table(caption="", columns=tuple(names), rows=tuple(rows), right=(False,) * len(names), foot=foot)


@cache
def _columns() -> dict[str, tuple[tuple[str, str, str], ...]]:
    """The columns of every view, from an empty case."""
    with duckdb.connect() as con:
        store.create(con)
        rows = con.execute("""
            SELECT table_name, column_name, data_type, coalesce(comment, '') FROM duckdb_columns()
            WHERE schema_name = current_schema() ORDER BY table_name, column_index
        """).fetchall()
    return {
        name: tuple(row[1:] for row in some) for name, some in itertools.groupby(rows, lambda row: row[0])
    }
