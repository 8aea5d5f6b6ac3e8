r"""Squid's access log: what went through a forward proxy that does not look into TLS.

The format of the notes, `connect_bytes`, is JSON by hand:

    {"ts":"1795489505","client_ip":"10.0.0.5","authority":"github.com:443","bytes_up":"2220","bytes_down":"167","podmeta":{"pod":"x"}}

with `ts` the end of the tunnel in whole seconds and every number a string. Read as well: any other JSON
logformat, whatever its keys are called and in whatever order (`--map` for unusual ones), and the five
built-in formats `squid` (native), `common`, `combined`, `referrer` and `useragent`:

    1795489505.137     18 10.0.0.5 TCP_TUNNEL/200 7816 CONNECT github.com:443 - HIER_DIRECT/140.82.121.4 -

A CONNECT becomes a tunnel, anything else with a URL a request. Where the format has no method, `host:port` is
a CONNECT.

The writer's vices:

- Connections that never made a request (probes of a load balancer, garbage) are logged with URLs such as
  `error:transaction-end-before-headers`, or with dashes where a format has `%>rd:%>rP`: skipped, by reason.
- JSON is never checked: bare `-` for nothing, `000` for no status, a helper's answer raw, with its quotes
  eaten, cut, or over two lines. It is mended where only one reading is possible, else rejected. `metadata`
  keeps what the helper said, as a JSON string where it is no JSON. From `{pod:x,namespace:y,node:z}`, the
  quotes eaten, these three names are read, for Kubernetes names hold neither comma nor colon; with any other
  key in it (a workflow may be called `x,pod:y`) nothing is. A bare word is never taken for a pod.
- `combined` and `useragent` write the user agent raw, quotes and all.
- `strip_query_terms` leaves a bare `?` at the end of the URL; the URL stays as logged.
- Byte counts include headers: the client's CONNECT going up, Squid's `200 Connection established` down.
- `useragent` says that an address used a program, not what for, not even whether it was a tunnel or a
  request: skipped.
- A container often writes cache.log to the same stdout: skipped. Formats may change within a file.
- log_mime_hdrs appends whole headers, Authorization and all: the user agent is kept, and whether there was an
  Authorization. Quoted fields that a custom format puts behind the native ones are not read.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import polars as pl

from ciforensics.contract import RECORDS, REJECTED, Head, Parsed, Reader, ReadOptions, Source
from ciforensics.errors import Unreadable
from ciforensics.formats import http, records, squid_json, squid_text

if TYPE_CHECKING:
    from collections.abc import Sequence

# In this order: each takes what those before it left.
_READS: dict[str, squid_text.Read] = {
    "json": squid_json.read,
    "squid": squid_text.read_native,
    "common": squid_text.read_common,
    "referrer": squid_text.read_referrer,
    "useragent": squid_text.read_useragent,
    "cache.log": squid_text.cache_log,
}
_HEAD_LINES = 400

# What only Squid writes: its result codes, its pseudo-URLs, and the keys of the notes' format.
_MARKS = (
    r'[{,]\s*"podmeta"\s*:|"authority"\s*:.*"bytes_(?:up|down)"\s*:|:\s*"error:[a-z-]+"'
    r'|:\s*"(?:TCP|UDP|NONE|TAG)_[A-Z_]+(?:[/:][A-Z0-9_/.:-]*)?"'
)

_AUTHORITY = r"^(?:\[(?<v6>[0-9A-Fa-f:.]+)\]|(?<name>[^\s:/\[\]@?#]+)):(?<port_asked>[0-9]{1,5})$"
_ADDRESS = r"^[0-9.]+$|:"
_NOTHING = r"^(?:[^:/]+://)?-:(?:-|[0-9]+)/?$"
_PROBE = re.compile(r"error:[A-Za-z0-9-]{0,40}")

_TEXTS = ("method", "url", "host", "sni", "result_code", "client_ip", "actor", "user_agent")
_CI = ("namespace", "pod", "node", "ci_repo", "workflow", "job", "run_id", "metadata")
_FACTS: dict[str, pl.DataType | type[pl.DataType]] = {
    **dict.fromkeys((*_TEXTS, *_CI, "skip", "ts_kind", "status", "duration_ms"), pl.String),
    **dict.fromkeys(("bytes_up", "bytes_down", "client_port", "port", "redacted"), pl.Int64),
    "ts": pl.Datetime("us"),
    "ts_resolution_ms": pl.Float64,
    "authenticated": pl.Boolean,
}


def recognise(head: Head, options: ReadOptions) -> Reader | None:
    """A reader when at least half of the head's records have a shape that only Squid writes."""
    lines = head.lines[:_HEAD_LINES]
    frame = pl.DataFrame({"line_no": range(1, len(lines) + 1), "n_lines": 1, "text": lines}, schema=RECORDS)
    frame, _ = records.json_objects(frame, final=True)
    counts, rest = {}, frame
    for name, read in _READS.items():
        facts, rest = read(rest, options)
        if name == "json":
            facts = facts.filter(pl.col("ts").is_not_null() & pl.coalesce("url", "host").is_not_null())
            readable = len(facts)
            facts = facts.filter(pl.col("text").str.contains(_MARKS))
        counts[name] = len(facts)
    told = len(frame) - counts.pop("cache.log")
    best = max(counts, key=lambda name: counts[name])
    if counts[best] and sum(counts.values()) * 2 >= told:
        return _reader(best, frame, options)
    if not options.forced:
        return None
    if readable or counts[best]:
        return _reader("json" if readable else best, frame, options)
    raise Unreadable(
        "No line at its head is in one of Squid's built-in formats, nor JSON with a time and a URL.",
        hint="name your logformat's keys, for instance `--map ts=when --map url=target`.",
    )


