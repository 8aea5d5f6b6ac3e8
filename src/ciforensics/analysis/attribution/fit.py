"""Who sent what no key covers: superposed point processes, fitted by EM.

The 401s of one URL and user agent (a **shard**) are the sum of Poisson processes (Veen and Schoenberg
2008, "Estimation of space-time branching process models in seismology using an EM-type algorithm"): each
build of a **task** (a workflow's job) sends at a rate of its own, after delays of its own, with outcomes
of its own; and a background, by hour, that no known build explains. A **pair** is a task and a shard. The
E-step asks of each request which build or whether the background sent it, the M-step counts. Shards meet
only in what the M-step shares (the shape of delays, how many pairs are real, how even the background is),
so the E-steps of different shards can run apart, and on other machines.

Two things keep it from believing too much. Most pairs have no rate at all (`rates.SpikeAndSlab`); and a
pair takes part only once the likelihood gains more by it than the prior odds against it, which is asked
again after each round, so that a pair that others hid can still enter.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ciforensics.analysis.attribution import delays
from ciforensics.analysis.attribution.rates import SpikeAndSlab, shrink
from ciforensics.analysis.attribution.steps import (
    Block,
    Pairs,
    Problem,
    blocks,
    gain_of,
    summed,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.intp]

_GAIN = 3.0  # log likelihood by which a pair enters: no more than the prior odds, which are asked again later
_RATES = np.array([2.0, 0.5, 0.1, 0.02])  # relative to the mean of the prior
_BACKGROUND = 0.3  # its share at first: high, as what it has once lost it hardly gets back
_ITERATIONS = (15, 15, 15, 60)  # of each round
_FURTHEST = 8.0  # of a leap, in steps
_SETTLED = 1e-4  # share of the requests that an iteration moves
_STILL = 0.05  # share of a task's builds that are enough to learn late delays of
_SAMPLE = 1 << 20  # edges that are enough for a first look at the delays
_PAIR_OUTCOMES, _TASK_OUTCOMES = 5.0, 2.0  # requests that outweigh what shares are drawn towards


@dataclass(frozen=True, eq=False)
class Fit:
    """What the model holds to be true, and what follows for each edge.

    Attributes:
        task: of each pair that takes part.
        shard: of each pair that takes part.
        rate: requests per build of each pair.
        requests: expected number of each pair's requests.
        outcomes: shares of the outcomes, shape (pairs, outcomes).
        task_outcomes: of a pair that nothing more is known of, shape (tasks, outcomes).
        delays: when, after a build's start.
        background: requests per second, shape (shards, hours).
        background_outcomes: shares of the outcomes, shape (shards, outcomes).
        prior: of rates.
        edge: index of each edge that takes part.
        probability: of each such edge.
        unexplained: of each request, the probability that no known build sent it.
    """

    task: NDArray[np.int32]
    shard: NDArray[np.int32]
    rate: Floats
    requests: Floats
    outcomes: Floats
    task_outcomes: Floats
    delays: delays.Delays
    background: Floats
    background_outcomes: Floats
    prior: SpikeAndSlab
    edge: Ints
    probability: Floats
    unexplained: Floats


def fit_model(problem: Problem, *, start: Fit | None = None) -> Fit:
    """Fits the model.

    Args:
        problem: requests, builds and edges.
        start: a fit of the same requests and builds, e.g. with other weights: pairs and hyperparameters are
            taken from it, and one round is enough.
    """
    pairs = Pairs.of(problem)
    state = _begun(problem, pairs) if start is None else _resumed(problem, pairs, start)
    rounds = _ITERATIONS if start is None else _ITERATIONS[:1]
    for nth, iterations in enumerate(rounds if len(pairs.task) else ()):
        if start is None:
            state.admit(first=nth == 0)
        state.settle(iterations)
    return state.fit()


def _begun(problem: Problem, pairs: Pairs) -> _State:
    share = summed(problem.outcome, problem.weight, problem.n_outcomes)
    share = share / max(share.sum(), 1e-9)
    density = np.tile(_first_delays(problem, pairs), (problem.n_tasks, 1))
    state = _State(problem, pairs, SpikeAndSlab(active=0.05, mean=1.0, shape=2.0))
    state.task_outcomes = np.tile(share, (problem.n_tasks, 1))
    state.delays = delays.Delays(density[:0], density, 20.0)
    state.background_outcomes = np.tile(share, (problem.n_shards, 1))
    state.background = _background(problem, problem.weight)
    return state


def _resumed(problem: Problem, pairs: Pairs, start: Fit) -> _State:
    state = _State(problem, pairs, start.prior)
    known = pairs.shard.astype(np.int64) * problem.n_tasks + pairs.task
    wanted = start.shard.astype(np.int64) * problem.n_tasks + start.task
    place = np.searchsorted(known, wanted).clip(0, max(0, len(known) - 1))
    there = known[place] == wanted if len(known) else np.zeros(len(wanted), dtype=bool)
    state.active[place[there]] = True
    state.rate[place[there]] = start.rate[there]
    state.task_outcomes, state.delays = start.task_outcomes, start.delays
    state.background, state.background_outcomes = start.background, start.background_outcomes
    return state


def _first_delays(problem: Problem, pairs: Pairs) -> Floats:
    """One density for all, from a sample: EM in which every build of a shard is as likely as any other."""
    widths = problem.bins.widths
    density = delays.normalised(1 / (problem.bins.centres + 5), problem.bins)
    every = max(1, len(problem.edge_request) // _SAMPLE)
    chosen = problem.edge_request % every == 0
    request, lag = problem.edge_request[chosen], pairs.bin[chosen]
    size = len(problem.shard)
    candidates = np.bincount(request, minlength=size)
    # Were builds and requests strangers to each other, each second of the window would have an equal part.
    chance = np.maximum(candidates, 1) / widths.sum()
    background = _BACKGROUND / (1 - _BACKGROUND) * chance
    for _ in range(8):
        sent = density[lag]
        sent /= (summed(request, sent, size) + background)[request]
        found = summed(lag, sent, len(widths)) + 1e-9
        density = delays.normalised(delays.smooth(found) / widths, problem.bins)
    return density


def _background(problem: Problem, unexplained: Floats) -> Floats:
    """Requests per second by shard and hour: drawn towards the shard's mean, and that towards all shards'."""
    hours, size = len(problem.hours), problem.n_shards
    cells = problem.shard.astype(np.int64) * hours + problem.hour
    counts = summed(cells, unexplained, size * hours).reshape(size, hours)
    total = counts.sum(axis=1)
    mean = np.full(size, max(float(total.mean()) if size else 0.0, 1e-6))
    by_shard = shrink(total, mean)
    by_hour = np.outer(by_shard, problem.hours / max(problem.seconds, 1e-9))
    drawn = shrink(counts.ravel(), by_hour.ravel()).reshape(counts.shape)
    return drawn / problem.hours


class _State:
    """A fit that is under way."""

    task_outcomes: Floats
    delays: delays.Delays
    background: Floats
    background_outcomes: Floats

    def __init__(self, problem: Problem, pairs: Pairs, prior: SpikeAndSlab) -> None:
        self.problem, self.pairs, self.prior = problem, pairs, prior
        self.active = np.zeros(len(pairs.task), dtype=bool)
        self.rate = np.zeros(len(pairs.task))
        self.intensity: Floats | None = None
        self.blocks: list[Block] = []
        self.chosen = np.zeros(0, dtype=np.intp)
        self.requests = np.zeros(0)
        self.outcomes = np.zeros((0, problem.n_outcomes))
        self.probability: list[Floats] = []
        self.unexplained = np.ones(len(problem.shard))

    def _unexplained(self) -> Floats:
        p = self.problem
        found: Floats = self.background[p.shard, p.hour] * self.background_outcomes[p.shard, p.outcome]
        return found

    def admit(self, *, first: bool) -> None:
        """Lets pairs take part by which the likelihood gains enough, and those that a key names."""
        p, rates = self.problem, _RATES * self.prior.mean
        gained = gain_of(
            p,
            self.pairs,
            by_task=self.delays.by_task,
            task_outcomes=self.task_outcomes,
            intensity=self._unexplained() if self.intensity is None else self.intensity,
            rates=rates,
        )
        pinned = np.bincount(self.pairs.of_edge[p.pinned[p.edge_request]], minlength=len(self.active)).astype(
            bool
        )
        enters = ((gained.max(axis=0, initial=-np.inf) > _GAIN) | pinned) & ~self.active
        self.rate[enters] = rates[gained.argmax(axis=0)[enters]]
        self.active |= enters
        if first and enters.any():
            self.background *= _BACKGROUND
            mean = float(np.median(self.rate[enters]))
            self.prior = SpikeAndSlab(float(np.clip(enters.mean(), 1e-3, 0.5)), mean, 2.0)

    def settle(self, iterations: int) -> None:
        """EM among the pairs that take part, until an iteration moves next to nothing."""
        p = self.problem
        self.blocks = blocks(p, self.pairs, self.active)
        self.chosen = np.flatnonzero(self.active)
        task = self.pairs.task[self.chosen]
        self.delays = delays.Delays(self.delays.by_task[task], self.delays.by_task, self.delays.concentration)
        self.outcomes = self.task_outcomes[task]
        before = np.zeros(len(task))
        track: list[Floats] = []
        for _ in range(iterations):
            histograms, outcomes = self._expect()
            self._maximise(histograms, outcomes)
            self.requests = histograms.sum(axis=1)
            if np.abs(self.requests - before).sum() < _SETTLED * p.weight.sum():
                break
            before = self.requests
            track.append(self._position())
            if len(track) == 3:
                self._leap(track)
                track.clear()
        self._expect()

    def _position(self) -> Floats:
        return np.log(np.concatenate([self.rate[self.chosen], self.background.mean(axis=1)]) + 1e-12)

    def _leap(self, track: list[Floats]) -> None:
        """Goes further on EM's way than its own steps would (SQUAREM; Varadhan and Roland 2008).

        Where builds are many, what they send and the background look alike, and EM alone creeps.
        """
        first, second, third = track
        step = second - first
        bend = (third - second) - step
        length = min(_FURTHEST, float(np.linalg.norm(step)) / max(float(np.linalg.norm(bend)), 1e-12))
        if length <= 1:
            return
        change = (first + 2 * length * step + length**2 * bend) - third
        change = np.clip(change, -2, 2)
        n = len(self.chosen)
        self.rate[self.chosen] *= np.exp(change[:n])
        self.background *= np.exp(change[n:])[:, None]

    def _expect(self) -> tuple[Floats, Floats]:
        """The E-step: probabilities, and expected numbers by pair and bin, and by pair and outcome."""
        p = self.problem
        by_build = self.rate[self.chosen, None] * self.outcomes
        histograms, outcomes = np.zeros(self.delays.by_pair.shape), np.zeros(by_build.shape)
        background = self._unexplained()
        background[p.pinned] *= 1e-12  # sent by a known run, unless none of its builds is a candidate
        self.intensity = background.copy()
        self.probability = []
        for block in self.blocks:
            probability, self.intensity[block.requests] = block.expect(
                by_build[block.pairs], self.delays.by_pair[block.pairs], background[block.requests]
            )
            weighted = probability * p.weight[block.requests][block.request]
            histograms[block.pairs] += block.counted(weighted, histograms[block.pairs].shape)
            outcomes[block.pairs] += block.outcomes(weighted, outcomes[block.pairs].shape)
            self.probability.append(probability)
        self.unexplained = background / np.maximum(self.intensity, 1e-300)
        return histograms, outcomes

    def _maximise(self, histograms: Floats, outcomes: Floats) -> None:
        """The M-step."""
        p, task = self.problem, self.pairs.task[self.chosen]
        # What came late came of fewer builds: of those that were not over by then.
        at_risk = self.pairs.at_risk[task]
        n, exposure = histograms.sum(axis=1), (self.delays.by_pair * p.bins.widths * at_risk).sum(axis=1)
        still = np.maximum(at_risk / np.maximum(at_risk[:, :1], 1e-9), _STILL)
        absent = len(self.active) - len(self.chosen)
        self.prior = self.prior.relearn(n, exposure, absent)
        self.rate[self.chosen] = self.prior.rates(n, exposure)
        self.delays = delays.learn(histograms / still, task, p.n_tasks, p.bins, self.delays.concentration)
        of_task = np.zeros((p.n_tasks, p.n_outcomes))
        np.add.at(of_task, task, outcomes)
        self.task_outcomes = _shares(of_task, of_task.sum(axis=0), _TASK_OUTCOMES)
        self.outcomes = _shares(outcomes, self.task_outcomes[task], _PAIR_OUTCOMES)
        unexplained = self.unexplained * p.weight
        self.background = _background(p, unexplained)
        cells = p.shard.astype(np.int64) * p.n_outcomes + p.outcome
        counts = summed(cells, unexplained, p.n_shards * p.n_outcomes).reshape(p.n_shards, p.n_outcomes)
        self.background_outcomes = _shares(counts, counts.sum(axis=0), _PAIR_OUTCOMES)

    def fit(self) -> Fit:
        """What has been found."""
        empty = np.zeros(0)
        return Fit(
            self.pairs.task[self.chosen],
            self.pairs.shard[self.chosen],
            self.rate[self.chosen],
            self.requests,
            self.outcomes,
            self.task_outcomes,
            self.delays,
            self.background,
            self.background_outcomes,
            self.prior,
            np.concatenate([block.edge for block in self.blocks] or [empty.astype(int)]),
            np.concatenate(self.probability or [empty]),
            self.unexplained,
        )


def _shares(counts: Floats, towards: Floats, weight: float) -> Floats:
    """Shares of the outcomes, drawn towards others by so many requests' worth."""
    towards = towards + 1e-6
    towards = towards / towards.sum(axis=-1, keepdims=True)
    found: Floats = (counts + weight * towards) / (counts.sum(axis=-1, keepdims=True) + weight)
    return found
