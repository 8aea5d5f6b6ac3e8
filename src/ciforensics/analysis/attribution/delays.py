"""How long after a build's start: one shape for all, a scale for each, and what the data insist on.

Delays of one pair of a workflow and a URL are few, and their shape is not known: log-normal, two humps of
warm and cold caches, flat. So all pairs share one shape in log time, which is learned without a formula;
each has its own scale, drawn towards its workflow's and that towards the common one; and where pairs
differ by more than their scale, each draws its histogram towards the shape by as much as a Dirichlet-
multinomial likelihood says (Minka 2000, "Estimating a Dirichlet distribution").
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import gammaln

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.intp]

_GROWTH = 1.12  # each bin is so much longer than the one before, but a second at least
_STEP = 0.15  # of the shape's grid in log time
_GRID = np.arange(-7, 5, _STEP)
_POINTS = (np.arange(8) + 0.5) / 8  # a bin's delays are spread evenly over it
_SCALE_PRIOR = 4.0  # requests that a scale needs to outweigh what it is drawn towards
_FEW = 5.0  # pairs with fewer requests say nothing about how pairs differ
_CONCENTRATIONS = np.geomspace(5, 5000, 16)


@dataclass(frozen=True, eq=False)
class Bins:
    """Bins of delays in whole seconds, from 0 to the window: a second each at first, then ever longer.

    Attributes:
        edges: in s, one more than there are bins.
    """

    edges: Ints

    @classmethod
    def up_to(cls, build_window_s: int) -> Bins:
        """Bins that hold 0 … `build_window_s`.

        Example:
            >>> Bins.up_to(30).edges[-6:].tolist()
            [19, 21, 24, 27, 30, 34]
        """
        edges = [0]
        while edges[-1] <= build_window_s:
            edges.append(max(edges[-1] + 1, round(edges[-1] * _GROWTH)))
        return cls(np.array(edges))

    @property
    def widths(self) -> Floats:
        """In s."""
        return np.diff(self.edges).astype(float)

    @property
    def centres(self) -> Floats:
        """In s; delays are in whole seconds, so one of 0 is half a second on average."""
        return (self.edges[:-1] + self.edges[1:]) / 2

    @property
    def of_second(self) -> NDArray[np.uint8]:
        """For each whole second the number of its bin."""
        return np.repeat(np.arange(len(self.widths)), np.diff(self.edges)).astype(np.uint8)

    @property
    def points(self) -> Floats:
        """Log time of evenly spread points in each bin, shape (bins, points)."""
        inner = self.edges[:-1, None] + _POINTS * self.widths[:, None]
        return np.log(np.maximum(inner, 0.25))


def smooth(histogram: Floats, times: int = 1) -> Floats:
    """Averages neighbours with weights 1, 2, 1, along the last axis."""
    for _ in range(times):
        edged = np.concatenate([histogram[..., :1], histogram, histogram[..., -1:]], axis=-1)
        histogram = (edged[..., :-2] + 2 * edged[..., 1:-1] + edged[..., 2:]) / 4
    return histogram


def normalised(density: Floats, bins: Bins) -> Floats:
    """Scaled so that each row integrates to 1."""
    area: Floats = (density * bins.widths).sum(axis=-1, keepdims=True)
    scaled: Floats = density / np.maximum(area, 1e-300)
    return scaled


@dataclass(frozen=True, eq=False)
class Delays:
    """What an M-step says about delays.

    Attributes:
        by_pair: density in 1/s, shape (pairs, bins).
        by_task: density in 1/s of a pair of a task that nothing more is known of, shape (tasks, bins).
        concentration: how many requests' worth the shared shape counts for in each pair.
    """

    by_pair: Floats
    by_task: Floats
    concentration: float


def learn(
    histograms: Floats, task_of_pair: NDArray[np.integer], tasks: int, bins: Bins, concentration: float
) -> Delays:
    """Delays from expected counts.

    Args:
        histograms: expected requests by pair and bin, shape (pairs, bins).
        task_of_pair: the task of each pair.
        tasks: how many tasks there are.
        bins: the bins.
        concentration: as learned before; it is learned anew where enough requests allow.
    """
    n = histograms.sum(axis=1)
    log_centres = np.log(bins.centres)
    sums = histograms @ log_centres
    common = sums.sum() / max(n.sum(), 1e-9)
    of_task = np.bincount(task_of_pair, n, tasks), np.bincount(task_of_pair, sums, tasks)
    task_scale = (of_task[1] + _SCALE_PRIOR * common) / (of_task[0] + _SCALE_PRIOR)
    scale = (sums + _SCALE_PRIOR * task_scale[task_of_pair]) / (n + _SCALE_PRIOR)
    shape = _shape(histograms, scale, bins)
    base = _placed(shape, scale, bins)
    enough = n > _FEW
    if enough.any():
        expected = base[enough] * bins.widths
        concentration = _concentration(histograms[enough], expected)
    own = smooth(histograms) / bins.widths
    by_pair = normalised((own + concentration * base) / (n[:, None] + concentration), bins)
    return Delays(by_pair, _placed(shape, task_scale, bins), concentration)


def _shape(histograms: Floats, scale: Floats, bins: Bins) -> Floats:
    """Density in log time, relative to each pair's scale."""
    counts = np.zeros(len(_GRID))
    for nth in range(len(_POINTS)):
        cells = ((bins.points[None, :, nth] - scale[:, None] - _GRID[0]) / _STEP).astype(int)
        np.add.at(counts, cells.clip(0, len(_GRID) - 1).ravel(), histograms.ravel() / len(_POINTS))
    counts = smooth(counts, 4) + 1e-6 * counts.sum() + 1e-12
    density: Floats = counts / (counts.sum() * _STEP)
    return density


def _placed(shape: Floats, scale: Floats, bins: Bins) -> Floats:
    """The shape at each scale, as a density in 1/s by bin."""
    density = np.zeros((len(scale), len(bins.widths)))
    for nth in range(len(_POINTS)):
        cells = ((bins.points[None, :, nth] - scale[:, None] - _GRID[0]) / _STEP).astype(int)
        density += shape[cells.clip(0, len(_GRID) - 1)] / np.exp(bins.points[None, :, nth])
    return normalised(density, bins)


def _concentration(histograms: Floats, expected: Floats) -> float:
    n = histograms.sum(axis=1)

    def likelihood(each: float) -> float:
        prior = each * expected + 1e-300
        return float(
            (gammaln(each) - gammaln(each + n)).sum() + (gammaln(prior + histograms) - gammaln(prior)).sum()
        )

    return float(max(_CONCENTRATIONS, key=likelihood))
