"""What a proxy adds: whose the same request was there.

GitHub's log has no address, a proxy's log has; and which run held an address is often known. So a request
that both saw is known by the proxy's key. Where it is not sure which of the proxy's rows is the same request,
the doubt stays: it makes builds on that address likelier, and others less so.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from ciforensics.analysis.links.basis import Basis
from ciforensics.analysis.links.partners import SURE, find_partners

if TYPE_CHECKING:
    import duckdb
    from numpy.typing import NDArray

    from ciforensics.analysis.links.partners import Partners

PROXY = "mitmproxy"
_RUN = ("ci_repo", "workflow", "job", "run_id")
_ROW = ("file_id", "line_no")
_LEAST = 2e-3  # probability that always remains for what the partners rule out
_BUCKET_S = 300  # addresses come and go with their pods: what is usual is asked anew


@dataclass(frozen=True, eq=False)
class Sightings:
    """What the proxy says of another observer's requests.

    Attributes:
        keys: for each row (`file_id`, `line_no`) whose partner, at 0.99 or more, has a key: the run, `basis`.
        clients: for each row that may have a partner: `client_ip` and its `probability`; NULL: none of these.
        addresses: every client address that the proxy saw.
    """

    keys: pl.DataFrame
    clients: pl.DataFrame
    addresses: frozenset[str]


def find_sightings(
    con: duckdb.DuckDBPyConnection, observer: str, *, fetches: bool = False
) -> Sightings | None:
    """Asks the proxy's log about the observer's requests; None if it cannot say anything."""
    addresses = con.execute(
        "SELECT DISTINCT client_ip FROM requests WHERE source = $1 AND client_ip IS NOT NULL", [PROXY]
    ).fetchall()
    if observer == PROXY or not addresses:
        return None
    told = find_partners(con, observer=observer, other=PROXY)
    if told.offset_s is None:
        return None
    clients = told.clients.group_by(*_ROW, "client_ip").agg(pl.col("probability").sum())
    return Sightings(_keys(con, told, fetches), clients, frozenset(address for (address,) in addresses))


def _keys(con: duckdb.DuckDBPyConnection, told: Partners, fetches: bool) -> pl.DataFrame:
    rows = con.sql(
        "FROM keyed_unauthorized(p_observer := $1, p_fetches := $2) WHERE basis IS NOT NULL",
        params=[PROXY, fetches],
    )
    keyed = pl.DataFrame(rows).select(
        pl.col("file_id").alias("other_file_id"), pl.col("line_no").alias("other_line_no"), *_RUN
    )
    by_run = (
        told.pairs.join(keyed, on=["other_file_id", "other_line_no"])
        .group_by(*_ROW, *_RUN)
        .agg(pl.col("probability").sum())
    )
    sure = by_run.filter(pl.col("probability") >= SURE)
    return sure.unique(_ROW, keep="none").select(*_ROW, *_RUN, basis=pl.lit(Basis.SAME_REQUEST))


def weigh_addresses(
    con: duckdb.DuckDBPyConnection,
    requests: pl.DataFrame,
    edges: tuple[NDArray[np.int32], NDArray[np.int32]],
    told: Sightings | None,
) -> NDArray[np.float32]:
    """By how much each edge's build is likelier for where its runner was; empty if nothing is known of that.

    The factor is the probability that the request came from that address (or from none that the proxy sees)
    over what is usual for requests of those minutes: Bayes' rule with the partners' posterior as likelihood.

    Args:
        con: a connection to the case.
        requests: the requests, in the order of their numbers, with `second`.
        edges: request and build of each edge.
        told: what the proxy says.
    """
    nothing = np.zeros(0, dtype=np.float32)
    if told is None:
        return nothing
    known = _proxied(con, told.addresses)
    request, build = edges
    if known.is_empty() or not len(request):
        return nothing
    clients = _clients(requests, told)
    likelier = (
        pl.DataFrame({"request": request, "build_id": build})
        .with_row_index("edge")
        .join(known, on="build_id")
        .join(clients.select("request", "bucket").unique(), on="request")
        .join(clients, on=["request", "client_ip"], how="left", nulls_equal=True)
        .join(_usual(clients), on=["bucket", "client_ip"], how="left", nulls_equal=True)
        .select("edge", factor=_likelier("probability", "usual"))
    )
    factor = np.ones(len(request), dtype=np.float32)
    factor[likelier["edge"].to_numpy()] = likelier["factor"].to_numpy()
    return factor


def _likelier(now: str, usual: str) -> pl.Expr:
    return (pl.col(now).fill_null(0) + _LEAST) / (pl.col(usual).fill_null(0) + _LEAST)


def _proxied(con: duckdb.DuckDBPyConnection, addresses: frozenset[str]) -> pl.DataFrame:
    """For each build whose address is known, that address if the proxy saw it, else NULL."""
    seen = pl.when(pl.col("client_ip").is_in(sorted(addresses))).then("client_ip")
    known = pl.DataFrame(con.sql("SELECT build_id::INTEGER AS build_id, client_ip FROM build_addresses"))
    known = known.with_columns(seen.alias("client_ip")).sort("build_id", "client_ip", nulls_last=True)
    return known.unique("build_id", keep="first", maintain_order=True)


def _clients(requests: pl.DataFrame, told: Sightings) -> pl.DataFrame:
    """For each request the addresses it may have come from; without a partner it is none of the proxy's."""
    place = requests.select(pl.col("request").cast(pl.Int32), *_ROW, bucket=pl.col("second") // _BUCKET_S)
    columns = ("request", "bucket", "client_ip", "probability")
    by_client = place.join(told.clients, on=_ROW).select(columns)
    alone = place.join(by_client, on="request", how="anti")
    alone = alone.with_columns(client_ip=pl.lit(None, pl.String), probability=pl.lit(1.0)).select(columns)
    return pl.concat([by_client, alone])


def _usual(clients: pl.DataFrame) -> pl.DataFrame:
    size = pl.col("request").n_unique()
    sums = clients.group_by("bucket", "client_ip").agg(pl.col("probability").sum())
    sizes = clients.group_by("bucket").agg(size.alias("size"))
    joined = sums.join(sizes, on="bucket")
    return joined.select("bucket", "client_ip", usual=pl.col("probability") / pl.col("size"))
