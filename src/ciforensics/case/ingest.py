"""From files to a case: find them, tell which is which, read what is new of each."""

from __future__ import annotations

import difflib
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from ciforensics import redact, source
from ciforensics.case import identify, load, store, stream
from ciforensics.errors import CiforensicsError, Unreadable
from ciforensics.formats import envelopes
from ciforensics.shipped import __version__
from ciforensics.tables import EVIDENCE

if TYPE_CHECKING:
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
class _How:
    """How the user wants files to be read; None: as they were read before, else the default."""

    source: str | None
    mapping: Mapping[str, str] | None
    timezone: str | None

    def over(self, before: Mapping[str, Any]) -> dict[str, Any]:
        """These options where given, else those of `before`."""
        asked = {
            "source": self.source,
            "mapping": self.mapping and dict(self.mapping),
            "timezone": self.timezone,
        }
        return {name: value if value is not None else before.get(name) for name, value in asked.items()}


def ingest(
    paths: Iterable[str | os.PathLike[str]],
    *,
    case: str | os.PathLike[str] = "case.duckdb",
    source: str | None = None,
    mapping: Mapping[str, str] | None = None,
    timezone: str | None = None,
    verify: bool = False,
    max_uncompressed: int = stream.MAX_UNCOMPRESSED,
    on_file: Callable[[FileReport], None] = lambda _: None,
    on_bytes: Callable[[Path, int], None] = lambda *_: None,
    on_wait: Callable[[str], None] = lambda _: None,
) -> list[FileReport]:
    """Reads logs into a case. Run it again on growing logs: only what is new is read.

    Args:
        paths: files, and folders that are searched through; a log is recognised by its content.
        case: the case file; made if it is not there.
        source: read the files as this source, see `ciforensics sources`.
        mapping: our column to the log's own, e.g. `{"ts": "When"}`.
        timezone: IANA zone of timestamps that name none; UTC if not given.
        verify: compare everything that was read before, not only its edges.
        max_uncompressed: bytes that one compressed file may unpack to.
        on_file: called with each file's report.
        on_bytes: called with a file and how many bytes of it were read by now.
        on_wait: called with a sentence when another writer has to end first.

    Returns:
        A report for each file, in the order in which they were read.

    Raises:
        CiforensicsError: nothing was recognised, or an option is wrong. The case is then as it was.

    Example:
        >>> import tempfile, pathlib
        >>> folder = pathlib.Path(tempfile.mkdtemp())
        >>> line = '{"ts":"2026-11-24T03:04:13Z","repo":"acme/web","workflow":"CI","job":"b","run_id":"1","cmd":"build"}'
        >>> _ = (folder / "any-name.log").write_text(line + chr(10))
        >>> [(report.source, report.rows) for report in ingest([folder], case=folder / "case.duckdb")]
        [('docker_wrapper', 1)]
    """
    how = _How(source, mapping, timezone)
    _check(how)
    case = Path(case)
    found = find_files(paths, leave_out=case)
    with (
        store.writing(case, waiting=on_wait) as copy,
        ThreadPoolExecutor(2) as pool,
        ThreadPoolExecutor(1) as writer,
    ):
        loader = load.Loader(copy.con, key=redact.load_key(), pool=pool, writer=writer)
        run = _Run(copy.con, loader, how, verify, max_uncompressed, on_bytes)
        reports = []
        for path in found:
            reports.append(run.file(path))
            on_file(reports[-1])
        if all(report.status in {"unknown", "unreadable", "empty"} for report in reports):
            raise _nothing(paths, reports)
        run.settle_paths()
        if any(report.status in {"new", "grown"} for report in reports) or run.moved:
            copy.con.execute("DELETE FROM store.twins; INSERT INTO store.twins FROM twins_found")
            copy.changed = True
    return reports


