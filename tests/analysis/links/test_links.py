"""What links the logs of a case: keys that rows share, times, and requests that two observers saw."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

import ciforensics as ci
from ciforensics.case import sample_case
from ciforensics.errors import CiforensicsError

if TYPE_CHECKING:
    from collections.abc import Callable

    import duckdb

    from cases import Build

HEADER = "timestamp,method,url,status,user_agent\n"
AGENT = "git/2.39.5"


def csv_line(at: str, repo: str, *, status: int = 401, agent: str = AGENT) -> str:
    return f"2026-03-17T{at}Z,GET,https://github.com/acme/{repo}.git/info/refs,{status},{agent}\n"


def lines(*records: dict[str, Any]) -> str:
    return "".join(json.dumps(record) + "\n" for record in records)


def seen(at: str, repo: str, client_ip: str, *, status: int = 401) -> dict[str, Any]:
    url = f"https://github.com/acme/{repo}.git/info/refs"
    return {
        "timestamp": f"2026-03-17T{at}Z",
        "method": "GET",
        "url": url,
        "status": status,
        "user_agent": AGENT,
        "client_ip": client_ip,
    }


def built(at: str, run_id: str, **columns: str) -> dict[str, Any]:
    return {
        "ts": f"2026-03-17T{at}Z",
        "repo": "acme/web",
        "workflow": "CI",
        "job": "image",
        "run_id": run_id,
        "args": "build .",
        **columns,
    }


def job(run_id: int, runner: str, start: str, end: str) -> dict[str, Any]:
    return {
        "id": run_id * 10,
        "run_id": run_id,
        "run_attempt": 1,
        "run_url": f"https://api.github.com/repos/acme/web/actions/runs/{run_id}",
        "workflow_name": "CI",
        "name": "image",
        "runner_name": runner,
        "status": "completed",
        "conclusion": "success",
        "started_at": f"2026-03-17T{start}Z",
        "completed_at": f"2026-03-17T{end}Z",
    }


def pod(name: str, address: str, start: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "arc", "creationTimestamp": f"2026-03-17T{start}Z"},
        "spec": {"nodeName": "node-a", "containers": [{"name": "runner"}]},
        "status": {"phase": "Running", "podIP": address, "startTime": f"2026-03-17T{start}Z"},
    }


def rows(con: duckdb.DuckDBPyConnection, query: str) -> list[Any]:
    return con.sql(query).fetchall()


@pytest.fixture
def whole(case: Build) -> duckdb.DuckDBPyConnection:
    """A proxy sees the requests of one pod, whose job is known; GitHub sees more."""
    repos = [f"lib-{n}" for n in range(12)]
    return case(
        csv=HEADER
        + "".join(
            csv_line(f"08:{n:02}:01", repo) + csv_line(f"08:{n:02}:02", "elsewhere")
            for n, repo in enumerate(repos)
        ),
        proxy=lines(*(seen(f"08:{n:02}:01", repo, "10.0.0.1") for n, repo in enumerate(repos))),
        jobs=lines(job(7, "runner-a", "08:00:00", "08:05:30")),
        pods=lines(pod("runner-a", "10.0.0.1", "07:59:00"), pod("runner-b", "10.0.0.2", "07:59:00")),
        wrapper=lines(built("08:00:00", "7"), built("08:00:00", "8")),
    )


# keys


def test_two_sources_are_linked_by_each_value_of_a_key_that_both_name(
    whole: duckdb.DuckDBPyConnection,
) -> None:
    assert rows(whole, "FROM link_keys") == [
        ("client_ip", "mitmproxy", "pods", 1, 12, 12, 2, 1),
        ("run_id", "docker_wrapper", "jobs", 1, 2, 1, 1, 1),
        ("runner", "jobs", "pods", 1, 1, 1, 2, 1),
    ]


def test_a_key_that_two_sources_carry_without_a_common_value_is_listed_too(case: Build) -> None:
    con = case(
        proxy=lines(seen("08:00:01", "lib", "10.0.0.9")),
        pods=lines(pod("runner-a", "10.0.0.1", "07:59:00")),
    )
    assert rows(con, "FROM link_keys") == [("client_ip", "mitmproxy", "pods", 0, 1, 0, 1, 0)]


def test_an_orchestration_id_is_the_same_key_as_a_client_spells_it(case: Build) -> None:
    agent = "node actions_orchestration_id/12ab.build__default_"
    con = case(
        csv=HEADER + csv_line("08:00:01", "lib", agent=agent),
        wrapper=lines(built("08:00:00", "7", orchestration_id="12AB.build (default)")),
    )
    assert rows(con, "FROM link_keys") == [
        ("orchestration_id", "docker_wrapper", "github_csv", 1, 1, 1, 1, 1)
    ]


def test_each_source_shows_how_many_of_its_rows_carry_a_key(whole: duckdb.DuckDBPyConnection) -> None:
    found = rows(whole, "SELECT source, rows, with_run_id, with_runner, with_client_ip FROM source_keys")
    assert found == [
        ("docker_wrapper", 2, 2, None, None),
        ("github_csv", 24, None, None, None),
        ("jobs", 1, 1, 1, None),
        ("mitmproxy", 12, None, None, 12),
        ("pods", 2, None, 2, 2),
    ]


def test_what_a_second_export_repeats_counts_once_among_the_keys(case: Build) -> None:
    export = "".join(csv_line(f"08:00:{n:02}", "lib") for n in range(9))
    con = case(csv=HEADER + export, again=HEADER + export + csv_line("08:01:00", "lib"))
    assert rows(con, "SELECT rows FROM source_keys") == [(10,)]


# times


def test_a_job_covers_the_time_that_it_ran_and_not_only_its_start(whole: duckdb.DuckDBPyConnection) -> None:
    [covered] = rows(
        whole, "SELECT requests, unauthorized, share FROM covered_requests WHERE source = 'jobs'"
    )
    assert covered == (12, 12, 0.5)


def test_a_source_of_another_day_covers_no_request(case: Build) -> None:
    con = case(csv=HEADER + csv_line("08:00:01", "lib"), wrapper=lines(built("20:00:00", "7")))
    assert rows(con, "SELECT source, requests, share FROM covered_requests") == [("docker_wrapper", 0, 0.0)]
    assert {reason for (reason,) in rows(con, "SELECT reason FROM unlinked")} == {
        "no other source saw anything then"
    }


# the same request


def test_the_observer_comes_first_and_then_the_other_who_saw_requests(
    whole: duckdb.DuckDBPyConnection,
) -> None:
    assert rows(whole, "SELECT source FROM observers") == [("github_csv",), ("mitmproxy",)]
    by_proxy = "SELECT source FROM observers(p_observer := 'mitmproxy')"
    assert rows(whole, by_proxy) == [("mitmproxy",), ("github_csv",)]
    assert rows(whole, "FROM observers(p_observer := 'squid')") == []


def test_requests_that_both_saw_are_pinned_and_the_others_are_in_one_log_only(
    whole: duckdb.DuckDBPyConnection,
) -> None:
    found = ci.find_links(whole)
    assert found.verdicts.select("source", "verdict", "requests").rows() == [
        ("github_csv", "not in the other log", 12),
        ("github_csv", "sure", 12),
        ("mitmproxy", "sure", 12),
    ]
    assert found.certainty.select("best_partner", "requests", "candidates").rows() == [
        ("0.99 or more", 12, 1.0)
    ]


def test_of_several_rows_that_are_equally_near_the_nearest_is_mostly_another(case: Build) -> None:
    repos = ["lib-1", "lib-2", "lib-1", "lib-3", "lib-1"]
    told = [("lib-2", "10.0.0.1"), ("lib-1", "10.0.0.2"), ("lib-3", "10.0.0.1")]
    times = [f"08:{n * n // 10:02}:{n * 7 % 60:02}" for n in range(20)]  # not in step: any offset would fit
    con = case(
        csv=HEADER + "".join(csv_line(at, repo) for at in times for repo in repos),
        proxy=lines(*(seen(at, repo, client) for at in times for repo, client in told)),
    )
    found = ci.find_links(con)
    assert found.pairs.filter("nearest").height == 20 * (1 + 3 + 1)
    [missed] = found.certainty.select(
        (found.certainty["nearest_is_another"] * found.certainty["requests"]).sum()
    ).to_series()
    assert missed == pytest.approx(20 * 2 / 3)
    shown = found.examples.filter(example=1)
    assert shown["candidates"].to_list() == [3, 3, 3]
    assert shown["probability"].to_list() == sorted(shown["probability"], reverse=True)
    assert shown["candidate"][0].startswith("csv:")


# where it leads


def test_a_401_that_the_proxy_saw_leads_to_the_run_of_the_pod_with_that_address(
    whole: duckdb.DuckDBPyConnection,
) -> None:
    chains = {basis: steps for basis, *steps in ci.find_links(whole).chains.rows()}
    # The job was over after six of the twelve requests; the pod stayed.
    assert chains["same request"] == chains["any of them"] == [24, 12, 12, 6]
    assert chains["address"] == chains["orchestration id"] == [24, 0, 0, 0]
    of_proxy = {basis: steps for basis, *steps in ci.find_links(whole, observer="mitmproxy").chains.rows()}
    assert of_proxy["address"] == [12, 12, 12, 6]


def test_a_pod_is_found_for_a_401_only_while_it_had_the_address(case: Build) -> None:
    con = case(
        proxy=lines(seen("07:58:00", "lib", "10.0.0.1"), seen("08:00:00", "lib", "10.0.0.1")),
        pods=lines(pod("runner-a", "10.0.0.1", "07:59:00")),
    )
    found = rows(con, "SELECT pod FROM keyed_unauthorized ORDER BY ts")
    assert found == [(None,), ("runner-a",)]


def test_builds_say_what_else_is_known_of_their_run(whole: duckdb.DuckDBPyConnection) -> None:
    names = "source, builds, with_run_id, with_job, with_docker_events"
    assert rows(whole, f"SELECT {names} FROM build_links") == [("docker_wrapper", 2, 2, 1, 0)]


def test_what_stays_unlinked_has_a_reason(whole: duckdb.DuckDBPyConnection) -> None:
    found = ci.find_links(whole)
    assert found.unlinked.rows() == [
        ("docker_wrapper", "no other source names its run_id", 1, 0.5),
        ("github_csv", "carries no key", 12, 0.5),
        ("pods", "no other source names its runner, client_ip", 1, 0.5),
    ]
    assert found.summary.rows() == [(1 - 14 / 41, 24, 12, 12, 6)]


def test_the_matrix_says_what_links_each_two_sources(whole: duckdb.DuckDBPyConnection) -> None:
    matrix = ci.find_links(whole).matrix
    assert matrix.columns == ["source", *matrix["source"]]
    assert matrix.filter(source="github_csv").row(0, named=True)["mitmproxy"] == "same request"
    assert matrix.filter(source="pods").row(0, named=True)["jobs"] == "runner"
    assert matrix.filter(source="pods").row(0, named=True)["github_csv"] is None


# what is missing


def test_with_one_source_there_is_nothing_to_link(case: Build) -> None:
    con = case(csv=HEADER + csv_line("08:00:01", "lib"))
    found = ci.find_links(con)
    assert found.verdicts.rows() == [("github_csv", "there is no other log", 1, 1.0)]
    assert found.pairs.is_empty()
    assert found.examples.is_empty()
    assert found.matrix.rows() == [("github_csv", None)]
    assert found.summary["share"].to_list() == [None]


def test_an_empty_case_has_no_links(con: duckdb.DuckDBPyConnection) -> None:
    found = ci.find_links(con)
    assert found.matrix.columns == ["source"]
    assert found.unlinked.is_empty()
    assert found.chains["unauthorized"].to_list() == [0, 0, 0, 0]
    assert found.summary["share"].to_list() == [None]


def test_to_import_the_library_loads_neither_scipy_nor_altair() -> None:
    script = "import sys, ciforensics; print({'scipy', 'altair'} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_a_case_is_asked_by_a_connection_or_its_path_by_place_or_by_name() -> None:
    path = sample_case()
    with ci.connect() as con:
        offsets = [
            ci.find_offsets(con),
            ci.find_offsets(con=con),
            ci.find_offsets(path),
            ci.find_offsets(con=path),
        ]
    assert len({repr(one.rows()) for one in offsets}) == 1
    assert next(iter(inspect.signature(ci.find_offsets).parameters)) == "con"


@pytest.mark.parametrize("ask", [ci.find_links, ci.find_offsets, ci.attribute])
def test_an_observer_that_the_case_does_not_have_is_refused_with_those_it_has(
    ask: Callable[..., object],
) -> None:
    with ci.connect() as con, pytest.raises(CiforensicsError, match="seen by 'typo'") as refused:
        ask(con, observer="typo")
    assert "observers in it: github_csv, mitmproxy" in str(refused.value)


def test_an_observer_misspelt_is_told_which_was_meant() -> None:
    with ci.connect() as con, pytest.raises(CiforensicsError) as refused:
        ci.attribute(con, observer="gitub_csv")
    assert refused.value.hint == "did you mean github_csv?"
