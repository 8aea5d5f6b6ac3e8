"""Whose requests a case has: `views/observer.sql` chooses, here a name that it does not know is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ciforensics.errors import CiforensicsError
from ciforensics.wording import visible

if TYPE_CHECKING:
    import duckdb


def known_observer(con: duckdb.DuckDBPyConnection, observer: str | None) -> None:
    """Refuses an observer of whom the case has no requests; None is whoever there is.

    Args:
        con: a connection to a case.
        observer: a source, e.g. `mitmproxy`.

    Raises:
        CiforensicsError: the case has no requests of that observer.

    Example:
        >>> import ciforensics as ci
        >>> known_observer(ci.connect(), "mitmproxy")
    """
    rows = con.execute("SELECT DISTINCT source FROM file_status ORDER BY source").fetchall()
    known = [name for (name,) in rows]
    if observer is not None and observer not in known:
        raise CiforensicsError(
            f"The case has no requests seen by '{visible(observer)}'.",
            hint=f"observers in it: {', '.join(known) or 'none'}.",
        )
