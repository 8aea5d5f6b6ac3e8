"""By how much the clocks of two sources differ: an answer beside the data, never a change to it.

Two observers of the same requests: the differences between rows that look alike pile up at the true offset
and nowhere else, a wrong time zone included. Then the median of pairs that can only be one request, and their
median absolute deviation, are the offset and its spread.

GitHub's log and the docker wrapper's share no request, and an offset looks just like a delay. What is certain
is that no request comes before its build. So the correlogram of 401s after builds (Brillinger, "The
identification of point process systems", Ann. Probab. 3, 1975) has its foot at the offset plus the delay of
the fastest requests, and one assumption about that delay, `FASTEST_S`, makes an interval of it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from ciforensics.analysis.links.correlogram import (
    BULK_WIDE_S,
    REACH_S,
    Events,
    bulk_lag,
    busiest,
    excess_by_lag,
    foot_of,
)
from ciforensics.analysis.links.observers import choose_observer
from ciforensics.case import accepts_path

if TYPE_CHECKING:
    import duckdb

FASTEST_S = 12
"""The assumption: of many requests, the fastest come within so many seconds of their build's start."""

BULK_S = 150
"""The weaker assumption, where 401s are few: most come within so many seconds of their build's start."""

ANCHORS = 3
"""Requests in common that an offset must rest on."""

_ZONE_S, _NEAR_ZONE_S = 900, 120
_FEWEST, _SHORTEST_S = 20, 1800


@dataclass(frozen=True)
class Offset:
    """By how much the clock of `source` is ahead of that of `other_source`.

    Attributes:
        source: whose clock.
        other_source: relative to whose.
        offset_s: seconds ahead, the likeliest value; None: cannot tell.
        low_s: the least that it may be.
        high_s: the most that it may be.
        mad_s: median absolute deviation of the anchors, if the offset is from shared requests.
        anchors: requests in common that the answer rests on; none where it is from build starts.
        whole_hours: the part of it that looks like a time zone: hours, in quarters.
        verdict: what it rests on, or why it cannot be told.
    """

    source: str
    other_source: str
    offset_s: float | None = None
    low_s: float | None = None
    high_s: float | None = None
    mad_s: float | None = None
    anchors: int = 0
    whole_hours: float | None = None
    verdict: str = "cannot tell"


_SCHEMA = {
    "source": pl.String,
    "other_source": pl.String,
    "offset_s": pl.Float64,
    "low_s": pl.Float64,
    "high_s": pl.Float64,
    "mad_s": pl.Float64,
    "anchors": pl.Int64,
    "whole_hours": pl.Float64,
    "verdict": pl.String,
}


@accepts_path
def find_offsets(con: duckdb.DuckDBPyConnection, *, observer: str | None = None) -> pl.DataFrame:
    """Says by how much the observer's clock is ahead of each other source's.

    Args:
        con: a connection to a case, or its path.
        observer: whose clock; GitHub's own log if the case has it.

    Returns:
        A row for each other source that saw requests, and one for the docker wrapper if it saw builds, with
        the columns of `Offset`.

    Raises:
        CiforensicsError: the case has no requests of that observer.

    Example:
        >>> import ciforensics as ci
        >>> find_offsets(ci.connect())["source"].unique().to_list()
        ['github_csv']
    """
    source = choose_observer(con, observer)
    sources = [
        name for (name,) in con.execute("SELECT DISTINCT source FROM requests ORDER BY source").fetchall()
    ]
    if source is None:
        return pl.DataFrame(schema=_SCHEMA)
    others = [name for name in sources if name != source]
    offsets = [find_shared_offset(con, source=source, other_source=other) for other in others]
    builders = con.execute(
        "SELECT DISTINCT source FROM invocations WHERE command = 'build' ORDER BY source"
    ).fetchall()
    offsets += [find_build_offset(con, source=source, other_source=other) for (other,) in builders]
    return pl.DataFrame([asdict(one) for one in offsets], schema=_SCHEMA)


