"""What each text column of a case becomes: the one place that a new column has to be added to."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ciforensics.formats.docker import CI_KEYS
from ciforensics.share.naming import Namer
from ciforensics.share.own import words

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
    return namer.text(text, words=words())


def _document(namer: Namer, text: str) -> str:
    return namer.document(text, _KEYS)


def _ours(namer: Namer, text: str) -> str:
    """What an ingest keeps for itself: counts, and reasons in our own words."""
    return namer.document(text, {}, words=words())


def _withhold(namer: Namer, text: str) -> str:
    del namer, text  # no record says where the names stand in it
    return "(withheld)"


_NAMES: Mapping[str, Renaming] = {
    "ci_repo": Namer.repo,
    "asked_repo": Namer.repo,
    "workflow": Namer.workflow,
    "job": _kind("job"),
    "run_id": _kind("run"),
    "orchestration_id": Namer.orchestration,
    "runner": _kind("runner"),
    "pod": _kind("runner"),  # on ARC a pod is its runner
    "namespace": _kind("namespace"),
    "node": _kind("node"),
    "actor": Namer.user,
    "request_id": _kind("request"),
}
_KEYS: Mapping[str, Renaming] = dict(_NAMES) | {
    alias: _NAMES[column] for column, keys in CI_KEYS.items() for alias in keys
}

_TERMS = (
    *("source", "ts_kind", "method", "service", "result_code", "command", "type", "action", "conclusion"),
    *("instruction", "served_by", "reason", "format", "version"),
)
_TEXTS = (
    *(
        "host",
        "client",
        "client_version",
        "client_tag",
        "client_ip",
        "args",
        "image",
        "image_tag",
        "image_digest",
    ),
    *("object_id", "name", "dockerfile", "stage", "reference", "registry", "platform"),
    *("head_sha256", "edge_sha256", "tail_sha256", "sha256"),
)
_RULES: Mapping[str, Rule] = {
    **{column: Rule(rename) for column, rename in _NAMES.items()},
    **{column: Rule(_term) for column in _TERMS},
    **{column: Rule(Namer.text) for column in _TEXTS},
    **{column: Rule(Namer.text, beside="asked_repo") for column in ("url", "path", "query")},
    "user_agent": Rule(Namer.text, beside="orchestration_id"),
    **{column: Rule(_document) for column in ("metadata", "attributes")},
    **{column: Rule(_ours) for column in ("settled", "options")},
    "files.path": Rule(Namer.log),
    "text": Rule(_withhold),
}


def rule(table: str, column: str) -> Rule:
    """The rule of a text column.

    Raises:
        AssertionError: nobody has said yet how this column is pseudonymised.

    Example:
        >>> rule("pods", "node").rename(Namer(b"k" * 32), "node-7").startswith("node-")
        True
    """
    found = _RULES.get(f"{table}.{column}") or _RULES.get(column)
    if found is None:
        raise AssertionError(
            f"{table}.{column} has no rule in pseudonyms/columns.py, a defect of ciforensics"
        )
    return found


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
    for found in within.finditer(value):
        parts += (how.rename(namer, value[done : found.start()]), inner(namer, found[0]))
        done = found.end()
    return "".join((*parts, how.rename(namer, value[done:])))
