"""How right attribution can be expected to be, before anyone knows the truth.

A guide and no promise: what came of made-up fleets (`fleet.random_fleet`) at that many builds an hour, with that
much evidence and wrapper coverage, interpolated. They have 57 workflows that fetch 5 of 40 shared dependencies
each, with nearly the same git, log-normally spread over some 25 s after a build's start; 5 % of the 401s come
from elsewhere; the logs are GitHub's CSV and the wrapper's, at whole seconds. Workflows that share less, or
start their fetches more promptly, are told apart more easily than that; keys that name the run add to it.
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

from ciforensics.errors import CiforensicsError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ciforensics.analysis.evidence import Evidence

BACKGROUND = 0.05
"""Share of a fleet's 401s that come from no build at all."""

_TABLE = "expected.csv"
_AXES = ("coverage", "builds_per_hour", "builds")


@dataclass(frozen=True)
class Expected:
    """What made-up fleets like it got.

    Attributes:
        builds_per_hour: of the whole fleet, known or not.
        hours: of evidence.
        coverage: share of the builds that are known.
        top1: share of the 401s whose likeliest workflow is the right one, or that are rightly `unattributed`.
        best_top1: the same for one who knew every rate and delay: the evidence has no more in it.
        share_error: total variation between estimated and true share of the 401s by workflow, 0 to 1.
        beyond: nothing like it was tried; these are the figures of the nearest that was.
    """

    builds_per_hour: float
    hours: float
    coverage: float
    top1: float
    best_top1: float
    share_error: float
    beyond: bool

    @property
    def text(self) -> str:
        """The same in a sentence."""
        nearest = ", or the nearest to that," if self.beyond else ""
        return (
            f"With {self.builds_per_hour:,.0f} builds an hour over {self.hours:,.3g} h and about "
            f"{self.coverage:.0%} of the builds known, made-up fleets{nearest} get {self.top1:.2f} of the 401s right "
            f"without a key ({self.best_top1:.2f} at best; share error {self.share_error:.2f})."
        ).replace("%", " %")


def expected(*, builds_per_hour: float, hours: float, coverage: float) -> Expected:
    """Looks up what made-up fleets got, between the settings that were tried.

    Args:
        builds_per_hour: of the whole fleet, known or not.
        hours: of evidence.
        coverage: share of the builds that are known, 0 to 1.

    Raises:
        CiforensicsError: builds or hours are not above zero, or the coverage is no share.

    Example:
        >>> few = expected(builds_per_hour=60, hours=24, coverage=1)
        >>> many = expected(builds_per_hour=1500, hours=24, coverage=0.7)
        >>> few.top1 > 0.9 > many.top1
        True
    """
    for name, value in (("builds an hour", builds_per_hour), ("hours", hours)):
        if not 0 < value < math.inf:
            raise CiforensicsError(
                f"Nothing is to be expected of {value} {name}.", hint="give a number above 0."
            )
    if not 0 <= coverage <= 1:
        raise CiforensicsError(f"A coverage of {coverage} is no share.", hint="give a number from 0 to 1.")
    at = {
        "coverage": coverage,
        "builds_per_hour": math.log(builds_per_hour),
        "builds": math.log(builds_per_hour * hours),
    }
    table = _table()
    beyond = any(not table[axis].min() - 1e-9 <= at[axis] <= table[axis].max() + 1e-9 for axis in _AXES)
    found = {name: _interpolated(table, at, name) for name in ("top1", "best_top1", "share_error")}
    return Expected(builds_per_hour, hours, coverage, **found, beyond=beyond)
