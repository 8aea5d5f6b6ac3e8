"""The errors that a user can do something about."""

from __future__ import annotations


class CiforensicsError(Exception):
    """Something a user can mend: the fact, what was expected, and a hint.

    Args:
        fact: what happened and what was expected, one or more sentences.
        hint: what to do about it.

    Example:
        >>> print(CiforensicsError("No case at out.duckdb.", hint="run `ciforensics ingest` first."))
        No case at out.duckdb.
        Hint: run `ciforensics ingest` first.
    """

    def __init__(self, fact: str, *, hint: str) -> None:
        super().__init__(f"{fact}\nHint: {hint}")
        self.fact = fact
        self.hint = hint


class Unreadable(CiforensicsError):  # noqa: N818 (an outcome for one file, not for the run)
    """One file cannot be read as it stands; the others of the same ingest go on."""
