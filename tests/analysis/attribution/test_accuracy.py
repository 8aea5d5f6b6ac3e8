"""How right attribution is, on fleets whose truth is known."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

import ciforensics as ci
from ciforensics.fleet.random_fleet import random_parameters
from ciforensics.fleet.run import simulate
from ciforensics.fleet.score import Score, Truth, read_attribution, read_truth, score_requests
from ciforensics.fleet.truth import evidence_files, truth_files

if TYPE_CHECKING:
    from pathlib import Path

CSV_AND_WRAPPER = ("evidence/github-support.csv", "evidence/docker-wrapper.jsonl")


def measured(folder: Path, *files: str, **parameters: Any) -> tuple[Score, Truth]:
    """Makes a fleet, reads some of its logs and attributes its 401s."""
    fleet = simulate(random_parameters(**parameters))
    for name, content in (evidence_files(fleet) | truth_files(fleet)).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content, encoding="utf-8", newline="")
    ci.ingest([folder / name for name in files], case=folder / "case.duckdb")
    with ci.connect(folder / "case.duckdb") as con:
        ci.attribute(con).requests.write_parquet(folder / "found.parquet")
    truth = read_truth(folder / "truth")
    return score_requests(truth.requests, read_attribution(folder / "found.parquet", file=truth.file)), truth


@pytest.mark.parametrize(
    ("builds_per_hour", "hours", "of_the_best", "share_error"),
    [(60, 24, 0.97, 0.03), (600, 8, 0.97, 0.03), (3000, 3, 0.95, 0.06)],
)
def test_attribution_is_nearly_as_right_as_the_true_parameters_are(
    tmp_path: Path, builds_per_hour: float, hours: float, of_the_best: float, share_error: float
) -> None:
    scored, truth = measured(
        tmp_path, *CSV_AND_WRAPPER, seed=11, builds_per_hour=builds_per_hour, hours=hours
    )
    best = truth.best(with_outcome=False)
    assert best is not None
    assert scored.top1 >= of_the_best * best.top1
    assert scored.share_error <= share_error
    assert scored.ece <= 0.03


@pytest.mark.parametrize(("delays", "top1", "share_error"), [("bimodal", 0.80, 0.06), ("flat", 0.78, 0.04)])
def test_no_shape_of_delays_is_taken_for_granted(
    tmp_path: Path, delays: str, top1: float, share_error: float
) -> None:
    scored, _ = measured(tmp_path, *CSV_AND_WRAPPER, seed=12, builds_per_hour=600, hours=24, delays=delays)
    assert scored.top1 >= top1
    assert scored.share_error <= share_error


def test_knowing_when_some_builds_were_over_does_no_harm(tmp_path: Path) -> None:
    files = (*CSV_AND_WRAPPER, "evidence/docker-events.jsonl")
    scored, _ = measured(tmp_path, *files, seed=21, builds_per_hour=600, hours=24, delays="flat")
    assert scored.top1 >= 0.78
    assert scored.share_error <= 0.04
    assert scored.ece <= 0.03


def test_what_runners_without_the_wrapper_sent_is_not_put_on_others(tmp_path: Path) -> None:
    scored, _ = measured(tmp_path, *CSV_AND_WRAPPER, seed=13, builds_per_hour=600, hours=12, coverage=0.7)
    assert scored.top1 >= 0.75
    assert scored.share_error <= 0.07


@pytest.mark.parametrize("offset", [3600.0, -20.0])
def test_a_clock_that_is_wrong_costs_next_to_nothing(tmp_path: Path, offset: float) -> None:
    scored, truth = measured(
        tmp_path, *CSV_AND_WRAPPER, seed=14, builds_per_hour=300, hours=12, offset=offset
    )
    best = truth.best(with_outcome=False)
    assert best is not None
    assert scored.top1 >= 0.97 * best.top1


def test_jobs_and_pods_name_the_runs_of_what_the_proxy_saw_and_these_names_are_right(tmp_path: Path) -> None:
    logs = (
        *CSV_AND_WRAPPER,
        "evidence/mitmproxy.jsonl",
        "evidence-jobs/jobs.jsonl",
        "evidence-jobs/pods.json",
    )
    scored, _ = measured(tmp_path, *logs, seed=15, builds_per_hour=300, hours=6)
    assert scored.exact >= 0.05 * scored.requests
    assert scored.exact_accuracy is not None
    assert scored.exact_accuracy >= 0.95
