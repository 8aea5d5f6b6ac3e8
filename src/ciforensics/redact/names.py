"""Secrets known by the name in front of them: headers, query parameters, variables, JSON keys and flags.

Read in plain text as in JSON, escaped JSON and percent-encoding. In doubt text is lost rather than a secret
kept: an unclosed quote behind `password=` takes the rest of the record. The text is hostile: every pattern is
linear in its length.
"""

from __future__ import annotations

import re
from functools import cache, lru_cache
from typing import TYPE_CHECKING

from ciforensics.redact.shapes import MARK, Rule, is_basic

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ciforensics.redact.shapes import Span

SCHEME = re.compile(r"(basic|bearer|token|negotiate|ntlm)(?:[ \t]+|\+|%(?:25)*20|$)", re.IGNORECASE)
"""What an Authorization header begins with, where one credential follows."""

_KINDS = {
    "authorization": r"(?:^|[_.-])authorization$",
    "cookie": r"cookies?$",
    "password": r"(?:password|passwd|passphrase)\d*(?:$|[_.-])|(?<!by)(?<!com)(?<!tres)(?:pass|pwd)\d*$",
    "private_key": r"private[_.-]?key",
    "secret": r"secret\d*(?:$|[_.-])|jitconfig$",
    "credential": r"credentials?\d*(?:$|[_.-])",
    "token": r"(?:token|jwt|api[_.-]?key|access[_.-]?key)\d*(?:$|[_.-])|(?:^|[_.-])pat\d*$",
    "auth": r"(?:^|[_.-])auth$",
}
_QUERY_KINDS = {"signature": r"^(?:x[_-](?:amz|goog)[_-])?sig(?:nature)?$", "code": r"^code$"}
_HARMLESS = re.compile(
    r"(?:^|[_.-])(?:(?:token|auth|credential)s?[_.-]ids?|types?|files?|path|dir|urls?|uri|host|port|ttl|count|limit"
    r"|length|size|scopes?|expir\w*|expires[_.-](?:in|at)|status|method|mode|provider|enabled|required|stdin"
    r"|endpoint|name|user|username|service|store|scanning)$"
)
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def kind_of(name: str, *, query: bool = False) -> str | None:
    """The kind of secret that a value under this name is.

    Args:
        name: of a header, variable, JSON key, flag, …
        query: it is the name of a URL parameter, where some more mean secrets.

    Example:
        >>> [kind_of(name) for name in ("DB_PASSWORD", "authToken", "author", "token_type", "sig")]
        ['password', 'token', None, None, None]
    """
    return _kind_of(name[-100:], query)


@lru_cache(maxsize=4096)
def _kind_of(name: str, query: bool) -> str | None:
    words = _CAMEL.sub("_", name).lower()
    kinds = _KINDS | _QUERY_KINDS if query else _KINDS
    told = next((kind for kind, pattern in kinds.items() if re.search(pattern, words)), None)
    return None if told and _HARMLESS.search(words) else told


def is_folder(name: str, value: str) -> bool:
    """Whether this is the shell's `PWD=/work`, which is no password."""
    return value.startswith("/") and name.lower() in ("pwd", "oldpwd")


def is_build_secret(value: str) -> bool:
    """Whether this behind `--secret` is docker's `id=npm,src=…`, which says where a secret is to be found."""
    return re.match(r"(?:id|type|src|source|env|target)=", value) is not None


def is_user_and_password(value: str) -> bool:
    """Whether this behind `-u` holds a password: not uid:gid, not `date -u +%H:%M`, not a URL."""
    return bool(re.search(r":.", value) and not re.match(r"\d+:|\+|\w+://", value))


_QUOTE = r"""\\{0,7}["'`]"""
_NAME = re.compile(
    r"""(?<![\w.-]) (?P<dash>--?)?+ (?P<name>\w[\w.-]*+)
    (?: (?P<key>Q) \s* (?: [:=] | , \s* Q value Q \s* : ) \s* (?P<list>\[\s*(?=Q))?
      | (?P<item>Q [ \t]* , [ \t]* b?(?=Q))  # in a list, as ["--token", "x"]
      | = | [ \t]+=[ \t]+ | :[ \t]+ | \\u003[ad]
      | (?:%(?:25)*2[27])? %(?P<depth>(?:25){0,5})3[AD] (?P<quoted>%(?P=depth)(?:20|2[27]|5B)|\+)*
      | (?: (?<=authorization) | (?<=cookie) | (?<=-token) | (?<=-key) ) (?: : | (?P<netstring>,\d+:) )
      | (?(dash)[ \t]+(?!--|[<>|&;])|(?!))
    )""".replace("Q", _QUOTE),
    re.IGNORECASE | re.ASCII | re.VERBOSE,
)
_FLAG = re.compile(
    rf"(?:(?<![\w-])|(?<=%20))(-[pu]|--(?:proxy-)?user(?=[ \t=%\\\"']))"
    rf"([ \t]+|=|(?:%20)+|%3D|{_QUOTE}[ \t]*,[ \t]*b?(?={_QUOTE}))?"
)
_LOGIN = re.compile(r"(?:(?<![\w/.-])|(?<=%20))(?:login|sshpass)(?![\w/.-])")
_NETRC = re.compile(r"""machine\s+\S+\s+login\s+\S+\s+password\s+([^\s"'`\\]+)""")
_ENCODED = re.compile(r"(?<=%)(?:25)*[0-9a-f]{2}|(?<=\\)u00[0-9a-f]{2}", re.IGNORECASE)
_OAUTH = re.compile(r"oauth|callback|state(?:=|%(?:25)*3D)", re.IGNORECASE)
_QUOTED = re.compile(rf"b?({_QUOTE})")
_COMMA = re.compile(rf"{_QUOTE}\s*,\s*b?({_QUOTE})")


