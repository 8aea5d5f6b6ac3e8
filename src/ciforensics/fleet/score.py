"""How right an attribution is, against the truth."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import polars as pl

from ciforensics.analysis.links.basis import EXACT
from ciforensics.errors import CiforensicsError
from ciforensics.fleet.posterior import find_posterior
from ciforensics.fleet.truth import CSV

if TYPE_CHECKING:
    from pathlib import Path

SCHEMA = {
    "line_no": pl.Int64,
    "ci_repo": pl.String,
    "workflow": pl.String,
    "run_id": pl.String,
    "probability": pl.Float64,
    "basis": pl.String,
}
TEXTS = ("file", "ci_repo", "repo", "workflow", "run_id", "sender", "outcome")
NUMBERS = ("line_no", "asked", "second", "row", "status", "n")
BINS = 10
SLACK = 0.005
"""By so much the probabilities of a 401 may miss 1: rounded, and without what is negligible."""


@dataclass(frozen=True)
class Score:
    """How right an attribution is. Where no build with a wrapper sent a 401, NULL is the right answer.

    Attributes:
        requests: 401s.
        top1: share of them whose likeliest workflow is the right one, its runs summed.
        share_error: total variation between estimated and true share of the 401s by workflow, 0 to 1.
        ece: expected calibration error of the likeliest workflow's probability, ten bins of equal mass
            (Guo et al., On Calibration of Modern Neural Networks, 2017).
        run_accuracy: share whose likeliest run is the right one.
        exact: 401s whose likeliest row rests on a key that names the run.
        exact_accuracy: share of those with the right run; None without any.
    """

    requests: int
    top1: float
    share_error: float
    ece: float
    run_accuracy: float
    exact: int
    exact_accuracy: float | None


def score_requests(truth: pl.DataFrame, attribution: pl.DataFrame) -> Score:
    """Measures an attribution.

    Args:
        truth: `line_no, ci_repo, workflow, run_id`, a row for each 401.
        attribution: `line_no, ci_repo, workflow, run_id, probability`, a row for each 401 and candidate, and
            `basis` where it is known.

    Raises:
        CiforensicsError: the two are not about the same 401s, or the probabilities of one do not sum to 1.

    Example:
        >>> truth = pl.DataFrame({"line_no": 2, "ci_repo": "acme/web", "workflow": "CI", "run_id": "7"})
        >>> score_requests(truth, truth.with_columns(probability=1.0)).top1
        1.0
    """
    _check(truth, attribution)
    by_workflow = _summed(attribution, "workflow")
    top = _judged(by_workflow, truth, "workflow")
    runs = _judged(_summed(attribution, "run_id"), truth, "run_id")
    keyed = runs.clear()
    if "basis" in attribution.columns:
        keyed = runs.join(
            _likeliest(attribution).filter(pl.col("basis").is_in(EXACT)), on="line_no", how="semi"
        )
    return Score(
        requests=truth.height,
        top1=_mean(top["right"]),
        share_error=_share_error(truth, by_workflow),
        ece=_ece(top),
        run_accuracy=_mean(runs["right"]),
        exact=keyed.height,
        exact_accuracy=_mean(keyed["right"]) if keyed.height else None,
    )


def _check(truth: pl.DataFrame, attribution: pl.DataFrame) -> None:
    sums = attribution.group_by("line_no").agg(pl.col("probability").sum())
    missing = truth.join(sums, on="line_no", how="anti")["line_no"].sort()
    if missing.len():
        raise CiforensicsError(
            f"The attribution lacks {missing.len():,} of the truth's {truth.height:,} 401s, "
            f"the first on line {missing[0]}.",
            hint="attribute a case of the evidence that lies beside this truth.",
        )
    unknown = sums.join(truth, on="line_no", how="anti")["line_no"].sort()
    if unknown.len():
        raise CiforensicsError(
            f"The attribution names {unknown.len():,} lines that are no 401 of the truth, "
            f"the first is {unknown[0]}.",
            hint="attribute a case of the evidence that lies beside this truth.",
        )
    wrong = sums.filter((pl.col("probability") - 1).abs() > SLACK).sort("line_no")
    if wrong.height:
        raise CiforensicsError(
            f"The probabilities of {wrong.height:,} 401s do not sum to 1; on line {wrong['line_no'][0]} "
            f"they sum to {wrong['probability'][0]:.3f}.",
            hint="each 401 needs all its candidates, and a row without a repo for what no build explains.",
        )


def _summed(attribution: pl.DataFrame, name: str) -> pl.DataFrame:
    return attribution.group_by("line_no", "ci_repo", name).agg(pl.col("probability").sum())


def _likeliest(candidates: pl.DataFrame) -> pl.DataFrame:
    order = [name for name in ("ci_repo", "workflow", "run_id") if name in candidates.columns]
    ranked = candidates.sort(
        "line_no", "probability", *order, descending=[False, True, *(False for _ in order)]
    )
    return ranked.unique("line_no", keep="first", maintain_order=True)


def _judged(candidates: pl.DataFrame, truth: pl.DataFrame, name: str) -> pl.DataFrame:
    """The likeliest candidate of each 401, and whether it is `right`."""
    both = _likeliest(candidates).join(truth, on="line_no", suffix="_true")
    right = [pl.col(each).eq_missing(pl.col(f"{each}_true")) for each in ("ci_repo", name)]
    return both.select("line_no", "probability", right=pl.all_horizontal(right))


def _share_error(truth: pl.DataFrame, by_workflow: pl.DataFrame) -> float:
    keys = ["ci_repo", "workflow"]
    signed = pl.concat(
        [
            by_workflow.select(*keys, "probability"),
            truth.select(*keys, probability=pl.lit(-1.0)),
        ]
    )
    return float(signed.group_by(keys).agg(pl.col("probability").sum())["probability"].abs().sum()) / (
        2 * truth.height
    )


def _ece(top: pl.DataFrame) -> float:
    bins = top.sort("probability", "line_no").with_columns(bin=pl.int_range(pl.len()) * BINS // pl.len())
    gaps = bins.group_by("bin").agg(
        n=pl.len(), gap=(pl.col("right").mean() - pl.col("probability").mean()).abs()
    )
    return float((gaps["n"] * gaps["gap"]).sum()) / top.height


def _mean(right: pl.Series) -> float:
    return float(right.sum()) / len(right)


@dataclass(frozen=True)
class Truth:
    """What a truth folder holds; `parameters` and `builds` only where a made-up fleet wrote it."""

    file: str
    requests: pl.DataFrame
    builds: pl.DataFrame | None = None
    parameters: dict[str, Any] | None = None

    def best(self, *, with_outcome: bool) -> Score | None:
        """The score of the posterior under the true parameters, where they are known."""
        if self.parameters is None or self.builds is None:
            return None
        best = find_posterior(self.parameters, self.builds, self.requests, with_outcome=with_outcome)
        return score_requests(self.requests, best)


def read_truth(path: Path) -> Truth:
    """Reads the truth of a made-up fleet, or of a capture (`truth-requests.csv` and `truth-jobs.csv`).

    Args:
        path: the folder, or its table of requests.

    Raises:
        CiforensicsError: there is no truth.
    """
    folder = path if path.is_dir() else path.parent
    hint = "`ciforensics simulate --out DIR` writes one to DIR/truth."
    try:
        truth = _of_fleet(folder) if (folder / "requests.csv").exists() else _of_capture(folder)
    except (OSError, ValueError, pl.exceptions.PolarsError) as error:
        first, *_ = str(error).splitlines()
        raise CiforensicsError(f"There is no truth in {folder}: {first}", hint=hint) from error
    if not truth.requests.height:
        raise CiforensicsError(
            f"The truth in {folder} has no 401.", hint="simulate more hours or more builds."
        )
    return truth


def _of_fleet(folder: Path) -> Truth:
    requests = _csv(folder / "requests.csv")
    file = str(requests["file"].first() or CSV)
    if not (folder / "parameters.json").exists():
        return Truth(file, requests)
    told = json.loads((folder / "parameters.json").read_text(encoding="utf-8"))
    return Truth(file, requests, _csv(folder / "builds.csv"), told)


def _of_capture(folder: Path) -> Truth:
    jobs = _csv(folder / "truth-jobs.csv").select("n", "workflow", "run_id", ci_repo="repo")
    # Its rows count from 0 below the header, which is line 1.
    asked = _csv(folder / "truth-requests.csv").filter(status=401).with_columns(line_no=pl.col("row") + 2)
    return Truth(CSV, asked.select("line_no", "job").join(jobs, left_on="job", right_on="n", how="left"))


def read_attribution(path: Path, *, file: str) -> pl.DataFrame:
    """Reads what `ciforensics attribute --out` wrote, the rows of one file of GitHub's.

    Args:
        path: Parquet or CSV.
        file: name of the CSV that the 401s are in; looked at where the attribution is of several.

    Raises:
        CiforensicsError: it cannot be read, or holds no row of that file.
    """
    try:
        rows = pl.read_csv(path, schema_overrides=SCHEMA) if path.suffix == ".csv" else pl.read_parquet(path)
        rows = rows.filter(source="github_csv")
        if rows["file_id"].n_unique() > 1:
            rows = rows.filter(pl.col("path").str.split("/").list.last() == file)
        rows = rows.select(pl.col(name).cast(kind) for name, kind in SCHEMA.items())
    except (OSError, pl.exceptions.PolarsError) as error:
        first, *_ = str(error).splitlines()
        raise CiforensicsError(
            f"{path} is no attribution: {first}", hint="`ciforensics attribute --out FILE` writes one."
        ) from error
    if not rows.height:
        raise CiforensicsError(
            f"{path} holds no 401 of {file}.", hint="attribute a case that has GitHub's CSV in it."
        )
    return rows


def _csv(path: Path) -> pl.DataFrame:
    return pl.read_csv(
        path, schema_overrides=dict.fromkeys(TEXTS, pl.String) | dict.fromkeys(NUMBERS, pl.Int64)
    )
