"""From a name to its pseudonym: a keyed hash, which the owner of the key can make again and nobody else.

A text keeps its structure (slashes, colons, flags, versions) and the public words of `public.toml`; every
other word in it becomes a pseudonym. The text is hostile: what is not known to be public is not shown.
"""

from __future__ import annotations

import hmac
import ipaddress
import json
import re
import tomllib
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import unquote

from ciforensics.errors import CiforensicsError
from ciforensics.share.addresses import nobodys

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


Renaming: TypeAlias = "Callable[[Namer, str], str]"
"""How a value of a column or under a key is renamed."""

_ALPHABET = "0123456789bcdfghjkmnpqrstvwxyz"  # no vowels: no words
_SHORT, _LONG = 6, 10
_MANY = ("name", "runner", "run", "request", "token", "orchestration", "log")
"""Kinds that a case can have a hundred thousand of, and so need the long pseudonyms."""

_FOLDED = ("org", "repo", "host", "name")
"""Kinds that one log writes in lower case, another as they are: `Org-3f2k9z` is `org-3f2k9z`."""

# Escapes of punctuation only part two names, as %2F does; an escape that could spell a letter belongs to one.
_PUNCTUATION = "0[9ad]|2[0-46-9a-f]|3[a-f]|40|5[bd]|60|7[b-d]"
_PIECE = re.compile(
    rf"""&\#\w*;?
    | (?<![\w:]) [0-9a-f]*+ (?::[0-9a-f]*+){{2,}}+ (?:\.\d++)*+ (?![\w:])
    | (?:[\w.~+\\-]|[^\x00-\x7f]|%(?!{_PUNCTUATION})[0-9a-f]{{2}})++
    """,
    re.VERBOSE | re.IGNORECASE | re.ASCII,
)
_CORE = re.compile(r"([.~+-]*+)(.*?)([.~+-]*+)", re.DOTALL)
_SEPARATOR = re.compile(r"[._~+-]+")
_NUMBER = re.compile(r"v?\d{1,5}")
_NTH = re.compile(r"\d{1,3}$")
_VERSION = re.compile(r"(v?\d{1,5}(?:\.\d{1,5})+)([._~+-]?)(.*)", re.DOTALL)
_HEX = re.compile(r"[0-9a-f]{12,}")
_ADDRESS = re.compile(r"\d{1,3}(?:\.\d{1,3}){3}")
_HOST = re.compile(r"(?:[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?\.)+[a-z]{2,63}")


@cache
def public(what: str) -> frozenset[str]:
    """The words that `public.toml` has under a key: `hosts`, `suffixes`, `extensions` or `words`.

    Example:
        >>> "github.com" in public("hosts"), "dockerfile" in public("words")
        (True, True)
    """
    listed = tomllib.loads((resources.files(__package__) / "public.toml").read_text("utf-8"))[what]
    return frozenset((listed if isinstance(listed, str) else " ".join(listed.values())).split())


