"""The files of a case while an ingest reads them: each told apart, read from where it ended, written down."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ciforensics import redact
from ciforensics.case import identify, load, stream, unpack
from ciforensics.case.recognition import Recognised, recognise
from ciforensics.errors import Unreadable
from ciforensics.formats import envelopes
from ciforensics.shipped import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    import duckdb


@dataclass(frozen=True)
class FileReport:
    """What an ingest did with one file.

    Attributes:
        path: as found.
        status: `new`, `grown`, `unchanged`, `empty`, `unknown` (no source knows it) or `unreadable`.
        message: why it was passed over, and what to do; "" otherwise.
        source, format, file_id, bytes, records, rows, rejected, skipped, redacted, provisional: as in table
            `files`; 0 or "" for a file that was passed over.
    """

    path: str
    status: str
    message: str = ""
    source: str = ""
    format: str = ""
    file_id: int = 0
    bytes: int = 0
    records: int = 0
    rows: int = 0
    rejected: int = 0
    skipped: int = 0
    redacted: int = 0
    provisional: int = 0


@dataclass(frozen=True)
class How:
    """How the user wants files to be read; where None: as they were read before, else by default.

    Attributes:
        source, mapping, timezone, verify, max_uncompressed: see `ingest`.
    """

    source: str | None
    mapping: Mapping[str, str] | None
    timezone: str | None
    verify: bool
    max_uncompressed: int

    def over(self, before: Mapping[str, Any]) -> dict[str, Any]:
        """The options that a case keeps of a file: where given these, else those of `before`."""
        asked = {
            "source": self.source,
            "mapping": self.mapping and dict(self.mapping),
            "timezone": self.timezone,
        }
        return {name: value if value is not None else before.get(name) for name, value in asked.items()}


@dataclass(frozen=True)
class _Part:
    """What is read of a file this time: all of it or, when it is known from `before`, what is new."""

    path: Path
    head: bytes
    options: Mapping[str, Any]
    file_id: int
    before: identify.Known | None = None

    @property
    def start(self) -> stream.Position:
        return self.before.boundary if self.before else stream.Position()


class Files:
    """The files of a case that is being written.

    Args:
        con: the case.
        loader: loads into it.
        how: how the user wants files to be read.
        on_bytes: called with a file and how many bytes of it were read by now.

    Attributes:
        moved: whether a file was found elsewhere than before.
    """

    def __init__(
        self,
        con: duckdb.DuckDBPyConnection,
        loader: load.Loader,
        how: How,
        on_bytes: Callable[[Path, int], None],
    ) -> None:
        self._con = con
        self._loader = loader
        self._how = how
        self._limit = how.max_uncompressed
        self._on_bytes = on_bytes
        self._known = identify.read_known_files(con)
        self._found: dict[int, list[str]] = {}
        self.moved = False

    def read(self, path: Path) -> FileReport:
        """Reads a file; what goes wrong with it alone is told in its report."""
        self._con.execute("BEGIN")
        try:
            report = self._read(path)
        except (Unreadable, OSError) as error:
            self._con.execute("ROLLBACK")
            self._loader.forget()
            message = redact.text(str(error), key=redact.load_key())[0]
            return FileReport(self._name(path), "unreadable", message)
        self._con.execute("COMMIT")
        if report.status in {"new", "grown"}:
            self._known |= identify.read_known_files(self._con, file_id=report.file_id)
        if report.file_id:
            self._found.setdefault(report.file_id, []).append(report.path)
        return report

    def _read(self, path: Path) -> FileReport:
        with unpack.open_content(path, limit=self._limit) as (content, _, _):
            head = content.read(identify.HEAD)
        if not head:
            return FileReport(self._name(path), "empty")
        known = self._known.values()
        match = identify.find(path, head, known, limit=self._limit, verify=self._how.verify)
        if match is None:
            file_id = max(self._known, default=0) + 1
            return self._read_part(_Part(path, head, self._how.over({}), file_id))
        before, has_more = match
        options = self._how.over(before.options)
        if options != before.options:  # the same file, to be read in another way
            return self._read_part(_Part(path, head, options, before.file_id))
        if not has_more:
            return self._report(before.file_id, path, "unchanged")
        return self._read_part(_Part(path, head, options, before.file_id, before))

    def settle_paths(self) -> None:
        """Renamed and rotated files: each is now where it was found, unless it may still be where it was."""
        taken = {path for paths in self._found.values() for path in paths}
        for file_id, paths in self._found.items():
            was = self._known[file_id].path
            if was not in paths and (was in taken or not Path(was).exists()):
                self._con.execute("UPDATE files SET path = ? WHERE file_id = ?", [paths[0], file_id])
                self.moved = True

    def _read_part(self, part: _Part) -> FileReport:
        recognised = recognise(part.head, part.options)
        if recognised is None:
            return FileReport(self._name(part.path), "unknown")
        log, reader, envelope = recognised
        if part.file_id in self._known:
            load.forget(self._con, part.file_id, from_line=part.start.line_no)
        loaded = load.Loaded(end=part.start)
        if part.before:
            loaded.settled = load.Counts.from_dict(part.before.settled)
            loaded.in_order = part.before.in_order
            loaded.last_end = load.find_time_range(self._con, part.file_id, log.fills)[1]
        hashes = stream.Hashes()
        with unpack.open_content(part.path, limit=self._limit) as (content, below, compression):
            identify.skip(content, part.start.offset)
            if reader.blocks:
                batches = stream.block_batches(content, reader=reader, start=part.start, hashes=hashes)
            else:
                assemble = envelopes.assembler(envelope, reader.assemble)
                batches = stream.line_batches(
                    content, reader=reader, assemble=assemble, start=part.start, hashes=hashes
                )
            self._loader.load(
                self._watched(part.path, batches),
                reader=reader,
                source_name=log.name,
                file_id=part.file_id,
                loaded=loaded,
            )
            if below.broken:
                self._broken(log.name, part.file_id, below.broken, loaded)
        self._note(part, recognised, compression, loaded)
        self._note_progress(part, loaded, hashes)
        return self._report(part.file_id, part.path, "grown" if part.file_id in self._known else "new")

    def _watched(self, path: Path, batches: Iterable[stream.Batch]) -> Iterator[stream.Batch]:
        for batch in batches:
            self._on_bytes(path, batch.end.offset)
            yield batch

    def _broken(self, name: str, file_id: int, reason: str, loaded: load.Loaded) -> None:
        """What a cut archive would still have held is one record that could not be read."""
        line_no = loaded.end.line_no + loaded.provisional.records
        self._con.execute(
            "INSERT INTO rejected BY NAME "
            "SELECT ? AS source, ? AS file_id, ? AS line_no, 1 AS n_lines, ? AS reason",
            [name, file_id, line_no, reason],
        )
        loaded.provisional.add(load.Counts(records=1, rejected=1))

    def _note(self, part: _Part, recognised: Recognised, compression: str, loaded: load.Loaded) -> None:
        """Writes down what was read of a file, for whoever asks the case."""
        log, reader, envelope = recognised
        layers = filter(None, [compression, envelope.name if envelope else "", reader.format])
        total = loaded.total
        first_ts, last_ts = load.find_time_range(self._con, part.file_id, log.fills)
        self._con.execute("DELETE FROM files WHERE file_id = ?", [part.file_id])
        self._insert("files", {
            "file_id": part.file_id, "path": self._name(part.path), "source": log.name,
            "format": "+".join(layers), "bytes": loaded.end.offset + loaded.tail_bytes,
            "records": total.records, "rows": total.rows, "rejected": total.rejected,
            "skipped": total.skipped.total(), "redacted": total.redacted,
            "provisional": loaded.provisional.records, "first_ts": first_ts, "last_ts": last_ts,
            "in_order": loaded.in_order, "ingested_at": datetime.now(UTC).replace(tzinfo=None),
            "version": __version__,
        })  # fmt: skip
        for reason, count in sorted(total.skipped.items()):
            row = {"source": log.name, "file_id": part.file_id, "reason": reason, "records": count}
            self._insert("skipped", row)

    def _note_progress(self, part: _Part, loaded: load.Loaded, hashes: stream.Hashes) -> None:
        """Writes down what tells the file again, and where reading it stopped."""
        total, end = loaded.total, loaded.end.offset
        edge = identify.read_edge(part.path, end, limit=self._limit)
        head = part.head[: min(end, identify.EDGE)]
        self._con.execute("DELETE FROM store.progress WHERE file_id = ?", [part.file_id])
        self._insert("store.progress", {
            "file_id": part.file_id, "head_bytes": len(head), "head_sha256": hashlib.sha256(head).hexdigest(),
            "edge_bytes": len(edge), "edge_sha256": hashlib.sha256(edge).hexdigest(), "boundary": end,
            "boundary_line": loaded.end.line_no, "tail_sha256": hashes.tail.hexdigest(),
            "header_bytes": total.header_bytes, "blank_bytes": total.blank_bytes,
            "record_bytes": loaded.settled.record_bytes, "provisional_bytes": loaded.tail_bytes,
            "settled": json.dumps(loaded.settled.as_dict()), "options": json.dumps(part.options),
        })  # fmt: skip
        if part.start.offset == 0:
            self._con.execute("DELETE FROM store.segments WHERE file_id = ?", [part.file_id])
        if end > part.start.offset:
            self._insert("store.segments", {
                "file_id": part.file_id, "first_byte": part.start.offset, "end_byte": end,
                "sha256": hashes.settled.hexdigest(),
            })  # fmt: skip

    def _insert(self, table: str, row: Mapping[str, Any]) -> None:
        names = ", ".join(f'"{name}"' for name in row)
        values = ", ".join(f"${name}" for name in row)
        self._con.execute(f"INSERT INTO {table} ({names}) VALUES ({values})", dict(row))

    def _report(self, file_id: int, path: Path, status: str) -> FileReport:
        names = [
            field.name for field in fields(FileReport) if field.name not in {"path", "status", "message"}
        ]
        columns = ", ".join(f'"{name}"' for name in names)
        row = self._con.execute(f"SELECT {columns} FROM files WHERE file_id = ?", [file_id]).fetchall()[0]
        return FileReport(self._name(path), status, **dict(zip(names, row, strict=True)))

    def _name(self, path: Path) -> str:
        return redact.text(str(path), key=redact.load_key())[0]
