"""The shapes of Squid's lines, each read into the same facts.

A **read** takes records and gives two frames: the *facts* of those that have its shape, and the rest as
they were. Facts have `line_no`, `n_lines`, `text` and what the line says, as text, in columns of the tables'
names; a column `skip` says why a record holds nothing to report. So a file that changed its format, or two
formats sent to one stdout, need no special case: what one read leaves, the next one takes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import polars as pl

from ciforensics.formats import times

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ciforensics.contract import ReadOptions

Read = Callable[[pl.DataFrame, "ReadOptions"], tuple[pl.DataFrame, pl.DataFrame]]

# No two ways to match a character: the regex crate then runs a one-pass automaton, twice as fast as `\S+ +`
# spelled freely (measured: 140 against 330 ms for 32 MB).
_NATIVE = (
    r"^ *(?<seconds>[0-9]{1,11})\.(?<millis>[0-9]{3}) +(?<duration_ms>-?[0-9]+) (?<client_ip>[^ ]+) "
    r"(?<result_code>[A-Z_]+)/(?<status>[0-9]{3}) (?<bytes_down>-?[0-9]+) (?<method>[^ ]+) (?<url>[^ ]+) "
    r"(?<actor>[^ ]+) [A-Z_]+/[^ ]* (?:-|[A-Za-z][^ ]*)$"
)

# The same with spaces in the user name, fields aligned by hand, the two header blobs of log_mime_hdrs and
# quoted fields that a custom format put behind. A record glued on fits into none of them, so none is lost.
_NATIVE_FREELY = (
    r"^\s*(?<seconds>[0-9]{1,11})\.(?<millis>[0-9]{3})\s+(?<duration_ms>-?[0-9]+|-)\s+(?<client_ip>\S+)\s+"
    r"(?<result_code>[A-Z][A-Z_]*)/(?<status>[0-9]{1,3}|-)\s+(?<bytes_down>-?[0-9]+|-)\s+(?<method>\S+)\s+"
    r"(?<url>\S+)\s+(?<actor>\S+|[^\s/][^/]*?)\s+[A-Z][A-Z_]*/\S*\s+(?:-|[A-Za-z]\S*)"
    r'(?:\s+\[(?<sent>[^\]]*)\]\s+\[(?<answered>[^\]]*)\])?(?:\s+"[^"]*")*\s*$'
)

_WHEN = r"\[(?<when>[0-3][0-9]/[A-Z][a-z]{2}/[0-9]{4}:[0-9:]{8}(?: [+-][0-9]{4})?)\]"

# Referer and user agent are written raw: the user agent ends where the last quote before the codes is.
_COMMON = (
    rf'^(?<client_ip>\S+) (?<ident>\S+) (?<actor>\S.*?) {_WHEN} "(?<method>\S+) (?<url>\S+) [A-Z]+/[0-9.]+" '
    r'(?<status>[0-9]{1,3}|-) (?<bytes_down>-?[0-9]+|-)(?: "(?<referer>.*?)" "(?<user_agent>.*)")? '
    r"(?<result_code>[A-Z][A-Z_]*):[A-Z][A-Z_]*(?: \[(?<sent>[^\]]*)\] \[(?<answered>[^\]]*)\])?$"
)

_REFERRER = (
    r"^(?<seconds>[0-9]{1,11})\.(?<millis>[0-9]{3}) (?<client_ip>[0-9A-Fa-f]*[.:][0-9A-Fa-f.:]*) "
    r"(?:-|[A-Za-z][A-Za-z0-9+.-]*:.*) (?<url>[A-Za-z0-9.\[_-]+:[^ ]*|\[[^ ]*)$"
)

_USERAGENT = rf'^(?<client_ip>\S+) {_WHEN} "(?<user_agent>.*)"$'
_REQUEST_LINE = r"^[A-Z]+ \S+ HTTP/[0-9.]+$"

_CACHE_LOG = r"^(?<when>[0-9]{4}/[0-9]{2}/[0-9]{2} [0-9:]{8}(?:\.[0-9]+)?(?: [a-z]+[0-9]+)?)\| "

_CREDENTIALS = r"(?i)(?:^|%0d%0a|\\r\\n)(?:proxy-authorization|authorization|cookie|set-cookie): "
_AUTHORIZATION = r"(?i)(?:^|%0d%0a|\\r\\n)authorization: "
_USER_AGENT_HEADER = r"(?i)(?:^|%0d%0a|\\r\\n)user-agent: (.*?)(?:%0d%0a|\\r\\n|$)"


def match(records: pl.DataFrame, pattern: str) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Splits records by a pattern: those that match, with its named groups as columns, and the rest.

    Example:
        >>> frame = pl.DataFrame({"text": ["a=1", "b"]})
        >>> match(frame, r"^(?<key>.)=(?<value>.)$")[0].rows()
        [('a=1', 'a', '1')]
    """
    groups = records["text"].str.extract_groups(pattern).struct.unnest()
    hit = groups[:, 0].is_not_null()
    if hit.all():
        return records.hstack(groups), records.clear()
    return records.hstack(groups).filter(hit), records.filter(~hit)


