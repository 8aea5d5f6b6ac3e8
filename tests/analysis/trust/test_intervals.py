"""How many 401s a day a workflow sends, between which bounds."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pytest

import ciforensics as ci
from ciforensics.analysis.answer import Attribution, attribute
from ciforensics.analysis.attribution.em import fit_model
from ciforensics.analysis.trust.slices import Slices, prune
from ciforensics.errors import CiforensicsError
from ciforensics.show import charts
from program import run

if TYPE_CHECKING:
    from pathlib import Path

    import duckdb

    from cases import Build

HOURS = 12
KEYS = ["ci_repo", "workflow"]


@pytest.fixture(scope="module")
def fleets(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Attribution, pl.DataFrame]]:
    """Three fleets of 60 builds an hour: what was found, and the 401s a day that they were drawn with."""
    return [one(tmp_path_factory.mktemp("fleet"), seed) for seed in (101, 102, 103)]


def one(folder: Path, seed: int) -> tuple[Attribution, pl.DataFrame]:
    size = ("--builds-per-hour", "60", "--hours", str(HOURS), "--seed", str(seed))
    run("simulate", "--out", folder, *size, cwd=folder)
    logs = (folder / "evidence" / name for name in ("github-support.csv", "docker-wrapper.jsonl"))
    ci.ingest(logs, case=folder / "case.duckdb")
    told = json.loads((folder / "truth" / "parameters.json").read_text())
    rates = [
        (
            workflow["ci_repo"],
            workflow["workflow"],
            24 * workflow["builds_per_hour"] * sum(sent["chance"] for sent in workflow["requests"]),
        )
        for workflow in told["workflows"]
    ]
    truth = pl.DataFrame(rates, schema=[*KEYS, "rate"], orient="row").filter(pl.col("rate") > 0)
    with ci.connect(folder / "case.duckdb") as con:
        return attribute(con), truth


def test_intervals_hold_the_rate_of_most_workflows_if_less_often_than_they_say(
    fleets: list[tuple[Attribution, pl.DataFrame]],
) -> None:
    inside = []
    for attribution, truth in fleets:
        both = truth.join(attribution.intervals(replicates=40), on=KEYS, how="left")
        inside += both.select(pl.col("rate").is_between("low", "high").fill_null(False)).to_series().to_list()
    assert len(inside) > 100
    assert 0.75 <= np.mean(inside) <= 0.97


def test_a_day_is_what_was_counted_over_the_days_that_were_recorded(
    fleets: list[tuple[Attribution, pl.DataFrame]],
) -> None:
    attribution, _ = fleets[0]
    rows = attribution.intervals(replicates=5)
    assert rows["per_day"].sum() == pytest.approx(len(attribution.candidates.requests) * 24 / HOURS, rel=0.01)
    both = rows.join(attribution.workflows, on="name")
    day = attribution.candidates.problem.seconds / 86_400
    np.testing.assert_allclose(both["per_day"] * day, both["requests"], rtol=0.02, atol=0.3)
    np.testing.assert_allclose(both["challenges_per_day"] * day, both["challenges"], rtol=0.02, atol=0.3)
    np.testing.assert_allclose(both["refused_per_day"] * day, both["refused"], rtol=0.02, atol=0.3)
    assert rows["per_day"].is_sorted(descending=True)
    assert rows.filter(pl.col("ci_repo").is_null())["name"].to_list() == ["unattributed"]


def test_a_higher_level_is_wider_and_the_same_seed_the_same(
    fleets: list[tuple[Attribution, pl.DataFrame]],
) -> None:
    attribution, _ = fleets[0]
    narrow, wide = (attribution.intervals(replicates=15, level=level) for level in (0.5, 0.95))
    assert narrow.equals(attribution.intervals(replicates=15, level=0.5))
    both = wide.join(narrow, on="name", suffix="_narrow")
    width, other = pl.col("high") - pl.col("low"), pl.col("high_narrow") - pl.col("low_narrow")
    assert both.select((width.sum() > 1.5 * other.sum()).all()).item()
    assert not narrow.equals(attribution.intervals(replicates=15, level=0.5, seed=1))


def test_the_edges_of_a_fit_are_all_that_fitting_again_needs(
    fleets: list[tuple[Attribution, pl.DataFrame]],
) -> None:
    attribution, _ = fleets[0]
    whole = attribution.candidates.problem
    part = prune(whole, attribution.fit)
    assert len(part.edges.request) < len(whole.edges.request)
    weights = Slices.of(attribution.candidates)
    even = weights.weighted(part, np.ones(weights.count))
    one, two = fit_model(even, start=attribution.fit), fit_model(whole, start=attribution.fit)
    np.testing.assert_allclose(one.pairs.requests, two.pairs.requests)
    assert one.prior == two.prior


def test_slices_share_out_all_that_was_recorded(fleets: list[tuple[Attribution, pl.DataFrame]]) -> None:
    attribution, _ = fleets[0]
    slices, problem = Slices.of(attribution.candidates), attribution.candidates.problem
    np.testing.assert_allclose(slices.seconds.sum(axis=0), problem.hours)
    assert (np.diff(slices.begins) >= 2 * 320).all()
    twice = slices.weighted(problem, np.full(slices.count, 2.0))
    np.testing.assert_allclose(twice.requests.weight, 2 * problem.requests.weight)
    assert twice.seconds == pytest.approx(2 * problem.seconds)
    last = slices.weighted(problem, np.arange(slices.count) == slices.count - 1)
    for weight, times in ((last.requests.weight, slices.asked), (last.builds.exposure, slices.started)):
        assert 0 < weight.sum() < 0.1 * len(weight)
        assert (times[weight > 0] >= slices.begins[-2]).all()


def test_what_a_key_names_counts_whole(fleets: list[tuple[Attribution, pl.DataFrame]]) -> None:
    attribution, _ = fleets[0]
    name = pl.lit("acme/keyed")
    requests = attribution.candidates.requests.with_columns(
        basis=pl.lit("address"), ci_repo=name, workflow=pl.lit("CI"), run_id=pl.lit("1")
    )
    every = np.ones(len(requests), dtype=bool)
    problem = attribution.candidates.problem
    problem = replace(problem, requests=replace(problem.requests, keyed=every))
    keyed = replace(
        attribution, candidates=replace(attribution.candidates, requests=requests, problem=problem)
    )
    (row,) = keyed.intervals(replicates=20).rows(named=True)
    assert row["name"] == "acme/keyed · CI"
    assert row["per_day"] == pytest.approx(len(requests) * 86_400 / problem.seconds)
    assert row["low"] < row["per_day"] < row["high"]


LINE = '{{"ts":"2026-11-24T03:00:{:02}Z","repo":"acme/web","workflow":"CI","run_id":"{}","cmd":"build"}}\n'
CSV = "timestamp,method,url,status,user_agent,content_length\n" + "".join(
    f"2026-11-24T03:00:{second:02}Z,GET,https://github.com/acme/lib.git/info/refs,401,git/2,22\n"
    for second in range(5, 50, 5)
)


def test_a_minute_of_log_has_no_interval(case: Build) -> None:
    built = "".join(LINE.format(second, second) for second in range(0, 40, 5))
    rows = attribute(case(**{"github.csv": CSV, "wrapper.jsonl": built})).intervals(replicates=5)
    assert rows["per_day"].sum() > 0
    assert rows["low"].null_count() == rows["high"].null_count() == len(rows)


def test_workflows_that_always_run_together_are_one_row(case: Build) -> None:
    both = "".join(
        LINE.format(second, second) + LINE.replace("web", "api").format(second, 100 + second)
        for second in range(0, 40, 5)
    )
    attribution = attribute(case(**{"github.csv": CSV, "wrapper.jsonl": both}))
    names = set(attribution.intervals(replicates=0)["name"])
    assert names - {"unattributed"} == {"acme/api · CI or acme/web · CI"}
    assert set(attribution.workflows["name"]) <= names


def test_a_case_without_requests_has_no_rows(con: duckdb.DuckDBPyConnection) -> None:
    assert attribute(con).intervals(replicates=3).is_empty()


@pytest.mark.parametrize("options", [{"level": 0}, {"level": 1}, {"level": 90}, {"replicates": -1}])
def test_a_level_that_is_no_share_is_refused(
    con: duckdb.DuckDBPyConnection, options: dict[str, float]
) -> None:
    with pytest.raises(CiforensicsError, match="no interval of level"):
        attribute(con).intervals(**options)  # type: ignore[arg-type]


def test_a_chart_tells_each_range_and_sums_up_the_others() -> None:
    rows = pl.DataFrame(
        {
            "name": ["acme/web · CI", "acme/api · CI", "a", "b", "c"],
            "per_day": [120.0, 30.5, 4.0, 3.0, 2.0],
            "low": [100.0, 20.0, None, None, None],
            "high": [140.0, 45.0, None, None, None],
            "challenges_per_day": [120.0, 0.0, 4.0, 3.0, 2.0],
            "refused_per_day": [0.0, 30.5, 0.0, 0.0, 0.0],
        }
    )
    chart = charts.intervals(rows, title="Who?", top=2)
    assert repr(chart) == (
        "Who? 160 401s a day: challenge (129), refused (30). "
        "acme/web · CI: 120 (100 to 140), acme/api · CI: 30 (20 to 45), others (3): 9."
    )
    assert chart.png().startswith(b"\x89PNG")


def test_a_chart_of_nobody_says_so() -> None:
    names = ["name", "per_day", "low", "high", "challenges_per_day", "refused_per_day"]
    assert repr(charts.intervals(pl.DataFrame(schema=names), title="Who?")) == "Who? No rows."
