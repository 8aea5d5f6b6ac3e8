"""What a log is: the contract between a source module and the ingest.

A module under `sources/` describes one log and binds one `Source` to the name `SOURCE`; nothing else
registers it. Its work is done in two steps: `recognise` looks at the head of a file and says how
the file is to be read (a `Reader`), and the reader's `parse` turns records into rows, in bulk.

A frame of **lines** and a frame of **records** have the same columns (`RECORDS`): `line_no` (from 1),
`n_lines` and `text` (without line ends). Lines are never blank. An `Assemble` function joins lines to
records; what it cannot yet close, because the rest may still be being written, it holds back.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, BinaryIO

import polars as pl

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from zoneinfo import ZoneInfo

RECORDS = {"line_no": pl.Int64, "n_lines": pl.Int64, "text": pl.String}
REJECTED = {"line_no": pl.Int64, "n_lines": pl.Int64, "reason": pl.String, "text": pl.String}


@dataclass(frozen=True)
class Head:
    """What is seen of a file before anyone knows what it is.

    Attributes:
        data: the first bytes, decompressed (at most 256 KiB).
        lines: the first whole lines that are not blank, decoded, envelopes peeled off.
    """

    data: bytes
    lines: tuple[str, ...]


@dataclass(frozen=True)
class ReadOptions:
    """What the user said about how to read.

    Attributes:
        timezone: the zone of timestamps that name none.
        mapping: our column name to the log's own, e.g. `{"ts": "When"}`.
        forced: the user named this source with `--source`: say why a file does not fit.
    """

    timezone: ZoneInfo
    mapping: Mapping[str, str] = field(default_factory=dict)
    forced: bool = False


@dataclass(frozen=True)
class Parsed:
    """What became of a batch of records. Each record is one row, one rejected or one skipped.

    Attributes:
        rows: for each table the rows, with `line_no` and any of the table's own columns. `requests`
            rows carry `url` and `user_agent`; what can be read out of those two (host, path, client,
            …) is added by the ingest and never given here.
        rejected: columns as in `REJECTED`; `text` is the record as it was.
        skipped: for each reason, how many records held nothing to report.
        redacted: secrets dropped by the source itself, e.g. the value of an Authorization header.
        extra: records found beyond those handed in, where one line held several.
    """

    rows: Mapping[str, pl.DataFrame]
    rejected: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=REJECTED))
    skipped: Mapping[str, int] = field(default_factory=dict)
    redacted: int = 0
    extra: int = 0


Assemble = Callable[[pl.DataFrame, bool], tuple[pl.DataFrame, int]]
"""(lines, final) to (records, how many of the last lines are held back). With `final` nothing is."""


@dataclass(frozen=True)
class Block:
    """Records of a file that is not lines, and where they end.

    Attributes:
        records: the records, in order.
        end: bytes from the stream's start position to the end of the last of them.
        blank: bytes among those that belong to no record.
        provisional: the records may change when the file grows. Only provisional blocks follow such a
            one; those without records cover more bytes of what it began.
    """

    records: pl.DataFrame
    end: int
    blank: int
    provisional: bool = False


def one_line_each(lines: pl.DataFrame, final: bool) -> tuple[pl.DataFrame, int]:  # noqa: ARG001 (as every Assemble)
    """Each line is a record."""
    return lines, 0


@dataclass(frozen=True)
class Reader:
    """How one file is read, decided once from its head.

    Attributes:
        format: the dialect, e.g. `har`; shown in `files.format`.
        parse: records (`line_no`, `n_lines`, `text`) to rows.
        assemble: lines to records, for logs whose records can span lines.
        header_lines: lines before the first record that hold no record.
        blocks: for files that are not lines: a binary stream positioned at a record boundary, and
            the number of the next record, to blocks of records.
    """

    format: str
    parse: Callable[[pl.DataFrame], Parsed]
    assemble: Assemble = one_line_each
    header_lines: int = 0
    blocks: Callable[[BinaryIO, int], Iterator[Block]] | None = None


@dataclass(frozen=True)
class Source:
    """A log that ciforensics can read.

    Attributes:
        name: what `--source` takes and the column `source` says.
        fills: for each table that it writes, the columns that it fills and what in the log they are.
        recognise: a `Reader` for a file with this head, or None if it is no such log. Raises
            `ciforensics.errors.Unreadable` when it is one but cannot be read as it stands.
        doc: what the log is, a real line, its writer's vices: the module's docstring.
    """

    name: str
    fills: Mapping[str, Mapping[str, str]]
    recognise: Callable[[Head, ReadOptions], Reader | None]
    doc: str
