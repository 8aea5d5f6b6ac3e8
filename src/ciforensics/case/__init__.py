"""The case: one DuckDB file that evidence goes into and every answer comes out of."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from functools import cache, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Concatenate, ParamSpec, Protocol, TypeVar

import duckdb

from ciforensics.case import store
from ciforensics.case.intake import ingest
from ciforensics.errors import CiforensicsError
from ciforensics.shipped import shipped_folder

if TYPE_CHECKING:
    from collections.abc import Callable

_Rest = ParamSpec("_Rest")
_Answer = TypeVar("_Answer")
_Answer_co = TypeVar("_Answer_co", covariant=True)


class _Asked(Protocol[_Rest, _Answer_co]):
    """A function that takes a connection or a path: by place, or as `con`."""

    def __call__(
        self,
        con: duckdb.DuckDBPyConnection | str | os.PathLike[str],
        *args: _Rest.args,
        **kwargs: _Rest.kwargs,
    ) -> _Answer_co: ...


def connect(case: str | os.PathLike[str] = "", *, external_access: bool = True) -> duckdb.DuckDBPyConnection:
    """Opens a case to read.

    The connection keeps the state that it opened: an ingest that ends later is seen by the next one.

    Args:
        case: the case file; empty: the sample case, built from the samples that come with ciforensics.
        external_access: whether SQL may read and write other files; switch it off for SQL that is not yours.

    Returns:
        A DuckDB connection with the case attached read-only as `evidence` and in use.

    Raises:
        CiforensicsError: there is no such file, it is no case, a newer ciforensics wrote it, or a table in it
            has the name of a view of ours.

    Example:
        >>> connect().sql("SELECT count(*) > 0 FROM files").fetchall()
        [(True,)]
    """
    path = Path(case) if os.fspath(case) else sample_case()
    if not path.is_file():
        raise CiforensicsError(
            f"No case at {path}.", hint=f"make one with `ciforensics ingest LOGS --case {path}`."
        )
    con = store.open_current(path)
    if not external_access:
        con.execute("SET enable_external_access = false; SET lock_configuration = true")
    return con


def accepts_path(
    ask: Callable[Concatenate[duckdb.DuckDBPyConnection, _Rest], _Answer],
) -> _Asked[_Rest, _Answer]:
    """Lets a function that asks a case through a connection, `con`, take the path of the case as well.

    Example:
        >>> @accepts_path
        ... def count_files(con):
        ...     return con.sql("SELECT count(*) FROM files").fetchall()[0][0]
        >>> count_files("") == count_files(connect()) == count_files(con="")
        True
    """

    @wraps(ask)
    def asked(
        con: duckdb.DuckDBPyConnection | str | os.PathLike[str],
        *args: _Rest.args,
        **kwargs: _Rest.kwargs,
    ) -> _Answer:
        if isinstance(con, duckdb.DuckDBPyConnection):
            return ask(con, *args, **kwargs)
        with connect(con) as opened:
            return ask(opened, *args, **kwargs)

    return asked


@cache
def sample_case() -> Path:
    """The sample case: made from the samples once a process, gone when it ends."""
    folder = tempfile.mkdtemp(prefix="ciforensics-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    path = Path(folder) / "samples.duckdb"
    ingest([shipped_folder("samples")], case=path)
    return path
