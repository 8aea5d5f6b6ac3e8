"""How sure the numbers of a workflow are: the same log, had other hours of it been recorded.

Block bootstrap (Künsch 1989, "The jackknife and the bootstrap for general stationary observations"; Davison
and Hinkley 1997, "Bootstrap Methods and their Application", ch. 8): time is cut into blocks longer than a
build's requests take, blocks are drawn with replacement, and the model is fitted anew to what they hold. So
chance is in it twice: which builds ran and what they sent, and what the model made of it.

The intervals are somewhat too narrow. On made-up fleets of 60 to 600 builds an hour, those of level 0.90 held
the rate that a workflow was drawn with in 0.82 to 0.85 of the cases (26 fleets, by which this construction
was chosen from three), and in 0.82 on the six fleets that had no part in that choice; the unattributed in 24
of these 32. Which pairs take part in the model is not asked anew: on one fleet that would have made them 8 %
wider.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from scipy.special import ndtr, stdtrit

from ciforensics.analysis.attribution.fit import fit_model
from ciforensics.analysis.trust.blocks import Blocks, only_of
from ciforensics.analysis.trust.calibration import tempered
from ciforensics.analysis.trust.flows import Flows
from ciforensics.errors import CiforensicsError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ciforensics.analysis.answer import Attribution

    Floats = NDArray[np.float64]

FEWEST = 10
"""Blocks without which an interval says nothing."""

_DAY_S = 86_400
_NOTHING = 0.05  # 401s a day


def intervals(
    found: Attribution, *, replicates: int = 200, seed: int = 0, level: float = 0.9
) -> pl.DataFrame:
    """Says between what bounds each workflow's 401s a day are.

    It is what a workflow sends in the long run, at the rate at which it was built, that lies between `low`
    and `high`; not how many it happened to send on the days that were recorded, which is known better. What
    no known build sent is the row without `ci_repo`. Requests whose run a key names count as they are.

    Args:
        found: an attribution.
        replicates: how often blocks are drawn; 0: no intervals.
        seed: the same seed draws the same blocks.
        level: how often the interval shall hold the truth.

    Returns:
        Of each workflow (`name`, `ci_repo`, `workflow`; see `Attribution.workflows`), most first: its 401s a
        day (`per_day`) and an interval (`low`, `high`; NULL where less was recorded than ten blocks of twice
        the window), and of these `challenges_per_day` and `refused_per_day`.

    Raises:
        CiforensicsError: the level is no share, or the replicates are less than none.

    Example:
        >>> import ciforensics as ci
        >>> from ciforensics.analysis.answer import attribute
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
    days = max(problem.seconds, 1) / _DAY_S
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
        pl.col("per_day").round(6), "name", descending=[True, False]
    )


def _drawn(found: Attribution, blocks: Blocks, flows: Flows, replicates: int, seed: int) -> Floats:
    """401s a day, shape (replicates, flows)."""
    rng = np.random.default_rng(seed)
    problem = only_of(found.evidence.problem, found.fit)
    even = np.full(blocks.count, 1 / blocks.count)
    alike = np.zeros(len(problem.shard), dtype=int)
    drawn = []
    for _ in range(replicates):
        weighted = blocks.weighted(problem, rng.multinomial(blocks.count, even).astype(float))
        fit = fit_model(weighted, start=found.fit)
        if found.calibration.temperature != 1:
            fit = tempered(replace(found.evidence, problem=weighted), fit, found.calibration.temperature)
        drawn.append(flows.counts(weighted, fit, alike, 1)[:, 0] / weighted.seconds * _DAY_S)
    return np.array(drawn)


def _bounds(drawn: Floats, by_block: Floats, level: float) -> tuple[Floats, Floats]:
    """Quantiles of what was drawn, accelerated (Efron 1987) and expanded (Hesterberg 2015): blocks are few.

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
