"""Workflows by number, and how many requests each of them sent.

Those that always run together are one, as they cannot be told apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from ciforensics.analysis.attribution.names import TASK, with_names
from ciforensics.analysis.attribution.problem import summed

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ciforensics.analysis.attribution.candidates import Candidates
    from ciforensics.analysis.attribution.fit import Fit
    from ciforensics.analysis.attribution.problem import Problem

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Workflows:
    """Workflows by number, and whose each build and each request with a key is.

    Attributes:
        names: `name`, `ci_repo` and `workflow` as `Attribution.workflows` has them.
        of_build: of each build.
        of_request: of each request with a key, else that of what no known build sent.
        nobody: the number of what no known build sent.
    """

    names: pl.DataFrame
    of_build: Ints
    of_request: Ints
    nobody: int

    @classmethod
    def of(cls, candidates: Candidates) -> Workflows:
        """The workflows of a case."""
        builds = candidates.builds.select(*TASK, keyed=pl.lit(value=False))
        keyed = pl.col("basis").is_not_null()
        told = (pl.when(keyed).then(pl.col(key)).alias(key) for key in TASK)
        asked = candidates.requests.select(*told, keyed=keyed)
        nobody = pl.DataFrame({**dict.fromkeys(TASK), "keyed": False}, schema=builds.schema)
        rows = with_names(pl.concat([builds, asked, nobody]), candidates.builds, keyed=pl.col("keyed"))
        several = (
            pl.col("ci_repo", "workflow").drop_nulls().unique().sort().str.join(" or ").replace("", None)
        )
        names = rows.group_by("name").agg(several).sort("name")
        workflow = rows["name"].rank("dense").to_numpy().astype(np.int64) - 1
        return cls(names, workflow[: len(builds)], workflow[len(builds) : -1], int(workflow[-1]))

    def counts(self, problem: Problem, fit: Fit, kind: NDArray[Any], kinds: int) -> Floats:
        """Expected requests by workflow and some kind of request, shape (workflows, kinds)."""
        weight = np.where(problem.requests.keyed, 0, problem.requests.weight)
        request = problem.edges.request[fit.posterior.edge]
        sent = fit.posterior.probability * weight[request]
        rest = np.where(problem.requests.keyed, problem.requests.weight, fit.posterior.unexplained * weight)
        workflow = np.concatenate([self.of_build[problem.edges.build[fit.posterior.edge]], self.of_request])
        cell = workflow * kinds + np.concatenate([kind[request], kind])
        counts = summed(cell, np.concatenate([sent, rest]), len(self.names) * kinds)
        return counts.reshape(len(self.names), kinds)