def _reader(name: str, head: pl.DataFrame, options: ReadOptions) -> Reader:
    reads = [_READS[name], *(read for other, read in _READS.items() if other != name)]

    def parse(batch: pl.DataFrame) -> Parsed:
        parts, rest = [], batch
        for read in reads:
            if rest.is_empty():
                break
            facts, rest = read(rest, options)
            parts.append(facts)
        return _settle(parts, rest, len(batch))

    if name == "json":
        return Reader(format="json", parse=parse, assemble=records.json_objects)
    if name == "common" and squid_text.read_common(head, options)[0]["user_agent"].count():
        return Reader(format="combined", parse=parse)
    return Reader(format=name, parse=parse)


def _settle(parts: Sequence[pl.DataFrame], rest: pl.DataFrame, handed_in: int) -> Parsed:
    """Facts become rows: a CONNECT a tunnel, anything else with a URL a request, a probe neither."""
    facts = _tidied(squid_text.put_together(parts, rest))
    told = facts.filter(pl.col("skip").is_null() & pl.col("reason").is_null())
    rows = {
        "requests": told.filter(~pl.col("tunnel")).select("line_no", *SOURCE.fills["requests"]),
        "tunnels": told.filter("tunnel").select("line_no", *SOURCE.fills["tunnels"]),
    }
    broken = pl.when(pl.col("text").str.starts_with("{")).then(pl.lit("broken JSON"))
    rest = rest.with_columns(reason=broken.otherwise(pl.lit("no line of a Squid access log")))
    rejected = [
        facts.filter(pl.col("skip").is_null() & pl.col("reason").is_not_null()).select(*REJECTED),
        rest.select(*REJECTED),
    ]
    skipped: dict[str, int] = {}
    for skip, count in facts.drop_nulls("skip").group_by("skip").len().sort("skip").iter_rows():
        probe = _PROBE.match(skip)  # the pseudo-URL, or a reason of ours
        reason = f"no request ({probe[0]})" if probe else skip
        skipped[reason] = skipped.get(reason, 0) + count
    return Parsed(
        rows={table: frame for table, frame in rows.items() if len(frame)},
        rejected=pl.concat(rejected).sort("line_no", maintain_order=True),
        skipped=skipped,
        redacted=int(facts["redacted"].sum()),
        extra=len(facts) + len(rest) - handed_in,
    )


def _tidied(facts: pl.DataFrame) -> pl.DataFrame:
    """A dash is nothing, nor is a negative count or a status of 0; what becomes of each fact is decided."""
    absent = [pl.lit(None, kind).alias(name) for name, kind in _FACTS.items() if name not in facts.columns]
    texts = [name for name in _TEXTS if name in facts.columns]
    facts = facts.with_columns(absent).with_columns(
        *(pl.when((pl.col(name) != "-") & (pl.col(name) != "")).then(name) for name in texts),
        *(_count(name, pl.Int64) for name in ("bytes_up", "bytes_down", "client_port", "port")),
        _count("duration_ms", pl.Float64),
        pl.when(_count("status", pl.Int64) > 0).then("status").cast(pl.Int16, strict=False),
        pl.col("ts_kind").fill_null("end"),
    )
    facts = _placed(facts.with_columns(method=http.clean_method("method")))
    connect = (pl.col("method") == "CONNECT").fill_null(value=False)
    nowhere = pl.col("url").is_null() & ~(connect & pl.col("host").is_not_null())
    return facts.with_columns(
        request_bytes="bytes_up",
        response_bytes="bytes_down",
        tunnel=connect | (pl.col("method").is_null() & pl.col("is_authority")),
        reason=pl.when(pl.col("ts").is_null())
        .then(pl.lit("no time that can be read"))
        .when(nowhere)
        .then(pl.lit("no URL and no authority")),
        skip=pl.coalesce(
            "skip",
            pl.when(pl.col("url").str.starts_with("error:")).then("url"),
            pl.when(pl.col("url").str.contains(_NOTHING)).then(pl.lit("no request that Squid could read")),
            pl.when(pl.col("result_code").str.starts_with("UDP_")).then(
                pl.lit("a query between caches, no request")
            ),
        ),
    )


