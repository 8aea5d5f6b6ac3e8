"""What a table is made of: kinds of values, columns, and what of a table the program goes by."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import Enum


class Kind(Enum):
    """What the values of a column are: their DuckDB type and, of a text, what it names.

    Pseudonyms are made by kind (`share.columns`).
    """

    TIME = "TIMESTAMP", "a time, UTC, in microseconds"
    NUMBER = "BIGINT", "a count, bytes, an id of ours"
    CODE = "SMALLINT", "an HTTP status"
    MILLISECONDS = "DOUBLE", "a duration"
    SHARE = "DOUBLE", "a share of 1"
    FLAG = "BOOLEAN", "yes or no"

    TERM = "VARCHAR", "a word of ours or of a protocol"
    REPO = "VARCHAR", "owner/name of a repository"
    WORKFLOW = "VARCHAR", "a workflow"
    JOB = "VARCHAR", "a job"
    RUN = "VARCHAR", "a workflow run"
    ORCHESTRATION = "VARCHAR", "an ACTIONS_ORCHESTRATION_ID"
    RUNNER = "VARCHAR", "a runner or its pod"
    NAMESPACE = "VARCHAR", "a Kubernetes namespace"
    NODE = "VARCHAR", "a Kubernetes node"
    USER = "VARCHAR", "a user or app"
    REQUEST = "VARCHAR", "a server's id of a request or an event"
    TOKEN = "VARCHAR", "a hash that stands for a token"
    URL = "VARCHAR", "a URL or a part of one; names the row's `asked_repo`"
    USER_AGENT = "VARCHAR", "a user agent; names the row's `orchestration_id`"
    TEXT = "VARCHAR", "any other text: each word that is not publicly known may be a name"
    PATH = "VARCHAR", "path of a log file"
    RECORD = "VARCHAR", "a record as it was, that nobody could read"
    DOCUMENT = "JSON", "what a log says, whole"
    NOTES = "JSON", "what an ingest keeps for itself"

    @property
    def type(self) -> str:
        """The DuckDB type."""
        return self.value[0]

    @property
    def is_text(self) -> bool:
        """Whether names can stand in it."""
        return self.type in {"VARCHAR", "JSON"}


@dataclass(frozen=True)
class Column:
    """One column: its name, kind, meaning, and OpenTelemetry name where one exists."""

    name: str
    kind: Kind
    meaning: str
    otel: str | None = None

    @property
    def type(self) -> str:
        """The DuckDB type."""
        return self.kind.type

    @property
    def comment(self) -> str:
        """The meaning, with the OpenTelemetry name behind it."""
        return f"{self.meaning} (OpenTelemetry: {self.otel})" if self.otel else self.meaning


@dataclass(frozen=True)
class Apart:
    """A column whose values many rows share: each is stored once, numbered, with what is read out of it.

    Attributes:
        column: the column.
        parts: columns that are read out of its values.
        also: columns that are, too, where a row has none of its own.
    """

    column: str
    parts: tuple[str, ...]
    also: tuple[str, ...] = ()

    @property
    def number(self) -> str:
        """The column that refers to a value."""
        return f"{self.column}_id"

    @property
    def home(self) -> str:
        """The table of its values."""
        return f"store.{self.column}s"


@dataclass(frozen=True)
class Table:
    """One table: what a row of it is, its columns, and what the program goes by.

    Attributes:
        name, meaning, columns: what it is.
        time: the column that says when; of a span, when it began.
        end: the column that says when a span ended; NULL: it has not yet.
        lasting: how things are, as somebody saw them at `time`: it says nothing about that moment alone.
        reach: how long a row without an end goes on to matter, e.g. a command whose build sends requests.
        apart: columns that are stored apart. The table itself is then a view, which has a `.sql` of its own.
        identity: the column that says which rows are the same event, delivered or written twice. All rows are
            stored, so that a file adds up whatever other files hold; the table itself is then a `view` of the
            first of each. Not together with `apart`.
    """

    name: str
    meaning: str
    columns: tuple[Column, ...]
    time: str | None = None
    end: str | None = None
    lasting: bool = False
    reach: timedelta = timedelta()
    apart: tuple[Apart, ...] = ()
    identity: str | None = None

    @property
    def types(self) -> dict[str, str]:
        """Column name to DuckDB type, in order."""
        return {column.name: column.type for column in self.columns}

    @property
    def happens(self) -> bool:
        """Whether its rows belong to a time, so that a narrower range has fewer of them."""
        return self.time is not None and not self.lasting

    @property
    def home(self) -> str:
        """The table that its rows are stored in."""
        return f"store.{self.name}" if self.apart or self.identity else self.name

    @property
    def view(self) -> str | None:
        """How `identity` makes the table: of each event the first row, and all rows that name none.

        Example:
            >>> Table("jobs", "one job", ()).view is None
            True
        """
        if self.identity is None:
            return None
        return f"""
            CREATE OR REPLACE VIEW {self.name} AS SELECT * FROM {self.home}
            QUALIFY {self.identity} IS NULL
                OR row_number() OVER (PARTITION BY {self.identity} ORDER BY file_id, line_no) = 1
        """

    @property
    def stored(self) -> dict[str, tuple[Column, ...]]:
        """The tables that a case has for it, `home` first: name and columns."""
        if not self.apart:
            return {self.home: self.columns}
        named = {column.name: column for column in self.columns}
        numbers = {
            each.column: Column(each.number, Kind.NUMBER, f"which {each.column}, see {each.home}")
            for each in self.apart
        }
        gone = {"source", *(part for each in self.apart for part in each.parts)}  # files has the source
        own = tuple(numbers.get(name, column) for name, column in named.items() if name not in gone)
        values = {
            each.home: (
                numbers[each.column],
                *(named[name] for name in (each.column, *each.parts, *each.also)),
            )
            for each in self.apart
        }
        return {self.home: own, **values}