def find_shared_offset(con: duckdb.DuckDBPyConnection, *, source: str, other_source: str) -> Offset:
    """Says by how much one observer's clock is ahead of another's, from the requests that both saw.

    Example:
        >>> import ciforensics as ci
        >>> abs(find_shared_offset(ci.connect(), source="github_csv", other_source="mitmproxy").offset_s) < 5
        True
    """
    unknown = Offset(source, other_source)
    sql = "SELECT * FROM shared_differences(p_observer := $1, p_other := $2, p_reach_s := $3)"
    differences = pl.DataFrame(con.sql(sql, params=[source, other_source, REACH_S]))
    reach = int(REACH_S) + 2
    pairs = np.zeros(2 * reach + 1)
    pairs[differences["difference_s"].to_numpy() + reach] = differences["pairs"].to_numpy()
    near = np.convolve(pairs, np.ones(3), mode="same")
    best = int(near.argmax())
    chance = np.delete(near, np.arange(max(0, best - 6), best + 7)).max()
    if near[best] < ANCHORS:
        return _cannot_tell(unknown, f"fewer than {ANCHORS} requests in common")
    if near[best] - chance < max(2, 4 * np.sqrt(chance)):
        return _cannot_tell(unknown, "other offsets fit as well")
    mode = best - 1 + int(pairs[best - 1 : best + 2].argmax()) - reach
    sql = "FROM shared_anchors(p_observer := $1, p_other := $2, p_offset_s := $3)"
    ((lag, mad, anchors),) = con.execute(sql, [source, other_source, mode]).fetchall()
    if anchors < ANCHORS:
        lag, mad, anchors = 0.0, 0.5, int(near[best] - chance)
    offset = mode + lag
    slack = 1 + mad  # times are cut to whole seconds, on either side
    return Offset(
        source,
        other_source,
        offset_s=offset,
        low_s=offset - slack,
        high_s=offset + slack,
        mad_s=mad,
        anchors=anchors,
        whole_hours=_whole_hours(offset),
        verdict="shared requests",
    )


def _cannot_tell(unknown: Offset, why: str) -> Offset:
    return replace(unknown, verdict=f"cannot tell: {why}")


def _whole_hours(offset_s: float) -> float:
    quarters = round(offset_s / _ZONE_S)
    return quarters / 4 if abs(offset_s - quarters * _ZONE_S) <= _NEAR_ZONE_S else 0.0


def find_build_offset(
    con: duckdb.DuckDBPyConnection, *, source: str, other_source: str = "docker_wrapper"
) -> Offset:
    """Says between what bounds the observer's clock is ahead of the clock that docker builds were logged by.

    A checkout comes before its build. So 401s of user agents that say they check out do not count, nor do
    those of a workflow's own repository.
    """
    unknown = Offset(source, other_source)
    sql = "SELECT * FROM build_moments(p_observer := $1, p_build_source := $2)"
    moments = pl.DataFrame(con.sql(sql, params=[source, other_source]))
    asked, built = Events.of(moments, "401"), Events.of(moments, "build")
    if min(len(asked.at), len(built.at)) < _FEWEST:
        return _cannot_tell(unknown, f"fewer than {_FEWEST} 401s or builds")
    if min(asked.at[-1] - asked.at[0], built.at[-1] - built.at[0]) < _SHORTEST_S:
        return _cannot_tell(unknown, "less than half an hour of 401s or builds")
    if max(asked.at[0] - built.at[-1], built.at[0] - asked.at[-1]) > REACH_S:
        return _cannot_tell(unknown, "the 401s and the builds are of different days")
    about = bulk_lag(asked.at, built.at)
    if about is None:
        return _cannot_tell(unknown, "401s are as frequent after builds as at any time")
    foot = foot_of(excess_by_lag(busiest(asked), built, about))
    if foot is None:  # what is left is where most of them are
        return _interval(unknown, about - BULK_S, about + BULK_WIDE_S / 2, f"most take under {BULK_S} s")
    at, window = foot
    high = float(at + about + window // 2 + 1)
    return _interval(unknown, high - FASTEST_S - 2 * window, high, f"the fastest take under {FASTEST_S} s")


def _interval(unknown: Offset, low_s: float, high_s: float, assumption: str) -> Offset:
    middle = (low_s + high_s) / 2
    return replace(
        unknown,
        offset_s=middle,
        low_s=low_s,
        high_s=high_s,
        whole_hours=_whole_hours(middle),
        verdict=f"interval from build starts, if of the requests {assumption}",
    )
