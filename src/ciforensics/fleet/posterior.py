"""Who sent a 401, as one would know it who knew every rate and delay: no method can do better.

The builds' requests and the background are superposed Poisson processes: of all that could have sent a
request at that second, each has the share that its rate has in the sum of all rates (Kingman, Poisson
Processes, 1993).
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from scipy.special import ndtr

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


def posterior(
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
    for flow in parameters["workflows"]:
        own = started.get((flow["ci_repo"], flow["workflow"], flow["job"]), builds.clear())
        for sent in flow["requests"]:
            senders[tuple(sent[name] for name in known)].append(
                _Sender(
                    own["second"].to_numpy(),
                    own["build"].to_numpy(),
                    sent["chance"],
                    flow["builds_per_hour_without_wrapper"],
                    *_delay_chances(sent["median_s"], parameters["delays"], parameters["offset"]),
                )
            )
    others: defaultdict[tuple[Any, ...], list[tuple[float, float, float]]] = defaultdict(list)
    for other in parameters["background"]:
        between = (hour * HOUR + parameters["offset"] for hour in other["between_hours"])
        others[tuple(other[name] for name in known)].append((other["per_hour"], *between))
    found = [
        _weighed(chunk, senders[clues], others[clues])
        for clues, some in requests.partition_by(known, as_dict=True).items()
        for chunk in some.iter_slices(CHUNK)
    ]
    names = builds.select("build", "ci_repo", "workflow", "run_id")
    return pl.concat(found).join(names, on="build", how="left").drop("build")


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
    nobody = np.full(len(seconds), np.finfo(float).tiny)  # what nothing explains, no build sent
    for per_hour, begin, end in others:
        nobody += np.where((begin <= seconds) & (seconds < end), per_hour / HOUR, 0)
    pairs = [(np.arange(len(seconds)), np.full(len(seconds), -1), nobody)]
    for one in senders:
        nobody += one.per_hour_without_wrapper * one.chance / HOUR
        low = np.searchsorted(one.starts, seconds - one.first - len(one.chances), side="right")
        high = np.searchsorted(one.starts, seconds - one.first, side="right")
        request = np.repeat(np.arange(len(seconds)), high - low)
        build = np.arange(len(request)) - np.repeat(np.cumsum(high - low) - high, high - low)
        weight = one.chance * one.chances[seconds[request] - one.starts[build] - one.first]
        pairs.append((request, one.builds[build], weight))
    request, build, weight = (np.concatenate(parts) for parts in zip(*pairs, strict=True))
    probability = weight / np.bincount(request, weight)[request]
    kept = probability > NEGLIGIBLE
    return pl.DataFrame(
        {
            "line_no": requests["line_no"].to_numpy()[request[kept]],
            "build": build[kept],
            "probability": probability[kept],
        }
    )


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
