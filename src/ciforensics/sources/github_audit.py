r"""GitHub's audit log: what an organisation or enterprise exports, streams, or gets from the audit-log API.

    {"@timestamp":1795489453512,"_document_id":"x7LGec0iesTK56lXGgQm-w","action":"git.clone","actor":"ci-bot","actor_ip":"203.0.113.7","business":"acme-inc","hashed_token":"qJtOAzU4Yd1C1kq6vBqf0eS0l6tJ3fLxk2m5N7pRwXY=","org":"acme","programmatic_access_type":"GitHub App server-to-server token","repo":"acme/web","repository":"acme/web","repository_public":false,"transport_protocol":1,"transport_protocol_name":"http","user_agent":"git/2.39.5"}

Rows are what git did (`git.clone`, `git.fetch`, `git.push`) and, of streams that have them switched on, each
`api.request`. All other events are skipped, by kind. Read as JSON lines, arrays and the API's pages, one after
the other or in an array, as `gh api --paginate [--slurp] '/orgs/ORG/audit-log?include=git'` prints them, and as
Wazuh wraps them.

Its writer's vices:

- A git event has no status: a 401 is not in it, nor is what was refused.
- An event without an actor is no proof either way: a public repository read without credentials has none, and
  neither has a deploy key. It is written as "", or not at all.
- Events are delivered at least once. The same one twice is one row, by `_document_id`; some git events lack it,
  and are the same where all that they say is, in whatever order and spacing.
- Git events are kept for 7 days, and left out of exports as CSV; `api.request` is in streams only.
- `created_at` is absent on git events. Copies in other systems have numbers and flags as text, and times as
  `"1795489453512.000000"`.
- Which repository: `repo`, `repository`, or `org` and a bare name; of a request to the API often only its path.
"""  # noqa: E501

from __future__ import annotations

import hashlib
import json
from functools import partial
from typing import TYPE_CHECKING, Any

import polars as pl

from ciforensics.contract import REJECTED, Head, Parsed, Reader, ReadOptions, Source
from ciforensics.errors import Unreadable
from ciforensics.formats import http, json_documents, times
from ciforensics.formats.docker import null_if_blank
from ciforensics.formats.records import json_fields

if TYPE_CHECKING:
    from collections.abc import Sequence
    from zoneinfo import ZoneInfo

_ROWS = ("git.clone", "git.fetch", "git.push", "api.request")
_WRAPS: tuple[tuple[str, ...], ...] = ((), ("github",), ("data", "github"))
"""Where the event is: by itself, or as Wazuh passes it on and alerts of it."""

_TRANSPORTS = {"http": "http", "ssh": "ssh", "1": "http", "2": "ssh"}
_KEYS = {
    "ts": ('"@timestamp"', "created_at"),
    "action": ("action",),
    "actor": ("actor",),
    "repo": ("repo",),
    "repository": ("repository",),
    "org": ("org",),
    "public_repo": ("repository_public", "public_repo"),
    "transport": ("transport_protocol_name",),
    "protocol": ("transport_protocol",),
    "method": ("request_method",),
    "path": ("url_path",),
    "query": ("query_string",),
    "route": ("route",),
    "status": ("status_code",),
    "rate_limit_remaining": ("rate_limit_remaining",),
    "user_agent": ("user_agent",),
    "hashed_token": ("hashed_token",),
    "programmatic_access_type": ("programmatic_access_type",),
    "client_ip": ("actor_ip", "actor_location.ip"),
    "request_id": ("request_id",),
    "document_id": ("_document_id",),
    "message": ("message",),
}
_PATHS = {
    name: [".".join(("$", *wrap, key)) for key in keys for wrap in _WRAPS] for name, keys in _KEYS.items()
}


def recognise(head: Head, options: ReadOptions) -> Reader | None:
    """Half of the first objects or more are events: of a kind and a time, and about an actor, org or repo."""
    parse = partial(_parse, options.timezone)
    if _are_events([_value(line) for line in head.lines[:50] if not head.lines[0].startswith("[")]):
        return Reader("json lines", parse)
    if _are_events(json_documents.read_values(head.data)):
        return Reader(
            "json", parse, blocks=partial(json_documents.read_documents, facts=lambda event: (event,))
        )
    if options.forced and head.data.strip():
        raise Unreadable(
            "No audit log of GitHub's: its events have an action such as git.clone and a time, @timestamp.",
            hint="save it with `gh api --paginate '/orgs/ORG/audit-log?include=git' > audit.json`.",
        )
    return None


def _value(line: str) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def _are_events(values: Sequence[Any]) -> bool:
    known = sum(_is_event(value) for value in values)
    return known > 0 and 2 * known >= len(values)


def _is_event(value: Any) -> bool:
    return any(
        isinstance(event, dict)
        and "." in str(event.get("action"))
        and not event.keys().isdisjoint(("@timestamp", "created_at"))
        and not event.keys().isdisjoint(("actor", "org", "business", "repo", "_document_id"))
        for event in (_within(value, wrap) for wrap in _WRAPS)
    )


