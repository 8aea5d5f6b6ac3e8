"""Aligns two logs of the same requests: for each pair of rows that look alike, how probable it is.

What tells requests apart that look alike is that both logs keep the order of events: a row's partner stands
behind the partner of the row before it. So a log is aligned as a whole, not row by row, by a hidden Markov
model whose hidden state is the partner's place in the other log, solved by forward-backward (Rabiner, "A
tutorial on hidden Markov models", Proc. IEEE 77, 1989; Durbin et al., "Biological sequence analysis", 1998,
chapter 4). All alignments that keep the order count alike but for four things, which are learned from the
rows by expectation maximisation: how often and how far the logs disagree about the order, how much later one
sees a request than the other, by how many bytes their sizes differ (weighed as Fellegi and Sunter do, JASA
64, 1969), and how many rows have no partner at all.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]
    Ints = npt.NDArray[np.int64]
    Counts = npt.NDArray[np.int32]
    Flags = npt.NDArray[np.bool_]

_OCTAVES = 2 ** np.arange(8)
"""A partner may stand 1, 2 to 3, 4 to 7, … places before the partner of the row before."""

_FAR = 1 << 40
_BEFORE = np.array([0, *_OCTAVES, _FAR])
_AFTER = np.array([1, *(1 - _OCTAVES), -_FAR])

_SEGMENT, _WARM_UP = 256, 32
"""Segments of so many rows are solved side by side; so many rows around one are enough to know its ends."""

_LEARNED_FROM, _ROUNDS, _SETTLED = 40, 12, 3
_SMALLEST = 1e-300


@dataclass(frozen=True)
class Likenesses:
    """Pairs of rows that may be the same request, sorted by row, then by place.

    Attributes:
        row: of each pair, the row, from 0, in its log's order, none left out.
        place: of each pair, where the other row stands in the other log.
        lag: of each pair, in what bin of time the other row comes later.
        size: of each pair, a code for how the sizes differ; 0: unknown.
        chain: of each row, which file it is of; orders of two files say nothing of each other.
        share: of each row, which share of the other log's rows looks like it.
    """

    row: Ints
    place: Ints
    lag: Ints
    size: Ints
    chain: Ints
    share: Floats

    @cached_property
    def first(self) -> Ints:
        """The first pair of each row, and behind the last one the number of pairs."""
        return np.searchsorted(self.row, np.arange(len(self.chain) + 1))

    @cached_property
    def density(self) -> float:
        """Rows for each row of the other log."""
        return min(1.0, len(self.chain) / (1 + int(self.place.max() - self.place.min())))

    @cached_property
    def before(self) -> Counts:
        """For each pair, how many pairs of the row before stand before each bound of `_BEFORE`."""
        return self._below(-1, _BEFORE)

    @cached_property
    def after(self) -> Counts:
        """For each pair, how many pairs of the next row stand before each bound of `_AFTER`."""
        return self._below(1, _AFTER)

    def _below(self, step: int, bounds: Ints) -> Counts:
        wide = int(self.place.max()) + 2
        flat = self.row * wide + self.place
        row = np.clip(self.row + step, 0, len(self.chain) - 1)
        places = np.empty((len(flat), len(bounds)), np.int32)
        for nth, bound in enumerate(bounds):
            places[:, nth] = np.searchsorted(flat, row * wide + np.clip(self.place + bound, 0, wide - 1))
        return places - self.first[row, None].astype(np.int32)


@dataclass(frozen=True)
class _Weights:
    """What is learned; relative to a pair that keeps the order and of which nothing else is known.

    Attributes:
        lag: by bin of lag.
        size: by code of size.
        back: by octave of places that the order is broken by.
        unseen: share of the rows that have no partner.
    """

    lag: Floats
    size: Floats
    back: Floats
    unseen: float

    def pairs(self, candidates: Likenesses) -> Floats:
        """What speaks for each pair by itself."""
        return self.lag[candidates.lag] * self.size[candidates.size]

    def nobody(self, candidates: Likenesses) -> Floats:
        """Of each row, that it has no partner: then its like is in the other log by chance only."""
        return candidates.share * self.unseen / (1 - self.unseen) / candidates.density


class _Segments:
    """Stretches of rows, solved side by side: a slot is one step of one stretch, the longest first."""

    def __init__(self, candidates: Likenesses, *, most: int | None = None) -> None:
        """Cuts each chain into segments; of more than `most` takes some from everywhere."""
        ends = np.flatnonzero(np.diff(candidates.chain, append=candidates.chain[-1] + 1)) + 1
        cuts = [
            (max(begin, at - _WARM_UP), at, min(at + _SEGMENT, end), min(at + _SEGMENT + _WARM_UP, end))
            for begin, end in zip([0, *ends[:-1]], ends, strict=True)
            for at in range(begin, end, _SEGMENT)
        ]
        if most is not None and len(cuts) > most:
            cuts = [cuts[nth * len(cuts) // most] for nth in range(most)]
        cuts.sort(key=lambda cut: cut[0] - cut[3])
        begin, core_from, core_to, end = np.array(cuts).T
        step = np.arange((end - begin).max())[:, None]
        within = step < end - begin
        self.candidates = candidates
        self.active = within.sum(axis=1)
        self.starts = np.cumsum([0, *self.active])
        self.rows = (begin + step)[within]
        self.sizes = np.diff(candidates.first)[self.rows]
        self.first = np.cumsum([0, *self.sizes])
        self.pairs = np.arange(self.first[-1]) + (candidates.first[self.rows] - self.first[:-1]).repeat(
            self.sizes
        )
        self.core_rows = ((begin + step >= core_from) & (begin + step < core_to))[within]
        self.core = self.core_rows.repeat(self.sizes)

    def slots(self, step: int, active: int) -> tuple[slice, slice]:
        """The slots and pairs of the first `active` stretches at a step."""
        start = self.starts[step]
        return slice(start, start + active), slice(self.first[start], self.first[start + active])

    def totals(self, slots: slice, of_pairs: Floats) -> Floats:
        """Sums of the pairs of each slot."""
        totals: Floats = np.add.reduceat(of_pairs, self.first[slots] - self.first[slots.start])
        return totals


@dataclass(frozen=True)
class _Posterior:
    """Of the pairs and rows looked at, their probabilities; and how many steps back, by octave."""

    pairs: Ints
    pair: Floats
    nobody: Floats
    back: Floats


def _running(of_pairs: Floats) -> Floats:
    return np.concatenate([[0.0], np.cumsum(of_pairs)])


def _forward(
    segments: _Segments, back: Floats, each: Floats, free: Floats, nobody: Floats
) -> tuple[Floats, Floats, npt.NDArray[np.float32]]:
    """How well each pair, or that there is none, goes with all rows before; and the share of each step back.

    A step back leads only to what is `free`: no two rows have one partner.
    """
    pairs, none = each.copy(), nobody.copy()
    broken = np.zeros((len(pairs), len(back)), np.float32)
    for step, active in enumerate(segments.active):
        slots, now = segments.slots(step, active)
        sizes = segments.sizes[slots]
        if step:
            last_slots, last = segments.slots(step - 1, active)
            running = _running(pairs[last])
            at = (segments.first[last_slots] - last.start).repeat(sizes)
            below = running[segments.candidates.before[segments.pairs[now]] + at[:, None]]
            steps_back = np.diff(below[:, 1:], axis=1) * back * free[now, None]
            ways = below[:, 0] - running[at] + steps_back.sum(axis=1) + none[last_slots].repeat(sizes)
            ways = np.maximum(ways, _SMALLEST)
            broken[now] = steps_back / ways[:, None]
            pairs[now] *= ways
        scale = segments.totals(slots, pairs[now]) + none[slots]
        pairs[now] /= scale.repeat(sizes)
        none[slots] /= scale
    return pairs, none, broken


def _backward(segments: _Segments, back: Floats, each: Floats, free: Floats, nobody: Floats) -> Floats:
    """How well each pair goes with all rows after it; relative to how well none does."""
    ahead = np.ones(len(each))
    for step in range(len(segments.active) - 2, -1, -1):
        active = segments.active[step + 1]
        slots, now = segments.slots(step, active)
        next_slots, after = segments.slots(step + 1, active)
        sizes = segments.sizes[slots]
        worth = each[after] * ahead[after]
        scale = segments.totals(next_slots, worth) + nobody[next_slots]
        worth /= scale.repeat(segments.sizes[next_slots])
        running, running_free = _running(worth), _running(worth * free[after])
        at = (segments.first[next_slots] - after.start).repeat(sizes)
        below = segments.candidates.after[segments.pairs[now]] + at[:, None]
        end = at + segments.sizes[next_slots].repeat(sizes)
        ways = running[end] - running[below[:, 0]] - np.diff(running_free[below[:, 1:]], axis=1) @ back
        ahead[now] = np.maximum(ways + (nobody[next_slots] / scale).repeat(sizes), _SMALLEST)
    return ahead


def _solve(segments: _Segments, weights: _Weights, each: Floats, free: Floats) -> _Posterior:
    each, free = each[segments.pairs], free[segments.pairs]
    nobody = weights.nobody(segments.candidates)[segments.rows]
    pairs, none, broken = _forward(segments, weights.back, each, free, nobody)
    pairs *= _backward(segments, weights.back, each, free, nobody)
    scale = np.add.reduceat(pairs, segments.first[:-1]) + none
    pairs /= scale.repeat(segments.sizes)
    core = segments.core
    back = pairs[core] @ broken[core]
    return _Posterior(segments.pairs[core], pairs[core], (none / scale)[segments.core_rows], back)


def _free(candidates: Likenesses, posterior: _Posterior) -> Floats:
    """Of each pair, how probable it is that no other row has the same partner."""
    place = candidates.place[posterior.pairs]
    taken = np.bincount(place, posterior.pair, int(candidates.place.max()) + 1).astype(np.float64)
    others = taken[candidates.place]
    others[posterior.pairs] = others[posterior.pairs] - posterior.pair
    free: Floats = np.clip(1 - others, 1e-3, 1)
    return free


def _free_of_files(candidates: Likenesses, posterior: _Posterior) -> Floats:
    """Of each pair, how probable it is that no row of another file has the same partner."""
    free = np.ones(len(candidates.row))
    chain = candidates.chain[candidates.row]
    for one in np.unique(chain) if chain[0] != chain[-1] else ():
        theirs = chain[posterior.pairs] != one
        place = candidates.place[posterior.pairs][theirs]
        taken = np.bincount(place, posterior.pair[theirs], int(candidates.place.max()) + 1)
        free[chain == one] = 1 - taken[candidates.place[chain == one]]
    return np.maximum(free, 1e-3)


def _learn(candidates: Likenesses) -> tuple[_Weights, Floats]:
    """Expectation maximisation on segments from everywhere; also which partners are free."""
    segments = _Segments(candidates, most=_LEARNED_FROM)
    rows = int(segments.core_rows.sum())
    n_lags, n_sizes = int(candidates.lag.max()) + 1, int(candidates.size.max()) + 1
    weights = _Weights(np.ones(n_lags), np.ones(n_sizes), 0.05 / _OCTAVES, 0.01)
    free = np.ones(len(candidates.row))
    for _ in range(_ROUNDS):
        posterior = _solve(segments, weights, weights.pairs(candidates), free)
        free = _free(candidates, posterior)
        lag = np.bincount(candidates.lag[posterior.pairs], posterior.pair, n_lags) + 0.25
        lag = np.convolve(lag, [0.25, 0.5, 0.25], mode="same")
        weights = _Weights(
            lag=lag / lag.max(),
            size=_size_weights(candidates.size[posterior.pairs], posterior.pair, n_sizes),
            back=np.minimum((posterior.back + 0.5) / (rows * _OCTAVES * candidates.density), 1.0),
            unseen=(posterior.nobody.sum() + 0.5) / (rows + 50),
        )
    return weights, free


def _size_weights(size: Ints, pair: Floats, n_sizes: int) -> Floats:
    """How much more often each difference comes in pairs that are one request than in those that are not."""
    compared = np.bincount(size, minlength=n_sizes)
    if not compared[1:].any():
        return np.ones(n_sizes)
    same = np.bincount(size, pair, n_sizes)
    prior = 5 * compared / compared[1:].sum()
    same, other = same + prior, compared - same + prior
    same, other = same / same[1:].sum(), other / other[1:].sum()
    weights = np.ones(n_sizes)
    np.divide(same, other, where=other > 0, out=weights)
    weights[0] = 1.0  # a size that is not known says nothing
    return weights


def align(candidates: Likenesses) -> Floats:
    """How probable each pair is; what a row's pairs lack to 1: that it has no partner.

    Example:
        >>> two_alike = np.array([0, 0, 1, 2, 2]), np.array([3, 8, 5, 3, 8])
        >>> same = np.zeros(5, int)
        >>> one_log = np.zeros(3, int), np.full(3, 0.1)
        >>> align(Likenesses(*two_alike, same, same, *one_log)).round()
        array([1., 0., 1., 0., 1.])
    """
    if not len(candidates.row):
        return np.zeros(0)
    weights, free = _learn(candidates)
    segments = _Segments(candidates)
    each = weights.pairs(candidates)
    for _ in range(_SETTLED):
        posterior = _solve(segments, weights, each, free)
        free = _free(candidates, posterior)
        each = weights.pairs(candidates) * _free_of_files(candidates, posterior)
    probability = np.zeros(len(candidates.row))
    probability[posterior.pairs] = posterior.pair
    return probability
