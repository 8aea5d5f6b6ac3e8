r"""Delimited text: lines to records to fields, exact where well formed, salvaged where one reading exists.

A field is `plain` or `"quoted, with "" for a quote"`; in a plain one, quotes may stand in pairs behind its
first character. A record with the right number of such fields means the same to every CSV reader, so that
polars may split it, in bulk. Naive writers put a user agent such as `pip/23.2.1 {"ci":null,"cpu":"x86_64"}`
or `Mozilla/5.0 (KHTML, like Gecko)` between their delimiters as it is. Such a record is salvaged: in a
*free* column, delimiters inside balanced parentheses or braces belong to the text. Whatever fits neither
is rejected: a reader that goes on at any price loses the records behind a quote that never closes.
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import polars as pl

from ciforensics.contract import REJECTED
from ciforensics.formats import records

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_WIDTH = 200
"""Columns of a header that are understood: the pattern of a record grows with them."""

NULLS = ("", "-", "nil", "NULL", "null")
"""What writers put where there is nothing."""

_QUOTED = '"(?:[^"]|"")*"'


def split(line: str, delimiter: str) -> list[str] | None:
    """The fields of one line, or None if it is not well formed.

    Example:
        >>> split('a,"b,c",d', ",")
        ['a', 'b,c', 'd']
    """
    try:
        rows = list(csv.reader([line], delimiter=delimiter, strict=True))
    except csv.Error:
        return None
    return rows[0] if len(rows) == 1 else None


def _balanced(opening: str, closing: str) -> str:
    """A group in brackets, four deep: pip's JSON has three levels."""
    inside = rf"[^{opening}{closing}]"
    group = rf"\{opening}{inside}*\{closing}"
    for _ in range(3):
        group = rf"\{opening}(?:{inside}|{group})*\{closing}"
    return group


