"""In what state each workflow is, and when it changed: a hidden Markov model over its builds.

A build shows what its fetches were, and an attribution may be wrong about some; so one build proves little
and several in a row much. A workflow's state emits its own class mostly (`_RIGHT`), and rarely changes from
one build to the next (`_CHANGE`); the path through the states that explains all builds best (Viterbi 1967)
says when it moved and when it fell back. However many fetches a build makes, it counts once: they share one
image.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from ciforensics.analysis.attribution.fetches import (
    CLASSES,
    GOLDEN,
    OLD,
    OTHERS,
    STOCK,
    count_by_class,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from ciforensics.analysis.attribution.fetches import Fetches

    Floats = NDArray[np.float64]

MIXED, PINNED, SILENT = "mixed", "pinned by digest", "silent"

_RIGHT = 0.9  # of a state's fetches are of its class, as attributed
_CHANGE = 0.02  # of the builds are the first of another state
_SILENT = 0.05  # of the builds that fetch anything, under which the rest is taken for an error of attribution
_FEWEST = 0.5  # fetches

_PAIRS = tuple(combinations(range(len(CLASSES)), 2))
STATES = (*CLASSES, *(MIXED for _ in _PAIRS))


def _emissions() -> Floats:
    """Log probability of a class, given the state; shape (states, classes)."""
    wrong = (1 - _RIGHT) / (len(CLASSES) - 1)
    single = np.full((len(CLASSES), len(CLASSES)), wrong) + np.eye(len(CLASSES)) * (_RIGHT - wrong)
    mixed = np.array([(single[one] + single[two]) / 2 for one, two in _PAIRS])
    emissions: Floats = np.log(np.vstack([single, mixed]))
    return emissions


_EMITS = _emissions()


def follow(fetched: Floats) -> tuple[NDArray[np.int64], float]:
    """The states that a workflow's builds were probably in, and how probable the last one is.

    Args:
        fetched: fetches by class of each build, in order of time; shape (builds, classes).
    """
    seen = fetched / np.maximum(fetched.sum(axis=1, keepdims=True), 1)
    emitted = seen @ _EMITS.T
    size = len(STATES)
    moves = np.full((size, size), np.log(_CHANGE / (size - 1)))
    np.fill_diagonal(moves, np.log(1 - _CHANGE))
    best, total = emitted[0].copy(), emitted[0].copy()
    came_from = np.zeros((len(seen), size), dtype=np.int64)
    for nth, row in enumerate(emitted[1:], start=1):
        steps = best[:, None] + moves
        came_from[nth] = steps.argmax(axis=0)
        best = steps.max(axis=0) + row
        total = np.logaddexp.reduce(total[:, None] + moves, axis=0) + row
    states = np.zeros(len(seen), dtype=np.int64)
    states[-1] = best.argmax()
    for nth in range(len(seen) - 1, 0, -1):
        states[nth - 1] = came_from[nth, states[nth]]
    # What shows nothing is no first build of another state.
    for place in np.flatnonzero(seen.sum(axis=1) < _FEWEST).tolist():
        states[place] = states[max(place - 1, 0)]
    alike = [nth for nth, state in enumerate(STATES) if state == STATES[states[-1]]]
    return states, float(np.exp(np.logaddexp.reduce(total[alike]) - np.logaddexp.reduce(total)))


@dataclass(frozen=True, eq=False)
class Paths:
    """What each build's state was.

    Attributes:
        builds: `Fetches.builds` with the `state` that its workflow was in, and its fetches by class and of
            other programs (`others`) as columns.
        certain: for each `name` the `probability` of its last state.
    """

    builds: pl.DataFrame
    certain: pl.DataFrame

    @classmethod
    def of(cls, fetches: Fetches) -> Paths:
        """Follows every workflow."""
        counts = count_by_class(fetches.by_class.select("build", "class", "probability"), fetches.builds)
        asked = (
            fetches.by_class.filter(pl.col("class") == OTHERS)
            .group_by("build")
            .agg(others=pl.col("probability").sum())
        )
        builds = fetches.builds.with_columns(
            pl.Series(name, counts[:, nth]) for nth, name in enumerate(CLASSES)
        ).join(asked, on="build", how="left", maintain_order="left")
        follow_changes = list(_followed(builds.with_columns(pl.col("others").fill_null(0))))
        states = [frame for frame, _ in follow_changes]
        schema = {"name": pl.String, "probability": pl.Float64}
        certain = pl.DataFrame(
            [(frame["name"][0], sure) for frame, sure in follow_changes], schema, orient="row"
        )
        if not states:
            empty = builds.with_columns(state=pl.lit(None, pl.String))
            return cls(empty, certain)
        return cls(pl.concat(states).sort("ts", "build"), certain)


def _followed(builds: pl.DataFrame) -> Iterator[tuple[pl.DataFrame, float]]:
    for _, frame in builds.group_by("name", maintain_order=True):
        counts = frame.select(CLASSES).to_numpy()
        least = max(_FEWEST, _SILENT * len(frame))
        if counts.sum() >= least:
            states, sure = follow(counts)
            yield frame.with_columns(state=pl.Series([STATES[nth] for nth in states])), sure
        else:
            state = OTHERS if frame["others"].sum() >= least else SILENT
            yield frame.with_columns(state=pl.lit(state)), 1.0


def find_stretches(paths: Paths) -> pl.DataFrame:
    """Each stretch of builds in one state, by `name` and time (`from_ts`, `to_ts`)."""
    change = pl.col("state").rle_id().over("name").alias("nth")
    grouped = paths.builds.sort("name", "ts", "build").with_columns(change).group_by("name", "nth")
    stretches = grouped.agg(
        pl.col("ci_repo", "workflow", "state").first(),
        from_ts=pl.col("ts").min(),
        to_ts=pl.col("ts").max(),
        builds=pl.len(),
        fetches=pl.sum_horizontal(pl.col(name).sum() for name in CLASSES),
    )
    return stretches.sort("name", "nth")


def find_states(fetches: Fetches, paths: Paths, pinned: pl.DataFrame) -> pl.DataFrame:
    """One row a workflow, see `Progress.states`."""
    last = find_stretches(paths).group_by("name", maintain_order=True).last()
    exact = fetches.sent.join(fetches.builds.select("build", "name"), on="build").group_by("name")
    shares = exact.agg(exact_share=pl.col("probability").filter("exact").sum() / pl.col("probability").sum())
    counted = paths.builds.group_by("name").agg(
        pl.len().alias("builds"),
        *(pl.col(name).sum() for name in CLASSES),
        others=pl.col("others").sum(),
        last_stock=_last(STOCK),
        last_golden=_last(GOLDEN),
    )
    states = (
        last.select("name", "ci_repo", "workflow", "state", since="from_ts", fetches_since="fetches")
        .join(counted, on="name")
        .join(shares, on="name", how="left")
        .join(paths.certain, on="name")
        .join(_pins(last, pinned), on="name", how="left")
    )
    all_pinned = (pl.col("pinned") > 0) & (pl.col("pinned") == pl.col("images"))
    stuck = all_pinned & ~pl.col("state").is_in([GOLDEN, SILENT, OTHERS])
    return states.with_columns(
        state=pl.when(stuck).then(pl.lit(PINNED)).otherwise("state"),
        too_old=pl.col(OLD),
        within_reach=~(pl.col("pinned") + pl.col("elsewhere") == pl.col("images")).fill_null(value=False),
    ).sort("ci_repo", "workflow")


def _last(class_: str) -> pl.Expr:
    """When the last build began that sent such fetches, by a state that is of that class or mixed."""
    sent = (pl.col(class_) >= _FEWEST) & pl.col("state").is_in([class_, MIXED])
    return pl.col("ts").filter(sent).max()


def _pins(last: pl.DataFrame, pinned: pl.DataFrame) -> pl.DataFrame:
    """`images`, `pinned`, `elsewhere` of each workflow: by a scan of its repository, else docker events."""
    of_repo = last.join(pinned.filter(pl.col("workflow").is_null()).drop("workflow"), on="ci_repo")
    of_workflow = last.join(pinned, on=["ci_repo", "workflow"])
    columns = ("name", "images", "pinned", "elsewhere", "source")
    rows = pl.concat([of_repo.select(columns), of_workflow.select(columns)])
    # A scan sees every base image, docker events only those that were pulled by name.
    ranked = rows.sort("name", pl.col("source") != "dockerfile_scan", "source")
    return ranked.unique("name", keep="first", maintain_order=True).rename({"source": "pinned_by"})


def find_regressions(paths: Paths) -> pl.DataFrame:
    """One row for each fall back, see `Progress.regressions`."""
    each = find_stretches(paths).with_columns(
        before=pl.col("state").shift(1).over("name"), golden_from=pl.col("from_ts").shift(1).over("name")
    )
    fell = each.filter(pl.col("before") == GOLDEN, pl.col("state") != GOLDEN)
    later = each.group_by("name").agg(state_now=pl.col("state").last())
    return (
        fell.join(later, on="name")
        .select(
            "name",
            "ci_repo",
            "workflow",
            "golden_from",
            fell_back="from_ts",
            to="state",
            builds_since="builds",
            state_now="state_now",
        )
        .sort("fell_back", "name", descending=[True, False])
    )
