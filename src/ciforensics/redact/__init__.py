"""Secrets out, before anything is written; `shapes` and `names` say where they stand.

A secret becomes `[redacted:KIND]`. A token also gets eight hex digits of a keyed hash, so that one token can
be followed through all logs: `[redacted:ghs:1f0c2a9b]`. Passwords, cookies and basic-auth blobs get none:
they are short enough to be guessed by whoever has the key. Userinfo leaves a URL without a mark, because
brackets in an authority are an IPv6 address to every URL parser.
"""

from __future__ import annotations

import hmac
import json
import math
import os
import re
import secrets
import tempfile
from itertools import count as numbers
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import platformdirs
import polars as pl

from ciforensics.errors import CiforensicsError
from ciforensics.redact import names, shapes
from ciforensics.redact.names import SCHEME, kind_of
from ciforensics.redact.shapes import NOTHING, TOKENS, Span, is_basic, tell_shape

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

RULES = (*shapes.RULES, *names.RULES)
NEEDLES = tuple(dict.fromkeys(needle for rule in RULES for needle in rule.needles))
"""A text without any of these, whatever the case, holds no secret."""

JSON_COLUMNS = ("metadata", "attributes")
_PLAIN = re.compile(r"(?:https?://)?[\w.~/?&=#+-]*+", re.ASCII)


def load_key() -> bytes:
    """The key of this user's token hashes, made on first use; it never enters a case.

    Raises:
        CiforensicsError: the user's config folder cannot hold the key, or what it holds is no key.
    """
    path = platformdirs.user_config_path("ciforensics") / "redaction.key"
    try:
        if not path.exists():
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            _create(path)
        if path.stat().st_mode & 0o077:
            path.chmod(0o600)
        key = path.read_bytes()
    except OSError as error:
        raise CiforensicsError(
            f"The redaction key {path} cannot be kept: {error.strerror}.",
            hint="set XDG_CONFIG_HOME to a folder of yours that can be written.",
        ) from error
    if len(key) != 32:
        raise CiforensicsError(
            f"The redaction key {path} holds {len(key)} bytes, expected 32.",
            hint="delete it; a new one is made, and tokens then get other hashes than in older cases.",
        )
    return key


