r"""mitmproxy: the HTTP requests that passed through the proxy, in any form that it and its addons write.

A line, by the usual logging addon (ours, `formats/mitmproxy_addon.py`, writes the same six keys and more):

    {"timestamp": "2026-11-24T03:04:14Z", "method": "GET", "url": "https://github.com/acme/search.git/info/refs?service=git-upload-pack", "status": 401, "user_agent": "git/2.39.5", "content_length": 22}

| format | what it is |
|---|---|
| `jsonl` | JSON lines of timestamp, method, url, status, user_agent, content_length; more keys, other names |
| `jsondump` | JSON lines of whole flows, by mitmproxy's `examples/contrib/jsondump.py` |
| `json-array`, `jsondump-array`, `har-array` | the same, or HAR entries, as one JSON array |
| `har`, `zhar` | HTTP Archive, by mitmproxy (`zhar`: packed) or by a browser |
| `mitm` | a dump (`mitmdump -w`), read by the user's own mitmdump |

Vices of the writers:
- mitmproxy has no field `content_length`: an addon takes the header or the body's length.
- The time is the request's start: measured on 1,185 flows of which there are both a dump and lines, the
  lines had the start cut to whole seconds in every one. The lines are in the order of the answers.
- An addon that writes the Authorization header only where there is one says nothing of the others: NULL.
- HAR knows no client address. mitmproxy writes one on exit only; a time that falls on a whole second has no
  decimals there, so its `ts_resolution_ms` is 1000. Chrome leaves credentials out of a HAR: NULL.
- jsondump writes a flow again when its websocket ends: skipped. Header names come in any case, duplicates of
  a header are lost, the times are whole ms, the client is `["ip", port]` (older: `{"host", "port"}`).
- Flows that are no HTTP, CONNECT (the tunnel around the requests) and what a browser had in its cache are
  skipped. A request without an answer is a row without a status.
- All but our own addon write credentials as they were: never kept, only whether there was one.
"""  # noqa: E501

from __future__ import annotations

import re
import zlib
from functools import partial
from typing import TYPE_CHECKING, Any

import polars as pl

from ciforensics.contract import Head, Parsed, Reader, ReadOptions, Source
from ciforensics.formats import exchanges, flows, har, keys
from ciforensics.formats.records import json_fields

if TYPE_CHECKING:
    from collections.abc import Mapping
    from zoneinfo import ZoneInfo

SEEN = 50
"""Objects at the head of a file that say what it is."""

CONVERTED: keys.Paths = {
    name: [f"$.{key}"]
    for name, key in {
        **{name: name for name in ("method", "url", "status", "user_agent", "request_bytes", "client_ip")},
        **{name: name for name in ("client_port", "duration_ms", "authenticated", "request_id")},
        **{name: name for name in ("flow_type", "redacted", "cached", "unreadable")},
        "ts": "timestamp",
        "response_bytes": "content_length",
    }.items()
}
"""What our addon makes of a dump, and `har.describe_entry` of a HAR."""


def _header(message: str, name: str) -> list[str]:
    return [f'$.{message}.headers."{cased}"' for cased in (name, name.lower(), name.upper())]


FLOW: keys.Paths = {
    "flow_type": ["$.type"],
    "again": ["$.websocket.timestamp_end"],
    "ts": ["$.request.timestamp_start"],
    "method": ["$.request.method"],
    "scheme": ["$.request.scheme"],
    "authority": ["$.request.authority"],
    "host_header": _header("request", "Host"),
    "host": ["$.request.host"],
    "port": ["$.request.port"],
    "path": ["$.request.path"],
    "headers": ["$.request.headers"],
    "status": ["$.response.status_code"],
    "user_agent": _header("request", "User-Agent"),
    "response_bytes": _header("response", "Content-Length"),
    "request_bytes": _header("request", "Content-Length"),
    "client_ip": ["$.client_conn.peername[0]", "$.client_conn.address.host", "$.client_conn.address[0]"],
    "client_port": ["$.client_conn.peername[1]", "$.client_conn.address.port", "$.client_conn.address[1]"],
    "request_id": _header("response", "X-GitHub-Request-Id"),
    "end": ["$.response.timestamp_end", "$.error.timestamp"],
}


def _objects(text: str) -> list[str]:
    """The objects of a line that DuckDB does not take: two glued lines, or half a surrogate pair in one."""
    texts, at = [], 0
    try:
        while at < len(text):
            value, end = har.loads(text, at)
            if not isinstance(value, dict):
                return []
            texts.append(har.dumps(value))
            at = end + len(text[end:]) - len(text[end:].lstrip())
    except ValueError:
        return []
    return texts


def _fields(records: pl.DataFrame, paths: keys.Paths) -> tuple[pl.DataFrame, int]:
    """Reads the fields; lines that need a second look get it. Also how many records were found on top."""
    read = json_fields(records, paths)
    pieces = [
        (line_no, n_lines, text)
        for line_no, n_lines, whole in read.filter(~pl.col("is_object")).select(records.columns).iter_rows()
        for text in _objects(whole)
    ]
    if not pieces:
        return read, 0
    mended = pl.DataFrame(pieces, schema=records.schema, orient="row")
    read = read.join(mended, on="line_no", how="anti", maintain_order="left")
    both = pl.concat([read, json_fields(mended, paths)]).sort("line_no", maintain_order=True)
    return both, len(both) - len(records)


