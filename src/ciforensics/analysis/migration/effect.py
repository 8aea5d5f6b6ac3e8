"""Does moving stop the 401s? Difference in differences, a repository at its own time.

What a repository's builds would have sent had it not moved is imputed from those that had not (Borusyak,
Jaravel and Spiess 2024, "Revisiting Event-Study Designs"): to the builds of the repositories that have not
moved and of those that will, 401s a build = a level of the workflow + a level of the period, by least
squares weighted with builds. What the builds of moved workflows sent less than that is the effect.

Its error is clustered by repository: the jackknife that leaves out one at a time, with steps as by CR2
(Bell and McCaffrey 2002; MacKinnon, Nielsen and Webb 2023, "Cluster-robust inference"), on Student's t with
one degree of freedom less than there are moved repositories. The attribution's uncertainty comes on top
(Rubin 1987): the senders are drawn several times from their probabilities, the effect is estimated from
each draw, and the variance between draws is added to that within.

On 70 made-up fleets (14 workflows of which 6 move, 90 builds an hour, ten hours, no shared key) the
interval of 90 % held the mean that fleets are drawn with in 64, and that of the fleet at hand in 68. The
effect came out 6 % too small on average: of the 401s that it compares some end as unattributed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from scipy.special import stdtrit

from ciforensics.analysis.attribution.fetches import GOLDEN
from ciforensics.analysis.attribution.problem import summed
from ciforensics.analysis.migration.states import MIXED, SILENT

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ciforensics.analysis.attribution.fetches import Fetches
    from ciforensics.analysis.migration.states import Paths

    Floats = NDArray[np.float64]

FEWEST = 4
"""Repositories that have moved, and that have not, with which an interval says something."""

_PERIODS = 12  # of a short time
_DAY_S = 86_400
_ANSWERED = "answered"


@dataclass(frozen=True, eq=False)
class Effect:
    """What moving did to the 401s of a build.

    Attributes:
        total: one row, see `Progress.effect`.
        moves: one row for each workflow that moved, see `Progress.moves`.
        over_time: 401s a build by `event_time`, see `Progress.event_time`.
    """

    total: pl.DataFrame
    moves: pl.DataFrame
    over_time: pl.DataFrame


def choose_builds(paths: Paths) -> tuple[pl.DataFrame, float]:
    """The builds that the comparison rests on, and the length of its periods in seconds.

    Adds `moved` (when its workflow was golden first; NULL: not yet), `treated` and `period`. A workflow that
    was golden all the time, silent or mixed has no before or no after; what follows a fall back is neither.
    """
    state, ts, order = pl.col("state"), pl.col("ts"), pl.col("order")
    builds = paths.builds.sort("ts", "build").with_row_index("order")
    golden = builds.filter(state == GOLDEN).group_by("name").agg(moved=ts.min(), first=order.min())
    rows = builds.join(golden, on="name", how="left", maintain_order="left")
    later = order >= pl.col("first")
    fell = rows.filter(later, state != GOLDEN).group_by("name").agg(fell=order.min())
    rows = rows.join(fell, on="name", how="left", maintain_order="left")
    moved_at_once = pl.col("first").is_not_null() & (order.min().over("name") == pl.col("first"))
    rows = rows.with_columns(treated=later.fill_null(value=False)).filter(
        ~state.is_in([MIXED, SILENT]) & ~moved_at_once.fill_null(value=False),
        (order < pl.col("fell")).fill_null(value=True),
    )
    if rows.is_empty():
        return rows.with_columns(period=pl.lit(0)), 1.0
    seconds = ts.dt.epoch("s") - ts.dt.epoch("s").min()
    span = max(1.0, float(rows.select(seconds.max()).item()))
    length = _DAY_S if span > _PERIODS * _DAY_S else span / _PERIODS + 1
    return rows.with_columns(period=(seconds // length).cast(pl.Int64)), float(length)


def estimate_effect(fetches: Fetches, paths: Paths, *, draws: int, level: float, seed: int) -> Effect:
    """Compares the builds of workflows that have moved with those that had not."""
    rows, length = choose_builds(paths)
    sent = fetches.by_class.filter(pl.col("outcome") != _ANSWERED)
    expected = _by_build(rows, sent["build"], sent["probability"].to_numpy())
    rows = rows.with_columns(unauthorized=pl.Series(expected))
    imputed = _Panel(rows).imputed(expected)
    rows = rows.with_columns(without=pl.Series(imputed))
    usable = rows.filter(pl.col("treated"), pl.col("without").is_not_nan())
    moves = _moves(rows, usable)
    why = _too_little(rows, usable)
    low = high = None
    if why is None:
        rng = np.random.default_rng(seed)
        unauthorized = (fetches.by_class["outcome"] != _ANSWERED).to_numpy()
        drawn = [
            _by_build(rows, fetches.sent["build"], (chosen & unauthorized).astype(float))
            for chosen in fetches.draws(draws, rng)
        ]
        low, high = _interval(_Panel(rows), drawn, rows, level)
    total = usable.select(
        effect=(pl.col("unauthorized") - pl.col("without")).mean(),
        low=pl.lit(low, pl.Float64),
        high=pl.lit(high, pl.Float64),
        without=pl.col("without").mean(),
        after=pl.col("unauthorized").mean(),
        removed=1 - pl.col("unauthorized").mean() / pl.col("without").mean(),
        builds=pl.len(),
        moved=pl.col("ci_repo").n_unique(),
        not_moved=pl.lit(rows.filter(pl.col("moved").is_null())["ci_repo"].n_unique()),
        why=pl.lit(why, pl.String),
    )
    return Effect(total, moves, _event_time(rows, length))


def _by_build(rows: pl.DataFrame, build: pl.Series, weight: Floats) -> Floats:
    """The weights summed by the panel's builds."""
    place = pl.DataFrame({"build": build}).join(
        rows.select("build", place=pl.int_range(pl.len())), on="build", how="left", maintain_order="left"
    )["place"]
    known = place.is_not_null().to_numpy()
    return summed(place.drop_nulls().to_numpy(), weight[known], len(rows))