def _nothing(paths: Iterable[object], reports: Sequence[FileReport]) -> CiforensicsError:
    told = [report for report in reports if report.message]
    if len(told) == 1:
        fact, _, hint = told[0].message.partition("\nHint: ")
        return CiforensicsError(fact, hint=hint)
    where = ", ".join(str(path) for path in paths)
    return CiforensicsError(
        f"Nothing was recognised among the {len(reports)} files of {where}.",
        hint="`ciforensics sources` shows what can be read; --source NAME says why a file does not fit.",
    )


def _check(how: _How) -> None:
    names = [each.name for each in source.all_sources()]
    if how.source is not None and how.source not in names:
        raise CiforensicsError(
            f"There is no source {how.source!r}.", hint=f"choose one of {', '.join(names)}."
        )
    columns = {column.name for table in EVIDENCE for column in table.columns}
    for column in how.mapping or ():
        if column not in columns:
            near = difflib.get_close_matches(column, columns, n=1) or ["ts"]
            raise CiforensicsError(
                f"--map {column}=…: there is no column {column!r}.",
                hint=f"did you mean {near[0]!r}? See `ciforensics sources`.",
            )
    if how.timezone is not None:
        try:
            ZoneInfo(how.timezone)
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise CiforensicsError(
                f"There is no time zone {how.timezone!r}.",
                hint="give an IANA name such as Europe/Berlin or UTC.",
            ) from error


def find_files(paths: Iterable[str | os.PathLike[str]], *, leave_out: Path) -> list[Path]:
    """Files, and what lies in folders, smallest first: a shorter copy of a log is then read before the longer one.

    Hidden files, DuckDB files and the case's own are left out of folders.
    """
    found: dict[Path, int] = {}
    own = {leave_out.name, leave_out.name + ".lock"}
    for given in map(Path, paths):
        if not given.exists():
            raise CiforensicsError(f"There is no {given}.", hint="give files or folders that exist.")
        inside = given.rglob("*") if given.is_dir() else [given]
        for path in inside:
            hidden = given.is_dir() and any(part.startswith(".") for part in path.relative_to(given).parts)
            if path.is_file() and not hidden and path.name not in own and path.suffix != ".duckdb":
                found[path] = path.stat().st_size
    return sorted(found, key=lambda path: (found[path], str(path)))


