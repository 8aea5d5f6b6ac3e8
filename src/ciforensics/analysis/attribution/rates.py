"""How often: priors for rates that are mostly zero, and for a background that is everywhere a little.

Counts here are expected numbers out of an E-step, so not whole. A count `n` over an exposure `N` (builds, or
seconds) has under a Gamma(a, b) prior the marginal of a negative binomial; that is what the hyperparameters
are chosen by (empirical Bayes; Robbins 1956, Efron 2010, "Large-Scale Inference", ch. 6).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import digamma, gammaln

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_SPIKE = 1e-3  # mean of the rates that are as good as zero, relative to the others
_SPIKE_SHAPE = 0.1
_SHAPES = np.geomspace(0.3, 30, 13)
_SAMPLE = 20_000  # counts that are enough to choose a shape by
_BACKGROUND_SHAPES = np.geomspace(0.05, 1e3, 25)


def log_marginal(n: Floats, exposure: Floats, shape: float, rate: float) -> Floats:
    """Log of the negative binomial's density, but for what depends on `n` and `exposure` alone."""
    return (
        gammaln(shape + n)
        - gammaln(shape)
        + shape * np.log(rate / (rate + exposure))
        - n * np.log(rate + exposure)
    )


@dataclass(frozen=True)
class SpikeAndSlab:
    """Prior of a rate per build: most pairs of a workflow and a URL have none, the others one of a kind.

    Without it a workflow that happens to run beside another is given some of the other's requests, a little
    each, and together they leave nothing to the background.

    Attributes:
        active: share of the pairs that have a rate at all.
        mean: of these, requests per build.
        shape: of these, shape of the Gamma distribution; the larger, the more alike.

    Example:
        >>> prior = SpikeAndSlab(active=0.1, mean=1.0, shape=2.0)
        >>> prior.rates(np.array([95.0, 1.0]), np.array([100.0, 100.0])).round(3).tolist()
        [0.946, 0.003]
    """

    active: float
    mean: float
    shape: float

    def odds(self, n: Floats, exposure: Floats) -> Floats:
        """Probability that a pair with `n` requests in `exposure` builds has a rate at all."""
        spike = log_marginal(n, exposure, _SPIKE_SHAPE, _SPIKE_SHAPE / (_SPIKE * self.mean))
        slab = log_marginal(n, exposure, self.shape, self.shape / self.mean)
        against = np.log1p(-self.active) + spike - np.log(self.active) - slab
        real: Floats = 1 / (1 + np.exp(np.clip(against, -50, 50)))
        return real

    def rates(self, n: Floats, exposure: Floats) -> Floats:
        """exp(E log rate), what variational Bayes puts into the E-step (Bishop 2006, 10.2)."""
        real = self.odds(n, exposure)
        slab = digamma(self.shape + n) - np.log(self.shape / self.mean + exposure)
        spike = digamma(_SPIKE_SHAPE + n) - np.log(_SPIKE_SHAPE / (_SPIKE * self.mean) + exposure)
        rates: Floats = np.exp(real * slab + (1 - real) * spike)
        return rates

    def relearn(self, n: Floats, exposure: Floats, absent: int) -> SpikeAndSlab:
        """The prior that these counts suggest; `absent` more pairs are known to be none."""
        real = self.odds(n, exposure)
        active = (real.sum() + 1) / (len(real) + absent + 20)
        means = (self.shape + n) / (self.shape / self.mean + exposure)
        mean = float(np.clip((real * means).sum() / max(real.sum(), 1e-9), 1e-4, 1e4))
        fit = [
            (real * log_marginal(n, exposure, shape, shape / mean)).sum() - np.log(shape) ** 2 / 2
            for shape in _SHAPES
        ]
        return SpikeAndSlab(float(np.clip(active, 1e-4, 0.9)), mean, float(_SHAPES[int(np.argmax(fit))]))


def shrink(
    n: Floats,
    expected: Floats,
) -> Floats:
    """Counts drawn towards what was expected of them, as far as they do not differ by more than chance.

    The Gamma prior of the ratio has mean 1 and the shape under which the counts are likeliest.

    Example:
        >>> shrink(np.array([9.0, 11.0, 10.0]), np.array([10.0, 10.0, 10.0])).round(1).tolist()
        [10.0, 10.0, 10.0]
        >>> shrink(np.array([0.0, 300.0]), np.array([100.0, 100.0])).round(-1).tolist()
        [0.0, 300.0]
    """
    every = max(1, len(n) // _SAMPLE)
    some, of = n[::every], expected[::every]
    shape = max(_BACKGROUND_SHAPES, key=lambda each: log_marginal(some, of, float(each), float(each)).sum())
    ratio: Floats = (n + shape) / (expected + shape)
    return ratio * expected
