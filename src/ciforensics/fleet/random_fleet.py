"""A fleet of made-up workflows that share dependencies: what attribution is measured on.

The workflows differ in what a log can show of them (which dependencies, how often, how long after the start)
and in little else: half of them ask with the same git, all for the same few urls, at the same hours.
"""

from __future__ import annotations

import math
import random
from bisect import bisect_left
from dataclasses import replace
from datetime import UTC, datetime
from itertools import accumulate
from typing import TYPE_CHECKING, Literal, TypeVar

from ciforensics.errors import CiforensicsError
from ciforensics.fleet.model import (
    HOUR,
    Background,
    Client,
    Errand,
    Parameters,
    Pool,
    Workflow,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

T = TypeVar("T")

GOLDEN = "git/2.47.3 proactive"
USER_AGENTS = {
    "git/2.39.5": 0.52,
    "git/2.34.1": 0.20,
    "git/2.43.0": 0.10,
    "git/2.0 (libgit2 1.8.1)": 0.04,
    GOLDEN: 0.14,
}
"""Share of the workflows that ask with it: Debian 12, Ubuntu 22.04 and 24.04, cargo, and the cure."""

CREDENTIALS: dict[Literal["good", "none"], float] = {"good": 0.86, "none": 0.14}
"""Share of the workflows with them; without, a 401 is refused and not a challenge."""

SHARING = 57 / 40
"""Workflows for each dependency. With five fetches each, seven workflows share one."""

FETCHES = 5
"""Dependencies that one workflow fetches."""

MEDIAN_S = 25.0
"""Median delay of a fetch in the whole fleet, in seconds after the build's start."""

ALWAYS, OFTEN = 0.6, (0.3, 0.95)
"""Share of the dependencies that nearly every build fetches; in which share of the builds the others are."""

SPREAD = 0.4
"""Sigma of the log-normal spread of the median delays, one for each workflow and dependency."""

ZIPF = 0.7
"""The workflow that is nth in builds an hour has n to the power of minus this, relative to the first."""

BACKGROUND = 0.05
"""Share of the 401s that no build sends."""

WATCHED = ("arc-main",) * 7 + ("arc-lab",) + ("arc-dind",) * 2
"""Pools of the runners with the wrapper; a name that comes twice gets twice as many builds."""

POOLS = (
    Pool("arc-main", (("ci-node-b", 42), ("ci-node-c", 43)), proxy="squid"),
    Pool("arc-lab", (("ci-node-a", 41),), proxy="mitmproxy"),
    Pool("arc-dind", (("ci-node-e", 45),), engine="20.10"),
    Pool("vm-bare", (("ci-vm-1", 60),), wrapper=None),
)


def random_parameters(
    *,
    seed: int,
    workflows: int = 57,
    builds_per_hour: float = 60,
    hours: float = 24,
    coverage: float = 1.0,
    offset: float = 0.0,
    delays: Literal["lognormal", "bimodal", "flat"] = "lognormal",
) -> Parameters:
    """Draws a fleet.

    This module's constants are set so that fleets are as hard as the one that methods of attribution were
    first compared on: the posterior under the true parameters is right for .98 of the 401s at 60 builds an
    hour, for .88 at 600 and .75 at 3,000; with the outcome as a clue for .99, .91 and .80 (means of three
    seeds). Shares are dealt like cards, so that two seeds differ little in this.

    Args:
        seed: the same seed draws the same fleet.
        workflows: how many.
        builds_per_hour: of the whole fleet; some workflows make many more than others.
        hours: how long it runs.
        coverage: share of the builds on runners with the wrapper; of the others only GitHub's CSV knows.
        offset: seconds by which GitHub's clock is ahead.
        delays: shape of the time from a build's start to a request of it.

    Example:
        >>> parameters = random_parameters(seed=1, builds_per_hour=600)
        >>> round(sum(workflow.per_hour for workflow in parameters.workflows))
        600
    """
    _check(
        workflows=workflows, builds_per_hour=builds_per_hour, hours=hours, coverage=coverage, offset=offset
    )
    rng = random.Random(f"{seed} parameters")  # noqa: S311 (reproducible on purpose)
    libraries = [f"acme/lib-{nth:02}" for nth in range(max(FETCHES + 3, round(workflows / SHARING)))]
    activity = [nth**-ZIPF for nth in range(1, workflows + 1)]
    rng.shuffle(activity)
    clients = zip(_dealt(USER_AGENTS, workflows, rng), _dealt(CREDENTIALS, workflows, rng), strict=True)
    drawn = [
        Workflow(
            f"acme/service-{nth:02}",
            rng.choice(("CI", "Build", "Release", "Nightly")),
            "image",
            builds_per_hour * share / sum(activity),
            Client(user_agent, proactive=user_agent == GOLDEN, credentials=credentials),
            tuple(_fetch(library, rng) for library in rng.sample(libraries, FETCHES)),
            WATCHED,
        )
        for nth, (share, (user_agent, credentials)) in enumerate(zip(activity, clients, strict=True))
    ]
    sent = sum(each.per_hour * one.chance for each in drawn if not each.git.proactive for one in each.errands)
    background = tuple(_background(sent * BACKGROUND / (1 - BACKGROUND), hours, libraries, rng))
    return Parameters(
        seed=seed,
        start=datetime(2026, 3, 17, tzinfo=UTC),
        hours=hours,
        workflows=tuple(part for workflow in drawn for part in _covered(workflow, coverage)),
        pools=POOLS,
        background=background,
        offset=offset,
        delays=delays,
    )


def _check(*, workflows: int, builds_per_hour: float, hours: float, coverage: float, offset: float) -> None:
    for name, value in (("workflows", workflows), ("builds an hour", builds_per_hour), ("hours", hours)):
        if not 0 < value < math.inf:
            raise CiforensicsError(f"There is no fleet with {value} {name}.", hint="give a number above 0.")
    if not 0 <= coverage <= 1:
        raise CiforensicsError(f"A coverage of {coverage} is no share.", hint="give a number from 0 to 1.")
    if not abs(offset) <= 366 * 24 * HOUR:
        raise CiforensicsError(f"No clock is {offset} seconds ahead.", hint="give at most a year.")


def _dealt(shares: Mapping[T, float], count: int, rng: random.Random) -> list[T]:
    """So many of each as its share says, in any order."""
    upto = list(accumulate(shares.values()))
    hand = [list(shares)[bisect_left(upto, (nth + 0.5) / count)] for nth in range(count)]
    rng.shuffle(hand)
    return hand


def _fetch(library: str, rng: random.Random) -> Errand:
    delay = MEDIAN_S * rng.lognormvariate(0, SPREAD)
    chance = OFTEN[1] if rng.random() < ALWAYS else rng.uniform(*OFTEN)
    return Errand("git", library, chance=chance, delay=delay)


def _covered(workflow: Workflow, coverage: float) -> Iterator[Workflow]:
    """A Poisson process in two: the builds on runners with the wrapper, and the others."""
    for share, pools in ((coverage, WATCHED), (1 - coverage, ("vm-bare",))):
        if share > 0:
            yield replace(workflow, per_hour=workflow.per_hour * share, pools=pools)


def _background(
    per_hour: float, hours: float, libraries: list[str], rng: random.Random
) -> Iterator[Background]:
    """One half by bots around the clock, the other by cron jobs, one dependency for each hour."""
    some = rng.sample(libraries, len(libraries) // 2)
    for library in some:
        yield Background(per_hour / 2 / len(some), _bot(library, rng))
    for hour in range(math.ceil(hours)):
        yield Background(per_hour / 2, _bot(rng.choice(libraries), rng), between=(hour, hour + 1))


def _bot(library: str, rng: random.Random) -> Errand:
    credentials: Literal["good", "none"] = rng.choices(tuple(CREDENTIALS), tuple(CREDENTIALS.values()))[0]
    return Errand("git", library, client=Client("git/2.39.5", credentials=credentials))
