"""The steps of the EM that look at edges: shard by shard, so that each can run anywhere.

An **edge** is a 401 and a build that could have sent it. What comes out of a step are sums by pair, which is
all that the rest of the model sees.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from ciforensics.analysis.attribution.delays import Bins

    Floats = NDArray[np.float64]
    Ints = NDArray[np.intp]

_BLOCK = 1 << 20  # edges whose arrays stay in the cache


def summed(place: NDArray[Any], weights: NDArray[Any], size: int) -> Floats:
    """The sum of the weights at each place."""
    return np.bincount(place, weights, size).astype(np.float64, copy=False)


@dataclass(frozen=True, eq=False)
class Problem:
    """401s and the builds that could have sent them, as numbers. Requests are sorted by shard.

    Attributes:
        shard: of each request, its URL and user agent.
        outcome: of each request.
        hour: of each request.
        pinned: requests that a key names the run of; their edges lead to builds of that run only.
        weight: how often each request counts.
        edge_request: of each edge, its request; sorted.
        edge_build: its build.
        edge_lag: whole seconds from the build's start to the request.
        edge_factor: by what other evidence makes it likelier; empty: 1 everywhere.
        task: of each build.
        exposure: how often each build counts: 0 for one that began before requests were recorded.
        life: of each build, for how many seconds it could send: the window, unless it was over sooner.
        hours: seconds recorded in each hour.
        n_shards: how many shards there are.
        n_outcomes: how many outcomes there are.
        n_tasks: how many tasks there are.
        bins: of delays.
    """

    shard: NDArray[np.int32]
    outcome: NDArray[np.int8]
    hour: NDArray[np.int32]
    pinned: NDArray[np.bool_]
    weight: Floats
    edge_request: NDArray[np.int32]
    edge_build: NDArray[np.int32]
    edge_lag: NDArray[np.int32]
    edge_factor: NDArray[np.float32]
    task: NDArray[np.int32]
    exposure: Floats
    life: NDArray[np.int32]
    hours: Floats
    n_shards: int
    n_outcomes: int
    n_tasks: int
    bins: Bins

    @property
    def seconds(self) -> float:
        """How long requests were recorded."""
        return float(self.hours.sum())

    @property
    def alive(self) -> Floats:
        """How much of each build could send in each bin of delays, shape (builds, bins)."""
        lived = (self.life[:, None] + 1 - self.bins.edges[:-1]) / self.bins.widths
        found: Floats = lived.clip(0, 1) * self.exposure[:, None]
        return found

    @property
    def at_risk(self) -> Floats:
        """How many builds of each task could send in each bin of delays, shape (tasks, bins)."""
        bins = len(self.bins.widths)
        cells = self.task[:, None] * bins + np.arange(bins)
        return summed(cells.ravel(), self.alive.ravel(), self.n_tasks * bins).reshape(-1, bins)


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
        key = problem.shard[problem.edge_request].astype(np.int64)
        key *= problem.n_tasks
        key += problem.task[problem.edge_build]
        keys, of_edge = _numbered(key, problem.n_shards * problem.n_tasks)
        task = (keys % max(1, problem.n_tasks)).astype(np.int32)
        shard = (keys // max(1, problem.n_tasks)).astype(np.int32)
        return cls(task, shard, problem.at_risk, of_edge, problem.bins.of_second[problem.edge_lag])


def _numbered(keys: NDArray[np.int64], size: int) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """The distinct keys in order, and each key's number among them; without a sort where memory allows."""
    if size > 1 << 27:
        distinct, number = np.unique(keys, return_inverse=True)
        return distinct, number.astype(np.int32)
    seen = np.zeros(size, dtype=bool)
    seen[keys] = True
    return np.flatnonzero(seen), (np.cumsum(seen, dtype=np.int32) - 1)[keys]


