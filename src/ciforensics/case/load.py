"""Batches of records become rows in the tables of a case.

Parsing and redacting run on worker threads, which hold no Python lock while polars and DuckDB work; one more
thread inserts, in order, while the one that asked goes on reading.
"""

from __future__ import annotations

from collections import Counter, deque
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import chain
from typing import TYPE_CHECKING, Any

import polars as pl

from ciforensics import contract, redact
from ciforensics.case.values import Values
from ciforensics.formats import http
from ciforensics.formats.records import Stream
from ciforensics.tables import EVIDENCE, REJECTED, TABLES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    import duckdb

    from ciforensics.case import stream
    from ciforensics.schema import Table

MAX_TEXT = 4096
"""Characters of a rejected record that are kept."""

_AHEAD = 3
_ROW_GROUP = 122_880  # of DuckDB
_TAKE_APART = {"url": http.split_urls, "user_agent": http.split_user_agents}


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
        for name in vars(self).keys() - {"skipped"}:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.skipped.update(other.skipped)

    def as_dict(self) -> dict[str, Any]:
        """As JSON keeps them (`dataclasses.asdict` counts the items of a Counter)."""
        return {**vars(self), "skipped": dict(self.skipped)}

    @classmethod
    def from_dict(cls, kept: Mapping[str, Any]) -> Counts:
        """Back from `as_dict`."""
        return cls(**{**kept, "skipped": Counter(kept["skipped"])})


@dataclass(frozen=True)
class Times:
    """When the rows of a batch were written, in file order.

    Attributes:
        first: the end of the first one's request.
        last: the end of the last one's.
        resolution: what rounding may hide.
        in_order: none goes back by more than that.
    """

    first: datetime
    last: datetime
    resolution: timedelta
    in_order: bool


@dataclass(frozen=True)
class Prepared:
    """A batch, parsed and redacted, ready to be inserted."""

    batch: stream.Batch
    rows: Mapping[str, pl.DataFrame]
    rejected: pl.DataFrame
    counts: Counts
    times: Times | None


@dataclass
class Loaded:
    """What loading a file came to.

    Attributes:
        settled: counts of whole records.
        provisional: counts of what may still change.
        end: where the next record starts.
        tail_bytes: bytes behind that.
        in_order: the rows never go back in time.
        last_end: when the last row's request ended, if any.
    """

    end: stream.Position
    settled: Counts = field(default_factory=Counts)
    provisional: Counts = field(default_factory=Counts)
    tail_bytes: int = 0
    in_order: bool = True
    last_end: datetime | None = None

    @property
    def total(self) -> Counts:
        """Counts of all records."""
        total = Counts()
        total.add(self.settled)
        total.add(self.provisional)
        return total


def prepare(batch: stream.Batch, parse: Any, key: bytes) -> Prepared:
    """Parses and redacts one batch; checks that every record is accounted for."""
    # Columns of several chunks, the first one empty, make polars 2.1.0 panic in `pl.format`.
    parsed: contract.Parsed = parse(batch.records.rechunk())
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
    for name, frame in parsed.rows.items():
        if len(frame):
            later = [each.column for each in TABLES[name].apart]  # by `Values`, each once
            rows[name], secrets = redact.frame(frame, key=key, skip=[*later, "ts_kind"])
            counts.redacted += secrets
    # Redacted before it is cut: a cut through a token would leave a piece that no longer looks like one.
    rejected, secrets = redact.frame(pl.concat([batch.rejected, parsed.rejected]), key=key)
    counts.redacted += secrets
    rejected = rejected.with_columns(pl.col("text").str.slice(0, MAX_TEXT))
    return Prepared(batch, rows, rejected, counts, _times(rows))


def _times(rows: Mapping[str, pl.DataFrame]) -> Times | None:
    """A line is written when its request ends: that must not go back, but for what rounding hides."""
    moments = []
    for name, frame in rows.items():
        if (time := TABLES[name].time) is None:
            continue
        kind = pl.col("ts_kind") == "start" if "ts_kind" in frame.columns else pl.lit(value=False)
        took = pl.col("duration_ms") * 1000 if "duration_ms" in frame.columns else pl.lit(0.0)
        resolution = pl.col("ts_resolution_ms") if "ts_resolution_ms" in frame.columns else pl.lit(0.0)
        end = pl.col(time) + pl.duration(microseconds=pl.when(kind).then(took).fill_null(0))
        moments.append(frame.select("line_no", end=end, resolution_ms=resolution.fill_null(0)))
    written = pl.concat(moments).drop_nulls("end") if moments else pl.DataFrame()
    if written.is_empty():
        return None
    if len(moments) > 1:
        written = written.sort("line_no", maintain_order=True)
    hidden = timedelta(milliseconds=written.select(pl.col("resolution_ms").max()).item())
    ends = written["end"]
    return Times(ends[0], ends[-1], hidden, not (ends.diff() < -hidden).any())


