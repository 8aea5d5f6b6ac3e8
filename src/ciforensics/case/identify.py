"""Which file is which: known by content, whatever it is called, copied, rotated or gzipped.

A file is the one that we know when it begins with the same bytes and holds the same bytes before the place
where we stopped reading. It has then either not changed or grown. One that shrank or changed is another file.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from ciforensics.case import stream, unpack

if TYPE_CHECKING:
    import io
    from collections.abc import Collection
    from pathlib import Path

    import duckdb

HEAD = 256 << 10
"""Bytes from which a log is recognised."""

EDGE = 64 << 10
"""Bytes compared at the start of a file and before the boundary."""

_AS_STORED = (
    "file_id", "path", "records", "in_order", "head_bytes", "head_sha256", "edge_bytes",
    "edge_sha256", "tail_sha256",
)  # fmt: skip


@dataclass(frozen=True)
class Known:
    """A file that the case holds, and where reading it stopped.

    Attributes:
        boundary: end of its last whole record, where reading goes on.
        edge_sha256: over the last `edge_bytes` before the boundary.
        tail_bytes: what followed the boundary, read as provisional.
        settled: its counts up to the boundary, see `load.Counts`.
        options: how it was read.
        segments: (first byte, end, SHA-256) of each stretch that was read.
    """

    file_id: int
    path: str
    records: int
    in_order: bool
    head_bytes: int
    head_sha256: str
    edge_bytes: int
    edge_sha256: str
    boundary: stream.Position
    tail_bytes: int
    tail_sha256: str
    settled: dict[str, Any]
    options: dict[str, Any]
    segments: tuple[tuple[int, int, str], ...]


def read_known_files(con: duckdb.DuckDBPyConnection, *, file_id: int | None = None) -> dict[int, Known]:
    """The files of the case by their id, all or one."""
    one = "WHERE $id IS NULL OR file_id = $id"
    segments: dict[int, list[tuple[int, int, str]]] = {}
    read = con.execute(f"FROM store.segments {one} ORDER BY file_id, first_byte", {"id": file_id})
    for owner, first, end, sha in read.fetchall():
        segments.setdefault(owner, []).append((first, end, sha))
    rows = con.execute(
        f"""
        SELECT {", ".join(_AS_STORED)}, provisional_bytes, boundary, boundary_line, settled, options
        FROM files JOIN store.progress USING (file_id) {one} ORDER BY file_id
        """,
        {"id": file_id},
    ).fetchall()
    return {
        stored[0]: Known(
            **dict(zip(_AS_STORED, stored, strict=True)),
            boundary=stream.Position(boundary, line_no),
            tail_bytes=tail_bytes,
            settled=json.loads(settled),
            options=json.loads(options),
            segments=tuple(segments.get(stored[0], ())),
        )
        for *stored, tail_bytes, boundary, line_no, settled, options in rows
    }


def find(
    path: Path, head: bytes, known: Collection[Known], *, limit: int, verify: bool
) -> tuple[Known, bool] | None:
    """Which known file this one is.

    Args:
        path: the file.
        head: its first `HEAD` bytes, decompressed.
        known: what the case holds.
        limit: see `unpack.open_content`.
        verify: compare everything that was read, not only the edges.

    Returns:
        The known file and whether this one goes on behind what was read, or None.
    """
    sizes = {file.head_bytes for file in known if file.head_bytes <= len(head)}
    heads = {size: _sha256(head[:size]) for size in sizes}
    same_head = [file for file in known if heads.get(file.head_bytes) == file.head_sha256]
    for file in sorted(same_head, key=lambda file: -file.boundary.offset):
        with unpack.open_content(path, limit=limit) as (content, _, _):
            if not _same_so_far(content, file, verify=verify):
                continue
            tail = content.read(file.tail_bytes)
            more = bool(content.read(1))
        if len(tail) < file.tail_bytes:
            continue  # it shrank
        same_tail = _sha256(tail) == file.tail_sha256
        if same_tail and not more:
            return file, False
        # A header alone is the beginning of every export: only the same path says that it is this one.
        if (file.boundary.offset and file.records) or file.path == str(path):
            return file, True
    # A file shorter than a known one's head has another head than that, and is soon read.
    for file in known:
        if (file in same_head or file.head_bytes > len(head)) and _is_beginning(path, file, limit=limit):
            return file, False  # a copy from before it grew: all that it holds was read
    return None


def _is_beginning(path: Path, file: Known, *, limit: int) -> bool:
    """Whether the file ends where an earlier ingest of the known one ended, the bytes being the same."""
    if len(file.segments) < 2:
        return False
    with unpack.open_content(path, limit=limit) as (content, _, compression):
        if not compression and path.stat().st_size not in {end for _, end, _ in file.segments[:-1]}:
            return False
        for first, end, sha in file.segments[:-1]:
            if _sha256_of(content, end - first) != sha:
                return False
            if not cast("io.BufferedReader", content).peek(1):
                return True
    return False


def _same_so_far(content: BinaryIO, file: Known, *, verify: bool) -> bool:
    """Whether the bytes up to the boundary are those that were read; leaves `content` at the boundary."""
    if verify:
        return all(_sha256_of(content, end - first) == sha for first, end, sha in file.segments)
    skip(content, file.boundary.offset - file.edge_bytes)
    return _sha256(content.read(file.edge_bytes)) == file.edge_sha256


def skip(content: BinaryIO, size: int) -> None:
    """Goes `size` bytes on from the start: by a seek where the file is plain."""
    if content.seekable():
        content.seek(size, os.SEEK_SET)
        return
    while size and (chunk := content.read(min(size, stream.CHUNK))):
        size -= len(chunk)


def read_edge(path: Path, end: int, *, limit: int) -> bytes:
    """The bytes, at most `EDGE`, before `end`."""
    first = max(0, end - EDGE)
    with unpack.open_content(path, limit=limit) as (content, _, _):
        skip(content, first)
        return content.read(end - first)


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _sha256_of(content: BinaryIO, size: int) -> str:
    digest = hashlib.sha256()
    while size and (chunk := content.read(min(size, stream.CHUNK))):
        digest.update(chunk)
        size -= len(chunk)
    return digest.hexdigest()
