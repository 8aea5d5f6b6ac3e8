"""The questions: one `.sql` file each, as views and table macros of the case.

A file opens with a comment, the question first, then the counting rule, and holds `CREATE OR REPLACE`
statements. A table macro has a default for every parameter, and a view of the same name that takes them all:
both `FROM unauthorized` and `FROM unauthorized(p_answer_within_s := 5)` work. The room `rules` has what the
others reckon with, among it all macros that give a value (`is_chosen`).

`parameters.toml` says what a parameter means, in notebooks, in Python and on the command line too;
`columns.toml` what a column means, where `tables` does not.
"""

from __future__ import annotations

import itertools
import json
import re
import tomllib
from dataclasses import dataclass
from functools import cache
from graphlib import TopologicalSorter
from importlib import resources
from typing import TYPE_CHECKING, Any

from ciforensics.errors import CiforensicsError
from ciforensics.tables import TABLES

if TYPE_CHECKING:
    import duckdb

REPLACED = {"window_s": ("answer_within_s", "build_window_s", "pull_within_s")}
"""Parameters that are no more, and what took their place."""

_CREATED = re.compile(r"^CREATE OR REPLACE (?:VIEW|(MACRO) \w+\(([^)]*)\)\s+AS( TABLE)?)\b", re.MULTILINE)
_READ = re.compile(r"\b(?:FROM|JOIN) (\w+)|\b(\w+)\(")


@dataclass(frozen=True)
class Parameter:
    """What can be chosen: `p_observer` in a view is `observer` in a notebook, in Python, on the command line.

    Attributes:
        name: its name, without `p_`.
        type: its DuckDB type.
        meaning: what it means, and what is taken where it is not given.
        unit: what its number counts; empty: it is no number.
        default: what it is if not given. None is NULL in a view and `""` in a notebook.
    """

    name: str
    type: str
    meaning: str
    unit: str = ""
    default: str | float | bool | None = None

    @property
    def written(self) -> str:
        """The parameter as SQL gives it, at its default."""
        value = _literal(self.default) if isinstance(self.default, str) else json.dumps(self.default)
        return f"p_{self.name} := {value.replace('null', 'NULL')}"


@cache
def parameters() -> dict[str, Parameter]:
    """Every parameter by name.

    Example:
        >>> parameters()["build_window_s"].default
        320
    """
    return {name: Parameter(name, **what) for name, what in _read("parameters.toml").items()}


@cache
def _read(name: str) -> dict[str, Any]:
    return tomllib.loads(resources.files(__name__).joinpath(name).read_text(encoding="utf-8"))


def meaning(view: str, column: str) -> str:
    """What a column of a view means; empty: nothing says so.

    Example:
        >>> meaning("unauthorized", "paid_ts")
        'when the answer came that made the 401 a challenge, UTC'
        >>> meaning("builds", "run_id")
        "the workflow run's number (OpenTelemetry: cicd.pipeline.run.id)"
    """
    columns = _read("columns.toml")
    own: dict[str, str] = columns["of"].get(view, {})
    return own.get(column) or columns["every"].get(column) or _carried().get(column, "")


@cache
def _carried() -> dict[str, str]:
    """What columns mean that views carry through from tables."""
    return {column.name: column.comment for table in TABLES.values() for column in table.columns}


