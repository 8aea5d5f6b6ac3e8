"""The model behind the attribution: rates that are mostly zero, delays of any shape, shards apart."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ciforensics.analysis.attribution import delays
from ciforensics.analysis.attribution.clues import Clue
from ciforensics.analysis.attribution.em import fit_model
from ciforensics.analysis.attribution.problem import Builds, Edges, Pairs, Problem, Requests
from ciforensics.analysis.attribution.rates import SpikeAndSlab, shrink
from ciforensics.analysis.attribution.steps import cut_batches

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ciforensics.analysis.attribution.fit import Fit

DAY = 24 * 3600


def problem(
    asked: list[tuple[int, int, int]], builds: list[tuple[int, int]], *, build_window_s: int = 320
) -> Problem:
    """A day's requests (second, shard, outcome) and builds (second, task), with every edge in the window."""
    asked, builds = sorted(asked, key=lambda one: (one[1], one[0])), sorted(builds)
    edges = [
        (request, build, second - start)
        for request, (second, _, _) in enumerate(asked)
        for build, (start, _) in enumerate(builds)
        if 0 <= second - start <= build_window_s
    ]
    seconds, shards, outcomes = np.array(asked).T
    request, build, lag = np.array(edges, dtype=np.int32).reshape(-1, 3).T
    return Problem(
        requests=Requests(
            shard=shards.astype(np.int32),
            outcome=outcomes.astype(np.int8),
            hour=(seconds // 3600).astype(np.int32),
            keyed=np.zeros(len(asked), dtype=bool),
            weight=np.ones(len(asked)),
            n_shards=int(shards.max()) + 1,
            n_outcomes=int(outcomes.max()) + 1,
        ),
        builds=Builds(
            task=np.array([task for _, task in builds], dtype=np.int32),
            exposure=np.ones(len(builds)),
            life=np.full(len(builds), build_window_s, dtype=np.int32),
            n_tasks=max(task for _, task in builds) + 1,
        ),
        edges=Edges(request, build, lag, factors={}),
        hours=np.full(24, 3600.0),
        bins=delays.Bins.up_to(build_window_s),
    )


def fleet(seed: int = 1, tasks: int = 6, per_task: int = 60) -> Problem:
    """Task n asks shard n in every build and shard n + 1 in every second one; shard 0 has a background."""
    rng = np.random.default_rng(seed)
    builds, asked = [], []
    for task in range(tasks):
        for start in rng.integers(0, DAY - 400, per_task):
            builds.append((int(start), task))
            for shard, chance in ((task, 1.0), ((task + 1) % tasks, 0.5)):
                if rng.random() < chance:
                    asked.append((int(start + 25 * rng.lognormal(0, 0.5)), shard, task % 2))
    asked += [(int(second), 0, 0) for second in rng.integers(0, DAY, 40)]
    return problem(asked, builds)


def rates(fit: Fit) -> dict[tuple[int, int], float]:
    return {
        (int(task), int(shard)): float(rate)
        for task, shard, rate in zip(fit.pairs.task, fit.pairs.shard, fit.pairs.rate, strict=True)
        if rate > 0.02
    }


def test_rates_of_pairs_that_are_real_are_found_and_no_others() -> None:
    found_rates = rates(fit_model(fleet()))
    assert set(found_rates) == {(task, shard % 6) for task in range(6) for shard in (task, task + 1)}
    assert all(found_rates[task, task] == pytest.approx(1.0, abs=0.15) for task in range(6))
    assert all(found_rates[task, (task + 1) % 6] == pytest.approx(0.5, abs=0.2) for task in range(6))


def test_what_no_build_explains_is_left_to_the_background() -> None:
    made = fleet()
    fit = fit_model(made)
    assert fit.posterior.unexplained[made.requests.shard == 0].sum() == pytest.approx(40, abs=12)
    assert fit.posterior.unexplained[made.requests.shard != 0].sum() < 12


def test_probabilities_of_a_request_sum_to_one() -> None:
    made = fleet()
    fit = fit_model(made)
    total = fit.posterior.unexplained + np.bincount(
        made.edges.request[fit.posterior.edge], fit.posterior.probability, len(made.requests.shard)
    )
    assert total == pytest.approx(np.ones(len(made.requests.shard)))


def test_a_key_teaches_and_is_never_overruled() -> None:
    made = fleet()
    build = made.edges.build[0]
    keyed = np.zeros(len(made.requests.shard), dtype=bool)
    keyed[made.edges.request[0]] = True
    keep = ~keyed[made.edges.request] | (made.edges.build == build)
    told = replace(made, requests=replace(made.requests, keyed=keyed), edges=made.edges.only(keep))
    fit = fit_model(told)
    of_it = told.edges.request[fit.posterior.edge] == made.edges.request[0]
    assert fit.posterior.probability[of_it].sum() == pytest.approx(1.0)
    assert set(told.edges.build[fit.posterior.edge[of_it]]) == {build}


def test_evidence_of_where_a_build_ran_moves_its_requests() -> None:
    made = fleet()
    fit = fit_model(made)
    close = int(np.argmax((fit.posterior.probability > 0.3) & (fit.posterior.probability < 0.7)))
    edge = fit.posterior.edge[close]
    factor = np.ones(len(made.edges.request), dtype=np.float32)
    factor[edge] = 100
    moved = fit_model(replace(made, edges=replace(made.edges, factors={Clue.SAME_REQUEST: factor})))
    assert moved.posterior.probability[moved.posterior.edge == edge] > max(
        0.9, float(fit.posterior.probability[close])
    )


def test_a_fit_goes_on_from_another_and_stays_there() -> None:
    made = fleet()
    first = fit_model(made)
    again = fit_model(made, start=first)
    assert rates(again).keys() == rates(first).keys()
    assert again.posterior.unexplained == pytest.approx(first.posterior.unexplained, abs=0.05)


def test_shards_in_batches_of_their_own_add_up_to_all_edges() -> None:
    made = fleet()
    pairs = Pairs.of(made)
    active = np.ones(len(pairs.task), dtype=bool)
    batches = cut_batches(made, pairs, active)
    assert np.concatenate([batch.edge for batch in batches]).tolist() == list(range(len(made.edges.request)))


def test_builds_that_were_over_early_say_nothing_of_what_comes_late() -> None:
    rng = np.random.default_rng(1)
    starts = np.sort(rng.integers(0, DAY - 400, 800))
    lives = rng.choice([40, 320], 800).astype(np.int32)
    lags = rng.integers(0, 150, 800)
    asked = [(int(second), 0, 0) for second in (starts + lags)[lags <= lives]]
    asked += [(int(second), 0, 0) for second in rng.integers(0, DAY, 60)]
    made = problem(asked, [(int(start), 0) for start in starts])
    alive = made.edges.lag <= lives[made.edges.build]
    fit = fit_model(replace(made, builds=replace(made.builds, life=lives), edges=made.edges.only(alive)))
    assert rates(fit) == {(0, 0): pytest.approx(1.0, abs=0.06)}
    soon, late = (fit.delays.by_pair[0, made.bins.of_second[lag]] for lag in (25, 100))
    assert late == pytest.approx(soon, rel=0.3)


def test_no_builds_near_any_request_leave_everything_to_the_background() -> None:
    made = problem([(5_000, 0, 0), (6_000, 1, 0)], [(10, 0)])
    fit = fit_model(made)
    assert fit.posterior.unexplained.tolist() == [1.0, 1.0]
    assert len(fit.posterior.edge) == 0


def _two_humps(rng: np.random.Generator) -> NDArray[np.float64]:
    return rng.choice([6.0, 100.0], 4000) * rng.lognormal(0, 0.25, 4000)


@pytest.mark.parametrize(
    ("drawn", "likely", "unlikely"),
    [
        (lambda rng: 25 * rng.lognormal(0, 0.5, 4000), 22, 200),
        (_two_humps, 100, 30),
        (lambda rng: rng.uniform(0, 150, 4000), 75, 250),
    ],
    ids=["log-normal", "two humps", "flat"],
)
def test_delays_take_the_shape_that_the_data_have(drawn: object, likely: int, unlikely: int) -> None:
    bins = delays.Bins.up_to(320)
    lags = drawn(np.random.default_rng(1))  # type: ignore[operator]
    histogram = np.bincount(bins.of_second[lags.astype(int).clip(0, 320)], minlength=len(bins.widths))
    learned = delays.learn(histogram[None].astype(float), np.zeros(1, dtype=np.int32), 1, bins, 20.0)
    density = learned.by_pair[0]
    assert (density * bins.widths).sum() == pytest.approx(1.0)
    assert density[bins.of_second[likely]] > 3 * density[bins.of_second[unlikely]]


@given(st.lists(st.floats(0, 1e4), min_size=1, max_size=30), st.floats(0.01, 1e4))
@settings(max_examples=100, deadline=None)
def test_shrunken_counts_lie_between_what_was_counted_and_what_was_expected(
    counts: list[float], expected: float
) -> None:
    n, mean = np.array(counts), np.full(len(counts), expected)
    drawn = shrink(n, mean)
    assert (drawn >= np.minimum(n, mean) - 1e-6 * (1 + mean)).all()
    assert (drawn <= np.maximum(n, mean) + 1e-6 * (1 + n)).all()


@given(st.floats(0, 200), st.floats(1, 500))
@settings(max_examples=100, deadline=None)
def test_more_requests_never_make_a_pair_less_real(n: float, exposure: float) -> None:
    prior = SpikeAndSlab(active=0.05, mean=0.8, shape=4.0)
    fewer, more = np.array([n]), np.array([n + 1])
    builds = np.array([exposure])
    assert prior.rates(more, builds)[0] >= prior.rates(fewer, builds)[0] * (1 - 1e-9)
