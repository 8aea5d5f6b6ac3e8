"""Who could have sent a 401: each build nearby and the background, and what each clue says of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from ciforensics.analysis.attribution.candidates import RUN
from ciforensics.analysis.attribution.clues import Clue
from ciforensics.analysis.links.basis import Basis

if TYPE_CHECKING:
    from ciforensics.analysis.attribution.candidates import Candidates
    from ciforensics.analysis.attribution.fit import Fit

_TYPICAL = 0.1  # of the delays are shorter than a typical one, as many are longer
_LEAST = 1e-300


def find_senders(candidates: Candidates, fit: Fit, asked: dict[str, Any]) -> pl.DataFrame:
    """Each build that could have sent a request, and last the background, with what each clue says.

    A clue's column is the product of its factor and of those before it; the last is the intensity, in 1/s.
    `probability` is the fit's.
    """
    problem = candidates.problem
    request, shard, outcome = asked["request"], asked["shard"], asked["outcome_no"]
    edges = slice(*np.searchsorted(problem.edge_request, np.array([request, request + 1], np.int32)))
    build, lag_s = problem.edge_build[edges], problem.edge_lag[edges]
    task, here = problem.task[build], fit.shard == shard
    same_url = np.zeros(problem.n_shards, dtype=bool)
    same_url[candidates.requests.filter(pl.col("url").eq_missing(asked["url"]))["shard"].to_numpy()] = True
    rate, of_url, of_shard = (
        np.bincount(fit.task[of], fit.rate[of], problem.n_tasks)[task]
        for of in (np.ones_like(here), same_url[fit.shard], here)
    )
    outcomes, density = fit.task_outcomes[:, outcome].copy(), fit.delays.by_task.copy()
    outcomes[fit.task[here]], density[fit.task[here]] = fit.outcomes[here, outcome], fit.delays.by_pair[here]
    widths, bounds = problem.bins.widths, problem.bins.edges
    reached = (density[task] * widths).cumsum(axis=1)
    run = candidates.builds["run"].to_numpy()[build]
    builds = candidates.runs.select(RUN)[run].with_columns(
        candidates.tasks["name"][task],
        lag_s=pl.Series(lag_s),
        sent=pl.Series(rate),
        soon_s=pl.Series(bounds[(reached < _TYPICAL).sum(axis=1)]),
        late_s=pl.Series(bounds[1:][(reached < 1 - _TYPICAL).sum(axis=1)]),
    )
    background = fit.background[:, problem.hour[request]]
    rate = np.append(rate / widths.sum(), background.sum())
    of_url = np.append(of_url / widths.sum(), background[same_url].sum())
    of_shard = np.append(of_shard / widths.sum(), background[shard])
    factors = {
        Clue.ACTIVITY: rate,
        Clue.URL: of_url / np.maximum(rate, _LEAST),
        Clue.USER_AGENT: of_shard / np.maximum(of_url, _LEAST),
        Clue.OUTCOME: np.append(outcomes[task], fit.background_outcomes[shard, outcome]),
        Clue.DELAY: np.append(density[task, problem.bins.of_second[lag_s]] * widths.sum(), 1.0),
    }
    if len(problem.edge_factor):
        factors[Clue.SAME_REQUEST] = np.append(problem.edge_factor[edges], 1.0)
    taken = slice(*np.searchsorted(fit.edge, [edges.start, edges.stop]))
    probability = np.append(np.zeros(len(build)), fit.unexplained[request])
    probability[fit.edge[taken] - edges.start] = fit.probability[taken]
    nobody = pl.DataFrame({"name": [str(Basis.UNATTRIBUTED)]})
    nameless = pl.all_horizontal(pl.col("ci_repo", "workflow", "run_id").is_null())
    products = np.cumprod(list(factors.values()), axis=0)
    return pl.concat([builds, nobody], how="diagonal").with_columns(
        *(pl.Series(clue, product) for clue, product in zip(factors, products, strict=True)),
        basis=pl.when(nameless).then(pl.lit(Basis.UNATTRIBUTED)).otherwise(pl.lit(Basis.MODEL)),
        probability=pl.Series(probability),
    )


@dataclass(frozen=True, eq=False)
class Side:
    """The favourite or the runner-up.

    Attributes:
        name: its name.
        probability: of all its runs together.
        senders: its builds, the background among nobody's, the likeliest first.
        product: of the clue's and of all clues' before it, summed over its builds.
    """

    name: str
    probability: float
    senders: pl.DataFrame
    product: dict[str, float]

    @classmethod
    def of(cls, senders: pl.DataFrame, name: str, probability: float) -> Side:
        """The side of this name."""
        own = senders.filter(pl.col("name") == name).sort("probability", "run_id", descending=[True, False])
        sums = own.select(clue for clue in Clue if clue in own.columns).sum()
        return cls(name, probability, own, sums.row(0, named=True))

    @property
    def parts(self) -> dict[str, float]:
        """What each clue multiplies the product by, given those before it."""
        sums = list(self.product.values())
        return dict(zip(self.product, [1.0, *np.divide(sums[1:], sums[:-1]).tolist()], strict=True))
