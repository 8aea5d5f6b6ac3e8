"""By how much the sources' clocks differ."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

import ciforensics as ci
from ciforensics.analysis.links.clocks import find_build_offset, find_offsets, find_shared_offset
from ciforensics.fleet import logs, sample_fleet, simulate
from ciforensics.fleet.random_fleet import random_parameters

if TYPE_CHECKING:
    from typing import Literal

    from cases import Build
    from ciforensics.fleet.model import Fleet

HEADER = "timestamp,method,url,status,user_agent\n"


def csv(*requests: tuple[str, str]) -> str:
    return HEADER + "".join(
        f"2026-03-17T{at}Z,GET,https://github.com/acme/{repo},401,git/2.39.5\n" for at, repo in requests
    )


def proxy(*requests: tuple[str, str]) -> str:
    return "".join(
        f'{{"timestamp": "2026-03-17T{at}Z", "method": "GET", "url": "https://github.com/acme/{repo}",'
        ' "status": 401, "user_agent": "git/2.39.5"}\n'
        for at, repo in requests
    )


def test_an_hour_and_two_seconds_is_the_median_of_three_anchors(case: Build) -> None:
    con = case(
        csv=csv(("09:00:02", "a"), ("09:10:02", "b"), ("09:20:03", "c")),
        proxy=proxy(("08:00:00", "a"), ("08:10:00", "b"), ("08:20:00", "c")),
    )
    found = find_shared_offset(con, source="github_csv", other_source="mitmproxy")
    assert (found.offset_s, found.mad_s, found.anchors, found.whole_hours) == (3602, 0, 3, 1)
    assert found.verdict == "shared requests"


def test_half_an_hour_counts_as_half_a_whole_one(case: Build) -> None:
    con = case(
        csv=csv(("05:30:00", "a"), ("05:40:00", "b"), ("05:50:00", "c")),
        proxy=proxy(("11:00:00", "a"), ("11:10:00", "b"), ("11:20:00", "c")),
    )
    found = find_shared_offset(con, source="github_csv", other_source="mitmproxy")
    assert (found.offset_s, found.whole_hours) == (-19_800, -5.5)


@pytest.mark.parametrize(
    ("seen", "also_seen", "why"),
    [
        (["08:00:00 a", "08:10:00 b"], ["08:00:00 a", "08:10:00 b"], "fewer than 3 requests in common"),
        (["08:00:00 a"], ["08:00:00 b"], "fewer than 3 requests in common"),
        (
            [f"08:{nth:02}:00 a" for nth in range(60)],
            [f"08:{nth:02}:00 a" for nth in range(60)],
            "other offsets fit as well",
        ),
    ],
)
def test_what_cannot_be_told_is_said(case: Build, seen: list[str], also_seen: list[str], why: str) -> None:
    def requests(lines: list[str]) -> list[tuple[str, str]]:
        return [(at, repo) for at, repo in (line.split() for line in lines)]

    con = case(csv=csv(*requests(seen)), proxy=proxy(*requests(also_seen)))
    found = find_shared_offset(con, source="github_csv", other_source="mitmproxy")
    assert found.verdict == f"cannot tell: {why}"
    assert (found.offset_s, found.low_s, found.high_s, found.whole_hours) == (None, None, None, None)


def with_builds(case: Build, fleet: Fleet) -> ci.analysis.clocks.Offset:
    con = case(csv=logs.github_csv(fleet), wrapper="\n".join(logs.docker_wrapper(fleet)) + "\n")
    return find_build_offset(con, source="github_csv")


@pytest.mark.parametrize(
    ("delays", "offset", "per_hour", "coverage"),
    [
        ("lognormal", 0.0, 60, 1.0),
        ("lognormal", -3_602.0, 600, 0.7),
        ("bimodal", 4.0, 200, 0.85),
        ("flat", 3_600.0, 200, 1.0),
    ],
)
def test_an_interval_from_build_starts_holds_the_offset(
    case: Build,
    delays: Literal["lognormal", "bimodal", "flat"],
    offset: float,
    per_hour: float,
    coverage: float,
) -> None:
    parameters = random_parameters(
        seed=5, builds_per_hour=per_hour, hours=6, coverage=coverage, offset=offset, delays=delays
    )
    found = with_builds(case, simulate(parameters))
    assert found.low_s is not None
    assert found.high_s is not None
    assert found.low_s <= offset <= found.high_s
    assert found.high_s - found.low_s < 30
    assert found.whole_hours == round(offset / 3600)


def test_checkouts_before_the_builds_do_not_move_the_interval(case: Build) -> None:
    """Half of the sample's 401s are checkouts, 18 s before the build."""
    fleet = sample_fleet()
    found = with_builds(case, replace(fleet, parameters=replace(fleet.parameters, offset=0.0)))
    assert found.low_s is not None
    assert found.high_s is not None
    assert found.low_s <= 0 <= found.high_s


def test_401s_that_builds_do_not_send_say_nothing_of_the_clock(case: Build) -> None:
    fleet = simulate(random_parameters(seed=3, builds_per_hour=60, hours=6))
    bots = replace(fleet, requests=[one for one in fleet.requests if one.build is None] * 20)
    assert with_builds(case, bots).verdict.startswith("cannot tell: ")


def test_a_capture_of_minutes_is_too_short(case: Build) -> None:
    fleet = simulate(random_parameters(seed=3, builds_per_hour=600, hours=0.2))
    assert with_builds(case, fleet).verdict == "cannot tell: less than half an hour of 401s or builds"


def test_every_other_source_gets_a_row() -> None:
    with ci.connect() as con:
        found = find_offsets(con)
    assert found.select("source", "other_source").rows() == [
        ("github_csv", "mitmproxy"),
        ("github_csv", "squid"),
        ("github_csv", "docker_wrapper"),
    ]


def test_an_observer_alone_has_no_rows(case: Build) -> None:
    with_csv = case(csv=csv(("08:00:00", "a")))
    assert find_offsets(with_csv).is_empty()
    assert find_offsets(with_csv).columns[:3] == ["source", "other_source", "offset_s"]
