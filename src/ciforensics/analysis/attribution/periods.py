"""When what a workflow sends changed: a model with one rate for all time would hide the very move.

Seen over a whole month, a workflow that moved in its last week hardly sends anything golden, and the model
takes that for chance. So each workflow's builds are first cut into a few pieces of one length, each with
rates of its own; then, by what the model says of these, where the classes of its fetches change (optimal
partitioning; Jackson et al. 2005).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from ciforensics.analysis.attribution.candidates import split_by_period
from ciforensics.analysis.attribution.em import fit_model
from ciforensics.analysis.attribution.fetches import Fetches, count_by_class

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ciforensics.analysis.attribution.candidates import Candidates

    Floats = NDArray[np.float64]

_PIECES, _SHORTEST = 6, 10  # of a workflow, and builds of one
_FEWEST = 2  # builds between two changes
_MOST = 500  # places where a workflow can change
_GAIN = 6.0  # log likelihood by which two rates explain builds better than one


def follow_changes(candidates: Candidates) -> Candidates:
    """The same, where what a workflow sends is another thing in each of its periods."""
    builds = candidates.builds
    workflow = ("ci_repo", "workflow")
    nth = pl.int_range(pl.len()).over(workflow, order_by="ts")
    length = pl.max_horizontal(pl.len().over(workflow) / _PIECES, pl.lit(float(_SHORTEST)))
    pieces = split_by_period(candidates, builds.select((nth / length).floor().cast(pl.Int64)).to_series())
    return split_by_period(candidates, _periods(Fetches.of(pieces, fit_model(pieces.problem)), builds))


def _periods(fetches: Fetches, builds: pl.DataFrame) -> pl.Series:
    """The period of each build: how many changes of its workflow came before it."""
    rows = fetches.by_class.select("build", "class", "probability")
    counts = count_by_class(rows, fetches.builds)
    counts /= np.maximum(counts.sum(axis=1, keepdims=True), 1)
    numbered = fetches.builds.with_row_index("place")
    parts = [pl.DataFrame(schema={"build": pl.Int32, "period": pl.Int64})]
    for _, frame in numbered.group_by("name", maintain_order=True):
        changes = find_changes(counts[frame["place"].to_numpy()])
        period = np.searchsorted(changes, np.arange(len(frame)), side="right")
        parts.append(pl.DataFrame({"build": frame["build"], "period": period}))
    of_build = builds.select(pl.col("build_id").cast(pl.Int32).alias("build"))
    joined = of_build.join(pl.concat(parts), on="build", how="left", maintain_order="left")
    return joined["period"].fill_null(0)


def find_changes(counts: Floats) -> list[int]:
    """The builds, by number, before which the rates of the classes change.

    Args:
        counts: fetches by class of each build, at most 1 altogether; shape (builds, classes).

    Example:
        >>> stock, golden = [1.0, 0.0], [0.0, 1.0]
        >>> find_changes(np.array([stock] * 9 + [golden] * 8 + [stock] * 9))
        [9, 17]
    """
    step = max(1, -(-len(counts) // _MOST))
    edges = np.append(np.arange(0, len(counts), step), len(counts))
    upto = np.vstack([np.zeros(counts.shape[1]), counts.cumsum(axis=0)])[edges]
    best, begins = np.zeros(len(edges)), np.zeros(len(edges), dtype=np.int64)
    for end in range(1, len(edges)):
        builds = edges[end] - edges[:end]
        total = best[:end] - _GAIN * (edges[:end] > 0) + _likelihood(upto[end] - upto[:end], builds)
        total[(builds < _FEWEST) & (edges[:end] > 0)] = -np.inf
        begins[end] = total.argmax()
        best[end] = total[begins[end]]
    changes: list[int] = []
    place = int(begins[-1])
    while place:
        changes.append(int(edges[place]))
        place = int(begins[place])
    return changes[::-1]


def _likelihood(sums: Floats, builds: NDArray[np.int64]) -> Floats:
    """Largest log likelihood of Poisson counts, but for what does not depend on the rates."""
    rate = sums / builds[:, None]
    likelihood: Floats = (sums * np.log(np.maximum(rate, 1e-12))).sum(axis=1) - sums.sum(axis=1)
    return likelihood