def _create(path: Path) -> None:
    """A link appears whole or not at all, and fails if another process was first: both end with one key."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".redaction.")  # mode 0600
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(secrets.token_bytes(32))
            file.flush()
            os.fsync(file.fileno())
        Path(path).hardlink_to(name)
    except FileExistsError:
        pass
    finally:
        Path(name).unlink()


def text(value: str, *, key: bytes) -> tuple[str, int]:
    """Takes the secrets out of a text.

    Args:
        value: the text.
        key: what `load_key` gives.

    Returns:
        The text without its secrets, and how many there were. Redacted text comes back as it is, with 0.

    Example:
        >>> text("curl -u me:hunter2 https://me:hunter2@example.org/", key=b"k" * 32)
        ('curl -u [redacted:password] https://example.org/', 2)
    """
    lower = value.lower()
    # A hit takes text away and puts a mark there; neither makes a needle where none was.
    # Without quotes, blanks and escapes no value can reach beyond its delimiters: one pass is enough.
    # (But a flag such as `-u`, and without blanks only the first thing can be one, reads on past a mark.)
    plain = not value.startswith("-") and _PLAIN.fullmatch(value)
    active = [spans for needles, spans in RULES if _holds_any(lower, needles)]
    total, again = 0, True
    while again:  # until nothing is found, so that the result is stable: each hit leaves fewer letters
        count = 0
        for spans in active:
            value, hits = _replace(value, spans(value), key)
            count += hits
        total += count
        again = count > 0 and not plain
    return value, total


def _holds_any(lower: str, needles: tuple[str, ...]) -> bool:
    for needle in needles:  # noqa: SIM110 (`any` over a generator costs twice as much)
        if needle in lower:
            return True
    return False


_SHORTEST = 5
"""Bytes that a text must have to hold a secret and what tells it from other text, as in `-p ab`."""


def frame(rows: pl.DataFrame, *, key: bytes, skip: Collection[str] = ()) -> tuple[pl.DataFrame, int]:
    """Takes the secrets out of all text columns, in bulk: each distinct suspicious text is read once.

    Args:
        rows: the rows; `metadata` and `attributes` hold JSON and stay JSON, and values under names like
            `password` go whatever they are; `args` is read as what follows the `command` beside it.
        key: what `load_key` gives.
        skip: columns to leave alone.

    Returns:
        The rows in their order, and how many secrets they held.

    Example:
        >>> rows = pl.DataFrame({"url": ["https://me:x@h/a.git"] * 2, "metadata": ['{"pwd": 1}', None]})
        >>> redacted, count = frame(rows, key=b"k" * 32)
        >>> redacted.rows(), count
        ([('https://h/a.git', '{"pwd": "[redacted:password]"}'), ('https://h/a.git', None)], 3)
    """
    total = 0
    for name, dtype in rows.schema.items():
        if dtype != pl.String or name in skip:
            continue
        column, before = rows[name], total
        if not (column.str.len_bytes() >= _SHORTEST).any():
            continue
        needles, clean = list(NEEDLES), text
        if name in JSON_COLUMNS:
            needles, clean = [*NEEDLES, "\\u00"], _json  # JSON may spell any letter as \u0074
        if name == "args" and "command" in rows.columns:
            # `-p` is a password behind `login` only, and that word stands in the other column.
            login = (rows["command"] == "login") & column.is_not_null()
            column, count = _column(column, login, _login, key)
            total += count
        suspect = column.str.contains_any(needles, ascii_case_insensitive=True)
        column, count = _column(column, suspect, clean, key)
        total += count
        if total > before:
            rows = rows.with_columns(column)
    return rows, total


def _column(
    column: pl.Series, chosen: pl.Series, clean: Callable[..., tuple[str, int]], key: bytes
) -> tuple[pl.Series, int]:
    places = chosen.fill_null(value=False).arg_true()
    if places.is_empty():
        return column, 0
    texts = column.gather(places).rename("text").to_frame()
    distinct = texts["text"].unique()
    cleaned = [clean(value, key=key) for value in distinct]
    known = pl.DataFrame(
        {"text": distinct, "new": [new for new, _ in cleaned], "count": [count for _, count in cleaned]},
        schema={"text": pl.String, "new": pl.String, "count": pl.Int64},
    )
    renewed = texts.join(known, on="text", how="left", maintain_order="left")
    total = int(renewed["count"].sum())
    return (column.scatter(places, renewed["new"]), total) if total else (column, 0)


def _login(args: str, *, key: bytes) -> tuple[str, int]:
    redacted, count = text(f"login {args}", key=key)
    return redacted.removeprefix("login "), count


def _json(value: str, *, key: bytes) -> tuple[str, int]:
    """JSON stays JSON; what Python cannot hold (depth, huge numbers) becomes a string."""
    total = 0
    while True:
        try:
            node, count = _walk(json.loads(value, object_pairs_hook=_object, parse_float=_finite), key)
        except json.JSONDecodeError:
            return text(value, key=key)
        except (RecursionError, ValueError):
            redacted, count = text(value, key=key)
            return (json.dumps(redacted) if count else value), count
        if not count:
            return value, total
        value = json.dumps(node)
        total += count


def _finite(number: str) -> float:
    if math.isinf(value := float(number)):
        raise ValueError(number)
    return value


def _object(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """A name given twice, in the log or by redaction, must not cost a value."""
    members: dict[str, Any] = {}
    nth = numbers(2)
    for name, value in pairs:
        free = name
        while free in members:
            free = f"{name} ({next(nth)})"
        members[free] = value
    return members


def _walk(node: Any, key: bytes, kind: str | None = None) -> tuple[Any, int]:
    """A JSON value without secrets, and their number; `kind` is what the name in front of it announces."""
    if kind and node not in ({}, []):
        mark = _hide(kind, node if isinstance(node, str) else json.dumps(node), key)
        return (node, 0) if mark is None else (mark, 1)
    if isinstance(node, str):
        return text(node, key=key)
    if isinstance(node, list):
        login = "login" in node
        items = [
            _walk(item, key, _announced(name, item, login))
            for name, item in zip([None, *node], node, strict=False)
        ]
        return [item for item, _ in items], sum(count for _, count in items)
    if not isinstance(node, dict):
        return node, 0
    beside = node.get("name", node.get("key"))
    members = []
    for name, value in node.items():
        # HAR and pod specs write {"name": "DB_PASSWORD", "value": "x"}.
        called = beside if name.lower() == "value" and isinstance(beside, str) else name
        folder = isinstance(value, str) and names.is_folder(called, value)
        members.append((text(name, key=key), _walk(value, key, None if folder else kind_of(called))))
    return _object((name, value) for (name, _), (value, _) in members), sum(
        n + m for (_, n), (_, m) in members
    )


def _announced(name: Any, item: Any, login: bool) -> str | None:
    """The kind of an item of a list, by the flag or header name in front of it."""
    if not isinstance(name, str) or not isinstance(item, str):
        return None
    if (name == "-p" and login) or (name in ("-u", "--user") and names.is_user_and_password(item)):
        return "password"
    kind = kind_of(name.lstrip("-"))
    flag = name.startswith("-") and not names.is_build_secret(item)
    return kind if flag or kind in ("authorization", "cookie") else None


def _replace(value: str, spans: Iterable[Span], key: bytes) -> tuple[str, int]:
    parts: list[str] = []
    done = count = 0
    for begin, end, kind in spans:
        mark = _hide(kind, value[begin:end], key)
        if mark is not None:
            parts += (value[done:begin], mark)
            done = end
            count += 1
    return ("".join((*parts, value[done:])), count) if count else (value, 0)


def _hide(kind: str, value: str, key: bytes) -> str | None:
    """What is written instead of a value of this kind; None if there is nothing to hide."""
    if NOTHING.fullmatch(value):
        return None
    if kind == "userinfo":
        return ""
    if kind == "authorization" and (scheme := SCHEME.match(value)):
        kind = {"basic": "basic", "bearer": "token", "token": "token"}.get(scheme[1].lower(), kind)
        mark = _hide(kind, value[scheme.end() :], key)
        return None if mark is None else scheme[0] + mark
    if kind == "auth":
        kind = "basic" if is_basic(value) else "token"
    bare = value
    if kind == "token" and "[redacted:" not in value:
        bare = value.rstrip(")]},.;>")  # what prose and code put behind a token; none ends like this
    plain = unquote(bare) if "%" in bare else bare
    kind = tell_shape(plain) or kind
    if kind not in TOKENS:
        return f"[redacted:{kind}]"
    digest = hmac.digest(key, plain.encode("utf-8", "surrogatepass"), "sha256").hex()[:8]
    return f"[redacted:{kind}:{digest}]{value[len(bare) :]}"