def _named(text: str) -> Iterator[Span]:
    done = 0
    oauth: bool | None = None
    for m in _NAME.finditer(text):
        name, start = m["name"], m.start("name")
        if start < done:
            continue
        before = text[start - 1] if start else ""
        parameter = before in ("?", "&")
        if before in ("%", "\\") and (encoded := _ENCODED.match(text, start)):
            name, parameter = text[encoded.end() : m.end("name")], True
        kind = _kind_of(name[-100:], parameter or before in ("", "#", ";"))
        if kind is None or (m["item"] and not m["dash"] and kind not in ("authorization", "cookie")):
            continue
        if before == "/" and text[m.end() - 1] == ":":  # an image and its tag
            continue
        if kind == "code":
            oauth = bool(_OAUTH.search(text)) if oauth is None else oauth
            if not oauth:
                continue
            kind = "token"
        begin, end = _value(text, m, kind, parameter=parameter)
        if (m["dash"] and is_build_secret(text[begin:end])) or is_folder(name, text[begin:end]):
            continue
        done = end
        yield begin, end, kind
        while m["list"] and (comma := _COMMA.match(text, done)):
            begin, done = comma.end(), _closing(text, comma.end(), comma[1])
            yield begin, done, kind


# A backslash before a quote is that quote's, one before r or n in a header is the line's end.
_WORD = re.compile(
    r"""(?:\\[ ]|\\(?!\\*["'`]|u0026)|&(?![\w.-]+=|amp;|[&\s]|$)|;(?!\s|[\w. -]+=|$)|[^\s"'`\\&;])*"""
)
_PARAMETER = re.compile(r"""(?:\\(?!\\*["'`]|u0026)|[^\s"'`\\&#<>])*""")
_NUMBER = re.compile(rf"""(?:{MARK}|[^\s"'`,\[\]{{}}])*""")
_NUMBER_OR_WORD = re.compile(r"(?:true|false|null|none)\b|[\[{\d-](?!redacted)", re.IGNORECASE)
_OBJECTS = re.compile(r"\[\s*(\{[^\]]*)")
_NETSTRING = re.compile(r"(?:(?!,\])[^\r\n])*")
_CREDENTIAL = re.compile(rf"""{SCHEME.pattern}(?:\\(?!\\*["'`]|[rnu])|[^\s"'`\\])*""", re.IGNORECASE)
_LINE = re.compile(r"(?:(?!\\+[rn])[^\r\n])*")
_COOKIE = re.compile(r"""(?:(?!\\+[rn]|"\s*[,}\]])[^\r\n])*""")


def _value(text: str, m: re.Match[str], kind: str, *, parameter: bool) -> tuple[int, int]:
    """Where the value behind a name begins and ends."""
    begin = m.end()
    if m["depth"] is not None:
        spaces = "" if kind in ("authorization", "cookie") or m["quoted"] else "20|"
        return begin, _percent(m["depth"], spaces).match(text, begin).end()  # type: ignore[union-attr]
    if quote := _QUOTED.match(text, begin):
        return quote.end(), _closing(text, quote.end(), quote[1])
    if not m["key"] and (opened := _opened(text, m.start())):
        end = _closing(text, begin, opened)
        follower = re.compile(r"&[\w.-]+=").search(text, begin, end)
        return begin, follower.start() if follower else end
    if m["key"] and (objects := _OBJECTS.match(text, begin)):
        return objects.span(1)
    if m["key"] and _NUMBER_OR_WORD.match(text, begin):
        word = _NUMBER.match(text, begin)
    elif m["netstring"]:
        word = _NETSTRING.match(text, begin)
    elif kind == "authorization":
        word = _CREDENTIAL.match(text, begin) or (_PARAMETER if parameter else _LINE).match(text, begin)
    else:
        plain = _PARAMETER if parameter else _COOKIE if kind == "cookie" else _NUMBER if m["key"] else _WORD
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
    """`-p` behind `login` or `sshpass`, and `-u user:password`."""
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
            encoded = m[2] and "%" in m[2]
            word = (_percent("", "20|") if encoded else _WORD).match(text, begin)
            done = word.end() if word else begin
        if m[1] == "-p" or is_user_and_password(text[begin:done]):
            yield begin, done, "password"


_SCHEMED = re.compile(
    r"(?<![a-z])(?:(basic)|bearer)(?:[ \t]+|\+|%(?:25)*20)((?:[\w.~+/=-]|%(?:25)*(?:2B|2F|3D))++)",
    re.IGNORECASE | re.ASCII,
)


def _schemed(text: str) -> Iterator[Span]:
    """Credentials behind `Basic` or `Bearer`, which are also words."""
    for m in _SCHEMED.finditer(text):
        credential = m[2]
        if m[1] and is_basic(credential):
            yield (*m.span(2), "basic")
        elif not m[1] and (len(credential) >= 20 or (len(credential) >= 8 and re.search(r"\d", credential))):
            yield (*m.span(2), "token")


def _netrc(text: str) -> Iterator[Span]:
    return ((*m.span(1), "password") for m in _NETRC.finditer(text))


_NAME_NEEDLES = (
    *("authorization", "cookie", "pass", "pwd", "secret", "credential"),
    *("token", "jwt", "key", "signature", "jitconfig"),
    *(f"auth{end}" for end in "=:%\"'`\\ \t"),
    *(f"{word}{end}" for word in ("sig", "code") for end in "=%\\"),
)

RULES = (
    Rule(_NAME_NEEDLES, _named),
    Rule(("login", "sshpass", "curl", "-user", *(f"-u{end}" for end in "=\"'\\ \t")), _flags),
    Rule(("basic", "bearer"), _schemed),
    Rule(("machine",), _netrc),
)
