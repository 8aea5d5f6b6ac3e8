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

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from ciforensics.analysis.attribution.clues import Clue, Habits, share_out
from ciforensics.analysis.attribution.delays import Delays, learn, normalised, smooth
from ciforensics.analysis.attribution.fit import ActivePairs, Background, Fit, Outcomes, Posterior
from ciforensics.analysis.attribution.problem import Pairs, Problem, summed
from ciforensics.analysis.attribution.rates import SpikeAndSlab, shrink
from ciforensics.analysis.attribution.steps import Batch, cut_batches, gain_of

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
    requests, tasks = problem.requests, problem.builds.n_tasks
    share = summed(requests.outcome, requests.weight, requests.n_outcomes)
    share = share / max(share.sum(), 1e-9)
    by_task = np.tile(_first_delays(problem, pairs), (tasks, 1))
    return _State(
        problem,
        pairs,
        prior=SpikeAndSlab(active=0.05, mean=1.0, shape=2.0),
        outcomes=Outcomes(np.zeros((0, requests.n_outcomes)), np.tile(share, (tasks, 1))),
        delays=Delays(by_task[:0], by_task, 20.0),
        background=Background(_background(problem, requests.weight), np.tile(share, (requests.n_shards, 1))),
    )


def _resumed(problem: Problem, pairs: Pairs, start: Fit) -> _State:
    state = _State(
        problem,
        pairs,
        prior=start.prior,
        outcomes=replace(start.outcomes, by_pair=start.outcomes.by_pair[:0]),
        delays=start.delays,
        background=start.background,
    )
    tasks, before = problem.builds.n_tasks, start.pairs
    known = pairs.shard.astype(np.int64) * tasks + pairs.task
    wanted = before.shard.astype(np.int64) * tasks + before.task
    place = np.searchsorted(known, wanted).clip(0, max(0, len(known) - 1))
    there = known[place] == wanted if len(known) else np.zeros(len(wanted), dtype=bool)
    state.active[place[there]] = True
    state.rate[place[there]] = before.rate[there]
    return state


