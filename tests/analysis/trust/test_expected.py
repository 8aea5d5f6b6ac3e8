"""How right attribution can be expected to be: a table of made-up fleets, looked up and never read past."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from importlib import resources
from typing import TYPE_CHECKING

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ciforensics as ci
from ciforensics.analysis.trust.expected import expect_of, look_up, median_delay

if TYPE_CHECKING:
    from cases import Build

START = datetime(2026, 3, 17, 6, tzinfo=UTC)


def table() -> pl.DataFrame:
    with resources.as_file(resources.files("ciforensics.analysis.trust") / "expected.csv") as path:
        return pl.read_csv(path)


def test_what_was_tried_comes_out_as_it_was_measured() -> None:
    for row in table().iter_rows(named=True):
        expected = look_up(
            builds_per_hour=row["builds_per_hour"],
            hours=row["builds"] / row["builds_per_hour"],
            coverage=row["coverage"],
        )
        got = expected.top1, expected.best_top1, expected.share_error
        assert got == pytest.approx((row["top1"], row["best_top1"], row["share_error"]))
        assert not expected.beyond


def test_every_combination_was_tried_and_a_day_of_600_builds_an_hour_is_among_them() -> None:
    tried = table()
    axes = ("builds_per_hour", "builds", "coverage")
    assert tried.height == tried.select(axes).unique().height
    assert tried.height == tried.select(pl.col(axis).n_unique() for axis in axes).transpose().product().item()
    assert not look_up(builds_per_hour=600, hours=24, coverage=0.95).beyond


@given(builds_per_hour=st.floats(1e-3, 1e6), hours=st.floats(1e-3, 1e6), coverage=st.floats(0, 1))
@settings(deadline=None)
def test_whatever_is_asked_the_answer_lies_within_what_was_measured(
    builds_per_hour: float, hours: float, coverage: float
) -> None:
    expected = look_up(builds_per_hour=builds_per_hour, hours=hours, coverage=coverage)
    for name in ("top1", "best_top1", "share_error"):
        low, high = table().select(low=pl.col(name).min(), high=pl.col(name).max()).row(0)
        assert low - 1e-9 <= getattr(expected, name) <= high + 1e-9


def test_more_evidence_and_fewer_builds_at_once_help() -> None:
    hour, day = (look_up(builds_per_hour=600, hours=hours, coverage=1) for hours in (1, 24))
    quiet = look_up(builds_per_hour=60, hours=24, coverage=1)
    assert hour.top1 < day.top1 < quiet.top1
    assert hour.share_error > day.share_error > quiet.share_error


def test_builds_that_fetch_at_once_are_told_apart_like_fewer_that_take_their_time() -> None:
    slow = look_up(builds_per_hour=200, hours=24, coverage=1, delay_s=25)
    fast = look_up(builds_per_hour=2000, hours=2.4, coverage=1, delay_s=2.5)
    assert (fast.top1, fast.best_top1) == pytest.approx((slow.top1, slow.best_top1))
    assert look_up(builds_per_hour=2000, hours=2.4, coverage=1).top1 < fast.top1


@pytest.mark.parametrize(
    ("builds_per_hour", "hours", "coverage", "beyond"),
    [
        (600, 24, 0.97, False),
        (600, 24 * 30, 1, False),
        (50_000, 24, 1, True),
        (2, 24, 1, True),
        (60, 0.1, 1, True),
        (600, 24, 0.2, True),
    ],
)
def test_where_nothing_alike_was_tried_the_answer_says_so(
    builds_per_hour: float, hours: float, coverage: float, *, beyond: bool
) -> None:
    expected = look_up(builds_per_hour=builds_per_hour, hours=hours, coverage=coverage)
    assert expected.beyond is beyond
    assert ("the nearest made-up fleets" in expected.text) is beyond


def test_the_sentence_holds_what_was_asked_and_what_is_to_be_expected() -> None:
    expected = look_up(builds_per_hour=1612, hours=24, coverage=0.97)
    begins = "With about 1,612 builds an hour over 24 h, 97 % of them known, and 401s 25 s after their start"
    assert expected.text.startswith(begins)
    right = f"get {expected.top1:.2f} of the 401s without a key right ({expected.best_top1:.2f} at best)"
    assert right in expected.text
    assert expected.text.endswith(f"with a share error of {expected.share_error:.2f}.")


@pytest.mark.parametrize(
    ("builds_per_hour", "hours", "coverage", "says"),
    [
        (0, 24, 1, "0 builds an hour"),
        (float("nan"), 24, 1, "nan builds an hour"),
        (60, -1, 1, "-1 hours"),
        (60, float("inf"), 1, "inf hours"),
        (60, 24, 1.5, "1.5 is no share"),
    ],
)
def test_what_no_fleet_has_is_refused(
    builds_per_hour: float, hours: float, coverage: float, says: str
) -> None:
    with pytest.raises(ci.CiforensicsError, match=says):
        look_up(builds_per_hour=builds_per_hour, hours=hours, coverage=coverage)


def stamp(second: int) -> str:
    return f"{START + timedelta(seconds=second):%Y-%m-%dT%H:%M:%SZ}"


def two_hours_of_builds() -> dict[str, str]:
    """A build a minute, and 20 s later its 401."""
    starts = range(0, 7200, 60)
    builds = (
        f'{{"ts":"{stamp(at)}","repo":"acme/web","workflow":"CI","job":"image","run_id":"{at}","cmd":"build"}}\n'
        for at in starts
    )
    url = "https://github.com/acme/lib.git/info/refs?service=git-upload-pack"
    asked = (f"{stamp(at + 20)},GET,{url},401,git/2.39.5,22\n" for at in starts)
    header = "timestamp,method,url,status,user_agent,content_length\n"
    return {"wrapper": "".join(builds), "csv": header + "".join(asked)}


def test_a_case_knows_its_builds_and_hours_and_guesses_its_coverage(case: Build) -> None:
    candidates = ci.attribute(case(**two_hours_of_builds())).candidates
    whole = expect_of(candidates, unattributed=0.05)
    assert whole is not None
    assert whole.hours == pytest.approx(2, abs=0.05)
    assert whole.builds_per_hour == pytest.approx(60, rel=0.05)
    assert whole.coverage == 1
    half = expect_of(candidates, unattributed=0.525)
    assert half is not None
    assert half.coverage == pytest.approx(0.5)
    assert half.builds_per_hour == pytest.approx(2 * whole.builds_per_hour)


def test_the_median_delay_is_the_one_that_the_requests_had(case: Build) -> None:
    attribution = ci.attribute(case(**two_hours_of_builds()))
    assert median_delay(attribution.fit, attribution.candidates.problem.bins) == pytest.approx(20, abs=2)


def test_of_a_case_of_which_nothing_is_attributed_nothing_is_expected(case: Build) -> None:
    logs = two_hours_of_builds()
    candidates = ci.attribute(case(**logs)).candidates
    assert expect_of(candidates, unattributed=1) is None


def test_of_a_case_without_builds_nothing_is_expected(case: Build) -> None:
    candidates = ci.attribute(case(csv=two_hours_of_builds()["csv"])).candidates
    assert expect_of(candidates, unattributed=1) is None
    assert expect_of(candidates, unattributed=0) is None


def test_less_than_an_hour_of_evidence_is_said_in_minutes() -> None:
    assert " builds an hour over 2.4 min, " in look_up(builds_per_hour=5000, hours=0.04, coverage=1).text