def _parse(records: pl.DataFrame, *, paths: keys.Paths, kind: str, timezone: ZoneInfo) -> Parsed:
    read, extra = _fields(records, paths)
    return exchanges.parse_exchanges(read, kind=kind, timezone=timezone, extra=extra)


_HAR = re.compile(r'\{\s*"log"\s*:\s*\{')
_ALL_HEADERS = re.compile(r'"creator"\s*:\s*\{\s*"name"\s*:\s*"mitmproxy"')
_LONG_FLOW = re.compile(r'\{"version": ?\d+, ?"type": ?"(?:http|tcp|udp|dns)", ?"id":')


def recognise(head: Head, options: ReadOptions) -> Reader | None:
    """Knows a mitmproxy log by its content; see the module's docstring for the formats."""
    converted = partial(_parse, paths=CONVERTED, kind="start", timezone=options.timezone)
    if flows.OPENING.match(head.data):
        return Reader("mitm", converted, blocks=partial(flows.read_flows, program=flows.find_mitmdump()))
    packed = head.data[:1] == b"x"
    text = (_unpacked(head.data) if packed else head.data).decode("utf-8", "replace").lstrip("\ufeff \t\r\n")
    if _HAR.match(text) and (har.HAR_OPENING.search(text) or len(text) > 100_000):
        entry = partial(har.describe_entry, all_headers=_ALL_HEADERS.search(text) is not None)
        if packed:
            return Reader("zhar", converted, blocks=partial(har.read_inflated, reduce=entry))
        return Reader(
            "har", converted, blocks=partial(har.read_elements, reduce=entry, opening=har.HAR_OPENING)
        )
    if text.startswith("["):
        objects = _loaded(text[1:])
        if objects and all("startedDateTime" in value and "request" in value for value in objects):
            entry = partial(har.describe_entry, all_headers=False)
            return Reader("har-array", converted, blocks=partial(har.read_elements, reduce=entry))
        blocks = partial(har.read_elements, reduce=_without_bodies)
    else:
        objects = [value for line in head.lines[:SEEN] for value in _loaded(line)]
        blocks = None
    if _LONG_FLOW.match(text) or any(map(_is_flow, objects)):
        parse = partial(_parse, paths=FLOW, kind="start", timezone=options.timezone)
        return Reader("jsondump-array" if blocks else "jsondump", parse, blocks=blocks)
    flat = keys.find(objects, options.mapping, forced=options.forced)
    if flat is None:
        return None
    parse = partial(_parse, paths=flat[0], kind=flat[1], timezone=options.timezone)
    return Reader("json-array" if blocks else "jsonl", parse, blocks=blocks)


def _unpacked(data: bytes) -> bytes:
    try:
        return zlib.decompressobj().decompress(data, len(data))
    except zlib.error:
        return b""


def _loaded(text: str) -> list[dict[str, Any]]:
    """The first objects of a text, whatever stands between them."""
    objects: list[dict[str, Any]] = []
    at = 0
    while len(objects) < SEEN and (start := text.find("{", at)) >= 0 and not text[at:start].strip(" \t\r\n,"):
        try:
            value, at = har.loads(text, start)
        except ValueError:
            break
        objects.append(value)
    return objects


def _is_flow(value: Mapping[str, Any]) -> bool:
    if "client_conn" not in value or "type" not in value:
        return False
    return isinstance(value.get("request"), dict) or value["type"] in ("tcp", "udp", "dns", "websocket")


def _without_bodies(value: Any) -> Any:
    """A flow without what was said in it."""
    if not isinstance(value, dict) or "client_conn" not in value:
        return value
    value.pop("messages", None)
    for message in ("request", "response"):
        if isinstance(value.get(message), dict):
            value[message].pop("content", None)
    return value


SOURCE = Source(
    name="mitmproxy",
    fills={
        "requests": {
            "ts": "timestamp; of a flow or a HAR entry the request's start",
            "ts_kind": "start, unless the key says otherwise (timestamp_end, logged_at)",
            "ts_resolution_ms": "from the digits of the timestamp",
            "method": "method",
            "url": "url, or scheme, host, path and query put together",
            "status": "status; NULL where no answer came",
            "user_agent": "user_agent, or the User-Agent header",
            "authenticated": "whether there was an Authorization header; NULL where the log does not say",
            "request_bytes": "request_bytes, or the request's Content-Length",
            "response_bytes": "content_length, or the answer's Content-Length",
            "duration_ms": "duration_ms, or from the request's start to the answer's end; HAR: time",
            "client_ip": "client_ip, or client_conn.peername; not in HAR",
            "client_port": "client_port, or client_conn.peername; not in HAR",
            "request_id": "the X-GitHub-Request-Id header of the answer",
            "actor": "only where --map names its key",
        }
    },
    recognise=recognise,
    doc=__doc__,
)