def _first_delays(problem: Problem, pairs: Pairs) -> Floats:
    """One density for all, from a sample: EM in which every build of a shard is as likely as any other."""
    widths = problem.bins.widths
    density = normalised(1 / (problem.bins.centres + 5), problem.bins)
    every = max(1, len(problem.edges) // _SAMPLE)
    chosen = problem.edges.request % every == 0
    request, lag = problem.edges.request[chosen], pairs.bin[chosen]
    size = len(problem.requests)
    candidates = np.bincount(request, minlength=size)
    # Were builds and requests strangers to each other, each second of the window would have an equal part.
    chance = np.maximum(candidates, 1) / widths.sum()
    background = _BACKGROUND / (1 - _BACKGROUND) * chance
    for _ in range(8):
        sent, _ = share_out(density[lag], request, background)
        histogram = summed(lag, sent, len(widths)) + 1e-9
        density = normalised(smooth(histogram) / widths, problem.bins)
    return density


def _background(problem: Problem, unexplained: Floats) -> Floats:
    """Requests per second by shard and hour: drawn towards the shard's mean, and that towards all shards'."""
    hours, size = len(problem.hours), problem.requests.n_shards
    cells = problem.requests.shard.astype(np.int64) * hours + problem.requests.hour
    counts = summed(cells, unexplained, size * hours).reshape(size, hours)
    total = counts.sum(axis=1)
    mean = np.full(size, max(float(total.mean()) if size else 0.0, 1e-6))
    by_shard = shrink(total, mean)
    by_hour = np.outer(by_shard, problem.hours / max(problem.seconds, 1e-9))
    drawn = shrink(counts.ravel(), by_hour.ravel()).reshape(counts.shape)
    return drawn / problem.hours


class _State:
    """A fit that is under way."""

    def __init__(
        self,
        problem: Problem,
        pairs: Pairs,
        *,
        prior: SpikeAndSlab,
        outcomes: Outcomes,
        delays: Delays,
        background: Background,
    ) -> None:
        self.problem, self.pairs, self.prior = problem, pairs, prior
        self.outcomes, self.delays, self.background = outcomes, delays, background
        self.active = np.zeros(len(pairs.task), dtype=bool)
        self.rate = np.zeros(len(pairs.task))
        self.intensity: Floats | None = None
        self.batches: list[Batch] = []
        self.chosen = np.zeros(0, dtype=np.intp)
        self.expected = np.zeros(0)
        self.probability: list[Floats] = []
        self.unexplained = np.ones(len(problem.requests))

    def _unexplained(self) -> Floats:
        """Intensity of each request that no known build sends."""
        requests, background = self.problem.requests, self.background
        intensity: Floats = background.rate[requests.shard, requests.hour]
        intensity *= background.outcomes[requests.shard, requests.outcome]
        return intensity

    def admit(self, *, first: bool) -> None:
        """Lets pairs take part by which the likelihood gains enough, and those that a key names."""
        rates = _RATES * self.prior.mean
        gains = gain_of(
            self.problem,
            self.pairs,
            Habits({}, self.outcomes.by_task, self.delays.by_task),
            intensity=self._unexplained() if self.intensity is None else self.intensity,
            rates=rates,
        )
        named = self.pairs.of_edge[self.problem.requests.keyed[self.problem.edges.request]]
        keyed = np.bincount(named, minlength=len(self.active)).astype(bool)
        enters = ((gains.max(axis=0, initial=-np.inf) > _GAIN) | keyed) & ~self.active
        self.rate[enters] = rates[gains.argmax(axis=0)[enters]]
        self.active |= enters
        if first and enters.any():
            self.background = replace(self.background, rate=self.background.rate * _BACKGROUND)
            mean = float(np.median(self.rate[enters]))
            self.prior = SpikeAndSlab(float(np.clip(enters.mean(), 1e-3, 0.5)), mean, 2.0)

    def settle(self, iterations: int) -> None:
        """EM among the pairs that take part, until an iteration moves next to nothing."""
        self.batches = cut_batches(self.problem, self.pairs, self.active)
        self.chosen = np.flatnonzero(self.active)
        task = self.pairs.task[self.chosen]
        self.delays = replace(self.delays, by_pair=self.delays.by_task[task])
        self.outcomes = replace(self.outcomes, by_pair=self.outcomes.by_task[task])
        before = np.zeros(len(task))
        track: list[Floats] = []
        for _ in range(iterations):
            histograms, outcomes = self._expect()
            self._maximise(histograms, outcomes)
            self.expected = histograms.sum(axis=1)
            if np.abs(self.expected - before).sum() < _SETTLED * self.problem.requests.weight.sum():
                break
            before = self.expected
            track.append(self._position())
            if len(track) == 3:
                self._leap(track)
                track.clear()
        self._expect()

    def _position(self) -> Floats:
        return np.log(np.concatenate([self.rate[self.chosen], self.background.rate.mean(axis=1)]) + 1e-12)

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
        self.background = replace(self.background, rate=self.background.rate * np.exp(change[n:])[:, None])

    def _expect(self) -> tuple[Floats, Floats]:
        """The E-step: probabilities, and expected numbers by pair and bin, and by pair and outcome."""
        requests = self.problem.requests
        sends = {Clue.ACTIVITY: self.rate[self.chosen]}
        habits = Habits(sends, self.outcomes.by_pair, self.delays.by_pair)
        histograms, outcomes = np.zeros(habits.delays.shape), np.zeros(habits.outcomes.shape)
        background = self._unexplained()
        background[requests.keyed] *= 1e-12  # sent by a known run, unless none of its builds is a candidate
        self.intensity = background.copy()
        self.probability = []
        for batch in self.batches:
            probability, self.intensity[batch.requests] = batch.expect(habits, background)
            weighted = probability * requests.weight[batch.requests][batch.request]
            for counts, place in ((histograms, batch.seen.bin), (outcomes, batch.seen.outcome)):
                counts[batch.pairs] += batch.count(place, weighted, counts[batch.pairs].shape)
            self.probability.append(probability)
        self.unexplained = background / np.maximum(self.intensity, 1e-300)
        return histograms, outcomes

    def _maximise(self, histograms: Floats, outcomes: Floats) -> None:
        """The M-step."""
        bins, tasks, requests = self.problem.bins, self.problem.builds.n_tasks, self.problem.requests
        task = self.pairs.task[self.chosen]
        # What came late came of fewer builds: of those that were not over by then.
        at_risk = self.pairs.at_risk[task]
        n, exposure = histograms.sum(axis=1), (self.delays.by_pair * bins.widths * at_risk).sum(axis=1)
        still = np.maximum(at_risk / np.maximum(at_risk[:, :1], 1e-9), _STILL)
        absent = len(self.active) - len(self.chosen)
        self.prior = self.prior.relearn(n, exposure, absent)
        self.rate[self.chosen] = self.prior.rates(n, exposure)
        self.delays = learn(histograms / still, task, tasks, bins, self.delays.concentration)
        of_task = np.zeros((tasks, requests.n_outcomes))
        np.add.at(of_task, task, outcomes)
        by_task = _shares(of_task, of_task.sum(axis=0), _TASK_OUTCOMES)
        self.outcomes = Outcomes(_shares(outcomes, by_task[task], _PAIR_OUTCOMES), by_task)
        unexplained = self.unexplained * requests.weight
        shape = requests.n_shards, requests.n_outcomes
        cells = requests.shard.astype(np.int64) * shape[1] + requests.outcome
        counts = summed(cells, unexplained, shape[0] * shape[1]).reshape(shape)
        self.background = Background(
            _background(self.problem, unexplained), _shares(counts, counts.sum(axis=0), _PAIR_OUTCOMES)
        )

    def fit(self) -> Fit:
        """What has been found."""
        empty = np.zeros(0)
        return Fit(
            pairs=ActivePairs(
                task=self.pairs.task[self.chosen],
                shard=self.pairs.shard[self.chosen],
                rate=self.rate[self.chosen],
                requests=self.expected,
            ),
            outcomes=self.outcomes,
            delays=self.delays,
            background=self.background,
            prior=self.prior,
            posterior=Posterior(
                edge=np.concatenate([batch.edge for batch in self.batches] or [empty.astype(int)]),
                probability=np.concatenate(self.probability or [empty]),
                unexplained=self.unexplained,
            ),
        )


def _shares(counts: Floats, towards: Floats, weight: float) -> Floats:
    """Shares of the outcomes, drawn towards others by so many requests' worth."""
    towards = towards + 1e-6
    towards = towards / towards.sum(axis=-1, keepdims=True)
    shares: Floats = (counts + weight * towards) / (counts.sum(axis=-1, keepdims=True) + weight)
    return shares
