"""Which workflow sent the 401s: requests in, candidates with probabilities out.

Exact where evidence shares a key (`links.basis`), else the posterior of a model of who sends what, how often
and when (`attribution.fit`), else unattributed.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import polars as pl

from ciforensics.analysis.attribution.candidates import Candidates, gather
from ciforensics.analysis.attribution.em import fit_model
from ciforensics.analysis.attribution.names import RUN, with_names
from ciforensics.analysis.attribution.periods import follow_changes
from ciforensics.analysis.links.basis import EXACT, Basis
from ciforensics.analysis.links.clocks import find_offsets
from ciforensics.analysis.trust.calibration import Calibration, calibrate, temper
from ciforensics.analysis.trust.checks import Checks, run_checks
from ciforensics.analysis.trust.expected import Expected, expect_of, median_delay
from ciforensics.analysis.trust.intervals import estimate_intervals
from ciforensics.analysis.trust.remarks import write_remarks
from ciforensics.case import accepts_path
from ciforensics.errors import CiforensicsError
from ciforensics.wording import Result, Sentence, say

if TYPE_CHECKING:
    from collections.abc import Iterator

    import duckdb

    from ciforensics.analysis.attribution.fit import Fit

_KEPT = 0.999  # of each request's probability
_PLACE = ("source", "file_id", "path", "line_no", "ts", "url", "user_agent", "outcome")
_P = pl.col("probability")
_EXACT = pl.col("basis").is_in(EXACT)


@dataclass(frozen=True, eq=False, repr=False)
class Attribution(Result):
    """Who sent the 401s, as far as the evidence says.

    Attributes:
        candidates: the 401s and the builds that could have sent them.
        fit: what the model found, recalibrated where that could be checked.
        calibration: how far the probabilities can be trusted, see `calibrate`.
        offsets: by how much the observer's clock is ahead of the others', see `find_offsets`.
        offset_s: by how much of it was corrected for.
        build_window_s: for how long after its start a build was a candidate.
    """

    candidates: Candidates
    fit: Fit
    calibration: Calibration
    offsets: pl.DataFrame
    offset_s: float
    build_window_s: float

    def _said(self) -> Iterator[Sentence]:
        yield self.remarks[0]
        if self.summary["name"][0] is not None:
            yield say("First is {name} with {requests:,.0f}.", self.summary)
            yield Sentence(f"The probabilities are {self.calibration.verdict}.", "sentence")

    @cached_property
    def requests(self) -> pl.DataFrame:
        """A row for each 401 and candidate, with `probability` and `basis`; a 401's probabilities sum to 1.

        `basis` is the key that names the run (`orchestration id`, `address`, `same request`), `model`, or
        `unattributed`, where `ci_repo` is NULL. Candidates that hold the last 0.1 % of a 401 are left out.
        """
        asked = self.candidates.requests.select("request", *_PLACE)
        order = ("file_id", "line_no", "ts", "request", "probability", *RUN)
        rows = asked.join(self._likely, on="request")
        rows = rows.sort(order, descending=[column == "probability" for column in order])
        return rows.select(*_PLACE, *RUN, "probability", "basis")

    @cached_property
    def workflows(self) -> pl.DataFrame:
        """For each workflow, most first, the expected number of its 401s (`requests`).

        Of these `challenges` and `refused`; `share` of all 401s; `exact_share`, how much of its number rests
        on a shared key; `runs`, the runs that could have sent any, and `run_ids`, the three that probably
        sent most. Workflows that always run together cannot be told apart: they are one row, and its `name`
        is `a or b`, its `ci_repo` and `workflow` those of both. Where `ci_repo` is NULL: no known build.
        """
        by_run = self._named.group_by("name", "run_id").agg(_P.sum()).drop_nulls("run_id")
        ids = (
            by_run.sort("probability", "run_id", descending=[True, False])
            .group_by("name", maintain_order=True)
            .agg(run_ids=pl.col("run_id").head(3).str.join(", "))
        )
        both = (pl.col("ci_repo", "workflow").drop_nulls().unique().sort().str.join(" or ")).replace("", None)
        return (
            self._named.group_by("name")
            .agg(
                both,
                requests=_P.sum(),
                challenges=_P.filter(pl.col("outcome") == "challenge").sum(),
                refused=_P.filter(pl.col("outcome") == "refused").sum(),
                share=_P.sum() / max(1, len(self.candidates.requests)),
                exact_share=_P.filter(_EXACT).sum() / _P.sum(),
                runs=pl.col("run_id").drop_nulls().n_unique(),
            )
            .join(ids, on="name", how="left")
            .sort(pl.col("requests").round(6), "name", descending=[True, False])
        )

    @cached_property
    def by_basis(self) -> pl.DataFrame:
        """How many 401s the answer rests on which `basis` for, as a number (`requests`) and a `share`."""
        counts = self._likely.group_by("basis").agg(requests=_P.sum().round(6))
        counts = counts.with_columns(share=pl.col("requests") / pl.col("requests").sum())
        return counts.sort("requests", "basis", descending=[True, False])

    @cached_property
    def by_outcome(self) -> pl.DataFrame:
        """Expected 401s (`requests`) by `name`, repository and workflow in one, and `outcome`."""
        counts = self._named.group_by("name", "outcome").agg(requests=_P.sum().round(6))
        return counts.sort("name", "outcome")

    @cached_property
    def summary(self) -> pl.DataFrame:
        """One row: the first workflow (`name`, `requests`), and all 401s (`total`).

        `exact` and `unattributed` are the parts of all 401s on such a basis.
        """
        named = self.workflows.filter(pl.col("name") != Basis.UNATTRIBUTED)
        name, most = next(named.select("name", "requests").iter_rows(), (None, None))
        share = pl.col("share")
        row = self.by_basis.select(
            name=pl.lit(name, pl.String),
            requests=pl.lit(most, pl.Float64),
            total=pl.lit(len(self.candidates.requests)),
            exact=share.filter(_EXACT).sum(),
            unattributed=share.filter(pl.col("basis") == Basis.UNATTRIBUTED).sum(),
        )
        none = self.by_basis.is_empty()
        return row.with_columns(pl.when(not none).then(pl.col("exact", "unattributed")))

    @cached_property
    def checks(self) -> Checks:
        """What the model expects of time that it has not seen, beside what was there."""
        return run_checks(self.candidates, self.fit)

    @cached_property
    def expected(self) -> Expected | None:
        """How right made-up fleets with as much evidence get it; None where there is nothing to go by."""
        unattributed = self.summary["unattributed"][0]
        if unattributed is None:
            return None
        delay_s = median_delay(self.fit, self.candidates.problem.bins)
        return expect_of(self.candidates, unattributed=unattributed, delay_s=delay_s)

    @cached_property
    def examples(self) -> pl.DataFrame:
        """Up to three 401s worth explaining: `why`, `path`, `file`, `line_no`.

        The one that the model is surest of, the one that is the closest call, and the first that a key names.
        """
        by_name = self._named.group_by("request", "name", "basis").agg(_P.sum())
        order = ("request", "probability", "name")
        by_name = by_name.sort(order, descending=[column == "probability" for column in order])
        second = _P.slice(1, 1).first().fill_null(0).alias("second")
        each = by_name.group_by("request", maintain_order=True).agg(
            pl.col("name", "basis", "probability").first(), second
        )
        modelled = each.filter(pl.col("basis") == Basis.MODEL)
        chosen = {
            "surest": modelled.sort("probability", "request", descending=[True, False]).head(1),
            "closest call": modelled.sort("second", "request", descending=[True, False]).head(1),
            "named by a key": each.filter(_EXACT).head(1),
        }
        rows = pl.concat(frame.select(pl.lit(why).alias("why"), "request") for why, frame in chosen.items())
        asked = self.candidates.requests.select("request", "path", "line_no")
        named = rows.unique("request", keep="first", maintain_order=True).join(
            asked, on="request", maintain_order="left"
        )
        return named.select("why", "path", pl.col("path").str.split("/").list.last().alias("file"), "line_no")

    def intervals(self, *, replicates: int = 200, seed: int = 0, level: float = 0.9) -> pl.DataFrame:
        """401s a day of each workflow, with an interval, see `estimate_intervals`: takes its time."""
        return estimate_intervals(
            self.candidates,
            self.fit,
            temperature=self.calibration.temperature,
            replicates=replicates,
            seed=seed,
            level=level,
        )

    @cached_property
    def remarks(self) -> tuple[Sentence, ...]:
        """What must be said with it: what it rests on, what is missing, how far to trust it."""
        return tuple(
            write_remarks(
                self.candidates,
                self.fit,
                summary=self.summary,
                calibration=self.calibration,
                expected=self.expected,
                offset_s=self.offset_s,
                build_window_s=self.build_window_s,
            )
        )

    @cached_property
    def _likely(self) -> pl.DataFrame:
        """By request number: those that a key names, and what the model holds of the others."""
        asked = self.candidates.requests
        keyed = asked.filter(pl.col("basis").is_not_null())
        exact = keyed.select("request", *RUN, "basis", probability=pl.lit(1.0))
        rows = pl.concat([self._by_model, self._unexplained]).join(exact, on="request", how="anti")
        rows = rows.group_by("request", *RUN, "basis").agg(_P.sum())
        order = ("request", "probability", *RUN)
        rows = rows.sort(order, descending=[column == "probability" for column in order])
        kept = rows.filter(_P.cum_sum().over("request") - _P < _KEPT * _P.sum().over("request"))
        return pl.concat([exact, kept.with_columns(_P / _P.sum().over("request")).select(exact.columns)])

    @property
    def _by_model(self) -> pl.DataFrame:
        edge, problem = self.fit.posterior.edge, self.candidates.problem
        edges = pl.DataFrame(
            {
                "request": problem.edges.request[edge],
                "run": self.candidates.builds["run"].to_numpy()[problem.edges.build[edge]],
                "probability": self.fit.posterior.probability,
            }
        ).filter(_P > 1e-6)
        by_run = edges.group_by("request", "run").agg(_P.sum())
        runs = self.candidates.runs.with_row_index("run").cast({"run": pl.Int32})
        nameless = pl.all_horizontal(pl.col("ci_repo", "workflow", "run_id").is_null())
        basis = pl.when(nameless).then(pl.lit(Basis.UNATTRIBUTED)).otherwise(pl.lit(Basis.MODEL))
        named = by_run.join(runs, on="run").cast({"request": pl.UInt32})
        return named.select("request", *RUN, basis.alias("basis"), "probability")

    @property
    def _unexplained(self) -> pl.DataFrame:
        return self.candidates.requests.select(
            "request",
            *(pl.lit(None, pl.String).alias(column) for column in RUN),
            basis=pl.lit(Basis.UNATTRIBUTED),
            probability=pl.Series(self.fit.posterior.unexplained),
        )

    @cached_property
    def _named(self) -> pl.DataFrame:
        """The candidates with the outcome of their request, and the name of their workflow or group."""
        rows = self._likely.join(self.candidates.requests.select("request", "outcome"), on="request")
        return with_names(rows, self.candidates.builds, keyed=_EXACT)


@accepts_path
def attribute(
    con: duckdb.DuckDBPyConnection,
    *,
    build_window_s: float = 320,
    offset_s: float | None = None,
    observer: str | None = None,
    fetches: bool = False,
) -> Attribution:
    """Names the workflows that could have sent each 401, and how probable each is.

    Args:
        con: a connection to a case, or its path.
        build_window_s: a build is a candidate for what came within so many seconds of its start.
        offset_s: by how much the observer's clock is ahead of the builds'; None: as far as it can be told.
        observer: whose requests are counted, e.g. `mitmproxy`; GitHub's own log if the case has it.
        fetches: git fetches that got no 401 are attributed too, as golden images send them. They come with
            the outcome `answered`, and every number that counts 401s then counts them as well. What workflows
            send may change then, see `attribution.periods`.

    Returns:
        The candidates, by request and by workflow.

    Raises:
        CiforensicsError: the case has no requests of that observer, or the window is not above zero.

    Example:
        >>> import ciforensics as ci
        >>> round(attribute(ci.connect()).workflows["share"].sum(), 6)
        1.0
    """
    if not build_window_s >= 1:
        raise CiforensicsError(
            f"A window of {build_window_s} s holds no build.",
            hint="give build_window_s of 1 or more, e.g. 320.",
        )
    offsets = find_offsets(con, observer=observer)
    if offset_s is None:
        offset_s = _to_builds(offsets)
    candidates = gather(
        con, build_window_s=int(build_window_s), offset_s=offset_s, observer=observer, fetches=fetches
    )
    if fetches:
        candidates = follow_changes(candidates)
    fit, calibration = fit_model(candidates.problem), calibrate(candidates)
    if calibration.temperature != 1:
        fit = temper(candidates, fit, calibration.temperature)
    return Attribution(
        candidates=candidates,
        fit=fit,
        calibration=calibration,
        offsets=offsets,
        offset_s=offset_s,
        build_window_s=build_window_s,
    )


def _to_builds(offsets: pl.DataFrame) -> float:
    """Nothing, unless the clocks are known to differ: then the middle of what is possible."""
    builds = offsets.filter((pl.col("other_source") == "docker_wrapper") & pl.col("low_s").is_not_null())
    for low, high in builds.select("low_s", "high_s").iter_rows():
        return 0.0 if low <= 0 <= high else float((low + high) / 2)
    return 0.0