def read_native(records: pl.DataFrame, options: ReadOptions) -> tuple[pl.DataFrame, pl.DataFrame]:  # noqa: ARG001 (as every parser)
    """Squid's own format, `squid`: its end in ms, how long it took, and what came of it."""
    regular, rest = match(records, _NATIVE)
    facts = [regular.with_columns(_epoch())] if len(regular) else []
    if len(rest):
        freely, rest = match(rest, _NATIVE_FREELY)
        facts.append(_headers(freely.with_columns(_epoch())))
    return put_together(facts, records), rest


def read_common(records: pl.DataFrame, options: ReadOptions) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The formats `common` and `combined`: those of a web server, with Squid's `RESULT:HIERARCHY` behind."""
    rows, rest = match(records, _COMMON)
    glued = rows["user_agent"].str.contains(rf'{_WHEN} "').fill_null(value=False)
    if glued.any():
        rows, rest = rows.filter(~glued), pl.concat([rest, rows.filter(glued).select(rest.columns)])
    known = pl.when(pl.col("actor") != "-").then("actor").otherwise("ident")
    return _headers(_clf(rows.with_columns(known.alias("actor")), options)), rest


def read_referrer(records: pl.DataFrame, options: ReadOptions) -> tuple[pl.DataFrame, pl.DataFrame]:  # noqa: ARG001 (as every parser)
    """The format `referrer`: time, client, where it came from, and the URL without its method."""
    rows, rest = match(records, _REFERRER)
    return rows.with_columns(_epoch()), rest


def read_useragent(records: pl.DataFrame, options: ReadOptions) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The format `useragent`, which tells a program and an address but not what was asked for: no row."""
    rows, rest = match(records, _USERAGENT)
    asked = rows["user_agent"].str.contains(_REQUEST_LINE)
    rest = pl.concat([rest, rows.filter(asked).select(rest.columns)]).sort("line_no")
    skip = pl.lit("a user agent without what it asked for: a request or a tunnel, the format does not say")
    return _clf(rows.filter(~asked), options).with_columns(skip=skip), rest


def cache_log(records: pl.DataFrame, options: ReadOptions) -> tuple[pl.DataFrame, pl.DataFrame]:  # noqa: ARG001 (as every parser)
    """Lines of cache.log, Squid's own diary: a container often writes both to one stdout."""
    rows, rest = match(records, _CACHE_LOG)
    return rows.with_columns(skip=pl.lit("a line of cache.log, no access")), rest


def _epoch() -> list[pl.Expr]:
    seconds, millis = pl.col("seconds").cast(pl.Int64), pl.col("millis").cast(pl.Int64)
    return [
        (seconds * 1_000_000 + millis * 1_000).cast(pl.Datetime("us")).alias("ts"),
        pl.lit(1.0).alias("ts_resolution_ms"),
    ]


def _clf(rows: pl.DataFrame, options: ReadOptions) -> pl.DataFrame:
    return rows.hstack(times.parse(rows["when"], options.timezone))


def _headers(rows: pl.DataFrame) -> pl.DataFrame:
    """What the blobs of log_mime_hdrs tell; the rest of them is dropped, its credentials are counted."""
    if not rows["sent"].count():
        return rows
    sent = pl.col("sent")
    agent = sent.str.extract(_USER_AGENT_HEADER)
    decoded = pl.col("agent").str.replace_many(
        ["%5b", "%5B", "%5d", "%5D", "%5c", "%5C", "%25"], ["[", "[", "]", "]", "\\", "\\", "%"]
    )
    secrets = sum(pl.col(blob).str.count_matches(_CREDENTIALS).fill_null(0) for blob in ("sent", "answered"))
    logged = pl.col("user_agent") if "user_agent" in rows.columns else pl.lit(None, pl.String)
    return rows.with_columns(
        agent=agent, authenticated=sent.str.contains(_AUTHORIZATION), redacted=secrets
    ).with_columns(user_agent=pl.coalesce(logged, decoded))


def put_together(parts: Sequence[pl.DataFrame], like: pl.DataFrame) -> pl.DataFrame:
    """Facts of several reads in the order of their lines; with none, an empty frame shaped as `like`."""
    parts = [part for part in parts if len(part)]
    if len(parts) == 1:
        return parts[0]
    return pl.concat([like.clear(), *parts], how="diagonal").sort("line_no", maintain_order=True)
