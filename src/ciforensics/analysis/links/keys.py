"""How the logs of a case fit together: which requests two observers both saw, and what else links them.

Keys are SQL (`views/links/row_keys.sql` and what reads it). Where two observers share no key, `partners` says
how probable it is that two rows are one request; from `SURE` on they count as one here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from ciforensics.analysis.links.basis import Basis
from ciforensics.analysis.links.observers import choose_observer
from ciforensics.analysis.links.partners import SURE, find_partners
from ciforensics.case import accepts_path
from ciforensics.formats.records import Stream
from ciforensics.wording import Result, Sentence, say

if TYPE_CHECKING:
    from collections.abc import Iterator

    import duckdb

_ALONE, _NO_OTHER = "not in the other log", "there is no other log"
_UNCLEAR = "may be one of several rows in the other log"
_BANDS = {0.0: "below 0.5", 0.5: "0.5 to 0.9", 0.9: f"0.9 to {SURE}", SURE: f"{SURE} or more"}
_NOBODY = "nobody"  # a source that no case has
_SAME_S = 0.001  # distances that differ by less are equal: they are differences of large numbers
_SHOWN = 4
_ROW = ["file_id", "line_no"]
_OTHER_ROW = ["other_file_id", "other_line_no"]
_ORDER = [*_OTHER_ROW, "probability", "distance_s", *_ROW]


@dataclass(frozen=True, eq=False, repr=False)
class Links(Result):
    """What links the logs of a case.

    Attributes:
        matrix: a row and a column for each source; in the cell what links the two: keys, `same request`.
        pairs: a row for each two rows of two observers that can be one request: `file_id` and `line_no`, the
            same of the other, `lag_s`, how much later the observer saw it once the clocks are put right, its
            `probability`, and whether it is the `nearest` in time of the other's row.
        verdicts: how many `requests` of each `source`, and which `share`, the other observer saw too, by
            `verdict`: `sure` to one row, `ambiguous`, `not in the other log`.
        certainty: how many of the other's `requests`, and which `share`, have a `best_partner` of which
            probability; how many `candidates` on average; and in which share of them the nearest in time, any
            one if several are equally near, would be another row (`nearest_is_another`).
        examples: up to three of the other's requests (`example`): the least certain, the one with the most
            candidates, the one with the fewest; each with its likeliest candidates (`candidate`: file and
            line in the observer's log), four at most.
        chains: for each `basis` how many of the observer's 401s (`unauthorized`) have it (`with_key`), of how
            many the client's pod is known (`with_pod`), and of how many the run (`with_run`).
        unlinked: how many `rows`, and which `share` of their source's, neither a key nor a partner links to
            another source, by `source` and `reason`.
        summary: one row: the `share` of all rows that are linked, NULL where the case has one source or none,
            and the last row of `chains`.
    """

    matrix: pl.DataFrame
    pairs: pl.DataFrame
    verdicts: pl.DataFrame
    certainty: pl.DataFrame
    examples: pl.DataFrame
    chains: pl.DataFrame
    unlinked: pl.DataFrame
    summary: pl.DataFrame

    def _said(self) -> Iterator[Sentence]:
        if self.summary["share"][0] is None:
            yield say("One log alone, or none: nothing to link.")
        else:
            yield say("{share:%} of all rows are linked to another log.", self.summary)
        yield say("A key names the run of {with_run} of {unauthorized} 401s.", self.summary)


@accepts_path
def find_links(con: duckdb.DuckDBPyConnection, *, observer: str | None = None) -> Links:
    """Says what links the logs of a case: keys that they share, and requests that two observers saw.

    Args:
        con: a connection to a case, or its path.
        observer: whose requests are linked, e.g. `mitmproxy`; GitHub's own log if the case has it.

    Returns:
        The links as tables; a table that the case has nothing for is empty.

    Raises:
        CiforensicsError: the case has no requests of that observer.

    Example:
        >>> import ciforensics as ci
        >>> links = find_links(ci.connect())
        >>> links.verdicts.filter(source="mitmproxy").select("verdict", "requests").rows()
        [('sure', 616)]
    """
    choose_observer(con, observer)
    seen = con.execute("SELECT source FROM observers(p_observer := $1) ORDER BY place", [observer]).fetchall()
    source, other, *_ = [*(name for (name,) in seen), _NOBODY, _NOBODY]
    pairs = _pairs(con, observer, other)
    judged = pl.concat([_judged(pairs, _ROW), _judged(pairs, _OTHER_ROW)])
    chains, unlinked = _chains(con, source, other, pairs), _unlinked(con, judged)
    return Links(
        matrix=_matrix(con, source, other, pairs),
        pairs=pairs,
        verdicts=_verdicts(con, source, other, judged),
        certainty=_certainty(pairs),
        examples=_examples(con, pairs),
        chains=chains,
        unlinked=unlinked,
        summary=_summary(con, chains, unlinked),
    )


def _matrix(con: duckdb.DuckDBPyConnection, source: str, other: str, pairs: pl.DataFrame) -> pl.DataFrame:
    names = pl.DataFrame(con.sql("SELECT source FROM source_keys ORDER BY source"))
    keys = pl.DataFrame(con.sql("SELECT source, other_source, key FROM link_keys WHERE shared_values > 0"))
    twice = pl.DataFrame({"source": source, "other_source": other, "key": str(Basis.SAME_REQUEST)})
    one_way = pl.concat([keys, twice.head(pairs.filter(pl.col("probability") >= SURE).height)])
    other_way = one_way.select(source="other_source", other_source="source", key="key")
    linked = (
        pl.concat([one_way, other_way])
        .sort("source", "other_source", "key")
        .group_by("source", "other_source", maintain_order=True)
        .agg(pl.col("key").str.join(", "))
    )
    grid = names
    for name in names["source"]:
        column = linked.filter(other_source=name).select("source", pl.col("key").alias(name))
        grid = grid.join(column, on="source", how="left", maintain_order="left")
    return grid


def _pairs(con: duckdb.DuckDBPyConnection, observer: str | None, other: str) -> pl.DataFrame:
    partners = find_partners(con, observer=observer, other=other)
    sql = """
        SELECT file_id, line_no, other_file_id, other_line_no, lag_s, abs(lag_s) AS distance_s
        FROM shared_requests(p_observer := $1, p_other := $2, p_offset_s := $3)
        WHERE $4
    """
    known = partners.offset_s is not None
    candidates = pl.DataFrame(con.sql(sql, params=[observer, other, partners.offset_s, known]))
    pairs = candidates.join(partners.pairs, on=[*_ROW, *_OTHER_ROW], how="left")
    pairs = pairs.with_columns(pl.col("probability").fill_null(0.0))
    pairs = pairs.sort(_ORDER, descending=[name == "probability" for name in _ORDER])
    nearest = (pl.col("distance_s") - pl.col("distance_s").min().over(_OTHER_ROW)) < _SAME_S
    return pairs.with_columns(nearest=nearest).drop("distance_s")


def _judged(pairs: pl.DataFrame, row: list[str]) -> pl.DataFrame:
    """The verdict for each row of one log that has a candidate in the other."""
    probability = pl.col("probability")
    verdict = (
        pl.when(probability.max() >= SURE)
        .then(pl.lit("sure"))
        .when(probability.sum() >= 1 - SURE)
        .then(pl.lit("ambiguous"))
        .otherwise(pl.lit(_ALONE))
    )
    return pairs.group_by(row).agg(verdict=verdict).rename(dict(zip(row, _ROW, strict=True)))


def _verdicts(con: duckdb.DuckDBPyConnection, source: str, other: str, judged: pl.DataFrame) -> pl.DataFrame:
    asked = "SELECT source, file_id, line_no FROM observed_requests(p_observer := $1)"
    rows = pl.concat(pl.DataFrame(con.sql(asked, params=[name])) for name in (source, other))
    counts = (
        rows.join(judged, on=_ROW, how="left")
        .group_by("source", pl.col("verdict").fill_null(_NO_OTHER if other == _NOBODY else _ALONE))
        .agg(requests=pl.len().cast(pl.Int64))
    )
    observer_first = [pl.col("source") != source, -pl.col("requests"), "verdict"]
    return counts.with_columns(share=pl.col("requests") / pl.col("requests").sum().over("source")).sort(
        observer_first
    )


def _certainty(pairs: pl.DataFrame) -> pl.DataFrame:
    best = _by_request(pairs)
    band = pl.lit(None, pl.String)
    for least, name in _BANDS.items():
        band = pl.when(pl.col("probability") >= least).then(pl.lit(name)).otherwise(band)
    return (
        best.group_by(best_partner=band)
        .agg(
            pl.col("probability").min(),
            requests=pl.len().cast(pl.Int64),
            share=pl.len() / max(1, len(best)),
            candidates=pl.col("candidates").mean(),
            nearest_is_another=1 - (pl.col("nearest") / pl.col("equally_near")).mean(),
        )
        .sort("probability", descending=True)
        .drop("probability")
    )


def _by_request(pairs: pl.DataFrame) -> pl.DataFrame:
    """For each of the other's requests its likeliest partner, and how many there are."""
    counts = pairs.with_columns(
        candidates=pl.len().over(_OTHER_ROW).cast(pl.Int64),
        equally_near=pl.col("nearest").sum().over(_OTHER_ROW),
    )
    return counts.unique(_OTHER_ROW, keep="first", maintain_order=True)


def _examples(con: duckdb.DuckDBPyConnection, pairs: pl.DataFrame) -> pl.DataFrame:
    candidates, probability = pl.col("candidates"), pl.col("probability")
    orders = [(probability, -candidates), (-candidates, probability), (candidates, probability)]
    by_request = _by_request(pairs)
    shown = pl.concat(by_request.sort(*order, *_OTHER_ROW).head(1) for order in orders)
    shown = shown.unique(_OTHER_ROW, maintain_order=True)
    examples = shown.select(*_OTHER_ROW, "candidates").with_row_index("example", offset=1)
    chosen = Stream(  # noqa: F841 (DuckDB finds it by its name)
        pairs.join(examples, on=_OTHER_ROW, maintain_order="left").filter(
            pl.int_range(pl.len()).over(_OTHER_ROW) < _SHOWN
        )
    )
    sql = """
        SELECT c.example, o.client_ip, o.path, c.candidates,
            parse_filename(f.path) || ':' || CAST(c.line_no AS VARCHAR) AS candidate,
            c.lag_s, c.nearest, c.probability
        FROM chosen AS c
        JOIN requests AS o ON o.file_id = c.other_file_id AND o.line_no = c.other_line_no
        JOIN files AS f ON f.file_id = c.file_id
        ORDER BY c.example, c.probability DESC, candidate
    """
    return pl.DataFrame(con.sql(sql))


def _chains(con: duckdb.DuckDBPyConnection, source: str, other: str, pairs: pl.DataFrame) -> pl.DataFrame:
    asked = """
        SELECT file_id, line_no, orchestration_id, client_ip, pod, basis
        FROM keyed_unauthorized(p_observer := $1)
    """
    ours, theirs = (pl.DataFrame(con.sql(asked, params=[name])) for name in (source, other))
    partners = theirs.select(
        other_file_id="file_id", other_line_no="line_no", partner_pod="pod", partner_basis="basis"
    )
    keyed = (
        ours.join(pairs.filter(pl.col("probability") >= SURE), on=_ROW, how="left")
        .with_columns(partner="other_line_no")
        .join(partners, on=_OTHER_ROW, how="left")
    )
    told = {name: pl.col(name).is_not_null() for name in keyed.columns}
    by_id, by_address = (
        pl.col("basis").eq_missing(basis) for basis in (Basis.ORCHESTRATION_ID, Basis.ADDRESS)
    )
    steps: dict[str, tuple[pl.Expr, ...]] = {
        Basis.ORCHESTRATION_ID: (told["orchestration_id"], told["orchestration_id"] & told["pod"], by_id),
        Basis.ADDRESS: (told["client_ip"], told["pod"], by_address),
        Basis.SAME_REQUEST: (told["partner"], told["partner_pod"], told["partner_basis"]),
    }
    steps["any of them"] = tuple(pl.any_horizontal(*step) for step in zip(*steps.values(), strict=True))
    names = ("with_key", "with_pod", "with_run")
    return pl.concat(
        keyed.select(
            basis=pl.lit(basis),
            unauthorized=pl.len().cast(pl.Int64),
            **{name: has.sum().cast(pl.Int64) for name, has in zip(names, step, strict=True)},
        )
        for basis, step in steps.items()
    )


def _unlinked(con: duckdb.DuckDBPyConnection, judged: pl.DataFrame) -> pl.DataFrame:
    told = Stream(judged)  # noqa: F841 (DuckDB finds it by its name)
    sql = """
        SELECT u.source,
            CASE WHEN t.verdict = 'ambiguous' THEN $1 ELSE u.reason END AS reason,
            count(*) AS rows, count(*) / max(k.rows) AS share
        FROM unlinked AS u
        JOIN source_keys AS k ON k.source = u.source
        LEFT JOIN told AS t ON t.file_id = u.file_id AND t.line_no = u.line_no
        WHERE t.verdict IS DISTINCT FROM 'sure'
        GROUP BY 1, 2
        ORDER BY 1, 3 DESC, 2
    """
    return pl.DataFrame(con.sql(sql, params=[_UNCLEAR]))


def _summary(con: duckdb.DuckDBPyConnection, chains: pl.DataFrame, unlinked: pl.DataFrame) -> pl.DataFrame:
    sources, rows = con.execute("SELECT count(*), sum(rows)::BIGINT FROM source_keys").fetchall()[0]
    share = 1 - unlinked["rows"].sum() / rows if sources > 1 else None
    return chains.tail(1).select(pl.lit(share, pl.Float64).alias("share"), pl.all().exclude("basis"))
