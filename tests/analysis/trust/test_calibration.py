"""Probabilities are held against keys that the fit did not see, and put right where they are too sure."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pytest

import ciforensics as ci
from ciforensics.analysis.answer import attribute
from ciforensics.analysis.attribution import candidates
from ciforensics.analysis.attribution.candidates import Candidates, hide_keys
from ciforensics.analysis.attribution.clues import Clue
from ciforensics.analysis.attribution.em import fit_model
from ciforensics.analysis.trust.calibration import Guesses, calibrate, temper
from ciforensics.analysis.trust.checks import run_checks
from ciforensics.fleet.score import read_truth
from ciforensics.show import charts
from program import run

if TYPE_CHECKING:
    from pathlib import Path

    import duckdb

RUN = ("ci_repo", "workflow", "job", "run_id")


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight hours of 200 builds an hour, three of ten without the wrapper."""
    folder = tmp_path_factory.mktemp("fleet")
    size = ("--builds-per-hour", "200", "--hours", "8", "--coverage", "0.7", "--seed", "5")
    run("simulate", "--out", folder, *size, cwd=folder)
    logs = (folder / "evidence" / name for name in ("github-support.csv", "docker-wrapper.jsonl"))
    ci.ingest(logs, case=folder / "case.duckdb")
    return folder


@pytest.fixture(scope="module")
def gathered(fleet: Path) -> Candidates:
    with ci.connect(fleet / "case.duckdb") as con:
        return candidates.gather(con, build_window_s=320, offset_s=0, observer=None)


@pytest.fixture(scope="module")
def senders(fleet: Path) -> pl.DataFrame:
    """By line the run that sent it, where a build with the wrapper did."""
    return read_truth(fleet / "truth").requests.drop_nulls("run_id").select("line_no", *RUN)


def with_keys(gathered: Candidates, senders: pl.DataFrame, *, share: float) -> Candidates:
    """The same evidence, had so many of the known runs a key."""
    runs = senders["run_id"].unique().sort()
    known = runs.sample(fraction=share, seed=1)
    told = senders.filter(pl.col("run_id").is_in(known.implode()))
    requests = gathered.requests.drop(RUN).join(told, on="line_no", how="left", maintain_order="left")
    basis = pl.when(pl.col("run_id").is_not_null()).then(pl.lit("address"))
    requests = requests.with_columns(basis=basis)
    keyed = requests["basis"].is_not_null().to_numpy()
    told_of = replace(gathered.problem, requests=replace(gathered.problem.requests, keyed=keyed))
    changed = replace(gathered, requests=requests, problem=told_of)
    return hide_keys(changed, np.zeros(len(requests), dtype=bool))


def test_without_enough_keys_it_says_what_the_probabilities_rest_on(gathered: Candidates) -> None:
    calibration = calibrate(gathered)
    assert calibration.verdict == (
        "calibrated only if the model holds: 0 of the 500 requests with a key that a check takes"
    )
    assert (calibration.temperature, calibration.ece, len(calibration.reliability)) == (1.0, None, 0)


def test_an_unpinned_request_is_as_one_that_never_had_a_key(
    gathered: Candidates, senders: pl.DataFrame
) -> None:
    keyed = with_keys(gathered, senders, share=0.3)
    assert len(keyed.problem.edges.request) < len(gathered.problem.edges.request)
    again = hide_keys(keyed, keyed.problem.requests.keyed).problem
    assert not again.requests.keyed.any()
    for name in ("request", "build", "lag"):
        np.testing.assert_array_equal(getattr(again.edges, name), getattr(gathered.problem.edges, name))


def test_unpinning_some_leaves_the_edges_of_the_others(gathered: Candidates, senders: pl.DataFrame) -> None:
    keyed = with_keys(gathered, senders, share=0.3)
    which = keyed.problem.requests.keyed & (np.arange(len(keyed.requests)) % 2 == 0)
    factor = np.arange(len(keyed.problem.edges.request), dtype=np.float32) + 2
    edges = replace(keyed.problem.edges, factors={Clue.SAME_REQUEST: factor})
    weighed = replace(keyed, problem=replace(keyed.problem, edges=edges))
    before, after = weighed.problem, hide_keys(weighed, which).problem
    other_before, other_after = ~which[before.edges.request], ~which[after.edges.request]
    weighed_before, weighed_after = (of.edges.factors[Clue.SAME_REQUEST] for of in (before, after))
    np.testing.assert_array_equal(before.edges.build[other_before], after.edges.build[other_after])
    np.testing.assert_array_equal(weighed_before[other_before], weighed_after[other_after])
    assert (weighed_after[~other_after] == 1).all(), "what its key rests on is not known either"


