"""Whose requests are counted: `views/counting/observer.sql` chooses, here an unknown name is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ciforensics.errors import CiforensicsError, suggest
from ciforensics.wording import visible

if TYPE_CHECKING:
    import duckdb


def choose_observer(con: duckdb.DuckDBPyConnection, observer: str | None) -> str | None:
    """Says whose requests are counted.

    Args:
        con: a connection to a case.
        observer: a source, e.g. `mitmproxy`; GitHub's own log if the case has it.

    Returns:
        The observer; None: the case has no requests.

    Raises:
        CiforensicsError: the case has no requests of that observer.

    Example:
        >>> import ciforensics as ci
        >>> choose_observer(ci.connect(), None)
        'github_csv'
    """
    rows = con.execute("SELECT DISTINCT source FROM file_status ORDER BY source").fetchall()
    known = [name for (name,) in rows]
    if observer is not None and observer not in known:
        raise CiforensicsError(
            f"The case has no requests seen by '{visible(observer)}'.",
            hint=suggest(observer, known, otherwise=f"observers in it: {', '.join(known) or 'none'}."),
        )
    chosen = con.execute("SELECT source FROM observer(p_observer := $1)", [observer]).fetchall()
    return chosen[0][0] if chosen else None