@dataclass(frozen=True)
class Question:
    """One `.sql` file.

    Attributes:
        name: the file's name without `.sql`.
        room: the folder that it is in.
        text: the SQL.
    """

    name: str
    room: str
    text: str

    @property
    def comment(self) -> str:
        """The question and the counting rule: the comment that the file opens with."""
        return f"{self.asks}\n{self.rule}"

    @property
    def asks(self) -> str:
        """The question, one sentence."""
        return self.text.partition("\n")[0].removeprefix("--").strip()

    @property
    def rule(self) -> str:
        """What counts and how, one paragraph."""
        lines = itertools.takewhile(lambda line: line.startswith("--"), self.text.splitlines()[1:])
        return " ".join(itertools.takewhile(bool, (line.removeprefix("--").strip() for line in lines)))

    @property
    def kind(self) -> str:
        """What the file creates: `VIEW`, `MACRO TABLE`, or `MACRO` for a value."""
        return "".join(self._created[::2]) or "VIEW"

    @property
    def arguments(self) -> tuple[str, ...]:
        """Names of what a macro takes, with `p_`."""
        return tuple(re.findall(r"\bp_\w+", self._created[1]))

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """What can be chosen: the arguments that have a default.

        Raises:
            CiforensicsError: `parameters.toml` does not say what one of them means.
        """
        given = self.arguments if self.kind == "MACRO TABLE" else ()
        names = [name.removeprefix("p_") for name in given]
        if unknown := [name for name in names if name not in parameters()]:
            raise CiforensicsError(
                f"views/parameters.toml lacks {', '.join(unknown)}, which {self.name}.sql takes.",
                hint="add its type, meaning, unit and default, or take a name that is there.",
            )
        return tuple(parameters()[name] for name in names)

    @property
    def meanings(self) -> tuple[str, ...]:
        """What each argument means, as a parameter or as the column that it is given."""
        names = (name.removeprefix("p_") for name in self.arguments)
        return tuple(
            parameters()[name].meaning if name in parameters() else meaning(self.name, name) for name in names
        )

    @property
    def sql(self) -> str:
        """How to ask it, all that can be chosen at its default.

        Example:
            >>> next(each for each in questions() if each.name == "mirror_change").sql
            'FROM mirror_change(p_mirror := NULL, p_changed_at := NULL)'
        """
        if self.kind == "MACRO":
            return f"{self.name}({', '.join(self.arguments)})"
        given = ", ".join(each.written for each in self.parameters)
        return f"FROM {self.name}({given})" if given else f"FROM {self.name}"

    @property
    def _created(self) -> tuple[str, ...]:
        (created,) = _CREATED.findall(self.text)
        return tuple(created)


@cache
def questions() -> tuple[Question, ...]:
    """Every question, those that others read first.

    Example:
        >>> names = [question.name for question in questions()]
        >>> names.index("requests") < names.index("observed_requests") < names.index("unauthorized")
        True
    """
    rooms = (room for room in resources.files(__name__).iterdir() if room.is_dir())
    files = ((room.name, file) for room in rooms for file in room.iterdir() if file.name.endswith(".sql"))
    all_questions = {
        name: Question(name, room, file.read_text(encoding="utf-8"))
        for name, room, file in sorted((file.name.removesuffix(".sql"), room, file) for room, file in files)
    }
    reads = {
        name: {n for read in _READ.findall(question.text) for n in read if n in all_questions} - {name}
        for name, question in all_questions.items()
    }
    ordered = {name: sorted(others) for name, others in reads.items()}
    return tuple(all_questions[name] for name in TopologicalSorter(ordered).static_order())


def texts() -> tuple[str, ...]:
    """All that `install` goes by: another text makes another case."""
    return *(question.text for question in questions()), repr(_read("columns.toml"))


def install(con: duckdb.DuckDBPyConnection) -> None:
    """(Re)creates every view and macro of the case, with what they answer and what columns mean as comments.

    Args:
        con: a connection to a case that has its tables (`ciforensics.tables`, schema `store`), open to write.
    """
    for question in questions():
        con.execute(question.text)
        kinds = [question.kind]
        if question.kind == "MACRO TABLE":
            con.execute(f"CREATE OR REPLACE VIEW {question.name} AS FROM {question.name}()")
            kinds.append("VIEW")
        for kind in kinds:
            con.execute(f"COMMENT ON {kind} {question.name} IS {_literal(question.comment)}")
    views = {question.name for question in questions()} - TABLES.keys()
    columns = con.execute("""
        SELECT table_name, column_name FROM duckdb_columns()
        WHERE database_name = current_database() AND schema_name = current_schema()
    """).fetchall()
    for view, column in columns:
        if view in views and (said := meaning(view, column)):
            con.execute(f'COMMENT ON COLUMN {view}."{column}" IS {_literal(said)}')


def _literal(text: str) -> str:
    """Text as SQL writes it: comments take no bound values."""
    return "'" + text.replace("'", "''") + "'"
