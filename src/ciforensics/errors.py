"""The errors that a user can do something about."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


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


def suggest(name: str, known: Iterable[str], *, otherwise: str = "") -> str:
    """The hint for a name that is not known: the one that it is close to, else which there are.

    Args:
        name: as it was given.
        known: the names that there are.
        otherwise: said instead of all names where none is close.

    Example:
        >>> suggest("notebok", ["notebook", "case"])
        'did you mean notebook?'
        >>> suggest("x", ["notebook", "case"])
        'there are notebook, case.'
    """
    known = list(known)
    near = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {near[0]}?" if near else otherwise or f"there are {', '.join(known) or 'none'}."
