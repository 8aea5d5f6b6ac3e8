"""What each text column of a case becomes, by the kind of its values (`schema.Kind`)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ciforensics.formats.docker import CI_KEYS
from ciforensics.schema import Kind
from ciforensics.share.naming import Namer
from ciforensics.share.own import terms, words
from ciforensics.tables import STORED

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ciforensics.share.naming import Renaming


@dataclass(frozen=True)
class Rule:
    """How the values of a column are renamed.

    Attributes:
        rename: a value to what stands for it.
        beside: a column of the same row whose value is renamed by its own rule where it stands in this one.
    """

    rename: Renaming
    beside: str | None = None


def _kind(kind: str) -> Renaming:
    return lambda namer, name: namer.named(kind, name)


def _term(namer: Namer, text: str) -> str:
    """A word of ours, e.g. a source or why a record was rejected; what a log put into it is renamed."""
    if text.casefold() in terms():  # git.clone is no host
        return text
    return namer.text(text, words=words())


def _document(namer: Namer, text: str) -> str:
    return namer.document(text, _KEYS)


def _ours(namer: Namer, text: str) -> str:
    """What an ingest keeps for itself: counts, and reasons in our own words."""
    return namer.document(text, {}, words=words())


def _withhold(namer: Namer, text: str) -> str:
    del namer, text  # no record says where the names stand in it
    return "(withheld)"


_NAMES: Mapping[Kind, Renaming] = {
    Kind.REPO: Namer.repo,
    Kind.WORKFLOW: Namer.workflow,
    Kind.JOB: _kind("job"),
    Kind.RUN: _kind("run"),
    Kind.ORCHESTRATION: Namer.orchestration,
    Kind.RUNNER: _kind("runner"),  # on ARC a pod is its runner
    Kind.NAMESPACE: _kind("namespace"),
    Kind.NODE: _kind("node"),
    Kind.USER: Namer.user,
    Kind.REQUEST: _kind("request"),
    Kind.TOKEN: _kind("token"),
}
_RULES: Mapping[Kind, Rule] = {
    **{kind: Rule(rename) for kind, rename in _NAMES.items()},
    Kind.TERM: Rule(_term),
    Kind.TEXT: Rule(Namer.text),
    Kind.URL: Rule(Namer.text, beside="asked_repo"),
    Kind.USER_AGENT: Rule(Namer.text, beside="orchestration_id"),
    Kind.DOCUMENT: Rule(_document),
    Kind.NOTES: Rule(_ours),
    Kind.PATH: Rule(Namer.log),
    Kind.RECORD: Rule(_withhold),
}
_KINDS: Mapping[tuple[str, str], Kind] = {
    (name.removeprefix("store."), column.name): column.kind
    for table in STORED
    for name, columns in ({table.name: table.columns} | table.stored).items()
    for column in columns
}
_KEYS: Mapping[str, Renaming] = {
    key: _NAMES[kind]
    for (_, column), kind in _KINDS.items()
    if kind in _NAMES
    for key in (column, *CI_KEYS.get(column, ()))
}


def rule(table: str, column: str) -> Rule:
    """The rule of a text column.

    Raises:
        AssertionError: nobody has said yet how this column is pseudonymised.

    Example:
        >>> rule("pods", "node").rename(Namer(b"k" * 32), "node-7").startswith("node-")
        True
    """
    kind = _KINDS.get((table, column))
    if kind is None or kind not in _RULES:
        raise AssertionError(f"{table}.{column} has no rule in share/columns.py, a defect of ciforensics")
    how = _RULES[kind]
    return how if (table, how.beside) in _KINDS else Rule(how.rename)


def rename(namer: Namer, table: str, column: str, value: str, beside: str | None) -> str:
    """What stands for a value of a column.

    Args:
        namer: makes the pseudonyms.
        table: the table.
        column: its column.
        value: what it holds.
        beside: what the rule's `beside` holds in the same row.
    """
    how = rule(table, column)
    if not how.beside or not beside:
        return how.rename(namer, value)
    within = re.compile(rf"(?<![\w.-]){re.escape(beside)}(?![\w-])", re.IGNORECASE)
    inner = rule(table, how.beside).rename
    parts: list[str] = []
    done = 0
    for match in within.finditer(value):
        parts += (how.rename(namer, value[done : match.start()]), inner(namer, match[0]))
        done = match.end()
    return "".join((*parts, how.rename(namer, value[done:])))
