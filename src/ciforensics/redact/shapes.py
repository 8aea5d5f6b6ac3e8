r"""Secrets known by their shape or by their place in a URL, and the marks that stand for them.

GitHub tokens, JWTs, basic-auth blobs of `x-access-token:…` and private keys look like nothing else; in
`https://user:token@host` the place tells. The text is hostile: every pattern is linear in its length.
"""

from __future__ import annotations

import base64
import re
from functools import partial
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TOKENS = ("ghp", "gho", "ghu", "ghs", "ghr", "github_pat", "dckr_pat", "jwt", "token")
"""Kinds that are long and random, so that a keyed hash of them tells nothing but which are the same."""

_OTHERS = "authorization|basic|cookie|credential|password|private_key|secret|signature"

MARK = rf"\[redacted:(?:(?:{'|'.join(TOKENS)}):[0-9a-f]{{8}}|{_OTHERS})\]"
NOTHING = re.compile(
    rf"(?:{MARK}|\*++|[\[<(]?(?:redacted|masked|filtered|hidden)[\]>)]?)*+"
    r"(?:true|false|null|none|nil|undefined)?[)\]},.;>]*+",
    re.IGNORECASE,
)
"""A value that is empty, masked already or a bare JSON word."""


Span = tuple[int, int, str]
"""A secret: where it begins and ends, and its kind."""


class Rule(NamedTuple):
    """A way to find secrets; every text that it can hit has one of the `needles`, whatever the case."""

    needles: tuple[str, ...]
    spans: Callable[[str], Iterator[Span]]


_GITHUB = re.compile(
    r"(gh[pousr]|github_pat|dckr_pat)(?:_|%5F)(?:\w*?eyJ[\w-]*+(?:\.{1,2}[\w-]++)*|\w{6,}+)", re.ASCII
)
_JWT = re.compile(r"eyJ[\w-]{5,}+(?:\.{1,2}[\w-]++)*", re.ASCII)
_BLOB = re.compile(r"eC1hY2Nlc3MtdG9rZW46(?:[\w+/=-]|%(?:25)*(?:2B|2F|3D))*+", re.ASCII)  # x-access-token:
_PRIVATE_KEY = re.compile(
    r"-----BEGIN(?:[\w ]|%20|\+)*PRIVATE(?: |%20|\+)KEY(?:(?!-----END)[\s\S])*+"
    r"(?:-----END(?:[\w +]|%20)*(?:-----)?)?"
)


def tell_shape(value: str) -> str | None:
    """The kind of a token that its shape gives away.

    Example:
        >>> tell_shape("ghs_" + "x" * 36), tell_shape("hunter2")
        ('ghs', None)
    """
    if github := _GITHUB.fullmatch(value):
        return github[1]
    return "jwt" if _JWT.fullmatch(value) else None


def is_basic(blob: str) -> bool:
    """Whether this is base64 of `user:password`, or of the beginning of that.

    Example:
        >>> is_basic("dXNlcjpodW50ZXIy"), is_basic("authentication")
        (True, False)
    """
    letters = unquote(blob).rstrip("=").replace("-", "+").replace("_", "/")
    try:
        user, colon, _ = base64.b64decode(letters[: len(letters) // 4 * 4], validate=True).partition(b":")
    except ValueError:
        return False
    word = not colon and letters.isalpha() and letters[1:].islower()
    return len(letters) >= 8 and not word and user.isascii() and user.decode("ascii").isprintable()


def _github(text: str) -> Iterator[Span]:
    return ((*m.span(), m[1]) for m in _GITHUB.finditer(text))


def _jwt(text: str) -> Iterator[Span]:
    return ((*m.span(), "jwt") for m in _JWT.finditer(text) if "." in m[0])


def _blob(text: str) -> Iterator[Span]:
    return ((*m.span(), "basic") for m in _BLOB.finditer(text))


def _private_key(text: str) -> Iterator[Span]:
    return ((*m.span(), "private_key") for m in _PRIVATE_KEY.finditer(text))


# What a digest follows is no user (docker://alpine@sha256:…); a password may hold a slash; the record may be
# cut before the @.
_USERINFO = re.compile(
    r"""(?P<ssh>ssh|sftp)? :(?:\\*/){2} (?P<info>
        [^\s/?#"'<>`]* (?:@|%(?:25)*40) (?!sha\d{3}:)
      | [^\s/?#"'<>`@:\[\\]*: (?!\d{1,5}(?:[/?#\\]|$)) (?:(?!:\\*/\\*/)[^\s"'<>`@])* @ (?!sha\d{3}:)
      | [^\s/?#"'<>`@\[]* $
    )""",
    re.VERBOSE | re.IGNORECASE,
)
_USERINFO_ENCODED = re.compile(
    r"""(?P<ssh>ssh|sftp)? %(?P<depth>(?:25)*)3A (?:%(?P=depth)2F){2} (?P<info>
        (?: (?!%(?P=depth)(?:2F|3F|23|26)) [^\s/?#"'<>`&] )* (?:@|%(?P=depth)40) (?!sha\d{3}[:%])
    )""",
    re.VERBOSE | re.IGNORECASE,
)
_USERS = re.compile(r"(?:git|x-access-token|x-oauth-basic|x-token-auth|oauth2|token|aws)?", re.IGNORECASE)


def _userinfo(pattern: re.Pattern[str], text: str) -> Iterator[Span]:
    for m in pattern.finditer(text):
        info = re.sub(r"(?:@|%(?:25)*40)$", "", m["info"])
        user, *password = re.split(r":|%(?:25)*3A", info, maxsplit=1, flags=re.IGNORECASE)
        if _GITHUB.search(info):
            secret = True
        elif info == m["info"]:  # cut, and perhaps a host and its port
            secret = bool(password and password[0] and user and _USERS.fullmatch(user))
        elif password and password[0]:
            secret = not NOTHING.fullmatch(password[0])
        else:
            plain = re.fullmatch(r"[\w.~%+=-]+", user) and not _USERS.fullmatch(user) and not m["ssh"]
            secret = bool(plain) and not NOTHING.fullmatch(user)
        if secret:
            yield (*m.span("info"), "userinfo")


_GITHUB_NEEDLES = ("ghp_", "gho_", "ghu_", "ghs_", "ghr_", "_pat_", "%5f")

RULES = (
    Rule(("private",), _private_key),
    Rule(("@", "%40", "x-access-token:", *_GITHUB_NEEDLES), partial(_userinfo, _USERINFO)),
    Rule(("3a%2",), partial(_userinfo, _USERINFO_ENCODED)),
    Rule(_GITHUB_NEEDLES, _github),
    Rule(("eyj",), _jwt),
    Rule(("ec1hy2nlc3mtdg9rzw46",), _blob),
)
