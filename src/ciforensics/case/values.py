"""Texts that many requests share, numbered: each is redacted and taken apart once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from ciforensics import redact

if TYPE_CHECKING:
    from collections.abc import Callable

    import duckdb

    from ciforensics.schema import Apart


class Values:
    """The distinct values of one column that is stored apart: each is redacted and taken apart once.

    Args:
        con: the case.
        apart: the column.
        take_apart: values to a frame of the column and what can be read out of it.
        key: of the redaction.
    """

    MOST = 500_000  # remembered at a time: a file of nothing but new urls must not fill the memory

    def __init__(
        self,
        con: duckdb.DuckDBPyConnection,
        apart: Apart,
        take_apart: Callable[[pl.Series], pl.DataFrame],
        key: bytes,
    ) -> None:
        self.apart = apart
        self.column = apart.column
        self._take_apart = take_apart
        self._key = key
        self._first = con.execute(
            f"SELECT coalesce(max({self.apart.number}) + 1, 1) FROM {self.apart.home}"
        ).fetchall()[0][0]
        self._secrets = pl.Series(dtype=pl.Int64)
        self.forget()

    def forget(self) -> None:
        """Numbers anew from here on, e.g. because the last values were rolled back."""
        self._first += len(self._secrets)
        # A categorical's codes count the distinct values from 0: four times as fast as joins on the text.
        self._numbered = pl.Series(dtype=pl.Categorical(pl.Categories.random()))
        self._secrets = pl.Series(dtype=pl.Int64)

    def number(self, frame: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame, int]:
        """Replaces the column by its id; gives the values that are new and the secrets that the rows held."""
        if self.column not in frame.columns:
            return frame, pl.DataFrame(), 0
        if len(self._secrets) > self.MOST:
            self.forget()
        values = frame[self.column].cast(self._numbered.dtype)
        self._numbered = values.clear()  # polars forgets the numbers when no series has them any more
        codes = values.to_physical().cast(pl.Int64)
        new = (
            pl.DataFrame({self.column: values, "code": codes})
            .filter(codes >= len(self._secrets))
            .unique("code")
            .sort("code")
        )
        learnt = self._learn(new[self.column].cast(pl.String)) if len(new) else pl.DataFrame()
        secrets = int(self._secrets.gather(codes.drop_nulls()).sum()) if self._secrets.sum() else 0
        return (
            frame.drop(self.column).with_columns((codes + self._first).alias(self.apart.number)),
            learnt,
            secrets,
        )

    def _learn(self, new: pl.Series) -> pl.DataFrame:
        clean, secrets = redact.frame(new.to_frame(), key=self._key)
        held = pl.zeros(len(new), pl.Int64, eager=True)
        if secrets:
            pairs = zip(new, clean[self.column], strict=True)
            counted = [redact.text(raw, key=self._key)[1] if raw != out else 0 for raw, out in pairs]
            held = pl.Series(counted, dtype=pl.Int64)
        first = self._first + len(self._secrets)
        self._secrets = self._secrets.append(held)
        ident = pl.int_range(first, first + len(new), dtype=pl.Int64, eager=True).alias(self.apart.number)
        return self._take_apart(clean[self.column]).with_columns(ident)
