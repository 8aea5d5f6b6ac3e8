"""HTTP exchanges as fields of text, whatever they were read from, to rows of `requests`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from ciforensics.contract import Parsed
from ciforensics.formats import http, times

if TYPE_CHECKING:
    from collections.abc import Mapping
    from zoneinfo import ZoneInfo

FIELDS = (
    *(
        "ts",
        "end",
        "method",
        "url",
        "scheme",
        "authority",
        "host_header",
        "host",
        "port",
        "path",
        "query",
        "status",
    ),
    *(
        "user_agent",
        "headers",
        "authenticated",
        "authorization",
        "request_bytes",
        "response_bytes",
        "duration_ms",
    ),
    *(
        "duration_s",
        "client_ip",
        "client_port",
        "request_id",
        "actor",
        "flow_type",
        "again",
        "cached",
        "unreadable",
    ),
    "redacted",
)
"""What can be known of an exchange, each a column of text; any may be missing.

`end` is the time of the last byte, `headers` the request's headers as a JSON object, `authenticated` a flag
or what stands in place of a credential, `authorization` the Authorization header as logged, `flow_type` the
protocol where it may not be HTTP, `again` is not null in a second copy of a flow, `cached` is true where no
request was made, `unreadable` says why a flow could not be read, `redacted` how many secrets were left out.
"""

_TYPES: Mapping[str, pl.DataType | type[pl.DataType]] = {
    "line_no": pl.Int64,
    "ts": pl.Datetime("us"),
    "ts_kind": pl.String,
    "ts_resolution_ms": pl.Float64,
    "method": pl.String,
    "url": pl.String,
    "status": pl.Int16,
    "user_agent": pl.String,
    "authenticated": pl.Boolean,
    "request_bytes": pl.Int64,
    "response_bytes": pl.Int64,
    "duration_ms": pl.Float64,
    "client_ip": pl.String,
    "client_port": pl.Int64,
    "request_id": pl.String,
    "actor": pl.String,
}
_NOTHING = ("", "-", "null", "none", "nil", "false", "no", "0")
_MASK = (
    r"(?i)^(?:(?:basic|bearer|token)\s*)?"
    r"(?:[*x•.…-]*|[\[<({]?(?:redacted|masked|hidden|filtered|removed|present|yes|true|set|1)[\]>)}]?)$"
)
# A quote inside a JSON string is written \", so these match keys and nothing else.
_NO_AUTHORIZATION = r'(?i)"auth(?:orization)?[_-]?(?:header)?"\s*:\s*null'
_AUTHORIZATION = r'(?i)"authorization"\s*:\s*"[^"]'
_DROPPED = r'(?i)"(?:(?:proxy-)?authorization|cookie)"\s*:'
_VALUE = r'(?i)("(?:(?:proxy-)?authorization|auth[_-]?header|(?:set-)?cookie)"\s*:\s*")(?:[^"\\]|\\.)*'


def _url(exchanges: pl.DataFrame) -> pl.Expr:
    """The URL as logged, or put together from its parts as mitmproxy's `pretty_url` is."""
    if exchanges["url"].str.contains("://", literal=True).all(ignore_nulls=False):
        return pl.col("url")  # the usual case; polars would work out every branch below for every row
    lower = pl.col("scheme").str.to_lowercase()
    plain = pl.when(lower.is_in(["http", "https", "ws", "wss"])).then(lower).otherwise("scheme")
    scheme = pl.coalesce(plain, pl.lit("https"))
    default = (pl.col("port") == "443") & (scheme == "https") | (pl.col("port") == "80") & (scheme == "http")
    at = (
        pl.when(pl.col("port").is_not_null() & ~default)
        .then(pl.format("{}:{}", "host", "port"))
        .otherwise("host")
    )
    named = [pl.when(pl.col(name) != "").then(pl.col(name)) for name in ("authority", "host_header")]
    base = pl.format("{}://{}", scheme, pl.coalesce(*named, at))
    query = pl.when(pl.col("query").str.strip_prefix("?") != "").then(
        pl.format("?{}", pl.col("query").str.strip_prefix("?"))
    )
    path = pl.col("path").fill_null("/") + query.fill_null("")
    url = pl.when(pl.col("url") != "").then(pl.col("url"))
    relative = url.str.starts_with("/")
    return (
        pl.when(relative & base.is_not_null())
        .then(base + url)
        .when(url.is_not_null())
        .then(url)
        .when(pl.col("path").str.contains("://", literal=True))
        .then("path")
        .otherwise(base + path)
    )


def _authenticated(exchanges: pl.DataFrame) -> pl.Expr:
    said = pl.col("authenticated").str.strip_chars().str.to_lowercase()
    if not exchanges["authenticated"].null_count():
        return ~said.is_in(_NOTHING)
    return (
        pl.when(said.is_not_null())
        .then(~said.is_in(_NOTHING))
        .when(pl.col("headers").is_not_null())
        .then(pl.col("headers").str.contains(_AUTHORIZATION))
        .when(pl.col("text").str.contains(_NO_AUTHORIZATION))
        .then(pl.lit(value=False))
    )


