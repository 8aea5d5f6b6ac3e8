"""How far a migration is: states, fall backs, the effect of moving and what remains."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pytest

import ciforensics as ci
from ciforensics.analysis.attribution.periods import find_changes
from ciforensics.analysis.migration.rest import forecast_end
from ciforensics.analysis.migration.states import STATES, follow
from ciforensics.fleet import logs, simulate
from ciforensics.fleet.model import Client, Errand, Parameters, Pool, Workflow

if TYPE_CHECKING:
    from pathlib import Path

    from ciforensics.analysis.migration.progress import Progress

STOCK = Client("git/2.39.5")
GOLDEN = Client("git/2.47.3 proactive", proactive=True)
TOO_OLD = Client("git/2.39.5 proactive")
START = datetime(2026, 3, 17, 6, tzinfo=UTC)
STOCK_BUILD, GOLDEN_BUILD, OTHER = [1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]


def flow(repo: str, git: Client, *libraries: str, per_hour: float = 3, **given: object) -> Workflow:
    fetches = tuple(Errand("git", f"acme/{library}", chance=0.95) for library in libraries)
    return replace(Workflow(repo, "CI", "build", per_hour, git, fetches, ("arc",)), **given)  # type: ignore[arg-type]


def made(
    folder: Path, *flows: Workflow, hours: float = 8, seed: int = 1, more: dict[str, list[str]] | None = None
) -> Path:
    """A case of GitHub's CSV and the docker wrapper's log of such workflows, and more logs."""
    pools = (Pool("arc", (("node-a", 41),)),)
    fleet = simulate(Parameters(seed, START, hours, flows, pools))
    (folder / "logs").mkdir(parents=True)
    (folder / "logs/github.csv").write_text(logs.github_csv(fleet))
    wrapper = {"docker-wrapper.jsonl": logs.docker_wrapper(fleet, 0), **(more or {})}
    for name, lines in wrapper.items():
        (folder / "logs" / name).write_text("".join(f"{line}\n" for line in lines))
    ci.ingest([folder / "logs"], case=folder / "case.duckdb")
    return folder / "case.duckdb"


def progress(case: Path, *, sample: bool = False) -> Progress:
    return ci.measure_progress(ci.connect(case), sample=sample)


def scanned(repo: str, digest: str | None, served_by: str) -> str:
    return json.dumps(
        {
            "ts": "2026-03-17T14:00:00Z",
            "ci_repo": repo,
            "dockerfile": "Dockerfile",
            "line": 1,
            "instruction": "FROM",
            "reference": "golang:1.24",
            "image": "golang",
            "image_tag": "1.24",
            "image_digest": digest,
            "registry": "docker.io",
            "served_by": served_by,
            "reason": "as it is",
        }
    )


def pulled(repo: str, image: str) -> str:
    event = {
        "Type": "image",
        "Action": "pull",
        "Actor": {"ID": image, "Attributes": {"name": image.partition("@")[0]}},
        "timeNano": 1773730000000000000,
        "time": 1773730000,
    }
    return json.dumps(event | {"repo": repo, "workflow": "CI", "job": "build", "run_id": "1"})


@pytest.fixture(scope="module")
def every_state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    digest = f"sha256:{'ab' * 32}"
    return made(
        tmp_path_factory.mktemp("states"),
        flow("acme/stock", STOCK, "a", "b"),
        flow("acme/golden", GOLDEN, "c", "d"),
        flow("acme/old", TOO_OLD, "e", "f"),
        flow("acme/moves", STOCK, "g", "h", migrates=(4, GOLDEN)),
        flow("acme/falls", STOCK, "i", "j", migrates=(2, GOLDEN), falls_back=5),
        flow("acme/mixed", STOCK, "k"),
        flow("acme/mixed", GOLDEN, "k"),
        flow("acme/silent", STOCK),
        flow("acme/pins", STOCK, "l", "m"),
        flow("acme/pulls-pinned", STOCK, "n", "o"),
        more={
            "scan.jsonl": [
                scanned("acme/pins", digest, "bypassed"),
                scanned("acme/stock", None, "cache"),
                scanned("acme/golden", digest, "bypassed"),
            ],
            "events.jsonl": [
                pulled("acme/pulls-pinned", f"golang@{digest}"),
                pulled("acme/stock", "golang:1"),
            ],
        },
    )


def test_each_workflow_is_in_the_state_that_its_last_builds_show(every_state: Path) -> None:
    states = progress(every_state).states
    assert dict(states.select("ci_repo", "state").rows()) == {
        "acme/stock": "stock",
        "acme/golden": "golden",
        "acme/old": "tagged, too old",
        "acme/moves": "golden",
        "acme/falls": "stock",
        "acme/mixed": "mixed",
        "acme/silent": "silent",
        "acme/pins": "pinned by digest",
        "acme/pulls-pinned": "pinned by digest",
    }
    moved = states.row(by_predicate=pl.col("ci_repo") == "acme/moves", named=True)
    moment = START.replace(tzinfo=None) + timedelta(hours=4)
    assert moved["last_stock"] < moment <= moved["since"] < moved["last_golden"]
    assert states.row(by_predicate=pl.col("ci_repo") == "acme/stock", named=True)["last_golden"] is None


def test_who_was_golden_and_is_stock_again_is_a_regression_and_who_moved_for_good_is_none(
    every_state: Path,
) -> None:
    (fell,) = progress(every_state).regressions.iter_rows(named=True)
    start = START.replace(tzinfo=None)
    assert (fell["ci_repo"], fell["to"], fell["state_now"]) == ("acme/falls", "stock", "stock")
    assert start + timedelta(hours=2) <= fell["golden_from"] < start + timedelta(hours=3)
    assert start + timedelta(hours=5) <= fell["fell_back"] < start + timedelta(hours=6.5)


def test_three_denominators_each_add_up_and_a_sample_has_an_interval(every_state: Path) -> None:
    exact, sampled = progress(every_state), progress(every_state, sample=True)
    sums = exact.denominators.group_by("denominator").agg(pl.col("share").sum())
    assert sorted(sums["denominator"]) == ["CI repos", "builds", "requests"]
    assert sums["share"].to_list() == pytest.approx([1, 1, 1])
    assert exact.golden["low"].null_count() == 3
    requests = sampled.golden.row(0, named=True)
    assert requests["low"] < requests["share"] < requests["high"]
    repos = dict(exact.denominators.filter(denominator="CI repos").select("class", "count").rows())
    assert repos["golden"] == 2
    assert repos["pinned by digest"] == 2


def test_what_is_pinned_is_outside_of_what_the_mirror_can_remove(every_state: Path) -> None:
    moved = progress(every_state)
    reach = dict(moved.holdouts.select("ci_repo", "within_reach").rows())
    assert reach["acme/stock"]
    assert not reach["acme/pins"]
    assert "acme/golden" not in reach
    assert "acme/silent" not in reach
    by_reach = dict(moved.burn_down.group_by("reach").agg(pl.col("challenges").sum()).rows())
    assert by_reach["pinned by digest"] > 50
    total = moved.attribution.candidates.requests.filter(outcome="challenge").height
    assert sum(by_reach.values()) == pytest.approx(total)
    assert moved.pinned.row(0)[0] == 2


def test_with_few_repositories_that_moved_a_sentence_says_so_and_there_is_no_interval(
    every_state: Path,
) -> None:
    moved = progress(every_state)
    assert moved.effect["low"].to_list() == [None]
    assert moved.effect["effect"][0] == pytest.approx(-1.9, abs=0.4)
    assert "only 2 of the repositories moved" in moved.verdict.text
    assert "whole days" in moved.outlook.text


def test_the_effect_is_what_builds_no_longer_send_with_an_interval_that_holds_it(tmp_path: Path) -> None:
    flows = [
        flow(
            f"acme/r{n}",
            STOCK,
            f"a{n}",
            f"b{n}",
            "lib",
            per_hour=5,
            migrates=(2 + n / 2, GOLDEN) if n < 5 else None,
        )
        for n in range(10)
    ]
    moved = progress(made(tmp_path, *flows))
    (row,) = moved.effect.iter_rows(named=True)
    assert (row["moved"], row["not_moved"], row["why"]) == (5, 5, None)
    assert row["low"] <= -2.85 <= row["high"]  # three libraries, each in 95 % of the builds
    assert row["high"] < -2
    assert "A build of a moved workflow sends" in moved.verdict.text
    before = moved.event_time.filter(pl.col("event_time") < 0)
    after = moved.event_time.filter(pl.col("event_time") > 0)
    assert before["unauthorized"].mean() == pytest.approx(2.8, abs=0.4)
    assert after["unauthorized"].mean() == pytest.approx(0, abs=0.1)


def test_who_moved_late_is_found_though_most_of_its_builds_were_stock(tmp_path: Path) -> None:
    busy = [flow(f"acme/r{n}", STOCK, "lib", "tools", per_hour=8) for n in range(3)]
    late = flow("acme/late", STOCK, "lib", "own", per_hour=6, migrates=(6.5, GOLDEN))
    moved = progress(made(tmp_path, *busy, late))
    assert dict(moved.states.select("ci_repo", "state").rows())["acme/late"] == "golden"


def test_keys_name_who_sent_golden_requests_too_and_no_build_need_be_known(tmp_path: Path) -> None:
    flows = (
        flow("acme/moves", STOCK, "a", "b", per_hour=5, migrates=(4, GOLDEN)),
        flow("acme/stays", STOCK, "a", "b", per_hour=5),
    )
    fleet = simulate(Parameters(1, START, 8, flows, (Pool("arc", (("node-a", 41),), proxy="mitmproxy"),)))
    (tmp_path / "mitmproxy.jsonl").write_text("".join(f"{line}\n" for line in logs.mitmproxy(fleet)))
    (tmp_path / "pods.json").write_text(logs.pods(fleet))
    (tmp_path / "jobs.jsonl").write_text("".join(f"{line}\n" for line in logs.jobs(fleet)))
    ci.ingest([tmp_path], case=tmp_path / "case.duckdb")
    moved = progress(tmp_path / "case.duckdb")
    assert dict(moved.states.select("ci_repo", "state").rows()) == {
        "acme/moves": "golden",
        "acme/stays": "stock",
    }
    assert moved.states["exact_share"].min() == 1


def test_one_build_of_another_class_changes_no_state() -> None:
    states, sure = follow(np.array([STOCK_BUILD] * 5 + [GOLDEN_BUILD] + [STOCK_BUILD] * 5))
    assert {STATES[state] for state in states} == {"stock"}
    assert sure > 0.9


def test_builds_that_send_both_in_turn_are_mixed() -> None:
    states, _ = follow(np.array([STOCK_BUILD, GOLDEN_BUILD] * 8))
    assert {STATES[state] for state in states} == {"mixed"}


def test_rates_change_where_they_do_and_not_by_chance() -> None:
    rng = np.random.default_rng(0)
    steady = (rng.random((200, 4)) < [0.5, 0, 0, 0]).astype(float)
    assert find_changes(steady) == []
    assert find_changes(np.array([STOCK_BUILD] * 9 + [OTHER] * 9)) == [9]


def test_a_forecast_is_a_range_and_its_early_end_is_that_of_the_quick_weeks() -> None:
    left = np.repeat([100.0, 90, 80, 60, 50], 7)
    (row,) = forecast_end(left, days=35).iter_rows(named=True)
    assert row["why"] is None
    assert row["remaining"] == 50
    assert 14 < row["low"] < 50 * 34 / 50 < row["high"]


@pytest.mark.parametrize(
    ("left", "days", "why"),
    [
        ([100.0] * 5, 5, "5 whole days"),
        ([100.0] * 30, 30, "no workflow moved lately"),
        ([0.0] * 30, 30, "nothing is left"),
        ([10.0 + n for n in range(30)], 30, "does not end"),
        ([], 0, "no known build"),
    ],
)
def test_where_a_forecast_cannot_be_made_it_says_why(left: list[float], days: int, why: str) -> None:
    (row,) = forecast_end(np.array(left), days=days).iter_rows(named=True)
    assert why in row["why"]
    assert row["low"] is None