def _placed(facts: pl.DataFrame) -> pl.DataFrame:
    """Takes `host:port` apart, each distinct one once."""
    asked = (
        facts.filter(pl.col("method").is_null() | (pl.col("method") == "CONNECT"))["url"]
        .drop_nulls()
        .unique()
    )
    places = (
        asked.to_frame()
        .with_columns(pl.col("url").str.extract_groups(_AUTHORITY).alias("place"))
        .unnest("place")
    )
    places = places.select(
        "url",
        is_authority=pl.col("port_asked").is_not_null(),
        host_asked=pl.coalesce("v6", "name").str.to_lowercase(),
        port_asked=pl.col("port_asked").cast(pl.Int64),
    )
    facts = facts.join(places, on="url", how="left", maintain_order="left")
    bare = pl.when((pl.col("method") == "CONNECT") & pl.col("url").is_not_null()).then(pl.col("url"))
    facts = facts.with_columns(
        pl.col("is_authority").fill_null(value=False),
        host=pl.coalesce("host_asked", pl.coalesce("host", bare).str.to_lowercase()),
        port=pl.coalesce("port_asked", "port"),
    )
    if not facts["sni"].count():
        return facts
    # An intercepted CONNECT names only the address; the name is in the TLS hello.
    named = pl.when(pl.col("host").str.contains(_ADDRESS)).then(pl.col("sni").str.to_lowercase())
    return facts.with_columns(host=pl.coalesce(named, "host"))


def _count(name: str, kind: type[pl.DataType]) -> pl.Expr:
    number = pl.col(name).cast(kind, strict=False)
    return pl.when(number >= 0).then(number).alias(name)


_CLIENT = {
    "client_ip": "%>a",
    "duration_ms": "%tr; where only start and end are logged, what lies between them",
    "status": "%>Hs, what Squid answered: 200 for a tunnel that stood; 000 is NULL",
    "ts": "when the transaction was logged, at its end; its start (%tS) where a JSON format has only that",
    "ts_kind": "end, or start",
    "ts_resolution_ms": "1 in squid and referrer, 1000 in common, combined and connect_bytes",
}
_SAID = "{} from the helper's word, or a key of a JSON logformat"

SOURCE = Source(
    name="squid",
    fills={
        "requests": _CLIENT
        | {
            "method": "%rm; NULL in referrer and connect_bytes, which do not log it",
            "url": "%ru as logged; strip_query_terms leaves a bare ? at its end",
            "user_agent": "combined, a JSON key, or the headers of log_mime_hdrs",
            "authenticated": "whether log_mime_hdrs shows an Authorization header",
            "request_bytes": "%>st, headers included",
            "response_bytes": "%<st, headers included",
            "client_port": "%>p in a JSON logformat",
            "actor": "%un, the user that the proxy knows (its login, or ident), not the server's",
        },
        "tunnels": _CLIENT
        | {
            "host": "host of %ru; the SNI where %ru has only an address and the format logs %ssl::>sni",
            "port": "port of %ru",
            "bytes_up": "%>st, the CONNECT header included",
            "bytes_down": "%<st, Squid's 200 Connection established (39 bytes) included",
            "result_code": "%Ss as logged, an _ABORTED behind it included",
            "namespace": _SAID.format("namespace"),
            "pod": _SAID.format("pod"),
            "node": _SAID.format("node"),
            "ci_repo": _SAID.format("repo, repository, jobRepositoryName"),
            "workflow": _SAID.format("workflow, wf, or the file in jobWorkflowRef"),
            "job": _SAID.format("job, jobDisplayName"),
            "run_id": _SAID.format("run_id, workflowRunId"),
            "metadata": "%ea, what the external ACL helper said; as a JSON string where it is no JSON",
        },
    },
    recognise=recognise,
    doc=__doc__ or "",
)