class Loader:
    """Inserts what it is given into a case.

    Args:
        con: the case, open to be written.
        key: of the redaction.
        pool: parses and redacts.
        writer: one thread that inserts, so that reading goes on meanwhile.
    """

    def __init__(
        self,
        con: duckdb.DuckDBPyConnection,
        *,
        key: bytes,
        pool: ThreadPoolExecutor,
        writer: ThreadPoolExecutor,
    ) -> None:
        self._con = con
        self._key = key
        self._pool = pool
        self._writer = writer
        self._kept: dict[str, list[pl.DataFrame]] = {}
        self._values = {
            table.name: [Values(con, apart, _TAKE_APART[apart.column], key) for apart in table.apart]
            for table in EVIDENCE
        }

    def forget(self) -> None:
        """To be called after a rollback."""
        self._kept.clear()
        for values in chain.from_iterable(self._values.values()):
            values.forget()

    def load(
        self,
        batches: Iterable[stream.Batch],
        *,
        reader: contract.Reader,
        source_name: str,
        file_id: int,
        loaded: Loaded,
    ) -> None:
        """Loads the batches of one file, in order; adds what they came to to `loaded`."""
        waiting: deque[Future[None]] = deque()
        try:
            for batch in batches:
                prepared = self._pool.submit(prepare, batch, reader.parse, self._key)
                waiting.append(self._writer.submit(self._insert, prepared, source_name, file_id, loaded))
                if len(waiting) > _AHEAD:
                    waiting.popleft().result()
            while waiting:
                waiting.popleft().result()
            self._flush()
        finally:
            for future in waiting:
                future.cancel()
            wait(waiting)

    def _insert(self, future: Future[Prepared], source_name: str, file_id: int, loaded: Loaded) -> None:
        prepared = future.result()
        counts, batch = prepared.counts, prepared.batch
        place = {"source": source_name, "file_id": file_id}
        for name, frame in prepared.rows.items():
            counts.redacted += self._insert_rows(TABLES[name], frame, place)
        self._write("rejected", prepared.rejected, **place)
        if batch.provisional:
            loaded.provisional.add(counts)
            loaded.tail_bytes += batch.data
        else:
            loaded.settled.add(counts)
            loaded.end = batch.end
        if prepared.times:
            times, last_end = prepared.times, loaded.last_end
            follows = last_end is None or last_end - times.first <= times.resolution
            loaded.in_order &= times.in_order and follows
            loaded.last_end = times.last

    def _insert_rows(self, table: Table, frame: pl.DataFrame, place: Mapping[str, Any]) -> int:
        """Inserts rows of a table, what is stored apart of them there; gives the secrets that this held."""
        secrets = 0
        for values in self._values[table.name]:
            frame, new, held = values.number(frame)
            self._write(values.apart.home, new)
            secrets += held
        stored = {column.name for column in table.stored[table.home]}
        self._write(
            table.home,
            frame.select(name for name in frame.columns if name in stored),
            **{name: value for name, value in place.items() if name in stored},
        )
        return secrets

    def _write(self, table: str, frame: pl.DataFrame, **constants: Any) -> None:
        """Inserts rows, in whole row groups: a table of torn ones is written twice and is a third larger."""
        frames = self._kept.pop(table, [])
        frames.append(frame.with_columns(pl.lit(value).alias(name) for name, value in constants.items()))
        rows = sum(map(len, frames))
        whole = rows - rows % _ROW_GROUP
        if whole:
            joined = pl.concat(frames, how="diagonal")
            self._insert_into(table, joined[:whole])
            frames = [joined[whole:]]
        self._kept[table] = frames

    def _flush(self) -> None:
        for table, frames in self._kept.items():
            rows = pl.concat(frames, how="diagonal")
            if len(rows):
                self._insert_into(table, rows)
        self._kept.clear()

    def _insert_into(self, table: str, frame: pl.DataFrame) -> None:
        columns = ", ".join(f'"{name}"' for name in frame.columns)
        # By its name here, not registered: a transaction keeps all that was registered in it until it ends.
        batch = Stream(frame)  # noqa: F841 (DuckDB looks it up)
        self._con.execute(f"INSERT INTO {table} ({columns}) SELECT {columns} FROM batch")


def forget(con: duckdb.DuckDBPyConnection, file_id: int, *, from_line: int = 0) -> None:
    """Deletes a file's rows from a line on."""
    for table in (*EVIDENCE, REJECTED):
        con.execute(f"DELETE FROM {table.home} WHERE file_id = ? AND line_no >= ?", [file_id, from_line])
    con.execute("DELETE FROM skipped WHERE file_id = ?", [file_id])


def find_time_range(con: duckdb.DuckDBPyConnection, file_id: int, tables: Iterable[str]) -> tuple[Any, Any]:
    """Earliest and latest time among a file's rows."""
    parts = [
        f"SELECT {table.time} AS ts FROM {table.home} WHERE file_id = $id"
        for table in map(TABLES.__getitem__, tables)
        if table.time
    ]
    ((first_ts, last_ts),) = con.execute(
        f"SELECT min(ts), max(ts) FROM ({' UNION ALL '.join(parts)})", {"id": file_id}
    ).fetchall()
    return first_ts, last_ts
