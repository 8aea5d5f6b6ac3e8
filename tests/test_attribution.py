"""Who sent the 401s: exact where a key is shared, a share among the builds nearby, or nobody known."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest

from ciforensics.analysis.attribution import attribute
from ciforensics.errors import CiforensicsError
from ciforensics.formats.records import Stream

if TYPE_CHECKING:
    import duckdb

DAY = datetime(2026, 11, 24, 3, 0, 0)


def at(seconds: float) -> datetime:
    return DAY + timedelta(seconds=seconds)


def insert(con: duckdb.DuckDBPyConnection, table: str, *rows: dict[str, Any]) -> None:
    con.register("rows_given", Stream(pl.DataFrame(rows, infer_schema_length=None)))
    con.execute(f"INSERT INTO {table} BY NAME FROM rows_given")
    con.unregister("rows_given")


def refused(
    con: duckdb.DuckDBPyConnection, *seconds: float, orchestration: str | None = None, **columns: Any
) -> None:
    """Adds a log in which 401s came at these seconds, and at last, to something else, a 200."""
    file = {"file_id": 1, "path": "logs/github.csv", "source": "github_csv", "in_order": True}
    insert(con, "files", {**file, "first_ts": at(min(seconds)), "last_ts": at(max(seconds))})
    insert(
        con,
        "store.urls",
        {"url_id": 1, "url": "https://github.com/acme/lib.git/info/refs", "host": "github.com"},
    )
    insert(
        con,
        "store.user_agents",
        {"user_agent_id": 1, "user_agent": "git/2", "orchestration_id": orchestration},
    )
    same = {"file_id": 1, "user_agent_id": 1, "method": "GET", "ts_resolution_ms": 1000.0, **columns}
    rows = [
        {"line_no": n, "ts": at(second), "status": 401, "url_id": 1}
        for n, second in enumerate(seconds, start=2)
    ]
    last = {"line_no": 99, "ts": at(max(seconds)), "status": 200, "url_id": 2}
    insert(con, "store.requests", *({**same, **row} for row in [*rows, last]))


def ran(con: duckdb.DuckDBPyConnection, second: float, run: str | None, **columns: Any) -> None:
    """Adds a docker build of run `web/CI/7`: repository acme/web, workflow CI, run id 7."""
    repo, workflow, run_id = run.split("/") if run else (None, None, None)
    named = {"ci_repo": repo and f"acme/{repo}", "workflow": workflow, "job": "build", "run_id": run_id}
    row = {
        "source": "docker_wrapper",
        "file_id": 2,
        "line_no": 1,
        "ts": at(second),
        "ts_resolution_ms": 1000.0,
    }
    insert(con, "invocations", {**row, "command": "build", **named, **columns})


def candidates(con: duckdb.DuckDBPyConnection, **options: Any) -> list[tuple[Any, ...]]:
    """Second, repository, run, probability and basis of each candidate."""
    found = attribute(con, **options).requests
    seconds = (found["ts"] - DAY).dt.total_seconds()
    return list(
        zip(seconds, found["ci_repo"], found["run_id"], found["probability"], found["basis"], strict=True)
    )


def test_builds_in_the_window_before_share_a_401_equally(con: duckdb.DuckDBPyConnection) -> None:
    refused(con, 100)
    ran(con, 50, "web/CI/7")
    ran(con, 60, "web/CI/7")
    ran(con, 90, "shop/CI/8")
    ran(con, 95, "pay/CI/9", command="pull")
    assert candidates(con) == [
        (100, "acme/web", "7", pytest.approx(2 / 3), "build window"),
        (100, "acme/shop", "8", pytest.approx(1 / 3), "build window"),
    ]


@pytest.mark.parametrize(
    ("started", "candidate"),
    [(0, "acme/web"), (40, "acme/web"), (99, "acme/web"), (100.7, "acme/web"), (101, None), (-1, None)],
)
def test_a_build_is_a_candidate_from_its_second_to_the_end_of_the_window(
    con: duckdb.DuckDBPyConnection, started: float, candidate: str | None
) -> None:
    refused(con, 100.2)
    ran(con, started, "web/CI/7")
    assert candidates(con, window_s=100)[0][1] == candidate


@pytest.mark.parametrize(
    ("duration_ms", "candidate"), [(None, "acme/web"), (49_500.0, "acme/web"), (48_900.0, None)]
)
def test_a_build_that_is_known_to_have_ended_is_no_candidate(
    con: duckdb.DuckDBPyConnection, duration_ms: float | None, candidate: str | None
) -> None:
    refused(con, 100)
    ran(con, 50, "web/CI/7", duration_ms=duration_ms)
    assert candidates(con)[0][1] == candidate


def test_a_401_that_nothing_points_at_stays_as_a_row_without_a_name(con: duckdb.DuckDBPyConnection) -> None:
    refused(con, 100, 900)
    ran(con, 99, "web/CI/7")
    assert candidates(con) == [
        (100, "acme/web", "7", 1.0, "build window"),
        (900, None, None, 1.0, "unattributed"),
    ]


def test_an_orchestration_id_names_the_run_exactly(con: duckdb.DuckDBPyConnection) -> None:
    refused(con, 100, orchestration="89c7-plan.Build_image.__default")
    ran(con, 50, "web/CI/7", orchestration_id="89c7-plan.build image.__default")
    ran(con, 90, "shop/CI/8", orchestration_id="other")
    assert candidates(con) == [(100, "acme/web", "7", 1.0, "orchestration id")]


def test_an_orchestration_id_of_two_runs_names_none(con: duckdb.DuckDBPyConnection) -> None:
    refused(con, 100, orchestration="same")
    ran(con, 50, "web/CI/7", orchestration_id="same")
    ran(con, 50, "shop/CI/8", orchestration_id="same")
    assert [basis for *_, basis in candidates(con)] == ["build window", "build window"]


def tunnel(con: duckdb.DuckDBPyConnection, ended: float, run: str | None, **columns: Any) -> None:
    repo, workflow, run_id = run.split("/") if run else (None, None, None)
    named = {"ci_repo": repo and f"acme/{repo}", "workflow": workflow, "run_id": run_id}
    row = {
        "source": "squid",
        "file_id": 3,
        "line_no": 1,
        "ts": at(ended),
        "ts_kind": "end",
        "client_ip": "10.0.0.1",
    }
    insert(con, "tunnels", {**row, "duration_ms": 10_000.0, **named, **columns})


@pytest.mark.parametrize(
    ("ended", "basis"),
    [(100, "address"), (110, "address"), (98, "address"), (97, "unattributed"), (113, "unattributed")],
)
def test_a_tunnel_of_a_known_run_names_what_its_client_sent_meanwhile(
    con: duckdb.DuckDBPyConnection, ended: float, basis: str
) -> None:
    refused(con, 100, client_ip="10.0.0.1")
    tunnel(con, ended, "web/CI/7")
    tunnel(con, ended, None)
    tunnel(con, 100, "shop/CI/8", client_ip="10.0.0.2")
    assert candidates(con)[0][4] == basis


def test_tunnels_of_two_runs_at_one_address_at_one_time_name_none(con: duckdb.DuckDBPyConnection) -> None:
    refused(con, 100, 200, client_ip="10.0.0.1")
    tunnel(con, 101, "web/CI/7")
    tunnel(con, 102, "shop/CI/8")
    tunnel(con, 201, "web/CI/7")
    assert [(repo, basis) for _, repo, _, _, basis in candidates(con)] == [
        (None, "unattributed"),
        ("acme/web", "address"),
    ]


def test_a_pod_names_what_its_address_sent_while_it_held_it(con: duckdb.DuckDBPyConnection) -> None:
    refused(con, 100, 4_000, 9_000, client_ip="10.0.0.1")
    pod = {"source": "pods", "file_id": 4, "line_no": 1, "client_ip": "10.0.0.1"}
    insert(con, "pods", {**pod, "from_ts": at(50), "to_ts": at(150), "ci_repo": "acme/web", "run_id": "7"})
    insert(con, "pods", {**pod, "from_ts": at(3_000), "ci_repo": "acme/shop", "run_id": "8"})
    assert [(repo, basis) for _, repo, _, _, basis in candidates(con)] == [
        ("acme/web", "address"),
        ("acme/shop", "address"),
        ("acme/shop", "address"),
    ]


def test_jobs_of_one_run_at_one_address_name_the_run_and_no_job(con: duckdb.DuckDBPyConnection) -> None:
    refused(con, 100, client_ip="10.0.0.1")
    tunnel(con, 101, "web/CI/7", job="build")
    tunnel(con, 102, "web/CI/7", job="test")
    assert attribute(con).requests.select("run_id", "job", "basis").rows() == [("7", None, "address")]


def test_probabilities_of_a_401_sum_to_one_and_workflows_to_all_401s(con: duckdb.DuckDBPyConnection) -> None:
    seconds = [100, 101, 101, 140, 900, 5_000]
    refused(con, *seconds)
    for n in range(20):
        ran(con, 50 + 7 * n, f"repo-{n % 3}/CI/{n}")
    found = attribute(con, window_s=60)
    sums = found.requests.group_by("line_no").agg(pl.col("probability").sum())["probability"]
    assert sums.to_list() == pytest.approx([1.0] * len(seconds))
    assert found.workflows["requests"].sum() == pytest.approx(len(seconds))
    assert found.workflows["share"].sum() == pytest.approx(1.0)
    by_request = found.requests.group_by("ci_repo").agg(pl.col("probability").sum()).sort("ci_repo")
    by_workflow = found.workflows.select("ci_repo", "requests").sort("ci_repo")
    assert (
        by_request["ci_repo"].to_list()
        == by_workflow["ci_repo"].to_list()
        == [None, *(f"acme/repo-{n}" for n in range(3))]
    )
    assert by_request["probability"].to_list() == pytest.approx(by_workflow["requests"].to_list())


def test_workflows_are_ranked_with_what_their_numbers_rest_on(con: duckdb.DuckDBPyConnection) -> None:
    refused(con, 100, 101, 900, client_ip="10.0.0.1")
    tunnel(con, 100, "web/CI/7", duration_ms=0.0, ts_kind="logged")
    con.execute("UPDATE tunnels SET ts = ts - INTERVAL 2 SECOND")
    ran(con, 99, "web/CI/7")
    ran(con, 99, "shop/CI/8")
    found = attribute(con)
    assert found.workflows.rows() == [
        ("acme/web", "CI", 1.5, 0.0, 1.5, 0.5, pytest.approx(2 / 3), 1),
        (None, None, 1.0, 0.0, 1.0, pytest.approx(1 / 3), 0.0, 0),
        ("acme/shop", "CI", 0.5, 0.0, 0.5, pytest.approx(1 / 6), 0.0, 1),
    ]
    assert found.by_basis.select("basis", "requests").rows() == [
        ("address", 1.0),
        ("build window", 1.0),
        ("unattributed", 1.0),
    ]
    assert found.by_outcome.rows() == [
        ("acme/shop · CI", "refused", 0.5),
        ("acme/web · CI", "refused", 1.5),
        ("unattributed", "refused", 1.0),
    ]
    assert found.competition.rows() == [(2, 1, 1.0)]
    third = pytest.approx(1 / 3)
    assert found.summary.rows() == [("acme/web · CI", 1.5, 3, third, third)]
    assert found.most_certain(1).select("file", "line_no", "ci_repo", "probability").rows() == [
        ("github.csv", 2, "acme/web", 1.0)
    ]


def test_a_build_outside_of_any_job_keeps_its_share_without_a_name(con: duckdb.DuckDBPyConnection) -> None:
    refused(con, 100)
    ran(con, 99, "web/CI/7")
    ran(con, 99, None)
    assert candidates(con) == [
        (100, "acme/web", "7", 0.5, "build window"),
        (100, None, None, 0.5, "build window"),
    ]


def test_a_case_without_401s_attributes_nothing(con: duckdb.DuckDBPyConnection) -> None:
    found = attribute(con)
    frames = (
        found.requests,
        found.workflows,
        found.by_basis,
        found.by_outcome,
        found.competition,
        found.most_certain(),
    )
    assert [frame.height for frame in frames] == [0] * 6
    assert found.summary.rows() == [(None, None, 0, None, None)]


def test_an_observer_that_saw_nothing_is_an_error_that_names_those_that_did(
    con: duckdb.DuckDBPyConnection,
) -> None:
    refused(con, 100)
    with pytest.raises(CiforensicsError, match="observers in it: github_csv"):
        attribute(con, observer="mitmproxi")


@pytest.mark.parametrize("window_s", [0, -1, float("nan")])
def test_a_window_that_holds_no_time_is_an_error(con: duckdb.DuckDBPyConnection, window_s: float) -> None:
    with pytest.raises(CiforensicsError, match="window_s above 0"):
        attribute(con, window_s=window_s)