def _count(name: str) -> pl.Expr:
    """A number of bytes or a port; -1, as HAR has it, is none."""
    number = pl.col(name).cast(pl.Float64, strict=False).cast(pl.Int64, strict=False)
    return pl.when(number >= 0).then(number)


def _skip() -> pl.Expr:
    return (
        pl.when(pl.col("flow_type") != "http")
        .then(pl.lit("not HTTP"))
        .when(pl.col("method") == "CONNECT")
        .then(pl.lit("CONNECT: the tunnel, not a request in it"))
        .when(pl.col("again").is_not_null())
        .then(pl.lit("a flow again, when its websocket ended"))
        .when(pl.col("cached") == "true")
        .then(pl.lit("answered from the browser's cache"))
    )


def _reject() -> pl.Expr:
    return (
        pl.when(~pl.col("is_object"))
        .then(pl.lit("not a whole JSON object"))
        .when(pl.col("unreadable").is_not_null())
        .then(pl.format("mitmproxy cannot read this flow: {}", pl.col("unreadable").str.slice(0, 200)))
        .when(pl.col("skip").is_not_null())
        .then(None)
        .when(pl.col("when").is_null())
        .then(pl.lit("no timestamp"))
        .when(pl.col("ts").is_null())
        .then(pl.lit("timestamp not understood"))
        .when(pl.col("url").is_null())
        .then(pl.lit("no URL"))
        .when(pl.col("status").is_null() & ~pl.col("answer").str.to_lowercase().is_in(_NOTHING))
        .then(pl.lit("status not understood"))
    )


def parse_exchanges(exchanges: pl.DataFrame, *, kind: str, timezone: ZoneInfo, extra: int = 0) -> Parsed:
    """Exchanges to rows, and to those rejected or skipped.

    Args:
        exchanges: `line_no`, `n_lines`, `text`, `is_object` (there is a record at all) and any of `FIELDS`.
        kind: what the time of an exchange marks: start, end or logged.
        timezone: the zone of times that name none.
        extra: how many of these records are beyond those that the caller was given.
    """
    exchanges = exchanges.with_columns(
        pl.lit(None, pl.String).alias(name) for name in FIELDS if name not in exchanges.columns
    )
    exchanges = exchanges.rename({"ts": "when", "status": "answer"}).with_columns(
        times.parse(exchanges["ts"], timezone)
    )
    end = times.parse(exchanges["end"], timezone)["ts"]
    ip = pl.col("client_ip").str.strip_prefix("::ffff:")
    has_port = exchanges["client_ip"].str.contains(":", literal=True).any()
    with_port = r"^(?:\[(?<six>.+)\]|(?<four>\d+\.\d+\.\d+\.\d+)):(?<port>\d+)$"
    status = pl.col("answer").str.extract(r"^\s*(\d{1,3})(?:\.0+)?(?:\s|$)").cast(pl.Int16)
    if exchanges["answer"].str.len_bytes().max() == 3:  # as everybody writes it
        status = pl.col("answer").cast(pl.Int16, strict=False)
    exchanges = exchanges.with_columns(
        ts_kind=pl.lit(kind),
        method=http.clean_method("method"),
        url=_url(exchanges),
        status=pl.when(status > 0).then(status),
        authenticated=_authenticated(exchanges),
        request_bytes=_count("request_bytes"),
        response_bytes=_count("response_bytes"),
        duration_ms=pl.coalesce(
            pl.col("duration_ms").cast(pl.Float64, strict=False),
            pl.col("duration_s").cast(pl.Float64, strict=False) * 1000,
            (end - pl.col("ts")).dt.total_microseconds() / 1000,
        ),
        client_ip=pl.coalesce(ip.str.extract(with_port, 1), ip.str.extract(with_port, 2), ip)
        if has_port
        else ip,
        client_port=pl.coalesce(_count("client_port"), ip.str.extract(with_port, 3).cast(pl.Int64))
        if has_port
        else _count("client_port"),
    ).with_columns(skip=_skip())
    exchanges = exchanges.with_columns(reason=_reject())
    good = pl.col("reason").is_null() & pl.col("skip").is_null()
    passed_over = pl.col("skip").is_not_null() & pl.col("reason").is_null()
    skipped = exchanges.filter(passed_over)["skip"].value_counts()
    real = ~pl.col("authorization").str.strip_chars().str.to_lowercase().is_in(_NOTHING)
    secrets = pl.coalesce(
        pl.col("redacted").cast(pl.Int64, strict=False),
        pl.col("headers").str.count_matches(_DROPPED).cast(pl.Int64),
        (real & ~pl.col("authorization").str.strip_chars().str.contains(_MASK)).cast(pl.Int64),
    )
    return Parsed(
        {"requests": exchanges.filter(good).select(pl.col(name).cast(kind) for name, kind in _TYPES.items())},
        rejected=exchanges.filter(pl.col("reason").is_not_null()).select(
            "line_no", "n_lines", "reason", pl.col("text").str.replace_all(_VALUE, "${1}***")
        ),
        skipped=dict(skipped.sort("skip").iter_rows()),
        redacted=int(exchanges.select(secrets.sum()).item()),
        extra=extra,
    )
