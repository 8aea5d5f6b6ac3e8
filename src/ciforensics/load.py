"""Batches of records become rows in the tables of a case.

Parsing and redacting run on worker threads, which hold no Python lock while polars and DuckDB work; the
inserts stay in order on the thread that asked.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

import polars as pl

from ciforensics import http, redact, source, stream
from ciforensics.records import Stream
from ciforensics.tables import TABLES

if TYPE_CHECKING:
    import duckdb

MAX_TEXT = 4096
"""Characters of a rejected record that are kept."""

_STORED = (
    "line_no", "ts", "ts_kind", "ts_resolution_ms", "method", "url_id", "status", "user_agent_id", "authenticated",
    "request_bytes", "response_bytes", "duration_ms", "client_ip", "client_port", "request_id", "actor",
)  # fmt: skip
_TIME = {"jobs": "started_at", "pods": "from_ts"}


@dataclass
class Counts:
    """What became of records. `records` is counted where they are cut, the others where they land."""

    records: int = 0
    rows: int = 0
    rejected: int = 0
    redacted: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    header_bytes: int = 0
    blank_bytes: int = 0
    record_bytes: int = 0

    def add(self, other: Counts) -> None:
        """Adds another's to these."""
        for name in ("records", "rows", "rejected", "redacted", "header_bytes", "blank_bytes", "record_bytes"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.skipped.update(other.skipped)


@dataclass(frozen=True)
class Prepared:
    """A batch, parsed and redacted, ready to be inserted."""

    batch: stream.Batch
    rows: Mapping[str, pl.DataFrame]
    urls: pl.DataFrame
    user_agents: pl.DataFrame
    rejected: pl.DataFrame
    counts: Counts
    times: tuple[datetime, datetime, bool] | None


@dataclass
class Loaded:
    """What loading a file came to.

    Attributes:
        settled: counts of whole records.
        provisional: counts of what may still change.
        end: where the next record starts.
        tail_bytes: bytes behind that.
        in_order: the rows never go back in time.
        last_ts: the time of the last row, if any.
    """

    end: stream.Position
    settled: Counts = field(default_factory=Counts)
    provisional: Counts = field(default_factory=Counts)
    tail_bytes: int = 0
    in_order: bool = True
    last_ts: datetime | None = None


def prepare(batch: stream.Batch, parse: Any, key: bytes) -> Prepared:
    """Parses and redacts one batch; checks that every record is accounted for."""
    parsed: source.Parsed = parse(batch.records)
    counts = Counts(
        records=len(batch.records) + len(batch.rejected) + parsed.extra,
        rows=sum(map(len, parsed.rows.values())),
        rejected=len(parsed.rejected) + len(batch.rejected),
        redacted=parsed.redacted,
        skipped=Counter(parsed.skipped),
        header_bytes=batch.header,
        blank_bytes=batch.blank,
        record_bytes=batch.data - batch.header - batch.blank,
    )
    if counts.records != counts.rows + counts.rejected + counts.skipped.total():
        raise AssertionError(f"records do not add up, a defect of ciforensics: {counts}")
    rows = {}
    urls = user_agents = pl.DataFrame()
    for name, frame in parsed.rows.items():
        if frame.is_empty():
            continue
        clean = frame
        if name == "requests":
            clean, urls, found = _apart(clean, "url", key)
            counts.redacted += found
            urls = urls.hstack(http.urls(urls["url"]).drop("url"))
            clean, user_agents, found = _apart(clean, "user_agent", key)
            counts.redacted += found
            user_agents = user_agents.hstack(http.user_agents(user_agents["user_agent"]).drop("user_agent"))
        rows[name], found = redact.frame(clean, key=key)
        counts.redacted += found
    # Redacted before it is cut: a cut through a token would leave a piece that no longer looks like one.
    rejected, found = redact.frame(pl.concat([batch.rejected, parsed.rejected]), key=key)
    counts.redacted += found
    rejected = rejected.with_columns(pl.col("text").str.slice(0, MAX_TEXT))
    return Prepared(batch, rows, urls, user_agents, rejected, counts, _times(rows))


def _apart(frame: pl.DataFrame, column: str, key: bytes) -> tuple[pl.DataFrame, pl.DataFrame, int]:
    """Replaces a column by `<column>_id`; gives the distinct values, redacted, and the secrets in all rows."""
    ident = f"{column}_id"
    raw = frame.select(pl.col(column).drop_nulls().unique(maintain_order=True)).with_columns(
        pl.int_range(pl.len(), dtype=pl.Int64).alias(ident)
    )
    clean, found = redact.frame(raw, key=key)
    if found:  # once for each distinct value; the count is of rows
        held = raw.filter(raw[column] != clean[column])
        found = redact.frame(frame.select(column).join(held, on=column, how="semi"), key=key)[1]
    rows = frame.join(raw, on=column, how="left", maintain_order="left").drop(column)
    return rows, clean.select(ident, column), found


def _times(rows: Mapping[str, pl.DataFrame]) -> tuple[datetime, datetime, bool] | None:
    """First and last time in file order, and whether none goes back."""
    found = [frame.select("line_no", ts=_TIME.get(name, "ts")) for name, frame in rows.items()]
    if not found:
        return None
    ts = pl.concat(found).sort("line_no", maintain_order=True)["ts"].drop_nulls() if len(found) > 1 else found[0]["ts"].drop_nulls()
    return (ts[0], ts[-1], ts.is_sorted()) if len(ts) else None


class Loader:
    """Inserts what it is given into a case; hands out the ids of urls and user agents.

    Args:
        con: the case, open to be written.
        key: of the redaction.
        pool: parses and redacts.
    """

    def __init__(self, con: duckdb.DuckDBPyConnection, *, key: bytes, pool: ThreadPoolExecutor) -> None:
        self._con = con
        self._key = key
        self._pool = pool
        self._next = {
            name: con.execute(f"SELECT coalesce(max({name}_id) + 1, 1) FROM store.{name}s").fetchall()[0][0]
            for name in ("url", "user_agent")
        }

    def load(
        self, batches: Iterable[stream.Batch], *, reader: source.Reader, source_name: str, file_id: int, loaded: Loaded
    ) -> None:
        """Loads the batches of one file, in order; adds what they came to to `loaded`."""
        waiting: deque[Future[Prepared]] = deque()
        try:
            for batch in batches:
                waiting.append(self._pool.submit(prepare, batch, reader.parse, self._key))
                if len(waiting) > 2:
                    self._insert(waiting.popleft().result(), source_name, file_id, loaded)
            while waiting:
                self._insert(waiting.popleft().result(), source_name, file_id, loaded)
        finally:
            for future in waiting:
                future.cancel()

    def _insert(self, prepared: Prepared, source_name: str, file_id: int, loaded: Loaded) -> None:
        place = {"source": source_name, "file_id": file_id}
        for name, frame in prepared.rows.items():
            if name == "requests":
                self._insert_requests(prepared, frame, file_id)
            else:
                self._write(name, frame, **place)
        self._write("rejected", prepared.rejected, **place)
        batch = prepared.batch
        if batch.provisional:
            loaded.provisional.add(prepared.counts)
            loaded.tail_bytes += batch.data
        else:
            loaded.settled.add(prepared.counts)
            loaded.end = batch.end
        if prepared.times:
            first, last, in_order = prepared.times
            loaded.in_order &= in_order and (loaded.last_ts is None or loaded.last_ts <= first)
            loaded.last_ts = last

    def _insert_requests(self, prepared: Prepared, frame: pl.DataFrame, file_id: int) -> None:
        apart = {"url": prepared.urls, "user_agent": prepared.user_agents}
        for name, values in apart.items():
            ident, first = f"{name}_id", self._next[name]
            self._write(f"store.{name}s", values.with_columns(pl.col(ident) + first))
            frame = frame.with_columns(pl.col(ident) + first)
            self._next[name] += len(values)
        self._write("store.requests", frame.select([c for c in _STORED if c in frame.columns]), file_id=file_id)

    def _write(self, table: str, frame: pl.DataFrame, **constants: Any) -> None:
        if frame.is_empty():
            return
        names = [*constants, *frame.columns]
        columns = ", ".join(f'"{name}"' for name in names)
        values = ", ".join([f"${name}" for name in constants] + [f'"{name}"' for name in frame.columns])
        self._con.register("batch", Stream(frame))
        self._con.execute(f"INSERT INTO {table} ({columns}) SELECT {values} FROM batch", constants or None)
        self._con.unregister("batch")


def forget(con: duckdb.DuckDBPyConnection, file_id: int, *, from_line: int = 0) -> None:
    """Deletes a file's rows from a line on."""
    for name in TABLES:
        if name not in {"files", "skipped", "requests"}:
            con.execute(f"DELETE FROM {name} WHERE file_id = ? AND line_no >= ?", [file_id, from_line])
    con.execute("DELETE FROM store.requests WHERE file_id = ? AND line_no >= ?", [file_id, from_line])
    con.execute("DELETE FROM skipped WHERE file_id = ?", [file_id])


def time_range(con: duckdb.DuckDBPyConnection, file_id: int, tables: Iterable[str]) -> tuple[Any, Any]:
    """Earliest and latest time among a file's rows."""
    parts = [
        f"SELECT {_TIME.get(name, 'ts')} AS ts FROM {'store.requests' if name == 'requests' else name} WHERE file_id = $id"
        for name in tables
    ]
    row = con.execute(f"SELECT min(ts), max(ts) FROM ({' UNION ALL '.join(parts)})", {"id": file_id}).fetchone()
    return row or (None, None)
