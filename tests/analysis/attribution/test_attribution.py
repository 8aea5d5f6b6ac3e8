"""Who sent the 401s: exact where a key is shared, by a model among the builds nearby, or nobody known."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import polars as pl
import polars.selectors as cs
import pytest

from ciforensics.analysis.answer import attribute
from ciforensics.analysis.explanation import explain
from ciforensics.errors import CiforensicsError
from ciforensics.formats.records import Stream

if TYPE_CHECKING:
    import duckdb

DAY = datetime(2026, 11, 24, 3, 0, 0)


def at(seconds: float) -> datetime:
    return DAY + timedelta(seconds=seconds)


def insert(con: duckdb.DuckDBPyConnection, table: str, *rows: dict[str, Any]) -> None:
    frame = pl.DataFrame(rows, infer_schema_length=None)
    con.register("rows_given", Stream(frame.select(cs.exclude(pl.Null))))
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
    rows = attribute(con, **options).requests
    seconds = (rows["ts"] - DAY).dt.total_seconds()
    return list(
        zip(seconds, rows["ci_repo"], rows["run_id"], rows["probability"], rows["basis"], strict=True)
    )


def nearby(con: duckdb.DuckDBPyConnection, **macro: Any) -> list[tuple[Any, ...]]:
    """Run and lag of each candidate build."""
    given = ", ".join(f"p_{name} := {value}" for name, value in macro.items())
    return con.sql(
        f"""
        SELECT run_id, after_start_s FROM build_candidates({given}) JOIN builds USING (build_id)
        ORDER BY ALL DESC
        """
    ).fetchall()


@pytest.mark.parametrize(
    ("started", "lag"), [(0, 100), (40, 60), (99, 1), (100.7, 0), (101, None), (-1, None)]
)
def test_a_build_is_a_candidate_from_its_second_to_the_end_of_the_window(
    con: duckdb.DuckDBPyConnection, started: float, lag: int | None
) -> None:
    refused(con, 100.2)
    ran(con, started, "web/CI/7")
    assert nearby(con, build_window_s=100) == ([] if lag is None else [("7", lag)])


@pytest.mark.parametrize(("duration_ms", "is_candidate"), [(None, True), (49_500.0, True), (48_900.0, False)])
def test_a_build_that_is_known_to_have_ended_is_no_candidate(
    con: duckdb.DuckDBPyConnection, duration_ms: float | None, is_candidate: bool
) -> None:
    refused(con, 100)
    ran(con, 50, "web/CI/7", duration_ms=duration_ms)
    assert bool(nearby(con)) == is_candidate


def test_other_docker_commands_are_no_builds_and_a_clock_ahead_is_taken_back(
    con: duckdb.DuckDBPyConnection,
) -> None:
    refused(con, 3_700)
    ran(con, 95, "web/CI/7")
    ran(con, 95, "pay/CI/9", command="pull")
    assert nearby(con) == []
    assert nearby(con, offset_s=3600) == [("7", 5)]


def job(con: duckdb.DuckDBPyConnection, from_s: float, to_s: float | None, run: str, **columns: Any) -> None:
    repo, workflow, run_id = run.split("/")
    named = {"ci_repo": f"acme/{repo}", "workflow": workflow, "job": "build (3.11)", "run_id": run_id}
    times = {"started_at": at(from_s), "completed_at": None if to_s is None else at(to_s)}
    insert(con, "jobs", {"source": "jobs", "file_id": 5, "line_no": 1, **named, **times, **columns})


def test_a_build_ends_at_the_latest_with_its_job(con: duckdb.DuckDBPyConnection) -> None:
    refused(con, 60, 100)
    ran(con, 50, "web/CI/7")
    job(con, 40, None, "web/CI/7")  # an earlier snapshot of the same job
    job(con, 40, 70, "web/CI/7")
    ran(con, 50, "shop/CI/8", runner="pod-b")
    job(con, 40, 90, "shop/CI/8", runner="pod-a")
    job(con, 40, 200, "shop/CI/8", runner="pod-b")
    assert nearby(con) == [("8", 50), ("8", 10), ("7", 10)]


def test_a_job_that_the_wrapper_knows_nothing_of_is_a_build_from_its_start(
    con: duckdb.DuckDBPyConnection,
) -> None:
    refused(con, 100)
    job(con, 70, 200, "web/CI/7")
    job(con, 70, 200, "web/CI/7", line_no=2)
    assert nearby(con) == [("7", 30)]


def test_a_workflow_that_is_always_there_when_a_url_is_asked_is_named_and_chance_is_not(
    con: duckdb.DuckDBPyConnection,
) -> None:
    starts = [37 * n * (n % 5 + 3) for n in range(40)]
    refused(con, *(start + 20 + start % 3 for start in starts), 20_000)
    for start in starts:
        ran(con, start, f"web/CI/{start}")
        ran(con, start * 1.37 % 7_000, f"shop/CI/{start + 1}")
    attribution = attribute(con)
    assert attribution.workflows.select("name", pl.col("requests").round()).rows() == [
        ("acme/web · CI", 40),
        ("unattributed", 1),
    ]
    assert attribution.requests["basis"].unique().sort().to_list() == ["model", "unattributed"]
    first = attribution.requests.filter(pl.col("line_no") == 3)
    assert first["run_id"][0] == str(starts[1])


def test_workflows_that_always_run_together_are_named_together(con: duckdb.DuckDBPyConnection) -> None:
    starts = [37 * n * (n % 5 + 3) for n in range(40)]
    refused(con, *(start + 20 + start % 3 for start in starts), 20_000)
    for start in starts:
        ran(con, start, f"web/CI/{start}")
        ran(con, start + 1, f"shop/Lint/{start}1")
    attribution = attribute(con)
    assert attribution.workflows.select("name", "ci_repo", "workflow", pl.col("requests").round()).rows()[
        0
    ] == (
        "acme/shop · Lint or acme/web · CI",
        "acme/shop or acme/web",
        "CI or Lint",
        40,
    )
    both = (
        attribution.requests.group_by("ci_repo").agg(pl.col("probability").sum()).drop_nulls().sort("ci_repo")
    )
    assert both["ci_repo"].to_list() == ["acme/shop", "acme/web"]
    assert min(both["probability"]) > 10
    assert "acme/shop · Lint or acme/web · CI always run together" in " ".join(map(str, attribution.remarks))


def test_a_key_tells_apart_workflows_that_always_run_together(con: duckdb.DuckDBPyConnection) -> None:
    refused(con, 10, 12, 14, orchestration="o0")
    for start in (0, 40, 90):
        ran(con, start, f"web/CI/{start}1", orchestration_id=f"o{start}")
        ran(con, start, f"shop/Lint/{start}2")
    attribution = attribute(con)
    assert attribution.workflows.select("name", "requests", "exact_share").rows() == [("acme/web · CI", 3, 1)]
    assert explain(attribution, line_no=2).candidates["name"].to_list() == ["acme/web · CI"]


def test_a_job_that_runs_alone_keeps_its_workflows_name_where_another_of_its_jobs_never_does(
    con: duckdb.DuckDBPyConnection,
) -> None:
    starts = [97 * n * (n % 5 + 3) for n in range(40)]
    alone = [start + 50_000 + 31 * n for n, start in enumerate(starts)]
    refused(con, *(start + 20 + start % 3 for start in [*starts, *alone]))
    for start in starts:
        ran(con, start, f"web/CI/{start}")
        ran(con, start + 1, f"shop/Lint/{start}1")
    for start in alone:
        ran(con, start, f"web/CI/{start}9", job="deploy")
    attribution = attribute(con)
    named = dict(attribution.workflows.select("name", "requests").rows())
    assert named["acme/web · CI"] > 20
    assert named["acme/shop · Lint or acme/web · CI"] > 20
    days = attribution.candidates.problem.seconds / 86_400
    told = attribution.intervals(replicates=0).select("name", pl.col("per_day") * days)
    assert dict(told.rows())["acme/web · CI"] == pytest.approx(named["acme/web · CI"], rel=0.01)
    assert explain(attribution, line_no=2).candidate == "acme/shop · Lint or acme/web · CI"
    assert explain(attribution, line_no=70).candidate == "acme/web · CI"


def test_an_orchestration_id_names_the_run_exactly(con: duckdb.DuckDBPyConnection) -> None:
    refused(con, 100, orchestration="89c7-plan.Build_image.__default")
    ran(con, 50, "web/CI/7", orchestration_id="89c7-plan.build image.__default")
    ran(con, 90, "shop/CI/8", orchestration_id="other")
    assert candidates(con) == [(100, "acme/web", "7", 1.0, "orchestration id")]


def test_an_orchestration_id_of_two_runs_names_none(con: duckdb.DuckDBPyConnection) -> None:
    refused(con, 100, orchestration="same")
    ran(con, 50, "web/CI/7", orchestration_id="same")
    ran(con, 50, "shop/CI/8", orchestration_id="same")
    assert "orchestration id" not in [basis for *_, basis in candidates(con)]


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
    for pod, from_s, to_s, repo, run in (("a", 50, 150, "web", "7"), ("b", 3_000, None, "shop", "8")):
        row = {"source": "pods", "file_id": 4, "line_no": 1, "namespace": "arc", "pod": pod}
        held = {"client_ip": "10.0.0.1", "from_ts": at(from_s), "to_ts": to_s and at(to_s)}
        insert(con, "pods", {**row, **held})
        insert(con, "pods", {**row, "ci_repo": f"acme/{repo}", "run_id": run})  # its EphemeralRunner
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
    starts = [11 * n * (n % 7 + 3) for n in range(120)]
    seconds = [start + 9 for start in starts]
    refused(con, *seconds)
    for n, start in enumerate(starts):
        ran(con, start, f"repo-{n % 3}/CI/{n}")
    attribution = attribute(con, build_window_s=60)
    sums = attribution.requests.group_by("line_no").agg(pl.col("probability").sum())["probability"]
    assert sums.to_list() == pytest.approx([1.0] * len(seconds))
    assert attribution.workflows["requests"].sum() == pytest.approx(len(seconds))
    assert attribution.workflows["share"].sum() == pytest.approx(1.0)
    by_request = attribution.requests.group_by("ci_repo").agg(pl.col("probability").sum()).sort("ci_repo")
    by_workflow = attribution.workflows.select("ci_repo", "requests").sort("ci_repo")
    assert by_request["ci_repo"].to_list() == by_workflow["ci_repo"].to_list()
    assert by_request["probability"].to_list() == pytest.approx(by_workflow["requests"].to_list())


def test_workflows_are_ranked_with_what_their_numbers_rest_on(con: duckdb.DuckDBPyConnection) -> None:
    refused(con, 100, 101, 900, client_ip="10.0.0.1")
    tunnel(con, 100, "web/CI/7")
    attribution = attribute(con)
    assert attribution.workflows.rows() == [
        ("acme/web · CI", "acme/web", "CI", 2.0, 0.0, 2.0, pytest.approx(2 / 3), 1.0, 1, "7"),
        ("unattributed", None, None, 1.0, 0.0, 1.0, pytest.approx(1 / 3), 0.0, 0, None),
    ]
    assert attribution.by_basis.select("basis", "requests").rows() == [
        ("address", 2.0),
        ("unattributed", 1.0),
    ]
    assert attribution.by_outcome.rows() == [
        ("acme/web · CI", "refused", 2.0),
        ("unattributed", "refused", 1.0),
    ]
    third = pytest.approx(1 / 3)
    assert attribution.summary.rows() == [("acme/web · CI", 2.0, 3, pytest.approx(2 / 3), third)]


def test_what_a_build_outside_of_any_job_sent_is_unattributed(con: duckdb.DuckDBPyConnection) -> None:
    starts = [37 * n * (n % 5 + 3) for n in range(40)]
    refused(con, *(start + 20 for start in starts), 20_000)
    for start in starts:
        ran(con, start, None)
    attribution = attribute(con)
    assert attribution.workflows.select("name", pl.col("requests").round(6)).rows() == [
        ("unattributed", 41.0)
    ]
    assert "40 of 40 builds name no repository" in " ".join(map(str, attribution.remarks))


def test_a_case_without_401s_attributes_nothing(con: duckdb.DuckDBPyConnection) -> None:
    attribution = attribute(con)
    frames = (attribution.requests, attribution.workflows, attribution.by_basis, attribution.by_outcome)
    assert [frame.height for frame in frames] == [0] * 4
    assert attribution.summary.rows() == [(None, None, 0, None, None)]


def test_an_observer_that_saw_nothing_is_an_error_that_names_those_that_did(
    con: duckdb.DuckDBPyConnection,
) -> None:
    refused(con, 100)
    with pytest.raises(CiforensicsError, match="observers in it: github_csv"):
        attribute(con, observer="mitmproxi")


@pytest.mark.parametrize("build_window_s", [0, -1, float("nan")])
def test_a_window_that_holds_no_time_is_an_error(
    con: duckdb.DuckDBPyConnection, build_window_s: float
) -> None:
    with pytest.raises(CiforensicsError, match="build_window_s of 1 or more"):
        attribute(con, build_window_s=build_window_s)
