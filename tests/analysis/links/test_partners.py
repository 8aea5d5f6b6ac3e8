"""The same request, seen by two observers."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ciforensics.analysis.links.alignment import Likenesses, align
from ciforensics.analysis.links.partners import Partners, find_partners
from ciforensics.fleet import logs, simulate
from ciforensics.fleet.random_fleet import random_parameters

if TYPE_CHECKING:
    import duckdb

    from cases import Build
    from ciforensics.fleet.model import Fleet

HEADER = "timestamp,method,url,status,user_agent,content_length\n"


def csv_line(at: str, repo: str, size: int = 150) -> str:
    return f"2026-03-17T{at}Z,GET,https://github.com/acme/{repo}.git/info/refs,401,git/2.39.5,{size}\n"


def proxy_line(at: str, repo: str, pod: str, size: int = 150) -> str:
    return (
        json.dumps(
            {
                "timestamp": f"2026-03-17T{at}Z",
                "method": "GET",
                "url": f"https://github.com/acme/{repo}.git/info/refs",
                "status": 401,
                "user_agent": "git/2.39.5",
                "content_length": size,
                "client_ip": pod,
            }
        )
        + "\n"
    )


def clients(found: Partners) -> dict[int, dict[str | None, float]]:
    """For each line of the CSV, who sent it."""
    told: dict[int, dict[str | None, float]] = {}
    for line, pod, probability in found.clients.select("line_no", "client_ip", "probability").iter_rows():
        told.setdefault(line, {})[pod] = round(probability, 2)
    return told


def test_a_request_that_both_saw_alone_has_its_client(case: Build) -> None:
    con = case(csv=HEADER + csv_line("08:00:01", "lib"), proxy=proxy_line("08:00:01", "lib", "10.0.0.1"))
    found = find_partners(con, offset_s=0)
    assert found.pairs.select("line_no", "other_line_no").rows() == [(2, 1)]
    assert found.pairs["probability"][0] > 0.98
    assert clients(found)[2]["10.0.0.1"] > 0.98


def test_requests_that_look_alike_are_told_apart_by_what_came_before_and_after(case: Build) -> None:
    repos = ["lib-1", "lib-2", "lib-1", "lib-3", "lib-1"]
    seen = [("lib-2", "10.0.0.1"), ("lib-1", "10.0.0.2"), ("lib-3", "10.0.0.1")]
    minutes = range(20)
    con = case(
        csv=HEADER + "".join(csv_line(f"08:{at:02}:01", repo) for at in minutes for repo in repos),
        proxy="".join(proxy_line(f"08:{at:02}:01", repo, pod) for at in minutes for repo, pod in seen),
    )
    found = find_partners(con, offset_s=0)
    best = found.pairs.filter(pl.col("probability") > 0.7).select("other_line_no", "line_no")
    first = [(1, 3), (2, 4), (3, 5)]
    assert sorted(best.rows()) == [(line + 3 * at, row + 5 * at) for at in minutes for line, row in first]
    told = clients(found)
    assert told[4]["10.0.0.2"] > 0.7
    assert told[2][None] > 0.7


def test_two_that_nothing_tells_apart_share_the_probability(case: Build) -> None:
    con = case(csv=HEADER + csv_line("08:00:01", "lib") * 2, proxy=proxy_line("08:00:01", "lib", "10.0.0.1"))
    told = clients(find_partners(con, offset_s=0))
    assert told[2] == told[3]
    assert told[2]["10.0.0.1"] == pytest.approx(told[2][None], abs=0.05)


def test_a_request_of_a_pod_without_proxy_has_no_client_or_no_row(case: Build) -> None:
    con = case(
        csv=HEADER + csv_line("08:00:01", "lib") + csv_line("08:05:00", "lib"),
        proxy=proxy_line("08:00:01", "lib", "10.0.0.1"),
    )
    assert list(clients(find_partners(con, offset_s=0))) == [2]


def test_the_difference_in_size_is_a_clue_once_it_is_learned(case: Build) -> None:
    sizes = [1_000 + 137 * nth for nth in range(40)]
    some_swapped = [
        csv_line(f"08:{nth:02}:00", "lib", size + 11)
        for nth in range(0, 40, 2)
        for size in sizes[nth : nth + 2][:: -1 if nth % 8 == 0 else 1]
    ]
    con = case(
        csv=HEADER + "".join(some_swapped),
        proxy="".join(
            proxy_line(f"08:{nth - nth % 2:02}:00", "lib", f"10.0.0.{nth}", size)
            for nth, size in enumerate(sizes)
        ),
    )
    found = find_partners(con, offset_s=0).pairs.filter(pl.col("probability") > 0.5)
    swapped = {0: 1, 1: -1}
    expected = [(nth + 1, nth + 2 + swapped.get(nth % 8, 0)) for nth in range(40)]
    assert found.select("other_line_no", "line_no").sort("other_line_no").rows() == expected


def test_nothing_in_common_is_empty_frames(case: Build) -> None:
    con = case(csv=HEADER + csv_line("08:00:01", "lib"), proxy=proxy_line("08:00:01", "other", "10.0.0.1"))
    found = find_partners(con)
    assert found.offset_s is None
    assert found.pairs.columns == ["file_id", "line_no", "other_file_id", "other_line_no", "probability"]
    assert found.clients.columns == ["file_id", "line_no", "client_ip", "client_port", "probability"]
    assert found.pairs.is_empty()
    assert found.clients.is_empty()


def busy(*, seed: int, offset: float = 0.0) -> Fleet:
    """A fleet of which one pool in three goes through mitmproxy."""
    parameters = random_parameters(seed=seed, builds_per_hour=2_000, hours=0.5, offset=offset)
    pools = tuple(
        replace(pool, proxy="mitmproxy" if pool.name == "arc-dind" else None) for pool in parameters.pools
    )
    return simulate(replace(parameters, pools=pools))


def ingested(case: Build, fleet: Fleet, order: list[int]) -> duckdb.DuckDBPyConnection:
    """The fleet's logs, GitHub's lines in another order."""
    header, *lines = logs.github_csv(fleet).splitlines()
    text = "\n".join([header, *(lines[nth] for nth in order)]) + "\n"
    return case(csv=text, proxy="\n".join(logs.mitmproxy(fleet)) + "\n")


def judged(fleet: Fleet, order: list[int], found: Partners) -> pl.DataFrame:
    """The pairs, and whether each is right: the same row, and the same address."""
    line_of = {nth: line for line, nth in enumerate(order, start=2)}
    proxied = [
        nth for nth, one in enumerate(fleet.requests) if one.build and one.build.pool.proxy == "mitmproxy"
    ]
    sent_by = {line_of[nth]: one.build.ip if one.build else None for nth, one in enumerate(fleet.requests)}
    truth = pl.DataFrame(
        {
            "other_line_no": range(1, len(proxied) + 1),
            "true_line": [line_of[nth] for nth in proxied],
            "true_ip": [sent_by[line_of[nth]] for nth in proxied],
        }
    )
    ip = pl.col("line_no").replace_strict(sent_by, return_dtype=pl.String)
    return found.pairs.join(truth, on="other_line_no").with_columns(
        right=pl.col("line_no") == pl.col("true_line"), right_ip=ip.eq_missing(pl.col("true_ip"))
    )


@pytest.mark.parametrize(
    ("order", "sure"), [("as it was", 0.95), ("newest first", 0.95), ("any within a second", 0.8)]
)
def test_in_a_busy_fleet_most_rows_are_pinned_and_pins_are_right(
    case: Build, order: str, sure: float
) -> None:
    fleet = busy(seed=7, offset=-3_598)
    rows = list(range(len(fleet.requests)))
    if order == "newest first":
        rows.reverse()
    if order == "any within a second":
        chance = np.random.default_rng(1).random(len(rows))
        rows.sort(key=lambda nth: (int(fleet.requests[nth].at + 0.04), chance[nth]))
    found = find_partners(ingested(case, fleet, rows))
    assert found.offset_s == pytest.approx(-3_598, abs=1)
    pairs = judged(fleet, rows, found)
    pins = pairs.filter(pl.col("probability") >= 0.99)
    assert len(pins) / pairs["other_line_no"].n_unique() >= sure
    assert pins["right_ip"].mean() >= 0.99  # type: ignore[operator] # the mean of a Boolean column


def test_probabilities_are_as_often_right_as_they_say(case: Build) -> None:
    fleet = busy(seed=8)
    rows = list(range(len(fleet.requests)))
    # Without sizes, and in no order within a second, much stays open.
    chance = np.random.default_rng(2).random(len(rows))
    rows.sort(key=lambda nth: (int(fleet.requests[nth].at + 0.04), chance[nth]))
    header, *lines = (line.rpartition(",")[0] for line in logs.github_csv(fleet).splitlines())
    text = "\n".join([header, *(lines[nth] for nth in rows)]) + "\n"
    con = case(csv=text, proxy="\n".join(logs.mitmproxy(fleet)) + "\n")
    pairs = judged(fleet, rows, find_partners(con))
    open_ones = pairs.filter(pl.col("probability").is_between(0.05, 0.95))
    assert len(open_ones) > 200
    said, was = open_ones["probability"].mean(), open_ones["right"].mean()
    assert said == pytest.approx(was, abs=0.08)


def test_what_a_row_of_the_observer_says_of_its_clients_sums_to_one(case: Build) -> None:
    fleet = busy(seed=9)
    found = find_partners(ingested(case, fleet, list(range(len(fleet.requests)))))
    sums = found.clients.group_by("file_id", "line_no").agg(pl.col("probability").sum())["probability"]
    assert sums.min() == pytest.approx(1)
    assert sums.max() == pytest.approx(1)
    per_row = found.pairs.group_by("other_file_id", "other_line_no").agg(pl.col("probability").sum())
    assert per_row["probability"].max() <= 1 + 1e-9  # type: ignore[operator] # a number, as there are rows


@given(
    st.lists(
        st.tuples(st.lists(st.integers(0, 60), min_size=1, max_size=6, unique=True), st.integers(0, 1)),
        min_size=1,
        max_size=30,
    )
)
def test_any_candidates_get_probabilities(rows: list[tuple[list[int], int]]) -> None:
    row = np.array([nth for nth, (places, _) in enumerate(rows) for _ in places])
    place = np.array([place for places, _ in rows for place in sorted(places)])
    codes = np.arange(len(row)) % 3
    chain = np.sort(np.array([chain for _, chain in rows]))
    found = align(Likenesses(row, place, codes, codes, chain, np.full(len(rows), 0.1)))
    assert ((found >= 0) & (found <= 1)).all()
    assert (np.bincount(row, found) <= 1 + 1e-9).all()