@pytest.fixture(scope="module")
def checked(gathered: Candidates, senders: pl.DataFrame) -> Candidates:
    return with_keys(gathered, senders, share=0.4)


def test_requests_with_a_key_show_that_the_probabilities_are_right(checked: Candidates) -> None:
    calibration = calibrate(checked)
    assert calibration.pins >= 500
    assert calibration.ece is not None
    assert calibration.ece < 0.03
    last = calibration.reliability.tail(10)
    assert last["requests"].sum() <= calibration.pins
    assert (last["low"] <= last["observed"]).all()
    assert (last["observed"] <= last["high"]).all()
    # Runs without the wrapper have no key: that nobody is never right here says nothing.
    assert calibration.temperature == 1, "so little is not worth it"
    assert not calibration.reliability["recalibrated"].any()
    assert "points off on average, where chance makes" in calibration.verdict


def test_keys_that_are_wrong_are_not_what_a_fit_without_them_says(gathered: Candidates) -> None:
    """Were a request's key seen while it is predicted, the model would say what the key says."""
    problem, rng = gathered.problem, np.random.default_rng(2)
    order = rng.permutation(len(problem.edges.request))
    request, first = np.unique(problem.edges.request[order], return_index=True)
    run_of = gathered.builds["run"].to_numpy()[problem.edges.build[order[first]]]
    lies = pl.DataFrame({"request": request, "run": run_of}).cast({"request": pl.UInt32}).sample(1500, seed=4)
    names = gathered.runs.with_row_index("run").cast({"run": pl.Int32})
    told = lies.join(names, on="run").join(gathered.requests.select("request", "line_no"), on="request")
    calibration = calibrate(with_keys(gathered, told.select("line_no", *RUN), share=1))
    assert calibration.pins > 1000
    before = calibration.reliability.filter(~pl.col("recalibrated"))
    assert before.select((pl.col("predicted") > 0.8).any() & (pl.col("observed") < 0.5).all()).item()
    assert calibration.temperature > 1.5
    assert calibration.ece is not None
    assert calibration.ece_before is not None
    assert calibration.ece < calibration.ece_before / 2
    assert calibration.reliability["recalibrated"].sum() == len(before)
    assert f"as recalibrated (temperature {calibration.temperature:.2f}; before it" in calibration.verdict


def guesses(rng: np.random.Generator, *, sharpened: float) -> Guesses:
    """Two thousand requests, four candidates each; said is more sure than is right by this power."""
    true = rng.dirichlet(np.ones(4), 2000)
    sender = (true.cumsum(axis=1) < rng.random((2000, 1))).sum(axis=1)
    said = true**sharpened
    said /= said.sum(axis=1, keepdims=True)
    request, workflow = np.divmod(np.arange(8000), 4)
    return Guesses(request, workflow, said.ravel(), workflow == sender[request])


@pytest.mark.parametrize("sharpened", [0.5, 1.0, 2.0, 3.0])
def test_a_temperature_undoes_what_is_too_sure_or_too_unsure(sharpened: float) -> None:
    made = guesses(np.random.default_rng(7), sharpened=sharpened)
    assert made.temperature() == pytest.approx(sharpened, rel=0.1)
    assert made.temper(made.temperature()).loss() <= made.loss()


@pytest.mark.parametrize("temperature", [0.5, 2.0])
def test_tempering_moves_mass_between_workflows_only(checked: Candidates, temperature: float) -> None:
    fit = fit_model(checked.problem)
    after = temper(checked, fit, temperature)
    request = checked.problem.edges.request[fit.posterior.edge]
    size = len(fit.posterior.unexplained)
    before, now = (np.bincount(request, each.posterior.probability, size) for each in (fit, after))
    np.testing.assert_allclose(before, now, atol=1e-9)
    np.testing.assert_array_equal(fit.posterior.unexplained, after.posterior.unexplained)
    keyed = checked.problem.requests.keyed[request]
    np.testing.assert_array_equal(fit.posterior.probability[keyed], after.posterior.probability[keyed])
    most = np.zeros((2, size))
    for row, each in zip(most, (fit, after), strict=True):
        np.maximum.at(row, request[~keyed], each.posterior.probability[~keyed])
    assert (most[1].mean() > most[0].mean()) == (temperature < 1)


