"""What a capture kit is: files to deploy, and the keys whose values are put into them."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

Value = str | int | bool | tuple[str, ...]
"""What a key's text becomes: what templates see."""

Only = tuple[str, tuple[str, ...]]
"""A key and its values under which something is wanted, e.g. `("sink", ("pubsub",))`."""


@dataclass(frozen=True)
class Kind:
    """What values a key takes.

    Attributes:
        meaning: with its article, as an error says it: `an absolute path`.
        example: a value that fits.
        read: text to value; raises ValueError for text that does not fit.
    """

    meaning: str
    example: str
    read: Callable[[str], Value]


def _matching(pattern: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        # Whatever the pattern says: nothing that ends a line, hides, or cannot be written in YAML.
        if not text.isprintable() or not re.fullmatch(pattern, text, re.ASCII):
            raise ValueError(text)
        return text

    return read


def _networks(text: str) -> tuple[str, ...]:
    return tuple(str(ipaddress.ip_network(each.strip())) for each in text.split(",") if each.strip())


def whole_number(least: int, most: int) -> Kind:
    """A whole number in a range, both ends included.

    Example:
        >>> whole_number(1, 65535).read("3128")
        3128
    """

    def read(text: str) -> int:
        if not re.fullmatch("[0-9]{1,9}", text) or not least <= int(text) <= most:
            raise ValueError(text)
        return int(text)

    return Kind(f"a whole number from {least} to {most}", str(least), read)


def choice(*values: str) -> Kind:
    """One of a few words.

    Example:
        >>> choice("file", "pubsub").meaning
        'one of file, pubsub'
    """
    return Kind(f"one of {', '.join(values)}", values[0], _matching("|".join(map(re.escape, values))))


def text_like(meaning: str, example: str, pattern: str) -> Kind:
    """Text that a regular expression matches as a whole.

    Example:
        >>> text_like("a colour", "#fff", "#[0-9a-f]{3}").read("#0af")
        '#0af'
    """
    return Kind(meaning, example, _matching(pattern))


TEXT = Kind("text on one line, not empty", "docker.events", _matching(".+"))
PATH = Kind(
    "an absolute path without . and .. in it",
    "/usr/bin/docker.original",
    _matching(r"(?:/(?!\.{1,2}(?:/|$))[^/]+)+"),
)
LABEL = Kind(
    "a name that Kubernetes takes (RFC 1123: a-z, 0-9 and -, at most 63)",
    "arc-runners",
    _matching(r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?"),
)
HOST = Kind(
    "a host name or an address",
    "mirror.example.com",
    _matching(
        r"(?=.{1,253}$)(?:[A-Za-z0-9](?:[-A-Za-z0-9]{0,61}[A-Za-z0-9])?(?:\.|$))+|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]+"
    ),
)
PORT = whole_number(1, 65535)
IMAGE = Kind(
    "an image reference",
    "registry.example.com/squid:5.7",
    _matching(r"[a-z0-9][\w.:/-]*(?:@sha256:[0-9a-f]{64})?"),
)
QUANTITY = Kind(
    "a quantity of Kubernetes: a number, then nothing, m, Ki, Mi or Gi",
    "64Mi",
    _matching(r"\d{1,9}(?:m|Ki|Mi|Gi)?"),
)
NETWORKS = Kind("networks in CIDR notation with commas between", "10.0.0.0/8,fd00::/8", _networks)
GOOGLE_PROJECT = Kind("a Google Cloud project id", "acme-ci", _matching(r"[a-z][a-z0-9-]{4,28}[a-z0-9]"))
GOOGLE_NAME = Kind(
    "a name that Pub/Sub and Cloud Logging take (3 to 255 letters, digits and ._-, a letter first)",
    "docker-wrapper",
    _matching(r"[A-Za-z][\w.-]{2,254}"),
)
BIGQUERY_NAME = Kind("letters, digits and _", "docker_wrapper", _matching(r"\w{1,1024}"))
FLAG = Kind("yes or no", "no", lambda text: _matching("yes|no")(text) == "yes")


@dataclass(frozen=True)
class Key:
    """A setting of a kit.

    Attributes:
        name: what `--set` takes.
        meaning: what it decides, shown by `ciforensics capture list`.
        kind: which values it takes.
        default: as it would be given; None where nobody but the user can know.
        only: the key, and its values, without which this one has no effect.
    """

    name: str
    meaning: str
    kind: Kind
    default: str | None = None
    only: Only | None = None


@dataclass(frozen=True)
class File:
    """A file of a kit: a template, unless its name ends in .py.

    Attributes:
        executable: whether it is made so.
        only: the key, and its values, for which it is written.
        each: names several things in `more` of the kit: the file is written for each, which is its `this`,
            into the folder that its `folder` says.
    """

    executable: bool = False
    only: Only | None = None
    each: str | None = None


@dataclass(frozen=True)
class Kit:
    """Files that are deployed to capture one kind of evidence.

    Attributes:
        name: what `ciforensics capture export` takes.
        summary: one line: what it records, where.
        folder: where its files are.
        keys: its settings.
        files: path in the folder, and in the export, to how it is written. There is a `README.md`.
        source: the source that reads what the kit writes; None: it records nothing.
        check: looks at all values together; raises ValueError with a sentence that says what does not fit.
        more: what the templates see beside the values, worked out from them.
    """

    name: str
    summary: str
    folder: Path
    keys: tuple[Key, ...]
    files: Mapping[str, File]
    source: str | None
    check: Callable[[Mapping[str, Value | None]], None] = field(default=lambda _: None)
    more: Callable[[Mapping[str, Value | None]], Mapping[str, Any]] = field(default=lambda _: {})
