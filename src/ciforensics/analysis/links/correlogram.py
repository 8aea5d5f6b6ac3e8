"""The correlogram of two series of moments: how many more come so long after the others than by chance.

Brillinger, "The identification of point process systems", Ann. Probab. 3, 1975. Counted for all lags at once
by fast Fourier transform.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np
import polars as pl

if TYPE_CHECKING:
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]
    Ints = npt.NDArray[np.int64]

REACH_S = 14.5 * 3600
"""How far apart two clocks may be: time zones reach from -12 h to +14 h."""

_COARSE_S, _FLANK, _NEAR = 10, 90, 6

BULK_WIDE_S = _COARSE_S * _NEAR
"""How wide the stretch of lags is that the bulk is looked for in."""

_FROM_S, _TO_S = -600, 900
_BEFORE, _BULK, _AFTER = slice(0, 400), slice(540, 721), slice(1100, 1500)  # of the lags from _FROM_S on
_LONG, _ENOUGH_S, _BLOCK_S = 30, 36 * 3600, 300
_MOST_KINDS, _MOST_PAIRS = {"401": 64, "build": 500}, 5_000_000


@dataclass(frozen=True)
class Events:
    """Moments in order, in seconds: of what kind each is, and of what repository."""

    at: Ints
    kind: Ints
    repo: npt.NDArray[np.uint64]

    @classmethod
    def of(cls, moments: pl.DataFrame, event: str) -> Events:
        """The commonest kinds are enough."""
        some = moments.filter(pl.col("event") == event)
        kinds = some.group_by("kind_hash").len().sort("len", "kind_hash", descending=True)
        kinds = kinds.head(_MOST_KINDS[event])
        some = some.join(kinds.select("kind_hash", code=pl.int_range(pl.len())), on="kind_hash").sort(
            "second", "code", "repo_hash", nulls_last=True
        )
        return cls(some["second"].to_numpy(), some["code"].to_numpy(), some["repo_hash"].to_numpy())


def bulk_lag(at: Ints, built_at: Ints) -> int | None:
    """At about which lag there are more 401s after builds than a quarter of an hour around; None: at none.

    Wrong time zones are tested for by looking at all of them.
    """
    start = min(at[0], built_at[0])
    reach = int(REACH_S // _COARSE_S) + _FLANK
    length = int((max(at[-1], built_at[-1]) - start) // _COARSE_S + 1)
    size = _size(length + reach)
    spectrum = (
        _spectrum((at - start) // _COARSE_S, size) * _spectrum((built_at - start) // _COARSE_S, size).conj()
    )
    pairs = np.fft.irfft(spectrum, size)[np.arange(-reach, reach + 1) % size]
    flanks = np.ones(3 * _FLANK)
    flanks[_FLANK : 2 * _FLANK] = 0
    near = np.convolve(pairs, np.ones(_NEAR), mode="same")
    level = np.convolve(pairs, flanks / flanks.sum(), mode="same") * _NEAR
    score = ((near - level) / np.sqrt(np.maximum(level, 0) + 4 * _NEAR))[_FLANK:-_FLANK]
    best = int(score.argmax())
    elsewhere = np.delete(score, np.arange(max(0, best - _FLANK), min(len(score), best + _FLANK + 1)))
    return None if score[best] < 1.5 * max(elsewhere.max(), 4) else (best - reach + _FLANK) * _COARSE_S


def busiest(events: Events) -> Events:
    """A day and a half is enough."""
    last = np.searchsorted(events.at, events.at + _ENOUGH_S, side="right")
    first = int((last - np.arange(len(last))).argmax())
    some = slice(first, last[first])
    return Events(events.at[some], events.kind[some], events.repo[some])


def _size(length: int) -> int:
    return 1 << int(np.ceil(np.log2(length + 1)))


def _spectrum(at: Ints, size: int, weight: Floats | None = None) -> npt.NDArray[np.complex128]:
    return np.fft.rfft(np.bincount(at, weight, size))


def excess_by_lag(asked: Events, built: Events, about: int) -> Floats:
    """401s after builds above what chance makes, by lag, for the workflows that send such 401s at all.

    Which workflows do is told from every other block of time and counted in the rest: chance must not choose.
    """
    lags = np.arange(_FROM_S, _TO_S) + about
    near = slice(*np.searchsorted(built.at, [asked.at[0] - lags[-1], asked.at[-1] - lags[0]]))
    built = Events(built.at[near], built.kind[near], built.repo[near])
    if not len(built.at):
        return np.zeros(len(lags))
    begin, end = min(asked.at[0], built.at[0]), max(asked.at[-1], built.at[-1])
    size = _size(int(end - begin) + abs(about) + _TO_S)
    overlap = np.minimum(asked.at[-1], built.at[-1] + lags) - np.maximum(asked.at[0], built.at[0] + lags)
    overlap = np.maximum(overlap, 1).astype(float)
    half = (asked.at - begin) // _BLOCK_S % 2
    spectrum = np.zeros(size // 2 + 1, complex)
    for this in (0, 1):
        sends = _sends(asked, built, np.flatnonzero(half != this), about, overlap)
        for kind in np.flatnonzero(sends.any(axis=1)):
            of_kind = asked.at[(half == this) & (asked.kind == kind)]
            weight = sends[kind][built.kind]
            spectrum += _spectrum(of_kind - begin, size) * _spectrum(built.at - begin, size, weight).conj()
    pairs = np.fft.irfft(spectrum, size)[lags % size]
    before = pairs[_BEFORE].sum() / overlap[_BEFORE].sum()
    after = pairs[_AFTER].sum() / overlap[_AFTER].sum()
    excess: Floats = pairs - np.linspace(before, after, len(pairs)) * overlap
    return excess


def _sends(asked: Events, built: Events, some: Ints, about: int, overlap: Floats) -> Floats:
    """For each kind of 401 and of build, what share of those near it is surely no chance; of `some` 401s."""
    shape = (int(asked.kind.max()) + 1, int(built.kind.max()) + 1)
    some = some[:: len(some) * shape[1] // _MOST_PAIRS + 1]
    at, kind = asked.at[some], asked.kind[some]
    bounds = [edge for lags in (_BEFORE, _BULK, _AFTER) for edge in (lags.start, lags.stop)]
    bulk, aside = np.zeros(shape), np.zeros(shape)
    for workflow in range(shape[1]):
        starts = built.at[built.kind == workflow]
        later = [np.searchsorted(starts, at - about - _FROM_S - edge, side="right") for edge in bounds]
        before, near, after = (later[nth] - later[nth + 1] for nth in (0, 2, 4))
        bulk[:, workflow] = np.bincount(kind, near, shape[0])
        aside[:, workflow] = np.bincount(kind, before + after, shape[0])
    level = aside * overlap[_BULK].sum() / (overlap[_BEFORE].sum() + overlap[_AFTER].sum())
    sends = np.maximum(bulk - level - np.sqrt(level + 1), 0) / (bulk + 1)
    _, one_of_kind = np.unique(asked.kind, return_index=True)
    _, one_of_workflow = np.unique(built.kind, return_index=True)
    own = asked.repo[one_of_kind][:, None] == built.repo[one_of_workflow]
    sends[np.ix_(np.unique(asked.kind), np.unique(built.kind))] *= ~own
    return cast("Floats", sends)


def foot_of(excess: Floats) -> tuple[int, int] | None:
    """At which lag after the bulk's the bulk begins, and how wide a window told it; None: no clear top.

    It is looked for from the top back.

    A dip is no foot: half a minute before a foot has no excess either.
    """
    running = np.concatenate([[0.0], np.cumsum(excess)])
    ahead = (running[_LONG:] - running[:-_LONG]) / _LONG  # the mean of the half minute from each lag on
    for window in (3, 5, 9, 15):
        near = np.convolve(excess, np.ones(window) / window, mode="same")
        noise = near[10 : _BEFORE.stop].std() + excess.max() / 20 / window
        top = _BEFORE.stop + int(near[_BEFORE.stop : _BULK.stop + 180].argmax())
        if near[top] > 8 * noise > 0:
            low = max(0.2 * near[top], 3 * noise)
            at = np.arange(top, _LONG, -1)
            quiet = (near[at] <= low) & (ahead[at - window // 2 - _LONG] <= low / 2)
            return int(at[quiet.argmax()]) + _FROM_S, window
    return None
