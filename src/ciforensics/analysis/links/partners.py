"""The same request seen by two observers: for each row of one, how probable each row of the other is.

No key joins GitHub's log to a proxy's, and in a busy second many requests look alike. Which rows may be the
same request is SQL (`views/links/shared_requests.sql`), how probable each is says `alignment`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from ciforensics.analysis.links.alignment import Likenesses, align
from ciforensics.analysis.links.clocks import find_shared_offset
from ciforensics.analysis.links.observers import choose_observer
from ciforensics.case import accepts_path
from ciforensics.wording import Result, Sentence, say

if TYPE_CHECKING:
    from collections.abc import Iterator

    import duckdb

WITHIN_S = 2.0
"""How far apart two observers may have seen a request, once their clocks are put right: what views call
`seen_within_s`."""

SURE = 0.99
"""From this probability on two rows are one request; below 1 - SURE with all others, a row is alone."""

_LAG_S = 0.25
_SIZES = 256
_KEPT = 0.999
_ROW = ["file_id", "line_no"]
_OTHER_ROW = ["other_file_id", "other_line_no"]
_CLIENT = ["client_ip", "client_port"]


@dataclass(frozen=True, eq=False, repr=False)
class Partners(Result):
    """Which rows of two observers are the same request, as probabilities.

    Attributes:
        offset_s: seconds by which the observer's clock is ahead; None: it cannot be told, and so neither can
            any partner.
        pairs: for each row of the other observer (`other_file_id`, `other_line_no`) the observer's rows
            (`file_id`, `line_no`) that may be the same request, with `probability`, likeliest first: 99.9 %
            of it. What lacks to 1: the observer did not see that request.
        clients: for each row of the observer (`file_id`, `line_no`) that may be in the other's log the
            `client_ip` and `client_port` that may have sent it, with `probability`; it sums to 1. No
            `client_ip`: a client that the other does not know.
    """

    offset_s: float | None
    pairs: pl.DataFrame
    clients: pl.DataFrame

    def _said(self) -> Iterator[Sentence]:
        if self.offset_s is None:
            yield say("By how much the clocks differ cannot be told, so no row has a partner.")
            return
        best = self.pairs.group_by(_OTHER_ROW).agg(pl.col("probability").max())["probability"]
        yield say(
            "{rows} rows of the other log may be requests that the observer saw too; of {sure} it is sure "
            "which. "
            "The observer's clock is {seconds:.1f} s {way}.",
            rows=len(best),
            sure=int((best >= SURE).sum()),
            seconds=abs(self.offset_s),
            way="behind" if round(self.offset_s, 1) < 0 else "ahead",
        )


@accepts_path
def find_partners(
    con: duckdb.DuckDBPyConnection,
    *,
    observer: str | None = None,
    other: str = "mitmproxy",
    offset_s: float | None = None,
) -> Partners:
    """Finds the partners of each request that two observers may both have seen.

    Both logs must be written in the order of events, or nearly so; how nearly is learned. Rows without a
    candidate within two seconds are in neither frame.

    Args:
        con: a connection to a case, or its path.
        observer: whose rows are explained; GitHub's own log if the case has it.
        other: whose rows explain them.
        offset_s: seconds by which the observer's clock is ahead; found out if not given.

    Returns:
        The pairs, and what they say of who sent the observer's rows.

    Raises:
        CiforensicsError: the case has no requests of that observer.

    Example:
        >>> import ciforensics as ci
        >>> partners = find_partners(ci.connect())
        >>> partners.clients.group_by("file_id", "line_no").agg(pl.col("probability").sum().round(6))[
        ...     "probability"
        ... ].unique().to_list()
        [1.0]
    """
    source = choose_observer(con, observer)
    if offset_s is None and source is not None:
        offset_s = find_shared_offset(con, source=source, other_source=other).offset_s
    sql = """
        SELECT *
        FROM shared_requests(p_observer := $1, p_other := $2, p_offset_s := $3, p_seen_within_s := $4)
        WHERE $5
        ORDER BY other_place, place
    """
    params = [source, other, offset_s, WITHIN_S, offset_s is not None]
    candidates = pl.DataFrame(con.sql(sql, params=params))
    candidates = candidates.with_columns(probability=pl.Series(align(_coded(candidates)), dtype=pl.Float64))
    return Partners(offset_s, _pairs(candidates), _clients(candidates))


def _coded(candidates: pl.DataFrame) -> Likenesses:
    row = candidates["other_place"].rle_id().to_numpy().astype(np.int64)
    first = np.flatnonzero(np.diff(row, prepend=-1))
    return Likenesses(
        row=row,
        place=candidates["place"].to_numpy(),
        lag=((candidates["lag_s"].to_numpy() + WITHIN_S) / _LAG_S).astype(np.int64),
        size=_size_codes(candidates["more_bytes"]),
        chain=candidates["other_file_id"].to_numpy()[first],
        share=candidates["share"].to_numpy()[first],
    )


def _size_codes(more_bytes: pl.Series) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """The commonest differences from 1, all others the last code, 0 where a size is not known."""
    common = more_bytes.drop_nulls().value_counts().sort("count", more_bytes.name, descending=[True, False])
    code = pl.int_range(1, pl.len() + 1)
    coded = more_bytes.to_frame().join(
        common.head(_SIZES).select(more_bytes.name, code=code),
        on=more_bytes.name,
        how="left",
        maintain_order="left",
    )
    known = pl.when(pl.col(more_bytes.name).is_not_null()).then(_SIZES + 1).otherwise(0)
    return coded.select(pl.col("code").fill_null(known)).to_series().to_numpy().astype(np.int64)


def _pairs(candidates: pl.DataFrame) -> pl.DataFrame:
    likeliest_first = [*_OTHER_ROW, "probability", *_ROW]
    ordered = candidates.select(*_ROW, *_OTHER_ROW, "probability").sort(
        likeliest_first, descending=[name == "probability" for name in likeliest_first]
    )
    probability = pl.col("probability")
    told_before = (probability.cum_sum() - probability).over(_OTHER_ROW)
    return ordered.filter(told_before < _KEPT * probability.sum().over(_OTHER_ROW))


def _clients(candidates: pl.DataFrame) -> pl.DataFrame:
    """A row has one sender: where its pairs say more than 1, they are scaled down."""
    probability = pl.col("probability")
    by_client = candidates.group_by(*_ROW, *_CLIENT).agg(probability.sum())
    by_client = by_client.with_columns(probability / pl.max_horizontal(1.0, probability.sum().over(_ROW)))
    nobody = by_client.group_by(_ROW).agg(probability=1 - probability.sum())
    both = pl.concat([by_client, nobody], how="diagonal")
    both = both.group_by(*_ROW, *_CLIENT).agg(probability.sum().clip(0, 1))
    kept = both.filter((probability > 1 - _KEPT) | pl.col("client_ip").is_null())
    kept = kept.with_columns(probability / probability.sum().over(_ROW))
    return kept.sort(*_ROW, "probability", *_CLIENT, descending=[False, False, True, False, False])