@dataclass(frozen=True, eq=False)
class Block:
    """The edges of some shards, of those pairs that take part. Numbers count from the slices' starts."""

    requests: slice
    pairs: slice
    edge: Ints
    request: Ints
    pair: Ints
    bin: NDArray[np.uint8]
    outcome: NDArray[np.int8]
    factor: NDArray[np.float32]

    def expect(self, by_build: Floats, density: Floats, background: Floats) -> tuple[Floats, Floats]:
        """The E-step.

        Args:
            by_build: requests per build, shape (pairs, outcomes).
            density: of delays, shape (pairs, bins).
            background: intensity of each request that no build explains.

        Returns:
            The probability of each edge, and the intensity of each request, in 1/s.
        """
        sent = density.ravel()[self.pair * density.shape[1] + self.bin]
        sent *= by_build.ravel()[self.pair * by_build.shape[1] + self.outcome]
        if len(self.factor):
            sent *= self.factor
        intensity = background + summed(self.request, sent, len(background))
        return sent / np.maximum(intensity, 1e-300)[self.request], intensity

    def counted(self, expected: Floats, shape: tuple[int, int]) -> Floats:
        """Expected numbers by pair and bin."""
        cells = self.pair * shape[1] + self.bin
        return summed(cells, expected, shape[0] * shape[1]).reshape(shape)

    def outcomes(self, expected: Floats, shape: tuple[int, int]) -> Floats:
        """Expected numbers by pair and outcome."""
        cells = self.pair * shape[1] + self.outcome
        return summed(cells, expected, shape[0] * shape[1]).reshape(shape)


def blocks(problem: Problem, pairs: Pairs, active: NDArray[np.bool_]) -> list[Block]:
    """The edges of those pairs that take part, cut where a shard ends."""
    edges = np.flatnonzero(active[pairs.of_edge])
    number = np.cumsum(active) - 1
    shard = problem.shard[problem.edge_request[edges]]
    cuts = [0]
    for start in np.flatnonzero(np.diff(shard)) + 1:
        if start - cuts[-1] >= _BLOCK:
            cuts.append(int(start))
    found = []
    for begin, end in zip(cuts, [*cuts[1:], len(edges)], strict=True):
        edge = edges[begin:end]
        if not len(edge):
            continue
        request, pair = problem.edge_request[edge].astype(np.intp), number[pairs.of_edge[edge]]
        of_requests = slice(int(request[0]), int(request[-1]) + 1)
        of_pairs = slice(int(pair.min()), int(pair.max()) + 1)
        factor = problem.edge_factor[edge] if len(problem.edge_factor) else problem.edge_factor
        found.append(
            Block(
                of_requests,
                of_pairs,
                edge,
                request - of_requests.start,
                pair - of_pairs.start,
                pairs.bin[edge],
                problem.outcome[request],
                factor,
            )
        )
    return found


def gain_of(
    problem: Problem,
    pairs: Pairs,
    *,
    by_task: Floats,
    task_outcomes: Floats,
    intensity: Floats,
    rates: Floats,
) -> Floats:
    """By how much the log likelihood would gain if a pair took part, at each of some rates.

    Args:
        problem: the problem.
        pairs: its pairs.
        by_task: density of delays, shape (tasks, bins).
        task_outcomes: shares of outcomes, shape (tasks, outcomes).
        intensity: of each request without the pair, in 1/s.
        rates: requests per build to try.

    Returns:
        Gains, shape (rates, pairs).
    """
    exposure = (by_task * problem.bins.widths * pairs.at_risk).sum(axis=1)
    found = -np.outer(rates, exposure[pairs.task])
    inverse = (1 / np.maximum(intensity, 1e-300)).astype(np.float32)
    density, shares = by_task.astype(np.float32), task_outcomes.astype(np.float32)
    for part in _parts(len(problem.edge_request)):
        request, pair = problem.edge_request[part], pairs.of_edge[part]
        task = pairs.task[pair]
        times = density[task, pairs.bin[part]]
        times *= shares[task, problem.outcome[request]]
        times *= inverse[request]
        if len(problem.edge_factor):
            times *= problem.edge_factor[part]
        low, high = int(pair.min()), int(pair.max()) + 1
        for nth, rate in enumerate(rates):
            gain = np.log1p(np.float32(rate) * times) * problem.weight[request]
            found[nth, low:high] += np.bincount(pair - low, gain, high - low)
    return found


def _parts(size: int) -> Iterator[slice]:
    for begin in range(0, size, _BLOCK):
        yield slice(begin, min(begin + _BLOCK, size))
