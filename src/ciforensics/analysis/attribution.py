"""Which workflow sent the 401s: requests in, candidates with probabilities out.

Exact where evidence shares a key (`views/exact_keys.sql`), else the posterior of a model of who sends what, how
often and when (`analysis.model`), else unattributed.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import polars as pl

from ciforensics.analysis import evidence, model
from ciforensics.analysis.evidence import RUN, Evidence
from ciforensics.errors import CiforensicsError

if TYPE_CHECKING:
    import duckdb

    from ciforensics.analysis.model import Fit

_KEPT = 0.999  # of each request's probability
NOBODY = "unattributed"
EXACT = ("orchestration id", "address", "same request")
_MODEL = "model"
_NAME = (
    pl.when(pl.col("ci_repo").is_null() & pl.col("workflow").is_null())
    .then(pl.lit(NOBODY))
    .otherwise(pl.concat_str("ci_repo", "workflow", separator=" · ", ignore_nulls=True))
    .alias("name")
)


@dataclass(frozen=True, eq=False)
class Attribution:
    """Who sent the 401s, as far as the evidence says.

    Attributes:
        evidence: the 401s and the builds that could have sent them.
        fit: what the model found.
    """

    evidence: Evidence
    fit: Fit

    @cached_property
    def requests(self) -> pl.DataFrame:
        """A row for each 401 and candidate, with `probability` and `basis`; a 401's probabilities sum to 1.

        `basis` is the key that names the run (`orchestration id`, `address`, `same request`), `model`, or
        `unattributed`, where `ci_repo` is NULL. Candidates that hold the last 0.1 % of a 401 are left out.
        """
        place = ("source", "file_id", "path", "line_no", "ts", "url", "user_agent", "outcome")
        asked = self.evidence.requests.select("request", *place)
        return (
            asked.join(self._candidates, on="request")
            .sort("file_id", "line_no", "ts", "request", "probability", *RUN, descending=[False] * 4 + [True] + [False] * 4)
            .select(*place, *RUN, "probability", "basis")
        )

    @cached_property
    def workflows(self) -> pl.DataFrame:
        """For each `ci_repo` and `workflow`, most first, the expected number of its 401s (`requests`).

        Of these `challenges` and `refused`; `share` of all 401s; `exact_share`, how much of its number rests
        on a shared key; `runs`, the runs that could have sent any, and `run_ids`, the three that probably
        sent most. Where `ci_repo` is NULL: no known build.
        """
        p = pl.col("probability")
        by_run = self._candidates_with_outcome.group_by("ci_repo", "workflow", "run_id").agg(p.sum())
        ids = (
            by_run.drop_nulls("run_id")
            .sort("probability", "run_id", descending=[True, False])
            .group_by("ci_repo", "workflow", maintain_order=True)
            .agg(run_ids=pl.col("run_id").head(3).str.join(", "))
        )
        return (
            self._candidates_with_outcome.group_by("ci_repo", "workflow")
            .agg(
                requests=p.sum(),
                challenges=p.filter(pl.col("outcome") == "challenge").sum(),
                refused=p.filter(pl.col("outcome") == "refused").sum(),
                share=p.sum() / max(1, len(self.evidence.requests)),
                exact_share=p.filter(pl.col("basis").is_in(EXACT)).sum() / p.sum(),
                runs=pl.col("run_id").drop_nulls().n_unique(),
            )
            .join(ids, on=["ci_repo", "workflow"], how="left", nulls_equal=True)
            .sort(pl.col("requests").round(6), "ci_repo", "workflow", descending=[True, False, False])
        )

    @cached_property
    def by_basis(self) -> pl.DataFrame:
        """How many 401s the answer rests on which `basis` for, as a number (`requests`) and a `share`."""
        found = self._candidates.group_by("basis").agg(requests=pl.col("probability").sum().round(6))
        return found.with_columns(share=pl.col("requests") / pl.col("requests").sum()).sort(
            "requests", "basis", descending=[True, False]
        )

    @cached_property
    def by_outcome(self) -> pl.DataFrame:
        """Expected 401s (`requests`) by `name`, repository and workflow in one, and `outcome`."""
        return (
            self._candidates_with_outcome.group_by(_NAME, "outcome")
            .agg(requests=pl.col("probability").sum().round(6))
            .sort("name", "outcome")
        )

    @cached_property
    def summary(self) -> pl.DataFrame:
        """One row: the first workflow (`name`, `requests`), and all 401s (`total`).

        `exact` and `unattributed` are the parts of all 401s on such a basis.
        """
        named = self.workflows.filter(pl.col("ci_repo").is_not_null() | pl.col("workflow").is_not_null())
        name, most = next(named.select(_NAME, "requests").iter_rows(), (None, None))
        basis, share = pl.col("basis"), pl.col("share")
        return self.by_basis.select(
            name=pl.lit(name, pl.String),
            requests=pl.lit(most, pl.Float64),
            total=pl.lit(len(self.evidence.requests)),
            exact=share.filter(basis.is_in(EXACT)).sum(),
            unattributed=share.filter(basis == NOBODY).sum(),
        )

    @property
    def _candidates_with_outcome(self) -> pl.DataFrame:
        return self._candidates.join(self.evidence.requests.select("request", "outcome"), on="request")

    @cached_property
    def _candidates(self) -> pl.DataFrame:
        asked, builds = self.evidence.requests, self.evidence.builds
        exact = asked.filter(pl.col("basis").is_not_null())
        keyed = exact.select("request", *RUN, "basis", probability=pl.lit(1.0))
        edge, problem = self.fit.edge, self.evidence.problem
        found = pl.DataFrame(
            {
                "request": problem.edge_request[edge],
                "run": builds["run"].to_numpy()[problem.edge_build[edge]],
                "probability": self.fit.probability,
            }
        )
        by_run = (
            found.with_columns(pl.col("request").cast(pl.UInt32))
            .filter(pl.col("probability") > 1e-6)
            .join(exact.select("request"), on="request", how="anti")
            .group_by("request", "run")
            .agg(pl.col("probability").sum())
            .join(self.evidence.runs.with_row_index("run").cast({"run": pl.Int32}), on="run")
            .with_columns(basis=pl.when(pl.col("ci_repo").is_null() & pl.col("workflow").is_null() & pl.col("run_id").is_null()).then(pl.lit(NOBODY)).otherwise(pl.lit(_MODEL)))
        )
        left = asked.select(
            "request", *(pl.lit(None, pl.String).alias(name) for name in RUN),
            probability=pl.lit(self.fit.unexplained), basis=pl.lit(NOBODY)
        ).join(exact.select("request"), on="request", how="anti")
        rows = pl.concat([by_run.select(left.columns), left]).group_by("request", *RUN, "basis").agg(pl.col("probability").sum())
        rows = rows.sort("request", "probability", *RUN, descending=[False, True, *[False] * len(RUN)])
        p = pl.col("probability")
        kept = rows.filter(p.cum_sum().over("request") - p < _KEPT * p.sum().over("request"))
        kept = kept.with_columns(p / p.sum().over("request"))
        return pl.concat([keyed.select(left.columns), kept.select(left.columns)])


def attribute(
    con: duckdb.DuckDBPyConnection,
    *,
    window_s: float = 320,
    offset_s: float | None = None,
    observer: str | None = None,
) -> Attribution:
    """Names the workflows that could have sent each 401, and how probable each is.

    Args:
        con: a connection to a case.
        window_s: a build is a candidate for what came within so many seconds of its start.
        offset_s: by how much the observer's clock is ahead of the builds'; None: as far as it can be told.
        observer: whose requests are counted, e.g. `mitmproxy`; GitHub's own log if the case has it.

    Returns:
        The candidates, by request and by workflow.

    Raises:
        CiforensicsError: the case has no requests of that observer, or the window is not above zero.

    Example:
        >>> import ciforensics as ci
        >>> found = attribute(ci.connect())
        >>> round(found.workflows["share"].sum(), 6)
        1.0
    """
    if not window_s > 0:
        raise CiforensicsError(
            f"A window of {window_s} s holds no build.", hint="give window_s above 0, e.g. 320."
        )
    known = [
        name for (name,) in con.execute("SELECT DISTINCT source FROM file_status ORDER BY source").fetchall()
    ]
    if observer is not None and observer not in known:
        raise CiforensicsError(
            f"The case has no requests seen by {observer!r}.",
            hint=f"observers in it: {', '.join(known) or 'none'}.",
        )
    found = evidence.gather(con, window_s=int(window_s), offset_s=offset_s or 0.0, observer=observer)
    return Attribution(found, model.fit(found.problem))
