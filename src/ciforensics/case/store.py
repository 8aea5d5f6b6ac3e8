"""The case as a file: its tables, and how it is written so that it is always whole.

A writer works on a copy and swaps it in, so that nobody who reads waits for it and a killed one leaves the
old case as it was; writers queue on a lock file beside the case.
"""

from __future__ import annotations

import hashlib
import shutil
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
from filelock import FileLock, Timeout

from ciforensics import views
from ciforensics.errors import CiforensicsError
from ciforensics.shipped import __version__
from ciforensics.swap import swap_in
from ciforensics.tables import STORED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ciforensics.schema import Table

SCHEMA_VERSION = 1
"""Grows when a table changes; a case with a greater one was written by a newer ciforensics."""

_META = {
    "schema_version": "grows when a table changes",
    "version": "version of ciforensics that made the views",
    "made_of": "hash of the tables, views and comments that the case was made with",
    "views": "the views and macros that ciforensics made: what else is there is somebody's own",
}

_WRITING = {
    "memory_limit": "1GB",
    # DuckDB's default writes for version 0.10; since 1.3 text is written in two thirds of the time.
    "storage_compatibility_version": "v1.3.0",
}


def attach(path: Path) -> duckdb.DuckDBPyConnection:
    """Opens a case file read-only, as `evidence`, in a DuckDB of its own."""
    # Attached rather than opened: within one process a second `connect` to a path shares the first one's
    # state, replaced file or not.
    con = duckdb.connect()
    try:
        con.execute(f"ATTACH {quote(str(path))} AS evidence (READ_ONLY); USE evidence")
    except duckdb.Error as error:
        con.close()
        raise _no_case(path, error) from error
    return con


def open_current(path: Path) -> duckdb.DuckDBPyConnection:
    """Opens a case file as `attach` does, with the views of this installation.

    Where the file has others, it gets these. One that cannot be written, or is being written, stays as it is:
    a copy that is gone with the connection has them instead.
    """
    con = attach(path)
    if _is_current(con, path):
        return con
    con.close()
    try:
        _rebuild(path)
        return attach(path)
    except OSError:  # the lock's Timeout is one too: nobody who reads waits for a writer
        with tempfile.TemporaryDirectory(prefix="ciforensics-", ignore_cleanup_errors=True) as folder:
            copy = Path(folder) / path.name
            shutil.copyfile(path, copy)
            _rebuild(copy)
            return attach(copy)  # what is open can be read after its name is gone


def _rebuild(path: Path) -> None:
    with writing(path, wait=False):
        pass  # to open it is enough


def _is_current(con: duckdb.DuckDBPyConnection, path: Path) -> bool:
    """Whether a case has the views of this installation; raises if it is none or its schema is newer."""
    try:
        meta = con.execute("FROM store.meta")
        names = [name for name, *_ in meta.description]
        rows = [dict(zip(names, row, strict=True)) for row in meta.fetchall()]
    except duckdb.CatalogException:
        rows = []
    if not rows:
        raise CiforensicsError(
            f"{path} is a DuckDB file, but no case.",
            hint="name a file that `ciforensics ingest` made, or a new one.",
        )
    if rows[0]["schema_version"] > SCHEMA_VERSION:
        raise CiforensicsError(
            f"{path} was written by a newer ciforensics, {rows[0]['version']} "
            f"(schema {rows[0]['schema_version']}; this one knows {SCHEMA_VERSION}).",
            hint="upgrade with `pip install --upgrade ciforensics`.",
        )
    return rows[0].get("made_of") == _made_of()


def _made_of() -> str:
    """A hash of all that `refresh` puts into a case: an edited view makes it another."""
    texts = [*views.texts(), *map(repr, STORED), *(table.view or "" for table in STORED)]
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()


def create(con: duckdb.DuckDBPyConnection) -> None:
    """Creates what a case consists of in an empty database: tables, comments, views."""
    con.execute("CREATE SCHEMA store; CREATE TABLE store.meta (schema_version INTEGER, version VARCHAR)")
    con.execute("INSERT INTO store.meta VALUES (?, ?)", [SCHEMA_VERSION, __version__])
    refresh(con)


def refresh(con: duckdb.DuckDBPyConnection) -> None:
    """Installs the views and the comments of all tables; adds the tables that an older case lacks.

    Raises:
        CiforensicsError: somebody's own table has the name of a view of ours, or their view that of a table.
    """
    con.execute("ALTER TABLE store.meta ADD COLUMN IF NOT EXISTS made_of VARCHAR")
    con.execute("ALTER TABLE store.meta ADD COLUMN IF NOT EXISTS views VARCHAR[]")
    _refuse_clashes(con)
    # Only ours: what a user made in the case stays.
    for (view,) in con.execute("SELECT unnest(views) FROM store.meta").fetchall():
        con.execute(f"DROP {view}")
    for table in STORED:
        create_table(con, table)
    views.install(con)
    for name, meaning in _META.items():
        con.execute(f"COMMENT ON COLUMN store.meta.{name} IS {quote(meaning)}")
    for table in STORED:
        for name, columns in ({table.name: table.columns} | table.stored).items():
            kind = "TABLE" if name in table.stored else "VIEW"
            con.execute(f"COMMENT ON {kind} {name} IS {quote(table.meaning)}")
            for column in columns:
                con.execute(f'COMMENT ON COLUMN {name}."{column.name}" IS {quote(column.comment)}')
    con.execute(
        "UPDATE store.meta SET version = ?, made_of = ?, views = ?", [__version__, _made_of(), _made()]
    )


