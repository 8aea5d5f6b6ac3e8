"""Time in slices: what a check or a bootstrap gives a fit to see, and what not.

A build's requests come after it, so what is near in time belongs together: slices are longer than the window,
and a slice is taken whole. To statistics they are the blocks of a block bootstrap.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from ciforensics.analysis.attribution.problem import Pairs

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ciforensics.analysis.attribution.candidates import Candidates
    from ciforensics.analysis.attribution.fit import Fit
    from ciforensics.analysis.attribution.problem import Problem

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

_HOUR_S = 3600
_WINDOWS = 2  # length of a slice: what a build sends into the next one is then a small part
_MOST = 200  # slices, of a long time
_NO_TIME = 1e-6  # seconds of an hour that no slice was drawn of: none, but rates divide by it


@dataclass(frozen=True, eq=False)
class Slices:
    """Recorded time in pieces of one length.

    Attributes:
        begins: when each slice begins, in seconds since 1970, and the end of the last.
        asked: when each request came.
        started: when each build started, by the same clock.
        seconds: recorded in each slice and hour, shape (slices, hours).
    """

    begins: Floats
    asked: Floats
    started: Floats
    seconds: Floats

    @classmethod
    def of(cls, candidates: Candidates) -> Slices:
        """Cuts the recorded time of a case into slices, of twice the window at least."""
        asked, builds = (
            candidates.requests["second"].fill_null(0).to_numpy().astype(float),
            find_starts(candidates),
        )
        begins, ends = _recorded(candidates)
        if not len(begins):
            return cls(np.zeros(1), asked, builds, np.zeros((0, 0)))
        window = int(candidates.problem.bins.edges[-1])
        length = max(_WINDOWS * window, (ends[-1] - begins[0]) / _MOST)
        edges = np.linspace(begins[0], ends[-1], max(1, int((ends[-1] - begins[0]) // length)) + 1)
        shared = np.minimum(edges[1:, None], ends) - np.maximum(edges[:-1, None], begins)
        seconds = np.maximum(shared, 0)
        full = seconds.sum(axis=1) > 0
        return cls(np.append(edges[:-1][full], edges[-1]), asked, builds, seconds[full])

    @property
    def count(self) -> int:
        """How many slices there are."""
        return len(self.seconds)

    def at(self, times: Floats) -> Ints:
        """The slice of each time, the nearest one of what was not recorded."""
        nth: Ints = np.searchsorted(self.begins, times, side="right") - 1
        return nth.clip(0, max(0, self.count - 1))

    def weighted(self, problem: Problem, weights: Floats) -> Problem:
        """The problem as if each slice had come so many times."""
        return replace(
            problem,
            requests=replace(problem.requests, weight=problem.requests.weight * weights[self.at(self.asked)]),
            builds=replace(problem.builds, exposure=problem.builds.exposure * weights[self.at(self.started)]),
            hours=np.maximum(weights @ self.seconds, _NO_TIME),
        )


def _recorded(candidates: Candidates) -> tuple[Floats, Floats]:
    """When each hour's record begins and ends, in seconds since 1970: all of it but at either end."""
    begins, seconds = candidates.hours.astype(float) * _HOUR_S, candidates.problem.hours
    if len(begins) > 1:
        begins[0] += _HOUR_S - seconds[0]
    elif len(begins):
        begins[0] = candidates.requests["second"].drop_nulls().to_numpy().min(initial=begins[0] + _HOUR_S)
    return begins, begins + seconds


def find_starts(candidates: Candidates) -> Floats:
    """When each build started by the observer's clock, in seconds since 1970."""
    problem = candidates.problem
    at = candidates.builds["ts"].dt.epoch("s").to_numpy().astype(float)
    if not len(problem.edges):
        return at
    asked = candidates.requests["second"].fill_null(0).to_numpy()[problem.edges.request[0]]
    offset = asked - problem.edges.lag[0] - at[problem.edges.build[0]]  # one edge tells it of all
    starts: Floats = at + offset
    return starts


def prune(problem: Problem, fit: Fit) -> Problem:
    """The problem with the edges that a fit needs, so that fitting it again from there is quick.

    Of each pair that takes no part one edge stays: the prior is to know how many there are.
    """
    pair = Pairs.of(problem).of_edge
    kept = np.zeros(len(pair), dtype=bool)
    kept[np.unique(pair, return_index=True)[1]] = True
    kept[fit.posterior.edge] = True
    return replace(problem, edges=problem.edges.only(kept))