class _Run:
    """One ingest: the case that it writes and what it knows by now."""

    def __init__(
        self,
        con: duckdb.DuckDBPyConnection,
        loader: load.Loader,
        how: _How,
        verify: bool,  # noqa: FBT001 (private)
        limit: int,
        on_bytes: Callable[[Path, int], None],
    ) -> None:
        self.con = con
        self.loader = loader
        self.how = how
        self.verify = verify
        self.limit = limit
        self.on_bytes = on_bytes
        self.known = {file.file_id: file for file in identify.known_files(con)}
        self.found: dict[int, list[str]] = {}
        self.moved = False

    def file(self, path: Path) -> FileReport:
        """Reads one file; what goes wrong with it alone is told in its report."""
        self.con.execute("BEGIN")
        try:
            report = self._file(path)
        except (Unreadable, OSError) as error:
            self.con.execute("ROLLBACK")
            self.loader.forget()
            return FileReport(self._name(path), "unreadable", str(error))
        self.con.execute("COMMIT")
        if report.status in {"new", "grown"}:
            self.known = {file.file_id: file for file in identify.known_files(self.con)}
        if report.file_id:
            self.found.setdefault(report.file_id, []).append(report.path)
        return report

    def _file(self, path: Path) -> FileReport:
        with stream.open_content(path, limit=self.limit) as (content, _, _):
            head = content.read(identify.HEAD)
        if not head:
            return FileReport(self._name(path), "empty")
        match = identify.find(path, head, list(self.known.values()), limit=self.limit, verify=self.verify)
        before = match[0] if match else None
        options = self.how.over(before.options if before else {})
        if before and options != before.options:  # the same file, to be read in another way
            load.forget(self.con, before.file_id)
            return self._read(path, head, options, file_id=before.file_id, status="grown")
        if match is None or before is None:
            return self._read(path, head, options, file_id=max(self.known, default=0) + 1, status="new")
        if not match[1]:
            return self._report(before.file_id, path, "unchanged")
        load.forget(self.con, before.file_id, from_line=before.boundary.line_no)
        return self._read(path, head, options, file_id=before.file_id, status="grown", before=before)

    def settle_paths(self) -> None:
        """Renamed and rotated files: each is now where it was found, unless it was not looked for where it was."""
        taken = {path for paths in self.found.values() for path in paths}
        for file_id, paths in self.found.items():
            was = self.known[file_id].path
            if was not in paths and (was in taken or not Path(was).exists()):
                self.con.execute("UPDATE files SET path = ? WHERE file_id = ?", [paths[0], file_id])
                self.moved = True

    def _read(
        self,
        path: Path,
        head: bytes,
        options: Mapping[str, Any],
        *,
        file_id: int,
        status: str,
        before: identify.Known | None = None,
    ) -> FileReport:
        recognised = recognise(head, options)
        if recognised is None:
            return FileReport(self._name(path), "unknown")
        log, reader, envelope = recognised
        start = before.boundary if before else stream.Position()
        loaded = load.Loaded(end=start)
        if before:
            loaded.settled = load.Counts.from_dict(before.settled)
            loaded.in_order = before.in_order
            loaded.last_ts = load.time_range(self.con, file_id, log.fills)[1]
        hashes = stream.Hashes()
        with stream.open_content(path, limit=self.limit) as (content, below, compression):
            identify.skip(content, start.offset)
            if reader.blocks:
                batches = stream.block_batches(content, reader=reader, start=start, hashes=hashes)
            else:
                assemble = envelopes.assembler(envelope, reader.assemble)
                batches = stream.line_batches(
                    content, reader=reader, assemble=assemble, start=start, hashes=hashes
                )
            self.loader.load(
                self._watched(path, batches),
                reader=reader,
                source_name=log.name,
                file_id=file_id,
                loaded=loaded,
            )
            if below.broken:
                self._broken(log.name, file_id, below.broken, loaded)
        layers = [compression, envelope.name if envelope else "", reader.format]
        self._note(path, log, "+".join(filter(None, layers)), options, file_id, head, start, loaded, hashes)
        return self._report(file_id, path, status)

    def _watched(self, path: Path, batches: Iterable[stream.Batch]) -> Iterator[stream.Batch]:
        for batch in batches:
            self.on_bytes(path, batch.end.offset)
            yield batch

    def _broken(self, name: str, file_id: int, reason: str, loaded: load.Loaded) -> None:
        """What a cut archive would still have held is one record that could not be read."""
        line_no = loaded.end.line_no + loaded.provisional.records
        self.con.execute(
            "INSERT INTO rejected BY NAME SELECT ? AS source, ? AS file_id, ? AS line_no, 1 AS n_lines, ? AS reason",
            [name, file_id, line_no, reason],
        )
        loaded.provisional.add(load.Counts(records=1, rejected=1))

    def _note(
        self,
        path: Path,
        log: source.Source,
        layout: str,
        options: Mapping[str, Any],
        file_id: int,
        head: bytes,
        start: stream.Position,
        loaded: load.Loaded,
        hashes: stream.Hashes,
    ) -> None:
        """Writes down what was read of a file and where reading it stopped."""
        total = load.Counts()
        total.add(loaded.settled)
        total.add(loaded.provisional)
        first_ts, last_ts = load.time_range(self.con, file_id, log.fills)
        end = loaded.end.offset
        self.con.execute("DELETE FROM files WHERE file_id = ?", [file_id])
        self._insert("files", {
            "file_id": file_id, "path": self._name(path), "source": log.name, "format": layout,
            "bytes": end + loaded.tail_bytes, "records": total.records, "rows": total.rows,
            "rejected": total.rejected, "skipped": total.skipped.total(), "redacted": total.redacted,
            "provisional": loaded.provisional.records, "first_ts": first_ts, "last_ts": last_ts,
            "in_order": loaded.in_order, "ingested_at": datetime.now(UTC).replace(tzinfo=None), "version": __version__,
        })  # fmt: skip
        for reason, count in sorted(total.skipped.items()):
            self._insert(
                "skipped", {"source": log.name, "file_id": file_id, "reason": reason, "records": count}
            )
        edge = identify.edge(path, end, limit=self.limit)
        head = head[: min(end, identify.EDGE)]
        self.con.execute("DELETE FROM store.progress WHERE file_id = ?", [file_id])
        self._insert("store.progress", {
            "file_id": file_id, "head_bytes": len(head), "head_sha256": hashlib.sha256(head).hexdigest(),
            "edge_bytes": len(edge), "edge_sha256": hashlib.sha256(edge).hexdigest(), "boundary": end,
            "boundary_line": loaded.end.line_no, "tail_sha256": hashes.tail.hexdigest(),
            "header_bytes": total.header_bytes, "blank_bytes": total.blank_bytes,
            "record_bytes": loaded.settled.record_bytes, "provisional_bytes": loaded.tail_bytes,
            "settled": json.dumps(loaded.settled.as_dict()), "options": json.dumps(options),
        })  # fmt: skip
        if start.offset == 0:
            self.con.execute("DELETE FROM store.segments WHERE file_id = ?", [file_id])
        if end > start.offset:
            self._insert("store.segments", {
                "file_id": file_id, "first_byte": start.offset, "end_byte": end, "sha256": hashes.settled.hexdigest(),
            })  # fmt: skip

    def _insert(self, table: str, row: Mapping[str, Any]) -> None:
        names = ", ".join(f'"{name}"' for name in row)
        values = ", ".join(f"${name}" for name in row)
        self.con.execute(f"INSERT INTO {table} ({names}) VALUES ({values})", dict(row))

    def _report(self, file_id: int, path: Path, status: str) -> FileReport:
        names = [
            field.name for field in fields(FileReport) if field.name not in {"path", "status", "message"}
        ]
        columns = ", ".join(f'"{name}"' for name in names)
        row = self.con.execute(f"SELECT {columns} FROM files WHERE file_id = ?", [file_id]).fetchall()[0]
        return FileReport(self._name(path), status, **dict(zip(names, row, strict=True)))

    def _name(self, path: Path) -> str:
        return redact.text(str(path), key=redact.load_key())[0]


