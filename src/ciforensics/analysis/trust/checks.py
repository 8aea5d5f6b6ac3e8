"""Does the model fit? What half of the time the fit says of the other half, against what was there.

Posterior predictive checks (Gelman et al. 2013, "Bayesian Data Analysis", ch. 6), on time that the fit has
not seen: time is cut into slices longer than the window, the model is fitted to every other slice, and says
how many requests it expects in those between, by url and hour and by delay. They need no keys. They tell
whether the probabilities can be right, not that they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from ciforensics.analysis.attribution.em import fit_model
from ciforensics.analysis.trust.slices import Slices, prune
from ciforensics.wording import Result, Sentence

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from polars._typing import SchemaDict as Schema

    from ciforensics.analysis.attribution.candidates import Candidates
    from ciforensics.analysis.attribution.delays import Bins
    from ciforensics.analysis.attribution.fit import Fit

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

FAR = 3.0
"""Standard deviations beyond which chance puts 0.3 % of the counts."""

LATE = 0.02
"""Share of the delays in the last tenth of the window from which on it is too short."""

_SMALL = 5.0  # expected requests of a cell that stands alone
_WORST = 10
_END = 0.9  # of the window: its last tenth begins
_DELAYS: Schema = {
    "delay_s": pl.Int64,
    "to_s": pl.Int64,
    "observed": pl.Float64,
    "expected": pl.Float64,
    "z": pl.Float64,
}
_COUNTS: Schema = {
    "url": pl.String,
    "user_agent": pl.String,
    "hour": pl.Datetime("us"),
    "observed": pl.Float64,
    "expected": pl.Float64,
    "z": pl.Float64,
}


@dataclass(frozen=True, eq=False, repr=False)
class Checks(Result):
    """What the model expected of time that it had not seen, and what was there.

    Attributes:
        delays: requests that the model gives to builds (`observed`) by delay from `delay_s` to `to_s` after
            the build's start, how many it `expected`, and how many standard deviations they differ by (`z`).
        late: share of the delays in the last tenth of the window, see `late_share`.
        worst: the ten counts by `url`, `user_agent` and `hour` that are furthest from what was `expected`.
            No `hour`: all its quiet hours in one; no `url` either: all quiet ones in one.
        far: share of such counts that are more than three standard deviations off.
        counts: how many such counts there are.
        verdict: a sentence.
    """

    delays: pl.DataFrame
    late: float
    worst: pl.DataFrame
    far: float
    counts: int
    verdict: str

    def _said(self) -> tuple[Sentence]:
        return (Sentence(f"{self.verdict[:1].upper()}{self.verdict[1:]}.", "sentence"),)


def run_checks(candidates: Candidates, fit: Fit) -> Checks:
    """Compares what each half of the time says of the other half with what was there.

    Args:
        candidates: what the fit is of.
        fit: a fit.

    Example:
        >>> import ciforensics as ci
        >>> attribution = ci.attribute(ci.connect())
        >>> 0 <= run_checks(attribution.candidates, attribution.fit).far <= 1
        True
    """
    slices, problem = Slices.of(candidates), prune(candidates.problem, fit)
    late = late_share(fit, problem.bins)
    if slices.count < 2 or not len(fit.posterior.edge):
        short = f"less than {2 * int(problem.bins.edges[-1])} s were recorded"
        short = short if len(fit.posterior.edge) else "no build ran before any 401"
        return Checks(
            pl.DataFrame(schema=_DELAYS), late, pl.DataFrame(schema=_COUNTS), 0.0, 0, f"no check: {short}"
        )
    bins = problem.bins
    delays = np.zeros((2, len(bins.widths)))
    counts = np.zeros((3, problem.requests.n_shards, len(problem.hours)))
    for half in (0, 1):
        seen = (np.arange(slices.count) % 2 != half).astype(float)
        fitted = fit_model(slices.weighted(problem, seen), start=fit)
        unseen = slices.weighted(problem, 1 - seen)
        mass = fitted.delays.by_pair * bins.widths
        exposure = (mass * slices.weighted(problem, seen).at_risk[fitted.pairs.task]).sum(axis=1)
        mass *= (fitted.pairs.requests / np.maximum(exposure, 1))[:, None]
        sent = (
            fitted.posterior.probability
            * unseen.requests.weight[problem.edges.request[fitted.posterior.edge]]
        )
        delays[0] += np.bincount(
            bins.of_second[problem.edges.lag[fitted.posterior.edge]], sent, len(bins.widths)
        )
        delays[1] += (unseen.at_risk[fitted.pairs.task] * mass).sum(axis=0)
        cells = problem.requests.shard.astype(np.int64) * len(problem.hours) + problem.requests.hour
        counts[0] += np.bincount(cells, unseen.requests.weight, counts[0].size).reshape(counts[0].shape)
        background = fitted.background.rate * ((1 - seen) @ slices.seconds)
        counts[1] += background + _sent(candidates, slices, fitted, mass, 1 - seen)
        counts[2] += background
    rows = _cells(candidates, counts)
    far = float((rows["z"].abs() > FAR).sum()) / max(1, len(rows))
    worst = rows.sort(pl.col("z").abs(), *_COUNTS, descending=True).head(_WORST)
    told = (
        f"{100 * far:.1f} % of {len(rows):,} counts by url and hour are more than 3 standard deviations off"
    )
    return Checks(
        pl.DataFrame(
            {
                "delay_s": bins.edges[:-1],
                "to_s": bins.edges[1:],
                "observed": delays[0],
                "expected": delays[1],
                "z": (delays[0] - delays[1]) / np.sqrt(np.maximum(delays.sum(axis=0), 1)),
            },
            schema=_DELAYS,
        ),
        late,
        worst,
        far,
        len(rows),
        f"{told} (by chance 0.3 %); {100 * late:.1f} % of the delays are in the last tenth of the window",
    )


def late_share(fit: Fit, bins: Bins) -> float:
    """Share of the delays in the last tenth of the window; more than `LATE`: the window is too short.

    Args:
        fit: what the model found.
        bins: of its delays.
    """
    histogram = fit.pairs.requests @ (fit.delays.by_pair * bins.widths)
    return float(histogram[bins.centres >= _END * bins.edges[-1]].sum() / max(histogram.sum(), 1e-9))


def _sent(candidates: Candidates, slices: Slices, fit: Fit, mass: Floats, weights: Floats) -> Floats:
    """Requests that builds are expected to send by shard and hour, in slices that count.

    Args:
        candidates: the builds.
        slices: of time.
        fit: the pairs.
        mass: expected requests of each pair by delay, shape (pairs, bins).
        weights: of the slices.
    """
    problem = candidates.problem
    bins, hours = len(problem.bins.widths), len(problem.hours)
    sent = np.zeros((problem.requests.n_shards, hours))
    at = slices.started[:, None] + problem.bins.centres
    hour = np.searchsorted(candidates.hours, at // 3600).clip(0, hours - 1)
    recorded = (candidates.hours[hour] == at // 3600) & (at >= slices.begins[0]) & (at <= slices.begins[-1])
    weight = weights[slices.at(at)] * recorded * problem.alive
    cell = np.arange(bins) * hours + hour
    by_task = np.argsort(problem.builds.task, kind="stable")
    ends = np.cumsum(np.bincount(problem.builds.task, minlength=problem.builds.n_tasks))
    order = np.argsort(fit.pairs.task, kind="stable")
    for pairs in np.split(order, np.flatnonzero(np.diff(fit.pairs.task[order])) + 1):
        if not len(pairs):
            continue
        task = fit.pairs.task[pairs[0]]
        builds = by_task[ends[task - 1] if task else 0 : ends[task]]
        passed = np.bincount(cell[builds].ravel(), weight[builds].ravel(), bins * hours)
        sent[fit.pairs.shard[pairs]] += mass[pairs] @ passed.reshape(bins, hours)
    return sent


def _cells(candidates: Candidates, counts: Floats) -> pl.DataFrame:
    """A row for each url, user agent and hour of which enough is expected; the others in one."""
    alone = counts[1] >= _SMALL
    shard, hour = np.nonzero(alone)
    rest = np.where(alone, 0, counts).sum(axis=2)
    apart = rest[1] >= _SMALL
    quiet = rest[:, ~apart].sum(axis=1, keepdims=True)
    values = np.concatenate([counts[:, shard, hour], rest[:, apart], quiet], axis=1)
    shards = [*shard.tolist(), *np.flatnonzero(apart).tolist(), None]
    times = [*(candidates.hours[hour] * 3_600_000_000).tolist(), *([None] * (int(apart.sum()) + 1))]
    named = candidates.requests.select("shard", "url", "user_agent").unique("shard")
    return (
        pl.DataFrame(
            {"shard": shards, "hour": times, "observed": values[0], "expected": values[1]},
            schema_overrides={"shard": pl.Int32, "hour": pl.Datetime("us")},
        )
        # What half of the background says of the other is as uncertain as that.
        .with_columns(z=pl.Series((values[0] - values[1]) / np.sqrt(np.maximum(values[1] + values[2], 1e-9))))
        .filter(pl.col("expected") > _SMALL / 10)
        .join(named, on="shard", how="left")
        .select(*_COUNTS)
    )
