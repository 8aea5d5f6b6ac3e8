"""The steps of the EM that look at edges: shard by shard, so that each can run anywhere.

What comes out of a step are sums by pair, which is all that the rest of the model sees.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ciforensics.analysis.attribution.clues import Habits, Seen, multiply, share_out, weigh_clues
from ciforensics.analysis.attribution.problem import summed

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ciforensics.analysis.attribution.problem import Pairs, Problem

    Floats = NDArray[np.float64]
    Ints = NDArray[np.intp]

_SIZE = 1 << 20  # edges whose arrays stay in the cache


@dataclass(frozen=True, eq=False)
class Batch:
    """The edges of some shards, of those pairs that take part. Numbers count from the slices' starts.

    Attributes:
        requests: of the problem.
        pairs: of those that take part.
        edge: number of each edge.
        request: of each edge.
        seen: of each edge; its senders are pairs.
    """

    requests: slice
    pairs: slice
    edge: Ints
    request: Ints
    seen: Seen

    def expect(self, habits: Habits, background: Floats) -> tuple[Floats, Floats]:
        """The E-step: the probability of each edge, and the intensity of each request, in 1/s.

        Args:
            habits: of all pairs that take part.
            background: intensity of all requests that no build explains.
        """
        of_pairs = Habits(
            {clue: sends[self.pairs] for clue, sends in habits.sends.items()},
            habits.outcomes[self.pairs],
            habits.delays[self.pairs],
        )
        sent = multiply(weigh_clues(of_pairs, self.seen))
        return share_out(sent, self.request, background[self.requests])

    def count(self, place: NDArray[np.integer], expected: Floats, shape: tuple[int, int]) -> Floats:
        """Expected numbers by pair and what is seen at a place: a bin or an outcome."""
        cells = self.seen.sender * shape[1] + place
        return summed(cells, expected, shape[0] * shape[1]).reshape(shape)


def cut_batches(problem: Problem, pairs: Pairs, active: NDArray[np.bool_]) -> list[Batch]:
    """The edges of those pairs that take part, cut where a shard ends."""
    edges = np.flatnonzero(active[pairs.of_edge])
    number = np.cumsum(active) - 1
    shard = problem.requests.shard[problem.edges.request[edges]]
    cuts = [0]
    for start in np.flatnonzero(np.diff(shard)) + 1:
        if start - cuts[-1] >= _SIZE:
            cuts.append(int(start))
    spans = zip(cuts, [*cuts[1:], len(edges)], strict=True)
    return [_batch(problem, pairs, edges[begin:end], number) for begin, end in spans if end > begin]


def _batch(problem: Problem, pairs: Pairs, edge: Ints, number: Ints) -> Batch:
    of_edges = problem.edges.only(edge)
    request, pair = of_edges.request.astype(np.intp), number[pairs.of_edge[edge]]
    requests = slice(int(request[0]), int(request[-1]) + 1)
    of_pairs = slice(int(pair.min()), int(pair.max()) + 1)
    seen = Seen(pair - of_pairs.start, problem.requests.outcome[request], pairs.bin[edge], of_edges.factors)
    return Batch(requests, of_pairs, edge, request - requests.start, seen)


def gain_of(problem: Problem, pairs: Pairs, habits: Habits, *, intensity: Floats, rates: Floats) -> Floats:
    """By how much the log likelihood would gain if a pair took part, at each of some rates.

    Args:
        problem: the problem.
        pairs: its pairs.
        habits: of tasks, but for how many requests they send.
        intensity: of each request without the pair, in 1/s.
        rates: requests per build to try.

    Returns:
        Gains, shape (rates, pairs).
    """
    exposure = (habits.delays * problem.bins.widths * pairs.at_risk).sum(axis=1)
    gains = -np.outer(rates, exposure[pairs.task])
    inverse = (1 / np.maximum(intensity, 1e-300)).astype(np.float32)
    light = Habits({}, habits.outcomes.astype(np.float32), habits.delays.astype(np.float32))
    for begin in range(0, len(problem.edges), _SIZE):
        part = slice(begin, min(begin + _SIZE, len(problem.edges)))
        edges, pair = problem.edges.only(part), pairs.of_edge[part]
        seen = Seen(pairs.task[pair], problem.requests.outcome[edges.request], pairs.bin[part], edges.factors)
        times = multiply(weigh_clues(light, seen))
        times *= inverse[edges.request]
        low, high = int(pair.min()), int(pair.max()) + 1
        for nth, rate in enumerate(rates):
            gain = np.log1p(np.float32(rate) * times) * problem.requests.weight[edges.request]
            gains[nth, low:high] += np.bincount(pair - low, gain, high - low)
    return gains