def test_a_temperature_of_one_changes_nothing(checked: Candidates) -> None:
    fit = fit_model(checked.problem)
    np.testing.assert_allclose(
        temper(checked, fit, 1.0).posterior.probability, fit.posterior.probability, rtol=1e-9
    )


def test_a_model_that_fits_is_not_far_from_what_it_did_not_see(gathered: Candidates) -> None:
    check = run_checks(gathered, fit_model(gathered.problem))
    assert check.counts > 100
    assert check.far < 0.02
    assert check.late < 0.01
    assert check.delays["expected"].sum() == pytest.approx(check.delays["observed"].sum(), rel=0.05)
    assert check.worst["z"].abs().is_sorted(descending=True)
    assert check.verdict.startswith(f"{check.far:.1%}".replace("%", ""))


def test_a_burst_that_no_build_explains_is_far_off(gathered: Candidates) -> None:
    """Sixty times as many requests in ten minutes: what the slices beside them say is far less."""
    one = gathered.requests.row(len(gathered.requests) // 2, named=True)
    near = (pl.col("shard") == one["shard"]) & ((pl.col("second") - one["second"]).abs() < 300)
    weight = np.where(gathered.requests.select(near).to_series(), 60.0, gathered.problem.requests.weight)
    asked = replace(gathered.problem.requests, weight=weight)
    burst = replace(gathered, problem=replace(gathered.problem, requests=asked))
    worst = run_checks(burst, fit_model(gathered.problem)).worst.row(0, named=True)
    assert abs(worst["z"]) > 5
    assert worst["url"] == one["url"]


def test_a_window_that_cuts_the_delays_shows_as_late_mass(fleet: Path) -> None:
    with ci.connect(fleet / "case.duckdb") as con:
        short = candidates.gather(con, build_window_s=40, offset_s=0, observer=None)
        attribution = attribute(con, build_window_s=40, offset_s=0)
    late = run_checks(short, fit_model(short.problem)).late
    assert late > 0.03
    said = f"{100 * late:.1f} % of the delays are in the last tenth of the window of 40 s"
    assert said in " ".join(map(str, attribution.remarks))


def test_a_case_without_requests_is_checked_without_a_word_too_many(con: duckdb.DuckDBPyConnection) -> None:
    attribution = attribute(con)
    assert attribution.calibration.pins == 0
    assert attribution.checks.verdict.startswith("no check: ")
    assert attribution.checks.worst.is_empty()


def rows(*points: tuple[float, float, int, bool]) -> pl.DataFrame:
    names = ("predicted", "observed", "requests", "recalibrated")
    frame = pl.DataFrame(points, schema=names, orient="row")
    return frame.with_columns(
        low=(pl.col("observed") - 0.1).clip(0), high=(pl.col("observed") + 0.1).clip(0, 1)
    )


def test_a_reliability_chart_tells_each_point_and_both_versions() -> None:
    frame = rows((0.6, 0.5, 100, False), (1.0, 0.9, 101, False), (0.5, 0.5, 100, True))
    chart = charts.reliability(frame, title="Right?")
    assert repr(chart) == (
        "Right? as the model says: 60.0 % said, 50.0 % right (100 requests), "
        "100.0 % said, 90.0 % right (101 requests); recalibrated: 50.0 % said, 50.0 % right (100 requests)."
    )
    assert chart.png().startswith(b"\x89PNG")


def test_points_that_hide_one_another_are_counted_in_the_legend() -> None:
    frame = rows((0.5, 0.5, 9, False), (0.999, 1.0, 9, False), (1.0, 1.0, 9, False))
    spec: dict[str, Any] = charts.reliability(frame, title="Right?").spec.to_dict()
    assert "2 of 3 points above 99 %" in str(spec["datasets"])


def test_a_chart_of_delays_tells_what_was_and_what_was_to_be() -> None:
    frame = pl.DataFrame(
        {"delay_s": [0, 1, 3], "to_s": [1, 3, 9], "observed": [1.0, 10.0, 6.0], "expected": [2.0, 8.0, 6.0]}
    )
    chart = charts.expected_counts(frame, title="When?")
    assert repr(chart).startswith("When? 17 observed, 16 expected; most per second at 1 to 3 s: 5 observed")
    assert chart.png().startswith(b"\x89PNG")


def test_charts_of_nothing_say_so() -> None:
    empty = rows((0.5, 0.5, 1, False)).clear()
    assert repr(charts.reliability(empty, title="Right?")) == "Right? No rows."
    delays = pl.DataFrame(schema=["delay_s", "to_s", "observed", "expected"])
    assert repr(charts.expected_counts(delays, title="When?")) == "When? No rows."