def _refuse_clashes(con: duckdb.DuckDBPyConnection) -> None:
    ours = {name: "BASE TABLE" for table in STORED for name in table.stored}
    ours |= {table.name: "VIEW" for table in STORED if table.view}
    ours |= {question.name: "VIEW" for question in views.questions() if question.kind != "MACRO"}
    held = con.execute("""
        SELECT lower(table_name), table_type FROM information_schema.tables
        WHERE table_catalog = current_database() AND table_schema = current_schema()
        ORDER BY ALL
    """).fetchall()
    for name, kind in held:
        if ours.get(name, kind) != kind:
            word, other = ("view", "table") if kind == "VIEW" else ("table", "view")
            raise CiforensicsError(
                f"The case holds a {word} of yours named {name}, and ciforensics a {other} of that name.",
                hint=f"give yours another name, in DuckDB: ALTER {word.upper()} {name} RENAME TO my_{name}",
            )


def create_table(con: duckdb.DuckDBPyConnection, table: Table) -> None:
    """Creates what rows of a table are stored in, unless it is there, and the view that `identity` makes."""
    for name, columns in table.stored.items():
        typed = ", ".join(f'"{column.name}" {column.type}' for column in columns)
        con.execute(f"CREATE TABLE IF NOT EXISTS {name} ({typed})")
    if table.view:
        con.execute(table.view)


def _made() -> list[str]:
    """What `refresh` creates besides tables, as DROP takes it."""
    made = views.questions()
    shown = [f"VIEW IF EXISTS {table.name}" for table in STORED if table.view]
    shown += [f"VIEW IF EXISTS {question.name}" for question in made if question.kind == "MACRO TABLE"]
    return [*shown, *(f"{question.kind} IF EXISTS {question.name}" for question in made)]


def quote(text: str) -> str:
    """Text as SQL writes it, for statements that take no bound values."""
    return "'" + text.replace("'", "''") + "'"


@dataclass
class Copy:
    """A copy of the case, open to be written.

    Attributes:
        con: the connection to it.
        changed: set it, or the case stays as it was.
    """

    con: duckdb.DuckDBPyConnection
    changed: bool = False


@contextmanager
def writing(
    case: Path, *, wait: bool = True, waiting: Callable[[str], None] = lambda _: None
) -> Iterator[Copy]:
    """Opens a copy of the case to write; swaps it in when the block ends without an error.

    Args:
        case: the case file; made if it is not there.
        wait: whether to wait for another writer to end.
        waiting: told, once, when another writer has to end first.

    Yields:
        The copy.

    Raises:
        Timeout: another writer is at it, and `wait` is false.
    """
    case.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(case.with_name(case.name + ".lock"))
    try:
        lock.acquire(blocking=False)
    except Timeout:
        if not wait:
            raise
        waiting(f"{case.name} is being written by another ingest; waiting for it to end")
        lock.acquire()
    copy = case.with_name(f".{case.name}.writing")
    try:
        _clear(copy)  # only the holder of the lock makes these: what lies here is left from a killed one
        if case.exists():
            shutil.copyfile(case, copy)
        with _opened(copy, case) as opened:
            yield opened
        if opened.changed:
            swap_in(copy, case)
    finally:
        _clear(copy)
        lock.release()


@contextmanager
def _opened(copy: Path, case: Path) -> Iterator[Copy]:
    fresh = not copy.exists()
    try:
        con = duckdb.connect(copy, config={**_WRITING, "temp_directory": f"{copy}.tmp"})
    except duckdb.Error as error:
        raise _no_case(case, error) from error
    with con:
        opened = Copy(con)
        if "ipykernel" not in sys.modules:  # in a kernel the very setting wants ipywidgets
            con.execute("SET enable_progress_bar = false")  # it would go to standard output
        con.execute("BEGIN")  # else each of the two hundred statements waits for the disk
        if fresh:
            create(con)
            opened.changed = True
        elif not _is_current(con, case):
            refresh(con)
            opened.changed = True
        con.execute("COMMIT")
        yield opened
        if opened.changed:
            con.execute("CHECKPOINT")


def _clear(copy: Path) -> None:
    for left in copy.parent.glob(copy.name + "*"):
        if left.is_dir():
            shutil.rmtree(left)
        else:
            left.unlink()


def _no_case(path: Path, error: duckdb.Error) -> CiforensicsError:
    return CiforensicsError(
        f"{path} is no case: {str(error).splitlines()[0]}",
        hint="name a file that `ciforensics ingest` made, or a new one.",
    )
