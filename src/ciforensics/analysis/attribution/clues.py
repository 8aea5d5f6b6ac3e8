"""The model's formula: what speaks for a sender, as factors of the intensity with which it sends.

A build sends requests of one kind as a Poisson process, with an intensity that is a product: how many such
requests a build sends, times the share of them with this outcome, times the density of the delay, times by
what other logs make it likelier. All that could have sent a request are superposed, so each has the share
that its intensity has in the sum (Kingman 1993, "Poisson Processes", ch. 2).

The fit multiplies these factors, an explanation shows them, and who knows the truth of a made-up fleet puts
true habits in (`fleet.posterior`).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    Floats = NDArray[np.floating[Any]]


class Clue(StrEnum):
    """What speaks for a sender, in the order in which it is weighed.

    A key decides alone; calibration is what a check makes of the others.
    """

    KEY = "key"
    ACTIVITY = "activity"
    URL = "url"
    USER_AGENT = "user agent"
    OUTCOME = "outcome"
    DELAY = "delay"
    SAME_REQUEST = "same request"
    CALIBRATION = "calibration"


@dataclass(frozen=True, eq=False)
class Habits:
    """What senders do, a row for each of them: a pair, a task, or a workflow whose habits are known.

    Attributes:
        sends: requests per build, as one clue or as the product of several, each of shape (senders,).
        outcomes: shares of the outcomes, shape (senders, outcomes).
        delays: density of the delays in 1/s, shape (senders, bins).
    """

    sends: Mapping[Clue, Floats]
    outcomes: Floats
    delays: Floats


@dataclass(frozen=True, eq=False)
class Seen:
    """What is seen of edges.

    Attributes:
        sender: the row of each edge's sender among the habits.
        outcome: of its request.
        bin: of its delay.
        factors: by what other logs make it likelier, by clue; those that nothing is known of are not in it.
    """

    sender: NDArray[np.integer]
    outcome: NDArray[np.integer]
    bin: NDArray[np.integer]
    factors: Mapping[Clue, Floats]


def weigh_clues(habits: Habits, seen: Seen) -> dict[Clue, Floats]:
    """The factors of each edge's intensity; their product is in 1/s.

    Example:
        >>> sends = {Clue.ACTIVITY: np.array([0.5, 2.0])}
        >>> habits = Habits(sends, outcomes=np.array([[1.0], [1.0]]), delays=np.array([[0.1], [0.2]]))
        >>> none = np.zeros(2, dtype=int)
        >>> clues = weigh_clues(habits, Seen(np.array([0, 1]), outcome=none, bin=none, factors={}))
        >>> {str(clue): factor.tolist() for clue, factor in clues.items()}
        {'activity': [0.5, 2.0], 'outcome': [1.0, 1.0], 'delay': [0.1, 0.2]}
    """
    clues = {clue: of_sender[seen.sender] for clue, of_sender in habits.sends.items()}
    clues[Clue.OUTCOME] = habits.outcomes[seen.sender, seen.outcome]
    clues[Clue.DELAY] = habits.delays[seen.sender, seen.bin]
    return clues | {clue: seen.factors[clue] for clue in Clue if clue in seen.factors}


def multiply(clues: Mapping[Clue, Floats]) -> Floats:
    """The product of the factors, in the place of the first."""
    product, *others = clues.values()
    for factor in others:
        product *= factor
    return product


def share_out(
    sent: Floats, request: NDArray[np.integer], background: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Who sent each request, by the intensities of all that could.

    Args:
        sent: intensity of each edge.
        request: of each edge.
        background: intensity of each request that no known build sends.

    Returns:
        The probability of each edge, and the intensity of each request, in 1/s.

    Example:
        >>> share_out(np.array([0.3, 0.1]), np.array([0, 0]), np.array([0.1]))[0].round(2).tolist()
        [0.6, 0.2]
    """
    intensity = background + np.bincount(request, sent, len(background))
    return sent / np.maximum(intensity, 1e-300)[request], intensity
