"""Blocks of records, for files that are not lines. See `records.Block` for what a block promises."""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO

import polars as pl

from ciforensics.contract import RECORDS, Block

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

STEP = 16 << 20


def block(texts: Sequence[str], *, first: int, end: int, blank: int = 0, provisional: bool = False) -> Block:
    """Numbers records from `first` on.

    Example:
        >>> block(["{}", "{}"], first=7, end=5, blank=1).records.rows()
        [(7, 1, '{}'), (8, 1, '{}')]
    """
    records = pl.DataFrame(
        {"line_no": range(first, first + len(texts)), "n_lines": [1] * len(texts), "text": texts},
        schema=RECORDS,
    )
    return Block(records, end, blank, provisional)


def remainder(stream: BinaryIO, begun: int, *, text: str, first: int, end: int) -> Iterator[Block]:
    """What follows the last whole record: one record, however long it is, that the next ingest reads anew.

    Args:
        stream: the rest of the file.
        begun: bytes of the remainder that were read already.
        text: what to say of it. Never the bytes themselves: they are full of other people's secrets.
        first: the record's number.
        end: where the remainder starts.
    """
    end += begun
    yield block([text], first=first, end=end, provisional=True)
    while data := stream.read(STEP):
        end += len(data)
        yield block([], first=first + 1, end=end, provisional=True)