def _within(value: Any, keys: Sequence[str]) -> Any:
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _parse(timezone: ZoneInfo, batch: pl.DataFrame) -> Parsed:
    read = json_fields(batch, _PATHS)
    read = read.with_columns(null_if_blank(pl.col(name).str.strip_chars()) for name in _KEYS)
    read = read.with_columns(ts=times.parse(read["ts"], timezone)["ts"])
    action = pl.col("action")
    kind = action.str.extract(r"^([a-z_]{1,30})(?:\.|$)").fill_null("unknown")
    wrong = (
        pl.when(~pl.col("is_object"))
        .then(pl.lit("no JSON object"))
        .when(action.is_null() & pl.col("message").is_not_null())
        .then(pl.lit("an error of the API: ") + pl.col("message").str.slice(0, 200))
        .when(action.is_null())
        .then(pl.lit("no action"))
        .when(action.is_in(_ROWS) & pl.col("ts").is_null())
        .then(pl.lit("no time that can be read"))
    )
    read = read.with_columns(
        reason=wrong,
        skip=pl.when(action.is_in(_ROWS).not_()).then(pl.lit("another kind of event: ") + kind),
    )
    skipped = read["skip"].drop_nulls().value_counts().sort("skip")
    return Parsed(
        {"audit_events": _rows(read.filter(pl.col("reason").is_null() & pl.col("skip").is_null()))},
        read.filter(pl.col("reason").is_not_null()).select(*REJECTED),
        skipped=dict(skipped.iter_rows()),
    )


def _rows(read: pl.DataFrame) -> pl.DataFrame:
    name = pl.coalesce("repo", "repository")
    full = pl.when(name.str.contains("/", literal=True)).then(name).otherwise(pl.col("org") + "/" + name)
    asked = pl.coalesce(full, pl.col("path").str.extract(http.API_PATH))
    unnamed = pl.when(pl.col("document_id").is_null()).then("text")
    agents = http.split_user_agents(read["user_agent"].drop_nulls().unique())
    return (
        read.join(agents, on="user_agent", how="left", maintain_order="left")
        .with_columns(
            _number("status").cast(pl.Int16, strict=False),
            _number("rate_limit_remaining"),
            asked_repo=asked.str.to_lowercase(),
            public_repo=_told("public_repo", {"true": True, "1": True, "false": False, "0": False}),
            transport=pl.coalesce(_told("transport", _TRANSPORTS), _told("protocol", _TRANSPORTS)),
            method=http.clean_method("method"),
            query=pl.col("query").str.strip_prefix("?"),
            document_id=pl.coalesce("document_id", unnamed.map_elements(_digest, return_dtype=pl.String)),
        )
        .select("line_no", *SOURCE.fills["audit_events"])
    )


def _digest(text: str) -> str | None:
    """What stands for the id of an event without one: the same for the same event, however it is written."""
    value = _value(text)
    event = next((event for wrap in _WRAPS if "action" in (event := _within(value, wrap) or ())), None)
    try:
        return "sha256:" + hashlib.sha256(json.dumps(event, sort_keys=True).encode()).hexdigest()
    except RecursionError:
        return None


def _number(column: str) -> pl.Expr:
    """A number, which a copy may have written as "200.000000"."""
    return pl.col(column).cast(pl.Float64, strict=False).cast(pl.Int64, strict=False)


def _told(column: str, meanings: dict[str, Any]) -> pl.Expr:
    plain = pl.col(column).str.to_lowercase().str.replace(r"\.0+$", "")
    return plain.replace_strict(meanings, default=None)


SOURCE = Source(
    name="github_audit",
    fills={
        "audit_events": {
            "ts": "@timestamp, in ms; else created_at",
            "action": "action: git.clone, git.fetch, git.push or api.request",
            "actor": "actor; NULL where nobody is named, which is no proof that no credential was sent",
            "asked_repo": "repo or repository, else org and name, else what follows /repos/ in url_path",
            "public_repo": "repository_public of git, public_repo of the API",
            "transport": "transport_protocol_name, else transport_protocol: 1 http, 2 ssh",
            "method": "request_method, of the API",
            "path": "url_path, of the API",
            "query": "query_string, of the API",
            "route": "route, of the API",
            "status": "status_code, of the API; git events have none",
            "rate_limit_remaining": "rate_limit_remaining, of the API",
            "user_agent": "user_agent",
            "orchestration_id": "actions_orchestration_id/… in the user agent",
            "hashed_token": "hashed_token, as it is: base64 of a SHA-256",
            "programmatic_access_type": "programmatic_access_type",
            "client_ip": "actor_ip, where the organisation has switched it on",
            "request_id": "request_id",
            "document_id": "_document_id; of git events without one sha256: and the hash of the event",
        }
    },
    recognise=recognise,
    doc=__doc__ or "",
)