def recognise(
    head: bytes, options: Mapping[str, Any]
) -> tuple[source.Source, source.Reader, envelopes.Envelope | None] | None:
    """Which source a file with this head is from, and how it is read; None if nobody knows it.

    Raises:
        Unreadable: a source knows it, but cannot read it as it stands.
    """
    seen, envelope = look(head)
    asked = source.Options(
        ZoneInfo(options.get("timezone") or "UTC"),
        options.get("mapping") or {},
        forced=bool(options.get("source")),
    )
    unreadable: Unreadable | None = None
    for log in source.all_sources():
        if options.get("source") not in {None, log.name}:
            continue
        try:
            reader = log.recognise(seen, asked)
        except Unreadable as error:
            unreadable = unreadable or error
            continue
        if reader is not None:
            return log, reader, envelope
    if unreadable is not None:
        raise unreadable
    return None


def look(head: bytes) -> tuple[source.Head, envelopes.Envelope | None]:
    """What a source sees of a file's first bytes: whole lines, without the envelope that they are in."""
    whole = head if len(head) < identify.HEAD else head[: head.rfind(b"\n") + 1]
    decoded = whole.decode("utf-8-sig", "replace").split(
        "\n"
    )  # not splitlines: it splits at U+2028 and 0x1E too
    lines = [line.rstrip("\r") for line in decoded if line.strip()]
    envelope = envelopes.detect(lines[:100])
    if envelope is not None:
        peeled = envelope.peel(stream.split(whole, 1)[0], True)[0]["text"].to_list()
        lines = [line for line in peeled if line.strip()]
    return source.Head(head, tuple(lines)), envelope