def _numbers(names: pl.Series) -> NDArray[np.int64]:
    return (names.rank("dense").cast(pl.Int64) - 1).to_numpy()


class _Panel:
    """Builds as cells of a workflow and a period.

    The levels of the workflows drop out of the equations for those of the periods (Frisch, Waugh and
    Lovell), so these are few, however many workflows there are.
    """

    def __init__(self, rows: pl.DataFrame) -> None:
        self.unit = _numbers(rows["name"])
        self.cluster = _numbers(rows["ci_repo"].fill_null(""))
        self.period = rows["period"].to_numpy()
        self.treated = rows["treated"].to_numpy()
        self.shape = (int(self.unit.max(initial=-1)) + 1, int(self.period.max(initial=-1)) + 1)
        self.cell = self.unit * self.shape[1] + self.period
        self.weight = self._summed(np.ones(len(self.unit)))
        self.of_unit = np.zeros(self.shape[0], dtype=np.int64)
        self.of_unit[self.unit] = self.cluster
        self.clusters = int(self.cluster.max(initial=-1)) + 1

    def _summed(self, y: Floats) -> Floats:
        """Of the builds that had not moved, by workflow and period."""
        kept = ~self.treated
        size = self.shape[0] * self.shape[1]
        return summed(self.cell[kept], y[kept], size).reshape(self.shape)

    def imputed(self, y: Floats, without: int | None = None) -> Floats:
        """For each build what it would have sent had it not moved; NaN where nothing says so.

        Args:
            y: what each build sent.
            without: a repository to leave out.
        """
        kept = np.ones(self.shape[0]) if without is None else (self.of_unit != without).astype(float)
        weight, total = self.weight * kept[:, None], self._summed(y) * kept[:, None]
        builds = np.maximum(weight.sum(axis=1), 1e-300)
        matrix = np.diag(weight.sum(axis=0)) - (weight / builds[:, None]).T @ weight
        target = total.sum(axis=0) - (weight / builds[:, None]).T @ total.sum(axis=1)
        period = np.linalg.pinv(matrix, hermitian=True) @ target
        unit = (total.sum(axis=1) - weight @ period) / builds
        expected = unit[self.unit] + period[self.period]
        seen = (weight.sum(axis=1)[self.unit] > 0) & (weight.sum(axis=0)[self.period] > 0)
        return np.where(seen, expected, np.nan)

    def effect(self, y: Floats, without: int | None = None) -> float:
        """How much more a build of a workflow that had moved sent than it would have."""
        apart = y - self.imputed(y, without)
        chosen = self.treated & ~np.isnan(apart)
        return float(apart[chosen].mean()) if chosen.any() else float("nan")

    def variance(self, y: Floats) -> float:
        """Of the effect: the jackknife over repositories, its steps shortened as by CR2.

        To leave out a repository with the share w of the builds moves a mean by 1 / (1 - w) times its weight.
        """
        whole = self.effect(y)
        steps = np.array([self.effect(y, nth) for nth in range(self.clusters)]) - whole
        share = np.bincount(self.cluster[self.treated], minlength=self.clusters) / self.treated.sum()
        return float(np.nansum(steps**2 * (1 - share)))


