"""How sure the numbers of a workflow are: the same log, had other hours of it been recorded.

Block bootstrap (Künsch 1989, "The jackknife and the bootstrap for general stationary observations"; Davison and
Hinkley 1997, "Bootstrap Methods and their Application", ch. 8): time is cut into blocks longer than a build's
requests take, blocks are drawn with replacement, and the model is fitted anew to what they hold. So chance is
in it twice: which builds ran and what they sent, and what the model made of it. Which pairs take part in the
model is not asked anew (measured: it would make the intervals 8 % wider).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from scipy.special import ndtr, stdtrit

from ciforensics.analysis import model
from ciforensics.analysis.steps import Pairs
from ciforensics.errors import CiforensicsError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ciforensics.analysis.attribution import Attribution
    from ciforensics.analysis.evidence import Evidence
    from ciforensics.analysis.model import Fit
    from ciforensics.analysis.steps import Problem

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

FLOW = ("ci_repo", "workflow")
FEWEST = 10
"""Blocks without which an interval says nothing."""

_HOUR_S, _DAY_S = 3600, 86_400
_WINDOWS = 2  # length of a block: what a build sends into the next one is then a small part
_MOST = 200  # blocks, of a long time
_NOTHING = 0.05  # 401s a day
_NO_TIME = 1e-6  # seconds of an hour that no block was drawn of: none, but rates divide by it


def intervals(
    found: Attribution, *, replicates: int = 200, seed: int = 0, level: float = 0.9
) -> pl.DataFrame:
    """Says between what bounds each workflow's 401s a day are.

    It is what a workflow sends in the long run, at the rate at which it was built, that lies between `low` and
    `high`; not how many it happened to send on the days that were recorded, which is known better. What no
    known build sent is the row without `ci_repo`. Requests whose run a key names count as they are.

    Args:
        found: an attribution.
        replicates: how often blocks are drawn; 0: no intervals.
        seed: the same seed draws the same blocks.
        level: how often the interval shall hold the truth.

    Returns:
        Of each workflow (`ci_repo`, `workflow`), most first: its 401s a day (`per_day`) and an interval (`low`,
        `high`; NULL where less was recorded than ten blocks of twice the window), and of these
        `challenges_per_day` and `refused_per_day`.

    Raises:
        CiforensicsError: the level is no share, or the replicates are less than none.

    Example:
        >>> import ciforensics as ci
        >>> from ciforensics.analysis.attribution import attribute
        >>> first = intervals(attribute(ci.connect()), replicates=20).row(0, named=True)
        >>> first["low"] <= first["per_day"] <= first["high"]
        True
    """
    if not 0 < level < 1 or replicates < 0:
        raise CiforensicsError(
            f"There is no interval of level {level} from {replicates} replicates.",
            hint="give a level between 0 and 1, e.g. 0.9, and replicates of 0 or more.",
        )
    evidence, fit = found.evidence, found.fit
    blocks, flows = Blocks.of(evidence), Flows.of(evidence)
    problem = evidence.problem
    counts = flows.counts(problem, fit, problem.outcome, problem.n_outcomes)
    days = max(problem.seconds, _NO_TIME) / _DAY_S
    outcomes = dict(evidence.requests.select("outcome_no", "outcome").unique().sort("outcome_no").rows())
    by_outcome = {name: counts[:, nth] / days for nth, name in outcomes.items()}
    none = np.zeros(len(counts))
    rows = flows.names.with_columns(
        per_day=pl.Series(counts.sum(axis=1) / days),
        low=pl.lit(None, pl.Float64),
        high=pl.lit(None, pl.Float64),
        challenges_per_day=pl.Series(by_outcome.get("challenge", none)),
        refused_per_day=pl.Series(by_outcome.get("refused", none)),
    )
    if replicates and blocks.count >= FEWEST:
        drawn = _drawn(found, blocks, flows, replicates, seed)
        by_block = flows.counts(problem, fit, blocks.at(blocks.asked), blocks.count)
        low, high = _bounds(drawn, by_block, level)
        rows = rows.with_columns(low=pl.Series(low), high=pl.Series(high))
    return rows.filter(pl.any_horizontal(pl.col("per_day", "high") > _NOTHING)).sort(
        pl.col("per_day").round(6), *FLOW, descending=[True, False, False]
    )


def _drawn(found: Attribution, blocks: Blocks, flows: Flows, replicates: int, seed: int) -> Floats:
    """401s a day, shape (replicates, flows)."""
    rng = np.random.default_rng(seed)
    problem = only_of(found.evidence.problem, found.fit)
    even = np.full(blocks.count, 1 / blocks.count)
    drawn = np.zeros((replicates, len(flows.names)))
    for row in drawn:
        weighted = blocks.weighted(problem, rng.multinomial(blocks.count, even).astype(float))
        again = model.fit(weighted, start=found.fit)
        row[:] = flows.counts(weighted, again, np.zeros(len(weighted.shard), dtype=int), 1).sum(axis=1)
        row /= weighted.seconds / _DAY_S
    return drawn


def _bounds(drawn: Floats, by_block: Floats, level: float) -> tuple[Floats, Floats]:
    """Quantiles of what was drawn, accelerated (Efron 1987) and expanded (Hesterberg 2015), as blocks are few.

    The bias of BCa is taken to be its acceleration, as it is of a mean. Counted from the replicates it would
    double an error: a request that is drawn twice looks like a habit, so replicates name nobody too seldom.

    Args:
        drawn: shape (replicates, flows).
        by_block: what was found by block, shape (flows, blocks).
        level: how often the interval shall hold the truth.
    """
    apart = by_block - by_block.mean(axis=1, keepdims=True)
    skew = (apart**3).sum(axis=1) / np.maximum((apart**2).sum(axis=1) ** 1.5, 1e-300) / 6
    blocks = by_block.shape[1]
    reach = np.sqrt(blocks / (blocks - 1)) * stdtrit(blocks - 1, (1 + level) / 2)
    bounds = []
    for end in (skew - reach, skew + reach):
        place = ndtr(skew + end / np.maximum(1 - skew * end, 0.1))
        each = (np.quantile(column, at) for column, at in zip(drawn.T, place, strict=True))
        bounds.append(np.fromiter(each, dtype=float, count=len(skew)))
    return bounds[0], bounds[1]


def only_of(problem: Problem, fit: Fit) -> Problem:
    """The problem with the edges that a fit needs, so that fitting it again from there is quick.

    Of each pair that takes no part one edge stays: the prior is to know how many there are.
    """
    pair = Pairs.of(problem).of_edge
    kept = np.zeros(len(pair), dtype=bool)
    kept[np.unique(pair, return_index=True)[1]] = True
    kept[fit.edge] = True
    return replace(
        problem,
        edge_request=problem.edge_request[kept],
        edge_build=problem.edge_build[kept],
        edge_lag=problem.edge_lag[kept],
        edge_factor=problem.edge_factor[kept] if len(problem.edge_factor) else problem.edge_factor,
    )


@dataclass(frozen=True, eq=False)
class Blocks:
    """Recorded time in pieces of one length.

    Attributes:
        begins: when each block begins, in seconds since 1970, and the end of the last.
        asked: when each request came.
        started: when each build started, by the same clock.
        seconds: recorded in each block and hour, shape (blocks, hours).
    """

    begins: Floats
    asked: Floats
    started: Floats
    seconds: Floats

    @classmethod
    def of(cls, evidence: Evidence) -> Blocks:
        """Cuts the recorded time of a case into blocks, of twice the window at least."""
        asked, builds = evidence.requests["second"].fill_null(0).to_numpy().astype(float), started(evidence)
        begins, ends = _recorded(evidence)
        if not len(begins):
            return cls(np.zeros(1), asked, builds, np.zeros((0, 0)))
        window = int(evidence.problem.bins.edges[-1])
        length = max(_WINDOWS * window, (ends[-1] - begins[0]) / _MOST)
        edges = np.linspace(begins[0], ends[-1], max(1, int((ends[-1] - begins[0]) // length)) + 1)
        shared = np.minimum(edges[1:, None], ends) - np.maximum(edges[:-1, None], begins)
        seconds = np.maximum(shared, 0)
        full = seconds.sum(axis=1) > 0
        return cls(np.append(edges[:-1][full], edges[-1]), asked, builds, seconds[full])

    @property
    def count(self) -> int:
        """How many blocks there are."""
        return len(self.seconds)

    def at(self, times: Floats) -> Ints:
        """The block of each time, the nearest one of what was not recorded."""
        found: Ints = np.searchsorted(self.begins, times, side="right") - 1
        return found.clip(0, max(0, self.count - 1))

    def weighted(self, problem: Problem, weights: Floats) -> Problem:
        """The problem as if each block had come so many times."""
        return replace(
            problem,
            weight=problem.weight * weights[self.at(self.asked)],
            exposure=problem.exposure * weights[self.at(self.started)],
            hours=np.maximum(weights @ self.seconds, _NO_TIME),
        )


def _recorded(evidence: Evidence) -> tuple[Floats, Floats]:
    """When each hour's record begins and ends, in seconds since 1970: all of it but at either end."""
    begins, seconds = evidence.hours * float(_HOUR_S), evidence.problem.hours
    ends = begins + seconds
    if len(begins) > 1:
        begins[0] += _HOUR_S - seconds[0]
        ends[0] = begins[0] + seconds[0]
    elif len(begins) and (first := evidence.requests["second"].min()) is not None:
        begins, ends = begins * 0 + first, begins * 0 + first + seconds
    return begins, ends


