"""Bytes cut into batches of whole records.

Every byte ends in one span: record, header, blank or provisional. A file of any size passes through in
batches of `CHUNK` bytes.
"""

from __future__ import annotations

import hashlib
import io
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, BinaryIO

import polars as pl

from ciforensics import contract

if TYPE_CHECKING:
    from collections.abc import Iterator

CHUNK = 16 << 20
MAX_LINE = 16 << 20
"""A longer line is rejected whole: no log writes one, and it must not fill the memory."""

BOM = b"\xef\xbb\xbf"
_BLANK = " \t\r\x0b\x0c"
_NOT_BLANK = r"[^ \t\r\x0b\x0c]"
_BLANK_LINE = re.compile(rb"^[ \t\r\x0b\x0c]*\n", re.MULTILINE)


@dataclass(frozen=True)
class Position:
    """Where a record starts: bytes from the start of the (decompressed) file, and its line from 1."""

    offset: int = 0
    line_no: int = 1


@dataclass(frozen=True)
class Batch:
    """Records of one stretch of a file, with the spans that the stretch is made of.

    Attributes:
        records: `line_no`, `n_lines`, `text`.
        rejected: records that were refused before any parser saw them.
        data: how many bytes the stretch has.
        header: bytes of header lines among them.
        blank: bytes of blank lines among them.
        end: where the next record starts.
        provisional: it may still be being written.
    """

    records: pl.DataFrame
    rejected: pl.DataFrame
    data: int
    header: int
    blank: int
    end: Position
    provisional: bool


def split(data: bytes, first_line: int) -> tuple[pl.DataFrame, int]:
    r"""Bytes to lines, blank ones left out, and how many lines there were. What is no UTF-8 becomes U+FFFD.

    Example:
        >>> lines, n = split(b"a\r\n\nb", 1)
        >>> lines.rows(), n
        ([(1, 1, 'a'), (3, 1, 'b')], 3)
    """
    try:
        lines = pl.read_lines(data, name="text")
    except pl.exceptions.ComputeError:  # invalid UTF-8
        lines = pl.read_lines(data.decode("utf-8", "replace").encode(), name="text")
    numbered = lines.select(
        line_no=pl.int_range(pl.len(), dtype=pl.Int64) + first_line, n_lines=pl.lit(1, pl.Int64), text="text"
    )
    return numbered.filter(pl.col("text").str.contains(_NOT_BLANK)), len(lines)


def blank_bytes(data: bytes) -> int:
    r"""How many bytes of `data` belong to blank lines.

    Example:
        >>> blank_bytes(b"a\n \r\n\nb\n  ")
        6
    """
    ended = sum(len(line) for line in _BLANK_LINE.findall(data))
    rest = data[data.rfind(b"\n") + 1 :]
    return ended + (len(rest) if not rest.strip(_BLANK.encode()) else 0)


class Hashes:
    """SHA-256 of what was read, apart for what is settled and for the provisional rest.

    Attributes:
        settled: over whole records.
        tail: over what may still change.
    """

    def __init__(self) -> None:
        self.settled = hashlib.sha256()
        self.tail = hashlib.sha256()


@dataclass
class _Lines:
    """The state of `line_batches`: where it is and what it still holds."""

    reader: contract.Reader
    assemble: contract.Assemble
    at: Position
    header_left: int = field(init=False)

    def __post_init__(self) -> None:
        self.header_left = self.reader.header_lines if self.at.offset == 0 else 0

    def batch(self, data: bytes, *, final: bool, provisional: bool) -> tuple[Batch, int]:
        """One batch out of whole lines, and how many bytes at its end are held back."""
        lines, n_lines = split(data, self.at.line_no)
        header = blank = 0
        if self.at.offset == 0 and data.startswith(BOM):
            header = len(BOM)
            lines = lines.with_columns(pl.col("text").str.strip_prefix("\ufeff"))
        if self.header_left:
            taken = min(self.header_left, len(lines))
            last = int(lines["line_no"][taken - 1]) - self.at.line_no + 1 if taken else 0
            end = offset_of_line(data, last)
            header = end - blank_bytes(data[:end])
            self.header_left -= taken
            lines = lines[taken:]
        whole, held_lines = self.assemble(lines, final)
        size, kept = len(data), n_lines
        if held_lines:
            kept = int(lines["line_no"][-held_lines]) - self.at.line_no
            size = offset_of_line(data, kept)
        if len(lines) < n_lines:
            blank = blank_bytes(data[:size])
        self.at = Position(self.at.offset + size, self.at.line_no + kept)
        whole, rejected = _too_long(whole)
        return Batch(whole, rejected, size, header, blank, self.at, provisional), len(data) - size

    def skip_line(self, stream: BinaryIO, begun: bytes, hashes: Hashes) -> tuple[Batch, bytes]:
        """Reads to the end of a line that is too long to keep; gives what follows it as well."""
        before = hashes.settled.copy()
        size, chunk = 0, begun
        while chunk and b"\n" not in chunk:
            hashes.settled.update(chunk)
            size += len(chunk)
            chunk = stream.read(CHUNK)
        end = chunk.find(b"\n") + 1
        hashes.settled.update(chunk[:end])
        if not end:  # the file ends inside the line
            hashes.tail, hashes.settled = hashes.settled, before
        line = pl.DataFrame(
            [(self.at.line_no, 1, begun[:8192].decode("utf-8", "replace"))],
            schema=contract.RECORDS,
            orient="row",
        )
        self.at = Position(self.at.offset + size + end, self.at.line_no + 1)
        return Batch(line.clear(), _refused(line), size + end, 0, 0, self.at, not end), chunk[end:]


