"""Which build sent which fetch, as the model says: what a migration is judged by.

A **fetch** is what git begins with: a 401, or the first request of a clone, fetch or push that got none
(`views/migration/answered_fetches.sql`). What follows it, and what pays for a 401, is the same fetch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from ciforensics.analysis.attribution.names import RUN, TASK, with_names
from ciforensics.analysis.links.basis import Basis

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from ciforensics.analysis.attribution.candidates import Candidates
    from ciforensics.analysis.attribution.fit import Fit

    Floats = NDArray[np.float64]

STOCK, GOLDEN, OLD, UNKNOWN = "stock", "golden", "tagged, too old", "tagged, version unknown"
CLASSES = (STOCK, GOLDEN, OLD, UNKNOWN)
"""Of git in images, see `views/migration/git_classes.sql`; what else asks has no `proactiveAuth`."""

OTHERS = "other clients"
_LEAST = 1e-3  # probability that counts
_SURE = 0.5
_P = pl.col("probability")


@dataclass(frozen=True, eq=False)
class Fetches:
    """Fetches, builds, and who probably sent what.

    Attributes:
        asked: a row for each fetch: `request`, `ts`, `class`, `outcome` (`answered`: it got no 401).
        builds: a row for each build that began while requests were recorded, by time: `build`, `ts`, `name`
            (repository and workflow in one), `ci_repo`, `workflow`.
        sent: a row for each fetch and build that may have sent it: `request`, `build`, `probability`, and
            whether it rests on a shared key (`exact`); sorted by request. What is left of 1 nobody is known
            to have sent.
    """

    asked: pl.DataFrame
    builds: pl.DataFrame
    sent: pl.DataFrame

    @classmethod
    def of(cls, candidates: Candidates, fit: Fit) -> Fetches:
        """What the model found."""
        numbered = candidates.builds.with_columns(recorded=pl.Series(candidates.problem.builds.exposure > 0))
        known = numbered.select(pl.col("build_id").cast(pl.Int32).alias("build"), "ts", *TASK, "recorded")
        keyed = _of_unknown_builds(candidates, fit, len(known))
        runs = keyed.group_by("build", *TASK).agg(pl.col("ts").min(), recorded=pl.lit(value=True))
        both = pl.concat([known, runs.select(known.columns)])
        builds = with_names(both, candidates.builds, keyed=pl.lit(value=False)).filter(
            pl.col("name") != Basis.UNATTRIBUTED
        )
        sent = pl.DataFrame(
            {
                "request": candidates.problem.edges.request[fit.posterior.edge].astype(np.uint32),
                "build": candidates.problem.edges.build[fit.posterior.edge].astype(np.int32),
                "probability": fit.posterior.probability,
            }
        ).filter(_P > _LEAST)
        sent = pl.concat([sent, keyed.select("request", "build", probability=pl.lit(1.0))])
        exact = candidates.requests.select("request", exact=pl.col("basis").is_not_null())
        of_group = pl.col("ci_repo", "workflow").drop_nulls().unique().sort().str.join(" or ")
        names = builds.group_by("name").agg(of_group)
        return cls(
            candidates.requests.select("request", "ts", "class", "outcome"),
            # Where nothing of git was recorded, no build is silent: nobody listened.
            builds.filter(pl.col("recorded") & (len(candidates.requests) > 0))
            .select("build", "ts", "name")
            .join(names, on="name")
            .sort("ts", "build"),
            sent.join(builds, on="build", how="semi").join(exact, on="request").sort("request", "build"),
        )

    @property
    def by_class(self) -> pl.DataFrame:
        """`sent` with the class and outcome of each fetch."""
        return self.sent.join(self.asked, on="request", maintain_order="left")

    def draws(self, count: int, rng: np.random.Generator) -> Iterator[NDArray[np.bool_]]:
        """Which rows of `sent` are the truth, if each fetch has one sender, drawn by the probabilities."""
        request = self.sent["request"].to_numpy()
        upto = self.sent.select(_P.cum_sum().over("request")).to_series().to_numpy()
        before = upto - self.sent["probability"].to_numpy()
        _, number = np.unique(request, return_inverse=True)
        size = int(number.max(initial=-1)) + 1
        for _ in range(count):
            chance = rng.random(size)[number]
            yield (before <= chance) & (chance < upto)


def _of_unknown_builds(candidates: Candidates, fit: Fit, first: int) -> pl.DataFrame:
    """Fetches whose run a key names, but no build of it is known: it counts as one, numbered from `first`."""
    alone = candidates.requests.with_columns(unexplained=pl.Series(fit.posterior.unexplained))
    alone = alone.filter(pl.col("basis").is_not_null(), pl.col("unexplained") > _SURE)
    number = pl.struct(RUN).rank("dense").cast(pl.Int32) - 1 + first
    return alone.select("request", "ts", *RUN, build=number)


def count_by_class(rows: pl.DataFrame, builds: pl.DataFrame) -> Floats:
    """Fetches of each class by build, in the order of the builds; shape (builds, classes).

    Args:
        rows: `build`, `class` and how much of a fetch it is (`probability`).
        builds: with `build`.
    """
    counts = np.zeros((len(builds), len(CLASSES)))
    place = builds.select("build", place=pl.int_range(pl.len()))
    classes = pl.DataFrame({"class": CLASSES, "nth": range(len(CLASSES))})
    placed = rows.join(place, on="build").join(classes, on="class")
    np.add.at(
        counts, (placed["place"].to_numpy(), placed["nth"].to_numpy()), placed["probability"].to_numpy()
    )
    return counts
