"""What text a setting takes, as types for pydantic's models: each says what it expects, with an example."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from pydantic_core import PydanticCustomError, core_schema

if TYPE_CHECKING:
    from collections.abc import Callable

UNFIT = "unfit"
"""pydantic's type of the error of a text that does not fit; what was expected is in its context."""


@dataclass(frozen=True)
class SettingKind:
    """What text is taken, and what becomes of it; stands in an `Annotated` type.

    Attributes:
        meaning: with its article, as an error says it: `an absolute path`.
        example: a text that fits.
        read: text to value; raises ValueError for text that does not fit.
    """

    meaning: str
    example: str
    read: Callable[[str], Any]

    def __get_pydantic_core_schema__(self, _source: Any, _handler: Any) -> core_schema.CoreSchema:
        """What pydantic checks a value with."""
        return core_schema.no_info_plain_validator_function(self._checked)

    def _checked(self, value: Any) -> Any:
        with suppress(ValueError):
            if isinstance(value, str):
                return self.read(value)
        raise PydanticCustomError(UNFIT, "not {meaning}", {"meaning": self.meaning, "example": self.example})


def text_like(meaning: str, example: str, pattern: str) -> SettingKind:
    """Text that a regular expression matches as a whole.

    Example:
        >>> text_like("a colour", "#fff", "#[0-9a-f]{3}").read("#0af")
        '#0af'
    """

    def read(text: str) -> str:
        # Whatever the pattern says: nothing that ends a line, hides, or cannot be written in YAML.
        if not text.isprintable() or not re.fullmatch(pattern, text, re.ASCII):
            raise ValueError(text)
        return text

    return SettingKind(meaning, example, read)


def choice(*values: str) -> SettingKind:
    """One of a few words.

    Example:
        >>> choice("file", "pubsub").meaning
        'one of file, pubsub'
    """
    return text_like(f"one of {', '.join(values)}", values[0], "|".join(map(re.escape, values)))


def whole_number(least: int, most: int) -> SettingKind:
    """A whole number in a range, both ends included.

    Example:
        >>> whole_number(1, 65535).read("3128")
        3128
    """

    def read(text: str) -> int:
        if not re.fullmatch("[0-9]{1,9}", text) or not least <= int(text) <= most:
            raise ValueError(text)
        return int(text)

    return SettingKind(f"a whole number from {least} to {most}", str(least), read)


_YES_OR_NO = choice("yes", "no").read
_PATH = r"(?:/(?!\.{1,2}(?:/|$))[^/]+)+"
_RFC_1123 = "a name that Kubernetes takes (RFC 1123: a-z, 0-9 and -, at most 63)"
_DNS = r"(?=.{1,253}$)(?:[A-Za-z0-9](?:[-A-Za-z0-9]{0,61}[A-Za-z0-9])?(?:\.|$))+"
_IMAGE = r"[a-z0-9][\w.:/-]*(?:@sha256:[0-9a-f]{64})?"
_QUANTITY = "a quantity of Kubernetes: a number, then nothing, m, Ki, Mi or Gi"

AbsolutePath = Annotated[
    str, text_like("an absolute path without . and .. in it", "/usr/bin/docker.original", _PATH)
]
Flag = Annotated[bool, SettingKind("yes or no", "no", lambda text: _YES_OR_NO(text) == "yes")]
Host = Annotated[
    str,
    text_like("a host name or an address", "mirror.example.com", rf"{_DNS}|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]+"),
]
ImageReference = Annotated[str, text_like("an image reference", "registry.example.com/squid:5.7", _IMAGE)]
Label = Annotated[str, text_like(_RFC_1123, "arc-runners", "[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?")]
Port = Annotated[int, whole_number(1, 65535)]
Quantity = Annotated[str, text_like(_QUANTITY, "64Mi", r"\d{1,9}(?:m|Ki|Mi|Gi)?")]
Text = Annotated[str, text_like("text on one line, not empty", "docker.events", ".+")]
