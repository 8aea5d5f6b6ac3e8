"""GitHub's support CSV: the requests that GitHub saw, as its support sends them; GHES logs turned to CSV.

    timestamp,method,url,status,user_agent,content_length
    2026-11-24T03:04:13Z,POST,https://github.com/acme/ledger.git/git-upload-pack,200,git/2.39.5,156

Nobody has published its columns; these six are what is known, and every other spelling is taken from GitHub
Enterprise Server's logs (GHES), its audit log and custom. Vices: the header differs from export to export;
so does the timestamp (RFC 3339, epoch in any unit, what a spreadsheet made of it), mostly in whole seconds;
pip's user agent is JSON, which naive writers do not quote; GHES writes methods in lower case, `nil` for
nothing and `elapsed` in seconds. There is no id that another log shares, and no client but its address, if
that.

A record without a readable timestamp or a whole number as its status is rejected. One without a url is still
a request. A size or a duration that is no number is NULL.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import polars as pl

from ciforensics.contract import REJECTED, Head, Parsed, Reader, ReadOptions, Source
from ciforensics.errors import Unreadable
from ciforensics.formats import http, times
from ciforensics.formats.delimited import MAX_WIDTH, Layout, split
from ciforensics.tables import EVIDENCE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from zoneinfo import ZoneInfo

# Names as `normalised` has them. Of several columns that are there, the first that is not empty counts. In
# GHES's gitauth log the caller is GitHub's proxy: `original_user_agent` is git's, `user_agent` may be its.
SPELLINGS = {
    name: tuple(spellings.split())
    for name, spellings in {
        "ts": """timestamp ts @timestamp created_at now time at starteddatetime timestamp_start datetime date
            event_time request_time _time""",
        "method": "method request_method http_method http_request_method verb",
        "url": "url http_url url_full uri request_url",
        "status": """status status_code http_status_code http_status http_response_status_code response_status
            response_code code""",
        "user_agent": """original_user_agent user_agent_original user_agent http_user_agent http_ua ua
            useragent agent""",
        "host": "request_host http_host host authority",
        "path": "url_path path path_info http_target route",
        "query": "query_string url_query query",
        "scheme": "scheme http_scheme",
        "response_bytes": """content_length http_response_content_length http_response_body_size
            response_bytes client_sent ss bytes bytes_down response_size body_bytes_sent size""",
        "request_bytes": "request_bytes client_recv bytes_up request_size",
        "duration_ms": "duration_ms",
        "elapsed_s": "elapsed",
        "client_ip": """remote_address http_client_ip ip xff_ip x_forwarded_for x_real_ip actor_ip real_ip
            client_ip actor_location_ip remote_addr src_ip source_ip clientip""",
        "client_port": "srcp client_port remote_port src_port",
        "authenticated": "authenticated hasauth auth",
        "request_id": "request_id gh_request_id github_request_id x_github_request_id _document_id id",
        "actor": "actor gh_actor_login current_user gh_auth_login user login user_login raw_login member",
        "orchestration_id": "orchestration_id actions_orchestration_id",
    }.items()
}
_NOT_OURS = {"host", "path", "query", "scheme", "elapsed_s"}  # they go into the url and duration_ms
_BESIDE = {
    "host",
    "query",
    "method",
    "user_agent",
}  # without one of these a path is a file's, not a request's
_MS = {"duration_ms": 1.0, "elapsed_s": 1000.0}
_WHOLE = ("request_bytes", "response_bytes", "client_port")
_YES = ("true", "t", "1", "yes", "basic", "bearer", "oauth", "token")
_NO = ("false", "f", "0", "no", "none", "anonymous")


@dataclass(frozen=True)
class Header:
    """The header of one file.

    Attributes:
        text: its lines: a `sep=;` that Excel asks for, and the names.
        delimiter: what is between the names.
        names: as written.
        columns: for each name of `SPELLINGS` that is there, the fields that hold it, best first.
    """

    text: tuple[str, ...]
    delimiter: str
    names: tuple[str, ...]
    columns: Mapping[str, tuple[int, ...]]

    @property
    def missing(self) -> list[str]:
        """What a request cannot do without and is not there."""
        path = "path" in self.columns and not self.columns.keys().isdisjoint(_BESIDE)
        return [
            name for name in ("ts", "status", "url") if not (name in self.columns or (name == "url" and path))
        ]


def normalised(name: str) -> str:
    """A header's name as the list of spellings has it.

    Example:
        >>> normalised(" User-Agent ")
        'user_agent'
    """
    return name.strip().lower().translate(str.maketrans("- .", "___"))


def _header(lines: Sequence[str], mapping: Mapping[str, str]) -> Header | None:
    first = lines[0].removeprefix("\ufeff").rstrip("\r")
    told = first.lower().strip('"')
    text: tuple[str, ...] = (first,)
    delimiters: Sequence[str] = (",", ";", "\t")
    if told in {"sep=,", "sep=;", "sep=\t", "sep=|"} and len(lines) > 1:
        delimiters, text = told[4], (first, lines[1].rstrip("\r"))
    headers = []
    for delimiter in delimiters:
        names = split(text[-1], delimiter) or []
        while names and not names[-1].strip():
            names.pop()
        if 3 <= len(names) <= MAX_WIDTH:
            headers.append(Header(text, delimiter, tuple(names), _columns(names, mapping)))
    return max(headers, key=lambda header: len(header.columns), default=None)


def _columns(names: Sequence[str], mapping: Mapping[str, str]) -> dict[str, tuple[int, ...]]:
    plain = [normalised(name) for name in names]
    columns = {}
    for ours, spellings in SPELLINGS.items():
        wanted = (normalised(mapping[ours]),) if ours in mapping else spellings
        fields = [field for spelling in wanted for field, name in enumerate(plain) if name == spelling]
        if fields:
            columns[ours] = tuple(fields)
    return columns


def _recognise(head: Head, options: ReadOptions) -> Reader | None:
    if not head.lines:
        return None
    header = _header(head.lines, options.mapping)
    if header is None:
        if options.forced:
            raise _unreadable("The first line is no header of a CSV.", ())
        return None
    marks = header.columns.keys() & {"ts", "method", "url", "status", "user_agent"}
    mapped = header.columns.keys() & options.mapping.keys()
    evident = len(marks) > 2 or marks >= {"status", "user_agent"} or bool(mapped)
    if not evident and not options.forced and header.missing:
        return None
    _check_mapping(header, options)
    if header.missing:
        fact = f"The header has no column for {' and '.join(header.missing)}."
        raise _unreadable(fact, header.names, header.missing)
    if not options.forced and marks.isdisjoint({"method", "user_agent"}) and not _has_status(head, header):
        return None
    layout = Layout(header.delimiter, len(header.names), frozenset(header.columns.get("user_agent", ())))
    parse = partial(_parse, header=header, layout=layout, timezone=options.timezone)
    return Reader("csv", parse, layout.assemble, header_lines=len(header.text))


def _check_mapping(header: Header, options: ReadOptions) -> None:
    """A `--map` that does not fit is a slip of the user's; one of another table's is meant for other logs."""
    for ours, theirs in options.mapping.items():
        if ours not in SPELLINGS:
            if options.forced or not any(ours in table.types for table in EVIDENCE):
                raise _unreadable(f"--map {ours}=…: a request has no column {ours!r}.", header.names)
        elif ours not in header.columns:
            fact = f"--map {ours}=…: there is no column {_shown(theirs)!r}; read other files apart."
            raise _unreadable(fact, header.names, [ours])


def _has_status(head: Head, header: Header) -> bool:
    """Tables of other things have a time, a url and a status as well; theirs is `completed` or `open`."""
    rows = [split(line, header.delimiter) or [] for line in head.lines[len(header.text) :][:100]]
    values = [row[field].strip() for row in rows for field in header.columns["status"] if field < len(row)]
    return not rows or any(value[:3].isdecimal() for value in values)


def _unreadable(fact: str, names: Sequence[str], missing: Sequence[str] = ("ts",)) -> Unreadable:
    listed = ", ".join(map(_shown, names[:50])) or "none"
    needed = "; ".join(f"{name} ({', '.join(SPELLINGS[name])})" for name in ("ts", "status", "url"))
    known = {spelling for spellings in SPELLINGS.values() for spelling in spellings}
    strange = [_shown(name) for name in names if name.strip() and normalised(name) not in known]
    which = " ".join(f"--map {ours}=NAME" for ours in missing)
    example = " or ".join(strange[:8]) or "a column found"
    return Unreadable(
        f"{fact} Columns found: {listed}. Columns needed, with the spellings that are known: {needed}; "
        f"instead of url also host and path ({', '.join(SPELLINGS['path'])}).",
        hint=f"say which column holds what: `{which}`, NAME being e.g. {example}.",
    )


def _shown(name: str) -> str:
    return "".join(char if char.isprintable() else "\ufffd" for char in name.strip()[:40])


def _parse(batch: pl.DataFrame, *, header: Header, layout: Layout, timezone: ZoneInfo) -> Parsed:
    again = batch["text"].is_in([*header.text, *("\ufeff" + text for text in header.text)])
    n_again = int(again.sum())
    if n_again:
        batch = batch.filter(~again)
    read, rejected = layout.fields(batch, {field for fields in header.columns.values() for field in fields})
    rows = read.select("line_no", *(_first(fields).alias(name) for name, fields in header.columns.items()))
    rows = rows.with_columns(*times.parse(rows["ts"], timezone), _whole(rows["status"]).alias("status"))
    status = pl.col("status")
    rows = rows.with_columns(
        reason=pl.when(pl.col("ts").is_null())
        .then(pl.lit("no readable timestamp"))
        .when(~status.is_between(0, 999).fill_null(value=False))
        .then(pl.lit("no whole number as status"))
    )
    if rows["reason"].null_count() < len(rows):
        wrong = rows.filter(pl.col("reason").is_not_null()).select("line_no", "reason")
        wrong = batch.join(wrong, on="line_no", maintain_order="left").select(list(REJECTED))
        rejected = pl.concat([rejected, wrong]).sort("line_no")
        rows = rows.filter(pl.col("reason").is_null())
    skipped = {"header repeated": n_again} if n_again else {}
    return Parsed({"requests": _requests(rows)}, rejected=rejected, skipped=skipped)


def _first(fields: Sequence[int]) -> pl.Expr:
    """Of several columns with one meaning the first that is not empty."""
    return pl.coalesce(pl.col(str(field)) for field in fields)


def _whole(texts: pl.Series) -> pl.Series:
    """Whole numbers; null for what is none. `158.0` is what a data frame with gaps makes of 158."""
    numbers = texts.cast(pl.Int64, strict=False)
    if numbers.null_count() > texts.null_count():
        numbers = texts.str.extract(r"^\s*(\d+)(?:\.0)?\s*$").cast(pl.Int64, strict=False)
    return numbers.set(numbers < 0, None)


def _requests(rows: pl.DataFrame) -> pl.DataFrame:
    """What was read to the columns of the table."""
    given = set(rows.columns)
    columns = {
        "ts_kind": pl.lit("logged"),
        "status": pl.col("status").cast(pl.Int16),
        "url": _url(given),
        "user_agent": pl.col("user_agent") if "user_agent" in given else pl.lit(None, pl.String),
    }
    if "method" in given:
        columns["method"] = http.clean_method("method")
    if "client_ip" in given:  # of `client, proxy, proxy` the client
        columns["client_ip"] = pl.col("client_ip").str.extract(r"([^,\s]+)")
    if "authenticated" in given:
        told = pl.col("authenticated").str.to_lowercase()
        columns["authenticated"] = pl.when(told.is_in([*_YES, *_NO])).then(told.is_in(_YES))
    durations = [
        pl.col(name).cast(pl.Float64, strict=False) * ms for name, ms in _MS.items() if name in given
    ]
    if durations:
        duration = pl.coalesce(durations)
        columns["duration_ms"] = pl.when(duration.is_finite()).then(duration)
    whole = [_whole(rows[name]) for name in _WHOLE if name in given]
    return rows.with_columns(*whole, **columns).drop("reason", *_NOT_OURS & given)


def _url(given: set[str]) -> pl.Expr:
    """The url, or what makes one: GHES logs host, path and query apart."""
    url = pl.coalesce([pl.col(name) for name in ("url", "path") if name in given])
    if "query" in given:
        query = pl.col("query").str.strip_prefix("?")
        whole = query.is_null() | url.str.contains("?", literal=True)
        url = pl.when(whole).then(url).otherwise(url + "?" + query)
    if "host" in given:
        scheme = pl.col("scheme").fill_null("https") if "scheme" in given else pl.lit("https")
        origin = scheme + "://" + pl.col("host")
        relative = pl.col("host").is_not_null() & url.str.starts_with("/").fill_null(value=True)
        url = pl.when(relative).then(origin + url.fill_null("")).otherwise(url)
    return url


_DERIVED = {
    "ts_kind": "always logged: GitHub does not say whether it is the start or the end",
    "ts_resolution_ms": "how finely the timestamp is written",
    "url": f"{', '.join(SPELLINGS['url'])}; else put together from host, path and query_string",
    "method": f"{', '.join(SPELLINGS['method'])}; in upper case",
    "duration_ms": "duration_ms, or elapsed, which is in seconds",
}

SOURCE = Source(
    name="github_csv",
    fills={
        "requests": {
            **{name: ", ".join(spelled) for name, spelled in SPELLINGS.items() if name not in _NOT_OURS},
            **_DERIVED,
        }
    },
    recognise=_recognise,
    doc=__doc__ or "",
)
