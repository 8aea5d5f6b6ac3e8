"""How right attribution can be expected to be, before anyone knows the truth.

A guide and no promise: what came of made-up fleets (`fleet.random_fleet`) with so many builds an hour, so
much evidence and so much wrapper coverage, interpolated. They have 57 workflows that fetch 5 of 40 shared
dependencies each, half of them with the same git, at delays of 25 s median, log-normal; 5 % of the 401s
come from elsewhere; the logs are GitHub's CSV and the wrapper's, at whole seconds. Builds that fetch twice
as soon are as hard to tell apart at twice as many an hour, so time is measured in delays. Workflows that
share less, or are fewer, are easier to tell apart than these; and keys that name the run are no part of
it.
`python benchmarks/attribution.py --expected` measures the table again.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from scipy.interpolate import RegularGridInterpolator

from ciforensics.errors import CiforensicsError
from ciforensics.wording import Result, Sentence

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ciforensics.analysis.attribution.candidates import Candidates
    from ciforensics.analysis.attribution.delays import Bins
    from ciforensics.analysis.attribution.fit import Fit

    Floats = NDArray[np.float64]

BACKGROUND = 0.05
"""Share of a fleet's 401s that come from no build at all."""

DELAY_S = 25.0
"""Median of the time from a build's start to a 401 of it, in these fleets."""

_AXES = ("builds_per_hour", "builds", "coverage")


@dataclass(frozen=True, repr=False)
class Expected(Result):
    """What made-up fleets like it got.

    Attributes:
        builds_per_hour: of the whole fleet, known or not.
        hours: of evidence.
        coverage: share of the builds that are known.
        delay_s: median of the time from a build's start to a 401 of it.
        top1: share of the 401s whose likeliest workflow is the right one, or that are rightly `unattributed`.
        best_top1: the same for one who knew every rate and delay: the evidence has no more in it.
        share_error: total variation between estimated and true share of the 401s by workflow, 0 to 1.
        beyond: nothing like it was tried; these are the figures of the nearest that was.
    """

    builds_per_hour: float
    hours: float
    coverage: float
    delay_s: float
    top1: float
    best_top1: float
    share_error: float
    beyond: bool

    def _said(self) -> tuple[Sentence]:
        return (Sentence(self.text, "sentence"),)

    @property
    def text(self) -> str:
        """The same in a sentence."""
        time = f"{self.hours:,.3g} h" if self.hours >= 1 else f"{self.hours * 60:.2g} min"
        fleets = "the nearest made-up fleets" if self.beyond else "made-up fleets"
        return (
            f"With about {self.builds_per_hour:,.0f} builds an hour over {time}, "
            f"{self.coverage * 100:.0f} % of them known, and 401s {self.delay_s:,.2g} s after their start "
            f"(median), {fleets} get {self.top1:.2f} of the 401s without a key right "
            f"({self.best_top1:.2f} at best), with a share error of {self.share_error:.2f}."
        )


def look_up(*, builds_per_hour: float, hours: float, coverage: float, delay_s: float = DELAY_S) -> Expected:
    """Looks up what made-up fleets got, between the settings that were tried.

    Args:
        builds_per_hour: of the whole fleet, known or not.
        hours: of evidence.
        coverage: share of the builds that are known, 0 to 1.
        delay_s: median of the time from a build's start to a 401 of it.

    Raises:
        CiforensicsError: builds, hours or delay are not above zero, or the coverage is no share.

    Example:
        >>> few = look_up(builds_per_hour=60, hours=24, coverage=1)
        >>> many = look_up(builds_per_hour=1500, hours=24, coverage=0.7)
        >>> few.top1 > 0.9 > many.top1
        True
    """
    given = {"builds an hour": builds_per_hour, "hours": hours, "seconds after a build's start": delay_s}
    for name, value in given.items():
        if not 0 < value < math.inf:
            raise CiforensicsError(
                f"Nothing is to be expected of {value} {name}.", hint="give a number above 0."
            )
    if not 0 <= coverage <= 1:
        raise CiforensicsError(f"A coverage of {coverage} is no share.", hint="give a number from 0 to 1.")
    axes, figures = _table()
    here = np.array([np.log(builds_per_hour * delay_s / DELAY_S), np.log(builds_per_hour * hours), coverage])
    nearest = here.clip([axis[0] for axis in axes], [axis[-1] for axis in axes])
    # With more builds in all than were tried the figures hardly change any more.
    beyond = bool((nearest[[0, 2]] != here[[0, 2]]).any() or nearest[1] > here[1])
    top1, best_top1, share_error = map(float, RegularGridInterpolator(axes, figures)(nearest)[0])
    return Expected(builds_per_hour, hours, coverage, delay_s, top1, best_top1, share_error, beyond)


def expect_of(candidates: Candidates, *, unattributed: float, delay_s: float = DELAY_S) -> Expected | None:
    """What to expect of a case; None where no build or no 401 was recorded, or nothing was attributed.

    A case cannot say how many builds it knows nothing of. They show as 401s that no known build explains, so
    the coverage is estimated from these, less the made-up fleets' background: too low where there is more
    background than that, too high where the model lays at known builds what others sent.

    Args:
        candidates: requests and builds of the case.
        unattributed: share of the case's 401s that ended so.
        delay_s: of the fit, see `median_delay`.
    """
    hours, known = candidates.problem.seconds / 3600, float(candidates.problem.builds.exposure.sum())
    coverage = min(1.0, (1 - unattributed) / (1 - BACKGROUND))
    if candidates.requests.is_empty() or not (hours > 0 and known > 0 and coverage > 0):
        return None
    return look_up(builds_per_hour=known / hours / coverage, hours=hours, coverage=coverage, delay_s=delay_s)


def median_delay(fit: Fit, bins: Bins) -> float:
    """Median of the time from a build's start to a 401 that the model lays at it, in s.

    Args:
        fit: what the model found.
        bins: of its delays.
    """
    upto = np.cumsum(fit.pairs.requests @ (fit.delays.by_pair * bins.widths))
    return float(np.interp(upto[-1] / 2, [0, *upto], bins.edges)) if upto[-1] > 0 else DELAY_S


@cache
def _table() -> tuple[list[Floats], Floats]:
    """The axes of what was measured, and at each point top-1, the best top-1 and the share error.

    The axes are logarithms of builds an hour and of all builds, and coverage: how well rates and delays can
    be learned depends on how many builds there were, not on how many hours they took.
    """
    with resources.as_file(resources.files(__package__) / "expected.csv") as path:
        table = pl.read_csv(path)
    table = table.with_columns(pl.col("builds_per_hour", "builds").cast(pl.Float64).log()).sort(_AXES)
    axes = [table[name].unique().sort().to_numpy() for name in _AXES]
    figures = table.select("top1", "best_top1", "share_error").to_numpy()
    return axes, figures.reshape(*map(len, axes), -1)
