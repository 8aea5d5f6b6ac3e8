r"""Where secrets stand in a text.

A secret is known by its **shape** (GitHub tokens, JWTs, basic-auth blobs, private keys), by its **place in a URL**
(`https://user:token@host`) or by the **name in front of it** (headers, query parameters, variables, flags), in plain
text as in JSON, escaped JSON and percent-encoding. In doubt text is lost rather than a secret kept: an unclosed quote
behind `password=` takes the rest of the record. The text is hostile: every pattern is linear in its length.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterator
from functools import cache, lru_cache
from typing import NamedTuple
from urllib.parse import unquote

TOKENS = ("ghp", "gho", "ghu", "ghs", "ghr", "github_pat", "dckr_pat", "jwt", "token")
"""Kinds that are long and random, so that a keyed hash of them tells nothing but which are the same."""

OTHERS = (
    *("authorization", "basic", "cookie", "credential", "password"),
    *("private_key", "secret", "signature"),
)

_MARK = rf"\[redacted:(?:(?:{'|'.join(TOKENS)}):[0-9a-f]{{8}}|{'|'.join(OTHERS)})\]"
NOTHING = re.compile(
    rf"(?:{_MARK}|\*+|[\[<(]?(?:redacted|masked|filtered|hidden)[\]>)]?)*"
    r"(?:true|false|null|none|nil|undefined)?[)\]},.;>]*",
    re.IGNORECASE,
)
"""A value that is empty, masked already or a bare JSON word."""

SCHEME = re.compile(r"(basic|bearer|token|negotiate|ntlm)(?:[ \t]+|\+|%(?:25)*20|$)", re.IGNORECASE)
"""What an Authorization header begins with, where one credential follows."""


class Span(NamedTuple):
    """A secret: where it begins and ends, and its kind."""

    begin: int
    end: int
    kind: str


class Rule(NamedTuple):
    """A way to find secrets; every text that it can hit has one of the `needles`, whatever the case."""

    needles: tuple[str, ...]
    spans: Callable[[str], Iterator[Span]]


# By shape

_GITHUB = re.compile(
    r"(gh[pousr]|github_pat|dckr_pat)(?:_|%5F)(?:\w*?eyJ[\w-]*+(?:\.{1,2}[\w-]++)*|\w{6,}+)", re.ASCII
)
_JWT = re.compile(r"eyJ[\w-]{5,}+(?:\.{1,2}[\w-]++)*", re.ASCII)
_BLOB = re.compile(r"eC1hY2Nlc3MtdG9rZW46(?:[\w+/=-]|%(?:25)*(?:2B|2F|3D))*+", re.ASCII)  # x-access-token:
_PRIVATE_KEY = re.compile(
    r"-----BEGIN(?:[\w ]|%20|\+)*PRIVATE(?: |%20|\+)KEY(?:(?!-----END)[\s\S])*+(?:-----END(?:[\w +]|%20)*(?:-----)?)?"
)
_SCHEMED = re.compile(
    r"(?<![a-z])(?:(basic)|bearer)(?:[ \t]+|\+|%(?:25)*20)((?:[\w.~+/=-]|%(?:25)*(?:2B|2F|3D))++)",
    re.IGNORECASE | re.ASCII,
)


def shape(value: str) -> str | None:
    """The kind of a token that its shape gives away.

    Example:
        >>> shape("ghs_" + "x" * 36), shape("hunter2")
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
    word = letters.isalpha() and letters[1:].islower()
    return (
        len(letters) >= 8
        and user.isascii()
        and user.decode("ascii").isprintable()
        and (bool(colon) or not word)
    )


def _github(text: str) -> Iterator[Span]:
    return (Span(*m.span(), m[1]) for m in _GITHUB.finditer(text))


def _jwt(text: str) -> Iterator[Span]:
    return (Span(*m.span(), "jwt") for m in _JWT.finditer(text) if "." in m[0])


def _blob(text: str) -> Iterator[Span]:
    return (Span(*m.span(), "basic") for m in _BLOB.finditer(text))


def _private_key(text: str) -> Iterator[Span]:
    return (Span(*m.span(), "private_key") for m in _PRIVATE_KEY.finditer(text))