def started(evidence: Evidence) -> Floats:
    """When each build started by the observer's clock, in seconds since 1970."""
    problem = evidence.problem
    at = evidence.builds["ts"].dt.epoch("s").to_numpy().astype(float)
    if not len(problem.edge_lag):
        return at
    asked = evidence.requests["second"].fill_null(0).to_numpy()[problem.edge_request[0]]
    offset = asked - problem.edge_lag[0] - at[problem.edge_build[0]]  # one edge tells it of all
    found: Floats = at + offset
    return found


@dataclass(frozen=True, eq=False)
class Flows:
    """Workflows by number, and whose each build and each request with a key is.

    Attributes:
        names: `ci_repo` and `workflow`; both are NULL of what no known build sent.
        of_build: of each build.
        of_request: of each request with a key, else that of what no known build sent.
        nobody: the number of what no known build sent.
    """

    names: pl.DataFrame
    of_build: Ints
    of_request: Ints
    nobody: int

    @classmethod
    def of(cls, evidence: Evidence) -> Flows:
        """The workflows of a case."""
        keyed = pl.when(pl.col("basis").is_not_null())
        asked = evidence.requests.select(keyed.then(pl.col(name)).alias(name) for name in FLOW)
        nobody = pl.DataFrame({name: [None] for name in FLOW}, schema=dict.fromkeys(FLOW, pl.String))
        rows = pl.concat([evidence.builds.select(FLOW), asked, nobody])
        names = rows.unique().sort(FLOW)
        number = rows.join(names.with_row_index("flow"), on=FLOW, nulls_equal=True, maintain_order="left")
        flow = number["flow"].to_numpy().astype(np.int64)
        builds = len(evidence.builds)
        return cls(names, flow[:builds], flow[builds:-1], int(flow[-1]))

    def counts(self, problem: Problem, fit: Fit, kind: NDArray[Any], kinds: int) -> Floats:
        """Expected requests by workflow and some kind of request, shape (workflows, kinds)."""
        weight = np.where(problem.pinned, 0, problem.weight)
        request = problem.edge_request[fit.edge]
        sent = fit.probability * weight[request]
        rest = np.where(problem.pinned, problem.weight, fit.unexplained * weight)
        flow = np.concatenate([self.of_build[problem.edge_build[fit.edge]], self.of_request])
        cell = flow * kinds + np.concatenate([kind[request], kind])
        found = np.bincount(cell, np.concatenate([sent, rest]), len(self.names) * kinds)
        return found.reshape(len(self.names), kinds)