@dataclass(frozen=True)
class Layout:
    """How the records of one file are written.

    Attributes:
        delimiter: one character.
        width: how many fields a record has. Empty ones behind them are dropped: spreadsheets add them.
        free: columns, from 0, whose text may hold raw quotes, and delimiters in parentheses or braces.

    Example:
        >>> batch = pl.DataFrame({"line_no": [1, 2], "n_lines": 1, "text": ['GET,"a ""b"" c"', "GET,a,b"]})
        >>> read, rejected = Layout(",", 2).fields(batch)
        >>> read.rows(), rejected["reason"].to_list()
        ([(1, 'GET', 'a "b" c')], ['3 fields, 2 expected'])
    """

    delimiter: str
    width: int
    free: frozenset[int] = frozenset()

    @property
    def _between(self) -> str:
        return f"[{self.delimiter}]"  # a class, for | means something in a pattern

    @property
    def _field(self) -> str:
        plain = rf'[^"\n{self.delimiter}]'
        return f'(?:{_QUOTED}|(?:{plain}+(?:"{plain}*"{plain}*)*)?)'

    @cached_property
    def whole(self) -> str:
        """Pattern of a well-formed record."""
        return rf"^{self._field}(?:{self._between}{self._field}){{{self.width - 1}}}{self._between}*$"

    @cached_property
    def opens(self) -> str:
        """Pattern of a line at whose end a quoted field is open."""
        return rf'^(?:{self._field}{self._between})*"(?:[^"]|"")*$'

    @cached_property
    def closes(self) -> str:
        """Pattern of a line that ends the quoted field which an earlier one opened."""
        return rf'^(?:[^"]|"")*"(?:{self._between}{self._field})*$'

    @cached_property
    def salvage(self) -> str:
        """Pattern of a record in which a field holds raw quotes or groups, a capture a column."""
        other = rf'({_QUOTED}|(?:[^"\n{self.delimiter}][^\n{self.delimiter}]*)?)'
        free = rf"({_QUOTED}|(?:[^\n(){{}}{self.delimiter}]|{_balanced('(', ')')}|{_balanced('{', '}')})*)"
        each = (free if number in self.free else other for number in range(self.width))
        return f"^{self._between.join(each)}$"

    def assemble(self, lines: pl.DataFrame, final: bool) -> tuple[pl.DataFrame, int]:
        """Joins lines between which a quoted field is open; see `ciforensics.contract.Assemble`.

        Lines are joined only when that makes one well-formed record of at most `records.MAX_JOINED` lines
        and none between them is a record by itself. Else the quote never closes: its line stands alone.
        """
        text = lines["text"]
        odd = (text.str.count_matches('"', literal=True) % 2 == 1).arg_true().cast(pl.Int64)
        if odd.is_empty():
            return lines, 0
        tips = pl.DataFrame({"at": odd, "text": text.gather(odd)}).select(
            "at",
            end=pl.col("at").shift(-1),
            opens=pl.col("text").str.contains(self.opens),
            closes=pl.col("text").str.contains(self.closes),
        )
        near = pl.col("end") - pl.col("at") < records.MAX_JOINED
        further = self._further(text, tips.filter(near & pl.col("opens") & pl.col("closes").shift(-1)))
        starts = ~pl.int_range(len(lines), eager=True).is_in(further)
        last, opens = tips.select("at", "opens").row(-1)
        held = 0
        if not final and opens and starts[last] and len(lines) - last < records.MAX_JOINED:
            held = len(lines) - last
        kept = len(lines) - held
        return records.join(lines[:kept], starts[:kept]), held

    def _further(self, text: pl.Series, pairs: pl.DataFrame) -> list[int]:
        """The lines that go on what the line before began, given where it may begin (`at`) and `end`."""
        lines = pairs.select("at", "end", line=pl.int_ranges("at", pl.col("end") + 1)).explode("line")
        good = (
            lines.with_columns(text=text.gather(lines["line"]))
            .group_by("at", "end", maintain_order=True)
            .agg(pl.col("text").str.contains(self.whole).any().alias("alone"), pl.col("text").str.join("\n"))
            .filter(~pl.col("alone") & pl.col("text").str.contains(self.whole))
        )
        further: list[int] = []
        for at, end in good.select("at", "end").iter_rows():
            if not further or at > further[-1]:  # else it ended the record before
                further.extend(range(at + 1, end + 1))
        return further

    def fields(
        self, batch: pl.DataFrame, columns: Iterable[int] | None = None
    ) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Splits records.

        Args:
            batch: the records.
            columns: the fields that are wanted, from 0; all if not given.

        Returns:
            `line_no` and a String column for each wanted field, named by its number, null where the text is
            one of `NULLS`; and the records that could not be split, as in `ciforensics.contract.REJECTED`.
        """
        wanted = sorted(range(self.width) if columns is None else columns)
        text = batch["text"]
        has_quote = text.str.contains('"', literal=True)
        regular = ~has_quote & (text.str.count_matches(self.delimiter, literal=True) == self.width - 1)
        if regular.all():
            return self._split(batch, wanted), pl.DataFrame(schema=REJECTED)
        rest = (~regular).arg_true()
        regular = regular.scatter(rest, text.gather(rest).str.contains(self.whole))
        if regular.all():
            return self._split(batch, wanted), pl.DataFrame(schema=REJECTED)
        rows = self._split(batch.filter(regular), wanted)
        salvaged, rejected = self._salvage(batch.filter(~regular), wanted)
        return pl.concat([rows, salvaged]).sort("line_no") if len(salvaged) else rows, rejected

    def _split(self, batch: pl.DataFrame, wanted: list[int]) -> pl.DataFrame:
        """Splits well-formed records."""
        if batch.is_empty():
            return pl.DataFrame(schema={"line_no": pl.Int64} | dict.fromkeys(map(str, wanted), pl.String))
        # A header of ours: without one polars takes the width from the first record, and its byte order mark.
        header = pl.Series("text", [self.delimiter.join(map(str, range(self.width)))])
        fields = pl.read_csv(
            io.BytesIO(pl.concat([header, batch["text"]]).str.join("\n").cast(pl.Binary).item()),
            separator=self.delimiter,
            columns=wanted,
            infer_schema=False,
            null_values=list(NULLS),
            truncate_ragged_lines=True,
        )
        return pl.DataFrame([batch["line_no"]]).hstack(fields)

    def _salvage(self, batch: pl.DataFrame, wanted: list[int]) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Splits what is not well formed, where one reading exists."""
        groups = batch["text"].str.extract_groups(self.salvage).struct.unnest()
        unread = groups.to_series().is_null()
        fields = groups.filter(~unread).select(
            _unquoted(str(number + 1)).alias(str(number)) for number in wanted
        )
        fields = fields.select(pl.when(~pl.all().is_in(NULLS)).then(pl.all()))
        return batch.filter(~unread).select("line_no").hstack(fields), self._rejected(batch.filter(unread))

    def _rejected(self, batch: pl.DataFrame) -> pl.DataFrame:
        outside = pl.col("text").str.replace_all(_QUOTED, "")
        fields = outside.str.count_matches(self.delimiter, literal=True) + 1
        counts = pl.format("{} fields, {} expected", fields, self.width)
        reason = pl.when(fields == self.width).then(pl.lit("a quote out of place")).otherwise(counts)
        return batch.select("line_no", "n_lines", reason=reason, text="text")


def _unquoted(column: str) -> pl.Expr:
    """A field without its quotes; doubled or escaped ones inside are undone where all of them are."""
    field = pl.col(column)
    inside = field.str.slice(1).str.head(-1)
    return (
        pl.when(~field.str.contains(r'(?s)^".*"$'))
        .then(field)
        .when(inside.str.contains(r'^(?:[^"]|"")*$'))
        .then(inside.str.replace_all('""', '"', literal=True))
        .when(inside.str.contains(r'^(?:[^"\\]|\\.)*$'))
        .then(inside.str.replace_all('\\"', '"', literal=True))
        .otherwise(inside)
    )
