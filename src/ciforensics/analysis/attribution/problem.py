"""401s and the builds that could have sent them, as numbers: all that the model sees.

An **edge** is a 401 and a build that could have sent it; a **shard** is all 401s of one URL and user agent; a
**task** is a workflow's job; a **pair** is a task and a shard.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from ciforensics.analysis.attribution.clues import Clue
    from ciforensics.analysis.attribution.delays import Bins

    Floats = NDArray[np.float64]


def summed(place: NDArray[Any], weights: NDArray[Any], size: int) -> Floats:
    """The sum of the weights at each place."""
    return np.bincount(place, weights, size).astype(np.float64, copy=False)


@dataclass(frozen=True, eq=False)
class Requests:
    """401s, sorted by shard.

    Attributes:
        shard: of each request.
        outcome: of each request.
        hour: of each request.
        keyed: requests that a key names the run of; their edges lead to builds of that run only.
        weight: how often each request counts.
        n_shards: how many shards there are.
        n_outcomes: how many outcomes there are.
    """

    shard: NDArray[np.int32]
    outcome: NDArray[np.int8]
    hour: NDArray[np.int32]
    keyed: NDArray[np.bool_]
    weight: Floats
    n_shards: int
    n_outcomes: int

    def __len__(self) -> int:
        return len(self.shard)


@dataclass(frozen=True, eq=False)
class Builds:
    """Builds, of which each could send.

    Attributes:
        task: of each build.
        exposure: how often each build counts: 0 for one that began before requests were recorded.
        life: of each build, for how many seconds it could send: the window, unless it was over sooner.
        n_tasks: how many tasks there are.
    """

    task: NDArray[np.int32]
    exposure: Floats
    life: NDArray[np.int32]
    n_tasks: int


@dataclass(frozen=True, eq=False)
class Edges:
    """Who could have sent what, sorted by request.

    Attributes:
        request: of each edge.
        build: of each edge.
        lag: whole seconds from the build's start to the request.
        factors: by what other logs make it likelier, by clue; those that nothing is known of are not in it.
    """

    request: NDArray[np.int32]
    build: NDArray[np.int32]
    lag: NDArray[np.int32]
    factors: Mapping[Clue, NDArray[np.float32]]

    def __len__(self) -> int:
        return len(self.request)

    def only(self, kept: NDArray[Any] | slice) -> Edges:
        """Some of them, by a mask or by their numbers."""
        factors = {clue: factor[kept] for clue, factor in self.factors.items()}
        return Edges(self.request[kept], self.build[kept], self.lag[kept], factors)


@dataclass(frozen=True, eq=False)
class Problem:
    """What a model is fitted to.

    Attributes:
        requests: the 401s.
        builds: what could have sent them.
        edges: which could have sent which.
        hours: seconds recorded in each hour.
        bins: of delays.
    """

    requests: Requests
    builds: Builds
    edges: Edges
    hours: Floats
    bins: Bins

    @property
    def seconds(self) -> float:
        """How long requests were recorded."""
        return float(self.hours.sum())

    @property
    def alive(self) -> Floats:
        """How much of each build could send in each bin of delays, shape (builds, bins)."""
        lived = (self.builds.life[:, None] + 1 - self.bins.edges[:-1]) / self.bins.widths
        alive: Floats = lived.clip(0, 1) * self.builds.exposure[:, None]
        return alive

    @property
    def at_risk(self) -> Floats:
        """How many builds of each task could send in each bin of delays, shape (tasks, bins)."""
        bins, size = len(self.bins.widths), self.builds.n_tasks
        cells = self.builds.task[:, None] * bins + np.arange(bins)
        return summed(cells.ravel(), self.alive.ravel(), size * bins).reshape(-1, bins)


@dataclass(frozen=True, eq=False)
class Pairs:
    """Every pair of a task and a shard that has an edge, sorted by shard and task.

    Attributes:
        task: of each pair.
        shard: of each pair.
        at_risk: builds that could send after such a delay, shape (tasks, bins).
        of_edge: the pair of each edge.
        bin: of each edge's delay.
    """

    task: NDArray[np.int32]
    shard: NDArray[np.int32]
    at_risk: Floats
    of_edge: NDArray[np.int32]
    bin: NDArray[np.uint8]

    @classmethod
    def of(cls, problem: Problem) -> Pairs:
        """The pairs of a problem."""
        edges, tasks = problem.edges, problem.builds.n_tasks
        key = problem.requests.shard[edges.request].astype(np.int64)
        key *= tasks
        key += problem.builds.task[edges.build]
        keys, of_edge = _numbered(key, problem.requests.n_shards * tasks)
        shard, task = np.divmod(keys, max(1, tasks))
        return cls(
            task.astype(np.int32),
            shard.astype(np.int32),
            problem.at_risk,
            of_edge,
            problem.bins.of_second[edges.lag],
        )


def _numbered(keys: NDArray[np.int64], size: int) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """The distinct keys in order, and each key's number among them; without a sort where memory allows."""
    if size > 1 << 27:
        distinct, number = np.unique(keys, return_inverse=True)
        return distinct, number.astype(np.int32)
    seen = np.zeros(size, dtype=bool)
    seen[keys] = True
    return np.flatnonzero(seen), (np.cumsum(seen, dtype=np.int32) - 1)[keys]
