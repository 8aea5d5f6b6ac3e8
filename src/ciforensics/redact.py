"""Secrets out, before anything is written; `sensitive` says where they stand.

A secret becomes `[redacted:KIND]`. A token also gets eight hex digits of a keyed hash, `[redacted:ghs:1f0c2a9b]`, so
that one token can be followed through all logs; passwords, cookies and basic-auth blobs get none, as they are short
enough to be guessed by whoever has the key. Userinfo leaves a URL without a mark: brackets in an authority are an
IPv6 address to every URL parser.
"""

from __future__ import annotations

import hmac
import json
import math
import os
import secrets
import tempfile
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import platformdirs
import polars as pl

from ciforensics.errors import CiforensicsError
from ciforensics.sensitive import (
    NEEDLES,
    NOTHING,
    RULES,
    SCHEME,
    TOKENS,
    Span,
    is_basic,
    is_folder,
    kind_of,
    shape,
)

JSON_COLUMNS = ("metadata", "attributes")


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
        >>> text("curl -H 'Authorization: Basic dXNlcjpodW50ZXIy' https://me:hunter2@example.org/", key=b"k" * 32)
        ("curl -H 'Authorization: Basic [redacted:basic]' https://example.org/", 2)
    """
    total = 0
    while (
        True
    ):  # until nothing is found: what is left is stable. Ends, as each hit leaves fewer unmarked characters.
        count, lower = 0, value.lower()
        for needles, spans in RULES:
            for needle in needles:
                if needle in lower:
                    value, hits = _replace(value, spans(value), key)
                    count += hits
                    break
        if not count:
            return value, total
        total += count


def frame(rows: pl.DataFrame, *, key: bytes, skip: Collection[str] = ()) -> tuple[pl.DataFrame, int]:
    """Takes the secrets out of all text columns, in bulk: each distinct suspicious text is read once.

    Args:
        rows: the rows; `metadata` and `attributes` hold JSON and stay JSON, with values under names like `password`
            gone whatever they are; `args` is read as what follows the `command` beside it.
        key: what `load_key` gives.
        skip: columns to leave alone.

    Returns:
        The rows in their order, and how many secrets they held.

    Example:
        >>> rows = pl.DataFrame({"url": ["https://me:hunter2@example.org/a.git"] * 2, "metadata": ['{"pwd": 1}', None]})
        >>> redacted, count = frame(rows, key=b"k" * 32)
        >>> redacted.rows(), count
        ([('https://example.org/a.git', '{"pwd": "[redacted:password]"}'), ('https://example.org/a.git', None)], 3)
    """
    total = 0
    for name, dtype in rows.schema.items():
        if dtype != pl.String or name in skip:
            continue
        column = rows[name]
        # JSON may spell any letter as \\u0074.
        needles, clean = ([*NEEDLES, "\\u00"], _json) if name in JSON_COLUMNS else (list(NEEDLES), text)
        if name == "args" and "command" in rows.columns:
            # `-p` is a password behind `login` only, and that word stands in the other column.
            login = rows["command"] == "login"
            column, count = _column(column, column.is_not_null() & login.fill_null(value=False), _login, key)
            total += count
        suspect = column.str.contains_any(needles, ascii_case_insensitive=True).fill_null(value=False)
        column, count = _column(column, suspect, clean, key)
        total += count
        if count:
            rows = rows.with_columns(column)
    return rows, total


def _column(
    column: pl.Series, chosen: pl.Series, clean: Callable[..., tuple[str, int]], key: bytes
) -> tuple[pl.Series, int]:
    places = chosen.arg_true()
    if places.is_empty():
        return column, 0
    texts = column.gather(places).rename("text").to_frame()
    distinct = texts["text"].unique()
    cleaned = [clean(value, key=key) for value in distinct]
    known = pl.DataFrame(
        {"text": distinct, "new": [new for new, _ in cleaned], "count": [count for _, count in cleaned]},
        schema={"text": pl.String, "new": pl.String, "count": pl.Int64},
    )
    found = texts.join(known, on="text", how="left", maintain_order="left")
    total = int(found["count"].sum())
    return (column.scatter(places, found["new"]), total) if total else (column, 0)


def _login(args: str, *, key: bytes) -> tuple[str, int]:
    redacted, count = text(f"login {args}", key=key)
    return redacted.removeprefix("login "), count


def _json(value: str, *, key: bytes) -> tuple[str, int]:
    """JSON text without secrets, valid if it was; what Python cannot hold (depth, huge numbers) ends as a string."""
    total = 0
    while True:
        try:
            found = json.loads(value, object_pairs_hook=_object, parse_float=_finite)
            walked, count = _walk(found, key)
        except json.JSONDecodeError:
            redacted, count = text(value, key=key)
            return redacted, total + count
        except (RecursionError, ValueError):
            redacted, count = text(value, key=key)
            return (json.dumps(redacted), total + count) if count else (value, total)
        # In lists of arguments and in pairs of name and value, the name stands in another string than the value.
        redacted, more = text(json.dumps(walked) if count else value, key=key)
        if not count + more:
            return value, total
        value = redacted if _is_json(redacted) else json.dumps(redacted)
        total += count + more


def _is_json(value: str) -> bool:
    try:
        json.loads(value)
    except ValueError:
        return False
    return True


def _finite(number: str) -> float:
    if math.isinf(found := float(number)):
        raise ValueError(number)
    return found


def _object(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """A name given twice, in the log or by redaction, must not cost a value."""
    found: dict[str, Any] = {}
    for name, value in pairs:
        free, nth = name, 1
        while free in found:
            nth += 1
            free = f"{name} ({nth})"
        found[free] = value
    return found


def _walk(node: Any, key: bytes) -> tuple[Any, int]:
    if isinstance(node, str):
        return text(node, key=key)
    if isinstance(node, list):
        items = [_walk(item, key) for item in node]
        return [item for item, _ in items], sum(count for _, count in items)
    if not isinstance(node, dict):
        return node, 0
    pairs, total = [], 0
    for name, value in node.items():
        new_name, count = text(name, key=key)
        total += count
        plain = value if isinstance(value, str) else json.dumps(value)
        kind = kind_of(name) if value not in ({}, []) else None
        if kind:
            mark = None if is_folder(name, plain) else _hide(kind, plain, key)
            pairs.append((new_name, value if mark is None else mark))
            total += mark is not None
        else:
            new, count = _walk(value, key)
            pairs.append((new_name, new))
            total += count
    return _object(pairs), total


def _replace(value: str, spans: Iterable[Span], key: bytes) -> tuple[str, int]:
    parts, done, count = [], 0, 0
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
    kind = shape(plain) or kind
    if kind not in TOKENS:
        return f"[redacted:{kind}]"
    digest = hmac.digest(key, plain.encode("utf-8", "surrogatepass"), "sha256").hex()[:8]
    return f"[redacted:{kind}:{digest}]{value[len(bare) :]}"
