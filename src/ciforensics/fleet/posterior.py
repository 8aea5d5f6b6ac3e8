"""Who sent a 401, as one would know it who knew every rate and delay: no method can do better.

The formula is the model's own (`analysis.attribution.clues`); what goes into it is the truth.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from scipy.special import ndtr

from ciforensics.analysis.attribution.clues import Clue, Habits, Seen, multiply, share_out, weigh_clues
from ciforensics.fleet.logs import WAY_S
from ciforensics.fleet.model import CACHE_SIGMA, CACHES, FLAT, HOUR, SIGMA

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

NEGLIGIBLE = 1e-5
"""A candidate with a smaller probability is left out."""

CHUNK = 4_096
"""Requests that are weighed at once: with 266 candidates each, a million pairs."""


def find_posterior(
    parameters: dict[str, Any], builds: pl.DataFrame, requests: pl.DataFrame, *, with_outcome: bool
) -> pl.DataFrame:
    """The posterior under a made-up fleet's true parameters.

    Args:
        parameters: as `truth.parameters` has them.
        builds: `ci_repo, workflow, job, run_id, second`, a row for each build with a wrapper.
        requests: `line_no, outcome, asked, second`, a row for each 401.
        with_outcome: whether challenge or refused is a clue too, or only url, user agent and time.

    Returns:
        A row for each 401 and candidate: `line_no, ci_repo, workflow, run_id, probability`; NULL in the
        second to fourth stand for all that no build with a wrapper sends.
    """
    builds = builds.with_row_index("build").with_columns(pl.col("build").cast(pl.Int64)).sort("second")
    started = builds.partition_by("ci_repo", "workflow", "job", as_dict=True)
    known = ["asked", "outcome"] if with_outcome else ["asked"]
    senders: defaultdict[tuple[Any, ...], list[_Sender]] = defaultdict(list)
    for workflow in parameters["workflows"]:
        own = started.get((workflow["ci_repo"], workflow["workflow"], workflow["job"]), builds.clear())
        for sent in workflow["requests"]:
            senders[tuple(sent[name] for name in known)].append(
                _Sender(
                    own["second"].to_numpy(),
                    own["build"].to_numpy(),
                    sent["chance"],
                    workflow["builds_per_hour_without_wrapper"],
                    *_delay_chances(sent["median_s"], parameters["delays"], parameters["offset"]),
                )
            )
    others: defaultdict[tuple[Any, ...], list[tuple[float, float, float]]] = defaultdict(list)
    for other in parameters["background"]:
        between = (hour * HOUR + parameters["offset"] for hour in other["between_hours"])
        others[tuple(other[name] for name in known)].append((other["per_hour"], *between))
    weighed = [
        _weighed(chunk, senders[clues], others[clues])
        for clues, some in requests.partition_by(known, as_dict=True).items()
        for chunk in some.iter_slices(CHUNK)
    ]
    names = builds.select("build", "ci_repo", "workflow", "run_id")
    return pl.concat(weighed).join(names, on="build", how="left").drop("build")


@dataclass(frozen=True)
class _Sender:
    """What a workflow's builds send: when they start, and the chance of each whole second from `first` on."""

    starts: Ints
    builds: Ints
    chance: float
    per_hour_without_wrapper: float
    first: int
    chances: Floats


def _weighed(
    requests: pl.DataFrame, senders: list[_Sender], others: list[tuple[float, float, float]]
) -> pl.DataFrame:
    """`line_no, build, probability` of requests that all of these could have sent, or build -1 for nobody."""
    seconds = requests["second"].to_numpy()
    background = np.full(len(seconds), np.finfo(float).tiny)  # what nothing explains, no build sent
    for per_hour, begin, end in others:
        background += np.where((begin <= seconds) & (seconds < end), per_hour / HOUR, 0)
    background += sum(one.per_hour_without_wrapper * one.chance for one in senders) / HOUR
    edges = [(np.zeros(0, dtype=np.int64),) * 4]
    for nth, one in enumerate(senders):
        low = np.searchsorted(one.starts, seconds - one.first - len(one.chances), side="right")
        high = np.searchsorted(one.starts, seconds - one.first, side="right")
        request = np.repeat(np.arange(len(seconds)), high - low)
        place = np.arange(len(request)) - np.repeat(np.cumsum(high - low) - high, high - low)
        delay = seconds[request] - one.starts[place] - one.first
        edges.append((request, one.builds[place], np.full(len(request), nth), delay))
    request, build, sender, delay = (np.concatenate(parts) for parts in zip(*edges, strict=True))
    outcome = np.zeros(len(request), dtype=np.int64)  # all of these senders send what was asked
    seen = Seen(sender, outcome, bin=delay, factors={})
    sent = multiply(weigh_clues(_habits(senders), seen)) if senders else np.zeros(0)
    probability, intensity = share_out(sent, request, background)
    rows = pl.DataFrame(
        {
            "request": np.concatenate([request, np.arange(len(seconds))]),
            "build": np.concatenate([build, np.full(len(seconds), -1)]),
            "probability": np.concatenate([probability, background / intensity]),
        }
    )
    kept = rows.filter(pl.col("probability") > NEGLIGIBLE)
    return kept.select(requests["line_no"][kept["request"]], "build", "probability")


def _habits(senders: list[_Sender]) -> Habits:
    delays = np.zeros((len(senders), max(len(one.chances) for one in senders)))
    for row, one in zip(delays, senders, strict=True):
        row[: len(one.chances)] = one.chances
    sends = {Clue.ACTIVITY: np.array([one.chance for one in senders])}
    return Habits(sends, outcomes=np.ones((len(senders), 1)), delays=delays)


def _delay_chances(median: float, delays: str, offset: float) -> tuple[int, Floats]:
    """The least difference that the CSV's second and the wrapper's can have, its chance, and the next ones'.

    Both seconds are floors, so the build's start within its second adds to the delay, as does the up to one
    second that each request waits: the sum of the two is triangular on 0 to 2.
    """
    steps = (np.arange(32) + 0.5) / 16
    triangle = (1 - abs(1 - steps)) / (1 - abs(1 - steps)).sum()
    first = math.floor(WAY_S + offset)
    edges = first + np.arange(20 * median + 4)  # the tail beyond is under one in a million
    below = _delay_cdf(edges[:, None] - steps - WAY_S - offset, median, delays) @ triangle
    return first, np.diff(below)


def _delay_cdf(delay: Floats, median: float, delays: str) -> Floats:
    if delays == "flat":
        return np.clip(delay / (FLAT * median), 0, 1)
    with np.errstate(divide="ignore"):
        logs = np.log(np.maximum(delay, 0) / median)
    if delays == "bimodal":
        warm, cold = (ndtr((logs - math.log(cache)) / CACHE_SIGMA) for cache in CACHES)
        return np.asarray((warm + cold) / 2)
    return np.asarray(ndtr(logs / SIGMA))