def _interval(of: _Panel, drawn: list[Floats], rows: pl.DataFrame, level: float) -> tuple[float, float]:
    """Rubin's rules over the draws."""
    effects = np.array([of.effect(y) for y in drawn])
    within = float(np.mean([of.variance(y) for y in drawn]))
    between = float(effects.var(ddof=1)) * (1 + 1 / len(drawn))
    freedom = rows.filter("treated")["ci_repo"].n_unique() - 1
    reach = float(stdtrit(freedom, (1 + level) / 2)) * (within + between) ** 0.5
    return float(effects.mean()) - reach, float(effects.mean()) + reach


def _too_little(rows: pl.DataFrame, usable: pl.DataFrame) -> str | None:
    """Why there is no interval, if so."""
    moved = usable["ci_repo"].n_unique()
    others = rows.filter(pl.col("moved").is_null())["ci_repo"].n_unique()
    if not moved:
        return "no repository has builds before and after it moved while others had not moved"
    if moved < FEWEST:
        return f"only {moved} of the repositories moved while requests were recorded, and {FEWEST} are needed"
    if others < FEWEST:
        return f"only {others} repositories have not moved, and {FEWEST} are needed to compare with"
    return None


def _moves(rows: pl.DataFrame, usable: pl.DataFrame) -> pl.DataFrame:
    before = (
        rows.filter(pl.col("moved").is_not_null(), ~pl.col("treated"))
        .group_by("name")
        .agg(builds_before=pl.len(), before=pl.col("unauthorized").mean())
    )
    after = usable.group_by("name").agg(
        pl.col("ci_repo", "workflow", "moved").first(),
        builds_after=pl.len(),
        after=pl.col("unauthorized").mean(),
        without=pl.col("without").mean(),
        effect=(pl.col("unauthorized") - pl.col("without")).mean(),
    )
    columns = ("name", "ci_repo", "workflow", "moved", "builds_before", "before", "builds_after", "after")
    return before.join(after, on="name").select(*columns, "without", "effect").sort("moved", "name")


def _event_time(rows: pl.DataFrame, length: float) -> pl.DataFrame:
    """401s a build of moved workflows, as they were and without the move, by periods since they moved."""
    away = ((pl.col("ts") - pl.col("moved")).dt.total_microseconds() / 1e6 / length).floor().cast(pl.Int64)
    of = rows.filter(pl.col("moved").is_not_null(), pl.col("without").is_not_nan())
    return (
        of.group_by(event_time=away)
        .agg(
            pl.col("unauthorized", "without").mean(),
            builds=pl.len(),
            repositories=pl.col("ci_repo").n_unique(),
        )
        .sort("event_time")
        .with_columns(period_s=pl.lit(length))
    )
