"""What the model holds to be true of a case, as `em` found it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ciforensics.analysis.attribution.delays import Delays
    from ciforensics.analysis.attribution.rates import SpikeAndSlab

    Floats = NDArray[np.float64]
    Ints = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class ActivePairs:
    """The pairs that take part.

    Attributes:
        task: of each pair.
        shard: of each pair.
        rate: requests per build of each pair.
        requests: expected number of each pair's requests.
    """

    task: NDArray[np.int32]
    shard: NDArray[np.int32]
    rate: Floats
    requests: Floats


@dataclass(frozen=True, eq=False)
class Outcomes:
    """Shares of the outcomes.

    Attributes:
        by_pair: shape (pairs, outcomes).
        by_task: of a pair that nothing more is known of, shape (tasks, outcomes).
    """

    by_pair: Floats
    by_task: Floats


@dataclass(frozen=True, eq=False)
class Background:
    """What no known build sends.

    Attributes:
        rate: requests per second, shape (shards, hours).
        outcomes: shares of the outcomes, shape (shards, outcomes).
    """

    rate: Floats
    outcomes: Floats


@dataclass(frozen=True, eq=False)
class Posterior:
    """Who sent what, given all clues.

    Attributes:
        edge: number of each edge that takes part.
        probability: of each such edge.
        unexplained: of each request, the probability that no known build sent it.
    """

    edge: Ints
    probability: Floats
    unexplained: Floats


@dataclass(frozen=True, eq=False)
class Fit:
    """What the model holds to be true, and what follows for each edge.

    Attributes:
        pairs: who sends what, how often.
        outcomes: with which outcomes.
        delays: when, after a build's start.
        background: what nobody known sends.
        prior: of rates.
        posterior: of the edges.
    """

    pairs: ActivePairs
    outcomes: Outcomes
    delays: Delays
    background: Background
    prior: SpikeAndSlab
    posterior: Posterior