class Namer:
    """Makes pseudonyms and remembers which name each stands for.

    Args:
        key: the owner's.

    Attributes:
        names: pseudonym to name, as it was first spelt.
        spellings: every name, however it was spelt.
        kept: words that stayed as they were.

    Example:
        >>> namer = Namer(b"k" * 32)
        >>> namer.repo("acme/web") == namer.repo("acme/web") != namer.repo("acme/shop")
        True
        >>> namer.text("docker build --tag golang:1.24")
        'docker build --tag golang:1.24'
    """

    def __init__(self, key: bytes) -> None:
        self._key = hmac.digest(key, b"ciforensics pseudonyms", "sha256")  # not the key of token hashes
        self._pieces: dict[tuple[str, frozenset[str]], str] = {}
        self.names: dict[str, str] = {}
        self.spellings: set[str] = set()
        self.kept: set[str] = set()

    def named(self, kind: str, name: str) -> str:
        """The pseudonym of a whole name."""
        if not name:
            return name
        folded = name.lower() if kind in _FOLDED else name
        prefix = kind.capitalize() if folded != name else kind
        return self._remember(f"{prefix}-{self._digits(folded)[: _LONG if kind in _MANY else _SHORT]}", name)

    def repo(self, name: str) -> str:
        """`owner/name`, each with a pseudonym of its own."""
        owner, *rest = name.split("/")
        if not rest:
            return self.named("repo", name)
        return self._remember(
            "/".join([self.named("org", owner), *(self.named("repo", r) for r in rest)]), name
        )

    def workflow(self, name: str) -> str:
        """A workflow, which can be the path of its file."""
        path = re.fullmatch(r"(\.github/workflows/)(.+?)(\.ya?ml)?", name, re.DOTALL)
        if path is None:
            return self.named("workflow", name)
        return self._remember(f"{path[1]}{self.named('workflow', path[2])}{path[3] or ''}", name)

    def user(self, name: str) -> str:
        """A user; an app stays one."""
        bare = name.removesuffix("[bot]")
        return self.named("user", bare) + name[len(bare) :]

    def orchestration(self, name: str) -> str:
        """An orchestration id, the same however a user agent had to spell it."""
        spelt = re.sub("[^a-z0-9_.-]", "_", name.lower())
        self.spellings.add(name)
        return self.named("orchestration", spelt)

    def log(self, path: str) -> str:
        """A file of evidence: no folder, what kind it is stays."""
        name = re.split(r"[/\\]", path)[-1]
        stem, *ends = name.split(".")
        known = [end for end in ends if end.lower() in public("extensions")]
        self.spellings |= {path, name, stem}
        return ".".join([self._remember(f"log-{self._digits(path)}", path), *known])

    def text(self, text: str, *, words: frozenset[str] = frozenset()) -> str:
        """A text with a pseudonym for every word that is not public.

        Args:
            text: anything.
            words: more words that are public here.
        """
        return _PIECE.sub(lambda piece: self._piece(piece[0], words), text)

    def document(
        self, text: str, rules: Mapping[str, Renaming], *, words: frozenset[str] = frozenset()
    ) -> str:
        """A JSON value.

        Args:
            text: it.
            rules: what the values under a key are; all others are text.
            words: more words that are public here; numbers then are counts and stay.
        """
        try:
            document = self._walk(json.loads(text, object_pairs_hook=_first), rules, words)
        except (RecursionError, ValueError):
            return '"(withheld)"'
        return json.dumps(document, ensure_ascii=False, separators=(",", ":"))

    def address(self, address: str) -> str:
        """An IP address of the same family that nobody has."""
        ip = ipaddress.ip_address(address)
        if str(ip) in public("hosts"):
            self.kept.add(address)
            return address
        if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped:
            return self._remember(f"::ffff:{self.address(str(ip.ipv4_mapped))}", address)
        self.spellings.add(address)
        return self._remember(str(nobodys(ip, self._number)), str(ip))

    def _number(self, text: str) -> int:
        return int(self._hex(text), 16)

    def _digits(self, text: str) -> str:
        number = self._number(text)
        return "".join(_ALPHABET[number // len(_ALPHABET) ** nth % len(_ALPHABET)] for nth in range(_LONG))

    def _hex(self, text: str) -> str:
        return hmac.digest(self._key, text.encode("utf-8", "surrogatepass"), "sha256").hex()

    def _remember(self, pseudonym: str, name: str) -> str:
        other = self.names.setdefault(pseudonym, name)
        if other.lower() != name.lower():
            raise CiforensicsError(
                f"Two names would get the pseudonym {pseudonym}: {other!r} and {name!r}.",
                hint="use another key for this report.",
            )
        self.spellings.add(name)
        return pseudonym

    def _piece(self, piece: str, words: frozenset[str]) -> str:
        told = self._pieces.get((piece, words))
        if told is None:
            told = self._pieces[piece, words] = self._told(piece, words)
        return told

    def _told(self, piece: str, words: frozenset[str]) -> str:
        if ":" in piece and "&" not in piece:
            return self._colons(piece)
        parts = _CORE.fullmatch(unquote(piece) if "%" in piece else piece)
        if parts is None or not re.search(r"\w|[^\x00-\x7f]", parts[2]):
            return piece
        before, core, behind = parts.groups()
        told = self._core(core, words, flag=before.startswith("-"))
        if told == core:
            self.kept.add(core)
        return before + told + behind

    def _colons(self, piece: str) -> str:
        try:
            return self.address(piece)
        except ValueError:
            clock = re.fullmatch(r"[:\d]*(?:\.\d*)?", piece) and not re.search(r"\d{3}:|:\d{3}", piece)
            return piece if clock or not re.search(r"\w", piece) else self.named("name", piece)

    def _core(self, core: str, words: frozenset[str] = frozenset(), *, flag: bool = False) -> str:
        lower = core.lower()
        if lower in public("hosts") or (flag and re.fullmatch("[a-z]", lower)):
            return core
        if _ADDRESS.fullmatch(core):
            try:
                return self.address(core)
            except ValueError:
                pass  # a version
        if _HEX.fullmatch(core):
            # Short ids are the beginnings of long ones, and stay so.
            made = (self._hex(core[:12]) * (len(core) // 64 + 1))[: len(core)]
            return self._remember(made, core)
        if version := _VERSION.fullmatch(core):
            if self._is_public(core, words):
                return core
            if version[3] and self._is_public(version[1]):
                return version[1] + version[2] + self._core(version[3], words)
        stem, dot, end = core.rpartition(".")
        if dot and stem and end.lower() in public("extensions"):
            return self._core(stem, words) + dot + end
        if _HOST.fullmatch(lower):
            return self._host(core, lower)
        return core if self._is_public(core, words) else self.named("name", core)

    def _host(self, host: str, lower: str) -> str:
        """A host that is not public; the name of a public service behind a label stays."""
        labels = lower.split(".")
        behind = (".".join(labels[n:]) for n in range(1, len(labels)))
        suffix = next((each for each in behind if each in public("suffixes")), "example")
        self.spellings.add(host)
        return self._remember(f"host-{self._digits(lower)[:_SHORT]}.{suffix}", lower)

    def _is_public(self, core: str, words: frozenset[str] = frozenset()) -> bool:
        if sum(map(str.isdigit, core)) > 9:
            return False
        known = public("words")
        lower = core.lower()
        return (
            lower in known
            or lower in words
            or all(
                not part
                or part in known
                or part in words
                or _NUMBER.fullmatch(part)
                or _NTH.sub("", part) in known
                for part in _SEPARATOR.split(lower)
            )
        )

    def _walk(
        self, node: Any, rules: Mapping[str, Renaming], words: frozenset[str], rename: Renaming | None = None
    ) -> Any:
        if isinstance(node, dict):
            return {
                # `com.docker.compose.project` is no host.
                name if self._is_public(name) else self.text(name, words=words): self._walk(
                    value, rules, words, rules.get(name)
                )
                for name, value in node.items()
            }
        if isinstance(node, list):
            return [self._walk(item, rules, words, rename) for item in node]
        if node is None or isinstance(node, bool) or (words and not isinstance(node, str)):
            return node
        text = node if isinstance(node, str) else json.dumps(node)
        told = rename(self, text) if rename else self.text(text, words=words)
        return node if told == text else told


def _first(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """DuckDB reads the first of two members of one name."""
    members: dict[str, Any] = {}
    for name, value in pairs:
        members.setdefault(name, value)
    return members
