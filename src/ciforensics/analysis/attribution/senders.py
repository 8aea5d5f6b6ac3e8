"""Who could have sent a 401: each build nearby and the background, and what each clue says of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from ciforensics.analysis.attribution.clues import Clue, Habits, Seen, weigh_clues
from ciforensics.analysis.attribution.names import RUN
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
    problem, request = candidates.problem, asked["request"]
    at = slice(*np.searchsorted(problem.edges.request, np.array([request, request + 1], np.int32)))
    edges = problem.edges.only(at)
    task, nobody = problem.builds.task[edges.build], problem.builds.n_tasks
    widths, bounds = problem.bins.widths, problem.bins.edges
    habits = _habits(candidates, fit, asked)
    clues = weigh_clues(
        habits,
        Seen(
            sender=np.append(task, nobody),
            outcome=np.full(len(task) + 1, asked["outcome_no"]),
            bin=np.append(problem.bins.of_second[edges.lag], 0),
            factors={clue: np.append(factor, 1.0) for clue, factor in edges.factors.items()},
        ),
    )
    clues[Clue.ACTIVITY] /= widths.sum()  # so that a delay which is as likely as any other says nothing
    clues[Clue.DELAY] *= widths.sum()
    reached = (habits.delays[task] * widths).cumsum(axis=1)
    builds = candidates.runs.select(RUN)[candidates.builds["run"].to_numpy()[edges.build]].with_columns(
        candidates.tasks["name"][task],
        after_start_s=pl.Series(edges.lag),
        sent=pl.Series(habits.sends[Clue.ACTIVITY][task]),
        soon_s=pl.Series(bounds[(reached < _TYPICAL).sum(axis=1)]),
        late_s=pl.Series(bounds[1:][(reached < 1 - _TYPICAL).sum(axis=1)]),
    )
    taken = slice(*np.searchsorted(fit.posterior.edge, [at.start, at.stop]))
    probability = np.append(np.zeros(len(edges)), fit.posterior.unexplained[request])
    probability[fit.posterior.edge[taken] - at.start] = fit.posterior.probability[taken]
    background = pl.DataFrame({"name": [str(Basis.UNATTRIBUTED)]})
    nameless = pl.all_horizontal(pl.col("ci_repo", "workflow", "run_id").is_null())
    products = np.cumprod(list(clues.values()), axis=0)
    return pl.concat([builds, background], how="diagonal").with_columns(
        *(pl.Series(clue, product) for clue, product in zip(clues, products, strict=True)),
        basis=pl.when(nameless).then(pl.lit(Basis.UNATTRIBUTED)).otherwise(pl.lit(Basis.MODEL)),
        probability=pl.Series(probability),
    )


def _habits(candidates: Candidates, fit: Fit, asked: dict[str, Any]) -> Habits:
    """Of each task, and last of the background, as far as they concern such a request."""
    problem, pairs, shard = candidates.problem, fit.pairs, asked["shard"]
    window, here = problem.bins.widths.sum(), pairs.shard == shard
    same_url = np.zeros(problem.requests.n_shards, dtype=bool)
    same_url[candidates.requests.filter(pl.col("url").eq_missing(asked["url"]))["shard"].to_numpy()] = True
    background = fit.background.rate[:, problem.requests.hour[asked["request"]]] * window
    sent, of_url, of_shard = (
        np.append(
            np.bincount(pairs.task[which], pairs.rate[which], problem.builds.n_tasks),
            background[shards].sum(),
        )
        for which, shards in ((slice(None), slice(None)), (same_url[pairs.shard], same_url), (here, shard))
    )
    outcomes = np.vstack([fit.outcomes.by_task, fit.background.outcomes[shard]])
    delays = np.vstack([fit.delays.by_task, np.full(len(problem.bins.widths), 1 / window)])
    outcomes[pairs.task[here]], delays[pairs.task[here]] = (
        fit.outcomes.by_pair[here],
        fit.delays.by_pair[here],
    )
    sends = {
        Clue.ACTIVITY: sent,
        Clue.URL: of_url / np.maximum(sent, _LEAST),
        Clue.USER_AGENT: of_shard / np.maximum(of_url, _LEAST),
    }
    return Habits(sends, outcomes, delays)


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