def _schemed(text: str) -> Iterator[Span]:
    """Credentials behind `Basic` or `Bearer`, which are also words."""
    for m in _SCHEMED.finditer(text):
        credential = m[2]
        if m[1] and is_basic(credential):
            yield Span(*m.span(2), "basic")
        elif not m[1] and (len(credential) >= 20 or (len(credential) >= 8 and re.search(r"\d", credential))):
            yield Span(*m.span(2), "token")


# By place in a URL

_USERINFO = re.compile(
    r"""(?P<ssh>ssh|sftp)? :(?:\\*/){2} (?P<info>
        [^\s/?#"'<>`]* (?:@|%(?:25)*40) (?!sha\d{3}:)                         # docker://alpine@sha256:… is no user
      | [^\s/?#"'<>`@:\[\\]*: (?!\d{1,5}(?:[/?#\\]|$)) (?:(?!:\\*/\\*/)[^\s"'<>`@])* @   # a / in the password
      | [^\s/?#"'<>`@\[]* $                                                   # the record was cut before the @
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


def _userinfo(text: str) -> Iterator[Span]:
    for pattern in (_USERINFO, _USERINFO_ENCODED):
        for m in pattern.finditer(text):
            info = re.sub(r"(?:@|%(?:25)*40)$", "", m["info"])
            user, *password = re.split(r":|%(?:25)*3A", info, maxsplit=1, flags=re.IGNORECASE)
            if _GITHUB.search(user):
                secret = True
            elif info == m["info"]:  # cut, and perhaps a host and its port
                secret = bool(password and password[0] and user and _USERS.fullmatch(user))
            elif password and password[0]:
                secret = not NOTHING.fullmatch(password[0])
            else:
                plain = re.fullmatch(r"[\w.~%+=-]+", user) and not _USERS.fullmatch(user) and not m["ssh"]
                secret = bool(plain) and not NOTHING.fullmatch(user)
            if secret:
                yield Span(*m.span("info"), "userinfo")


# By name

_QUOTE = r"""\\{0,7}["'`]"""
_NAME = re.compile(
    r"""(?<![\w.-]) (?P<dash>--?)?+ (?P<name>\w[\w.-]*+)
    (?: (?P<key>Q) [ \t]* (?: [:=] | , [ \t]* Q value Q [ \t]* : ) [ \t]* (?:\[[ \t]*(?=Q))?  # "token": "x"
      | (?P<item>Q [ \t]* , [ \t]* b?(?=Q))                                                   # ["--token", "x"]
      | = | [ \t]+=[ \t]+ | :[ \t]+ | \\u003[ad]
      | (?:%(?:25)*2[27])? %(?P<depth>(?:25)*)3[AD] (?P<quoted>%(?P=depth)(?:20|2[27]|5B)|\+)*
      | (?: (?<=authorization) | (?<=cookie) ) (?: : | ,\d+: )
      | (?(dash)[ \t]+(?!--|[<>|&;])|(?!))
    )""".replace("Q", _QUOTE),
    re.IGNORECASE | re.ASCII | re.VERBOSE,
)
_FLAG = re.compile(
    rf"(?<![\w-])(-[pu]|--(?:proxy-)?user(?=[ \t=\\\"']))([ \t]+|=|{_QUOTE}[ \t]*,[ \t]*b?(?={_QUOTE}))?"
)
_LOGIN = re.compile(r"(?<![\w/.-])login(?![\w/.-])")
_ENCODED = re.compile(r"(?<=%)(?:25)*[0-9a-f]{2}|(?<=\\)u00[0-9a-f]{2}", re.IGNORECASE)
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")

_KINDS = {
    "authorization": r"(?:^|[_.-])authorization$",
    "cookie": r"cookies?$",
    "password": r"(?:password|passwd|passphrase)\d*(?:$|[_.-])|(?<!by)(?<!com)(?<!tres)(?:pass|pwd)\d*$",
    "private_key": r"private[_.-]?key",
    "secret": r"secret\d*(?:$|[_.-])|jitconfig$",
    "credential": r"credentials?\d*(?:$|[_.-])",
    "token": r"(?:token|jwt|api[_.-]?key|access[_.-]?key)\d*(?:$|[_.-])",
    "auth": r"(?:^|[_.-])auth$",
}
_QUERY_KINDS = {"signature": r"^(?:x[_-](?:amz|goog)[_-])?sig(?:nature)?$", "code": r"^code$"}
_HARMLESS = re.compile(
    r"(?:^|[_.-])(?:(?:token|auth|credential)s?[_.-]ids?|types?|files?|path|dir|urls?|uri|host|port|ttl|count|limit"
    r"|length|size|scopes?|expir\w*|expires[_.-](?:in|at)|status|method|mode|provider|enabled|required|stdin"
    r"|endpoint|name|user|username|service|store|scanning)$"
)


@lru_cache(maxsize=4096)
def kind_of(name: str, *, query: bool = False) -> str | None:
    """The kind of secret that a value under this name is.

    Args:
        name: of a header, variable, JSON key, flag, …
        query: it is the name of a URL parameter, where some more mean secrets.

    Example:
        >>> [kind_of(name) for name in ("DB_PASSWORD", "authToken", "author", "token_type", "sig")]
        ['password', 'token', None, None, None]
    """
    words = _CAMEL.sub("_", name).lower()
    kinds = _KINDS | _QUERY_KINDS if query else _KINDS
    found = next((kind for kind, pattern in kinds.items() if re.search(pattern, words)), None)
    return None if found and _HARMLESS.search(words) else found


def is_folder(name: str, value: str) -> bool:
    """Whether this is the shell's `PWD=/work`, which is no password."""
    return name.lower() in ("pwd", "oldpwd") and value.startswith("/")


_OAUTH = re.compile(r"oauth|callback|state(?:=|%(?:25)*3D)", re.IGNORECASE)
_BUILD_SECRET = re.compile(rf"(?:{_QUOTE})?(?:id|type|src|source|env|target)=")
_QUOTED = re.compile(rf"b?({_QUOTE})")


def _named(text: str) -> Iterator[Span]:
    done = 0
    for m in _NAME.finditer(text):
        start = m.start("name")
        if start < done:
            continue
        before = text[start - 1] if start else ""
        encoded = _ENCODED.match(text, start) if before in ("%", "\\") else None
        name = text[encoded.end() : m.end("name")] if encoded else m["name"]
        parameter = bool(encoded) or before in ("?", "&")
        found = kind_of(name, query=parameter or before in ("", "#", ";"))
        if (
            found is None
            or (m["item"] and not (m["dash"] or found in ("authorization", "cookie")))
            or (found == "code" and not _OAUTH.search(text))
            or (found == "secret" and m["dash"] and _BUILD_SECRET.match(text, m.end()))
            or is_folder(name, text[m.end() : m.end() + 1])
        ):
            continue
        begin, done = _value(text, m, found, parameter=parameter)
        yield Span(begin, done, "token" if found == "code" else found)


# A backslash before a quote is that quote's, one before r or n in a header is the line's end.
_WORD = re.compile(
    r"""(?:\\[ ]|\\(?!\\*["'`]|u0026)|&(?![\w.-]+=|amp;|[&\s]|$)|;(?!\s|[\w. -]+=|$)|[^\s"'`\\&;])*"""
)
_PARAMETER = re.compile(r"""(?:\\(?!\\*["'`]|u0026)|[^\s"'`\\&#<>])*""")
_NUMBER = re.compile(rf"""(?:{_MARK}|[^\s"'`,\]}}])*""")
_CREDENTIAL = re.compile(rf"""{SCHEME.pattern}(?:\\(?!\\*["'`]|[rnu])|[^\s"'`\\])*""", re.IGNORECASE)
_LINE = re.compile(r"(?:(?!\\+[rn])[^\r\n])*")
_COOKIE = re.compile(r"""(?:(?!\\+[rn]|"\s*[,}\]])[^\r\n])*""")


def _value(text: str, m: re.Match[str], found: str, *, parameter: bool) -> tuple[int, int]:
    """Where the value behind a name begins and ends."""
    begin = m.end()
    if m["depth"] is not None:
        spaces = "" if found in ("authorization", "cookie") or m["quoted"] else "20|"
        return begin, _percent(m["depth"], spaces).match(text, begin).end()  # type: ignore[union-attr]
    if quote := _QUOTED.match(text, begin):
        return quote.end(), _closing(text, quote.end(), quote[1])
    if not m["key"] and (opened := _opened(text, m.start())):
        end = _closing(text, begin, opened)
        follower = re.compile(r"&[\w.-]+=").search(text, begin, end)
        return begin, follower.start() if follower else end
    if found == "authorization":
        word = _CREDENTIAL.match(text, begin) or (_PARAMETER if parameter else _LINE).match(text, begin)
    else:
        plain = _PARAMETER if parameter else _COOKIE if found == "cookie" else _NUMBER if m["key"] else _WORD
        word = plain.match(text, begin)
    return begin, word.end() if word else begin


@cache
def _percent(depth: str, spaces: str) -> re.Pattern[str]:
    """A value in percent-encoded text ends at a delimiter that is encoded just as often."""
    return re.compile(rf"""(?:(?!%{depth}(?:{spaces}22|26|27|0A|0D))[^\s"'`<>&])*""", re.IGNORECASE)


def _opened(text: str, start: int) -> str:
    """The quote right before a name, with its backslashes, as in `-e "PASSWORD=a b"`."""
    begin = start - 1
    if begin < 0 or text[begin] not in "\"'`":
        return ""
    while begin and text[begin - 1] == "\\" and start - begin < 8:
        begin -= 1
    return text[begin:start]


def _closing(text: str, begin: int, quote: str) -> int:
    """Where this quote closes: one with more backslashes before it stands inside. Never: all is taken."""
    end = text.find(quote, begin)
    while end > begin and text[end - 1] == "\\":
        end = text.find(quote, end + 1)
    return len(text) if end < 0 else end


def _flags(text: str) -> Iterator[Span]:
    """`-p` behind `login`, and `-u user:password`."""
    login = _LOGIN.search(text)
    curl = "curl" in text.lower()
    done = 0
    for m in _FLAG.finditer(text):
        attached = m[2] is None
        if m.start() < done or (m[1] == "-p" and not (login and login.end() <= m.start())):
            continue
        if m[1] != "-p" and attached and not curl:
            continue
        begin = m.end()
        if quote := _QUOTED.match(text, begin):
            begin, done = quote.end(), _closing(text, quote.end(), quote[1])
        elif attached and (opened := _opened(text, m.start())):
            done = _closing(text, begin, opened)
        else:
            word = _WORD.match(text, begin)
            done = word.end() if word else begin
        value = text[begin:done]
        # uid:gid, `date -u +%H:%M` and `-u https://…` name no password.
        if m[1] == "-p" or (re.search(r":.", value) and not re.match(r"\d+:|\+|\w+://", value)):
            yield Span(begin, done, "password")


_GITHUB_NEEDLES = ("ghp_", "gho_", "ghu_", "ghs_", "ghr_", "_pat_", *(f"{kind}%5f" for kind in TOKENS))
_NAME_NEEDLES = (
    *(
        "authorization",
        "cookie",
        "pass",
        "pwd",
        "secret",
        "credential",
        "token",
        "jwt",
        "signature",
        "jitconfig",
    ),
    *(f"{one}{middle}key" for one in ("api", "access", "private") for middle in ("", "_", "-", ".")),
    *(f"auth{end}" for end in "=:%\"'`\\ \t"),
    *(f"{word}{end}" for word in ("sig", "code") for end in "=%\\"),
)

RULES = (
    Rule(("private",), _private_key),
    Rule(("@", "%40", "%2540", "x-access-token:", *_GITHUB_NEEDLES), _userinfo),
    Rule(_GITHUB_NEEDLES, _github),
    Rule(("eyj",), _jwt),
    Rule(("ec1hy2nlc3mtdg9rzw46",), _blob),
    Rule(_NAME_NEEDLES, _named),
    Rule(("login", "curl", "--user", "--proxy-user", *(f"-u{end}" for end in "=\"'\\ \t")), _flags),
    Rule(("basic", "bearer"), _schemed),
)

NEEDLES = tuple(dict.fromkeys(needle for rule in RULES for needle in rule.needles))
"""A text without any of these, whatever the case, holds no secret."""