def offset_of_line(data: bytes, n: int) -> int:
    r"""Where the line starts that `n` lines come before.

    Example:
        >>> offset_of_line(b"ab\nc\nd", 2)
        5
    """
    total = data.count(b"\n") + (not data.endswith(b"\n"))
    if n >= total:
        return len(data)
    at = 0
    if n * 2 < total:
        for _ in range(n):
            at = data.index(b"\n", at) + 1
        return at
    at = len(data) - data.endswith(b"\n")
    for _ in range(total - n):
        at = data.rfind(b"\n", 0, at)
    return at + 1


def _too_long(read: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    long = read["text"].str.len_bytes() > MAX_LINE
    if not long.any():
        return read, pl.DataFrame(schema=contract.REJECTED)
    return read.filter(~long), _refused(read.filter(long))


def _refused(long: pl.DataFrame) -> pl.DataFrame:
    reason = pl.lit(f"longer than {MAX_LINE >> 20} MiB")
    return long.select("line_no", "n_lines", reason=reason, text=pl.col("text").str.slice(0, 8192))


def line_batches(
    stream: BinaryIO, *, reader: contract.Reader, assemble: contract.Assemble, start: Position, hashes: Hashes
) -> Iterator[Batch]:
    """Cuts a stream into batches of whole records.

    What may still be being written, a last line without an end or a record still open, comes last, as
    provisional.

    Args:
        stream: positioned at `start`.
        reader: says how many header lines there are.
        assemble: lines to records.
        start: where the first record starts.
        hashes: take up every byte that is given out.
    """
    state = _Lines(reader, assemble, start)
    carry = b""
    while chunk := stream.read(CHUNK):
        rest = b"" if chunk.endswith(b"\n") else stream.readline(MAX_LINE + 1)
        data = b"".join((carry, chunk, rest))
        cut = len(data) if data.endswith(b"\n") else data.rfind(b"\n") + 1
        whole, carry = data[:cut], data[cut:]  # no copies where the data ends with its line
        too_long = len(carry) > MAX_LINE
        if whole:
            batch, held = state.batch(whole, final=too_long, provisional=False)
            hashes.settled.update(memoryview(whole)[: batch.data])
            yield batch
            carry = whole[batch.data :] + carry if held else carry
        if too_long:
            batch, carry = state.skip_line(stream, carry, hashes)
            yield batch
    if carry:
        hashes.tail.update(carry)
        yield state.batch(carry, final=True, provisional=True)[0]


def block_batches(
    stream: BinaryIO, *, reader: contract.Reader, start: Position, hashes: Hashes
) -> Iterator[Batch]:
    """The same for files that are not lines: the reader finds the records, here `line_no` counts them."""
    assert reader.blocks is not None  # noqa: S101 (for the type checker: the caller asked)
    tee = _Tee(stream)
    at, done = start, 0
    for block in reader.blocks(io.BufferedReader(tee, CHUNK), start.line_no):
        size = block.end - done
        taken = tee.take(size)
        (hashes.tail if block.provisional else hashes.settled).update(taken)
        done = block.end
        at = Position(at.offset + size, at.line_no + len(block.records))
        whole, rejected = _too_long(block.records)
        yield Batch(whole, rejected, size, 0, block.blank, at, block.provisional)


class _Tee(io.RawIOBase):
    """Remembers what was read until it is taken, so that each byte is hashed with the block it belongs to."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._kept = bytearray()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # the stub has Buffer, which has no len
        data = self._stream.read(len(buffer))
        self._kept += data
        buffer[: len(data)] = data
        return len(data)

    def take(self, size: int) -> bytes:
        taken = bytes(self._kept[:size])
        del self._kept[:size]
        return taken
