"""Pods and runners as kubectl prints them, and which run had an address when."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import polars as pl
import polars.selectors as cs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ciforensics.formats.records import Stream

if TYPE_CHECKING:
    from collections.abc import Sequence

    import duckdb

    from cases import Build

NAME = "arc-runner-13"
DAY = datetime(2026, 11, 24, 3, 0, 0)


def at(second: int) -> datetime:
    return DAY + timedelta(seconds=second)


def stamp(second: int) -> str:
    return f"{at(second):%Y-%m-%dT%H:%M:%SZ}"


def pod(name: str = NAME, ip: str | None = "10.0.0.5", start: int = 18, **more: Any) -> dict[str, Any]:
    """A runner's pod. `more`: labels, or anything that goes into its metadata, spec or status."""
    metadata = {"name": name, "namespace": "arc", "creationTimestamp": stamp(start - 5),
                "labels": more.get("labels", {"app.kubernetes.io/component": "runner"})}  # fmt: skip
    env = [{"name": "ACTIONS_RUNNER_INPUT_JITCONFIG", "value": "c2VjcmV0IG9mIHRoZSBydW5uZXI="}]
    spec = {"nodeName": "ci-1", "containers": [{"name": "runner", "env": env}]}
    status = {"phase": "Running", "podIP": ip, "startTime": stamp(start)}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata | more.get("metadata", {}),
        "spec": spec | more.get("spec", {}),
        "status": status | more.get("status", {}),
    }


def ended(*seconds: int) -> dict[str, Any]:
    """The status of a pod whose containers finished."""
    states = [{"state": {"terminated": {"exitCode": 0, "finishedAt": stamp(second)}}} for second in seconds]
    return {"phase": "Succeeded", "containerStatuses": states}


def runner(name: str = NAME, **status: Any) -> dict[str, Any]:
    return {
        "apiVersion": "actions.github.com/v1alpha1",
        "kind": "EphemeralRunner",
        "metadata": {"name": name, "namespace": "arc", "creationTimestamp": stamp(10)},
        "spec": {"template": {"spec": {"containers": []}}},
        "status": {"phase": "Running", "runnerName": name, "runnerId": 7, **status},
    }


TOOK: dict[str, Any] = {
    "jobRepositoryName": "acme/web", "jobDisplayName": "build (1.21)", "workflowRunId": 9018059362,
    "jobWorkflowRef": "acme/web/.github/workflows/ci.yml@refs/pull/7/merge", "jobRequestId": 12,
}  # fmt: skip


def listed(*items: dict[str, Any], kind: str = "List") -> str:
    """As kubectl sorts it."""
    return json.dumps({"apiVersion": "v1", "items": items, "kind": kind, "metadata": {"resourceVersion": ""}})


def rows(con: duckdb.DuckDBPyConnection, columns: str) -> list[tuple[Any, ...]]:
    return con.execute(f"SELECT {columns} FROM pods ORDER BY line_no").fetchall()


def skipped(con: duckdb.DuckDBPyConnection) -> list[tuple[Any, ...]]:
    return con.execute("SELECT reason, records FROM skipped ORDER BY reason").fetchall()


ALL = "from_ts, to_ts, client_ip, namespace, pod, node, runner, ci_repo, workflow, job, run_id"
HELD = (at(18), None, "10.0.0.5", "arc", NAME, "ci-1", NAME, None, None, None, None)


@pytest.mark.parametrize(
    "text",
    [
        listed(pod()),
        json.dumps(json.loads(listed(pod())), indent=4),
        json.dumps(pod(), indent=4),
        json.dumps({"kind": "PodList", "apiVersion": "v1", "metadata": {"resourceVersion": "7"},
                    "items": [{key: pod()[key] for key in ("metadata", "spec", "status")}]}),
        json.dumps({"type": "ADDED", "object": pod()}),
    ],
    ids=["a list", "printed", "a pod", "the raw API's list", "a watch event"],
)  # fmt: skip
def test_however_pods_are_saved_the_same_row_comes_out(case: Build, text: str) -> None:
    with case(pods=text) as con:
        assert rows(con, ALL) == [HELD]
        assert con.execute("SELECT source, rejected, skipped FROM files").fetchall() == [("pods", 0, 0)]


def test_a_watch_prints_a_pod_again_and_again_and_its_bookmarks_are_skipped(case: Build) -> None:
    gone = pod(metadata={"deletionTimestamp": stamp(90)})
    finished = pod("b", status=ended(40, 55), metadata={"deletionTimestamp": stamp(90)})
    watch = [
        {"type": "ADDED", "object": pod(ip=None)},
        {"type": "MODIFIED", "object": pod()},
        {"type": "BOOKMARK", "object": {"kind": "Pod", "apiVersion": "v1", "metadata": {}}},
        {"type": "MODIFIED", "object": gone},
        {"type": "DELETED", "object": gone},
        {"type": "DELETED", "object": finished},
        {"type": "ERROR", "object": {"kind": "Status", "apiVersion": "v1", "code": 410}},
    ]
    with case(watch="\n".join(json.dumps(event, indent=1) for event in watch)) as con:
        assert rows(con, "pod, to_ts") == [(NAME, None), (NAME, None), (NAME, at(90)), ("b", at(55))]
        assert skipped(con) == [("a pod without an address yet", 1), ("a watch's bookmark or error", 2)]


def test_a_pod_that_ended_held_its_address_until_its_last_container_finished(case: Build) -> None:
    evicted = pod("evicted", status={"phase": "Failed", "reason": "Evicted"})
    restarted = pod("restarted", status=ended(40) | {"phase": "Running"})
    with case(pods=listed(pod(status=ended(40, 42)), evicted, restarted)) as con:
        assert rows(con, "pod, to_ts") == [(NAME, at(42)), ("evicted", None), ("restarted", None)]


def test_each_address_is_a_row_but_a_nodes_own_is_none(case: Build) -> None:
    both = pod(status={"podIPs": [{"ip": "10.0.0.5"}, {"ip": "fd00::5"}]})
    with case(pods=listed(both, pod("host", spec={"hostNetwork": True}))) as con:
        assert rows(con, "client_ip") == [("10.0.0.5",), ("fd00::5",)]
        assert skipped(con) == [("a pod with its node's address (hostNetwork)", 1)]


def test_labels_say_whose_runner_a_pod_is(case: Build) -> None:
    labels: list[dict[str, str]] = [
        {"actions-ephemeral-runner": "True"},
        {"runner-pod": NAME},
        {"app": "web"},
    ]
    pods = [pod(f"pod-{n}", labels=each) for n, each in enumerate(labels)]
    with case(pods=listed(*pods)) as con:
        assert rows(con, "pod, runner") == [("pod-0", "pod-0"), ("pod-1", NAME), ("pod-2", None)]


def test_runners_of_both_generations_say_which_job_they_took(case: Build) -> None:
    old = runner("old") | {"apiVersion": "actions.summerwind.dev/v1alpha1", "kind": "Runner"}
    old["status"] = {"workflow": {"name": "CI", "repository": "web", "repositoryOwner": "acme",
                                  "runID": "123", "job": "build"}}  # fmt: skip
    waiting = runner("waiting", workflowRunId=0)
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "data": {"a": "aGVsbG8="}}
    with case(all=listed(runner(**TOOK), old, waiting, secret)) as con:
        assert rows(con, "client_ip, pod, runner, ci_repo, workflow, job, run_id") == [
            (None, NAME, NAME, "acme/web", ".github/workflows/ci.yml", "build (1.21)", "9018059362"),
            (None, "old", "old", "acme/web", "CI", "build", "123"),
        ]
        assert skipped(con) == [("a runner without a job yet", 1), ("another kind (Secret)", 1)]


def test_no_secret_of_the_spec_reaches_the_case(case: Build) -> None:
    with case(pods=listed(pod(), pod(ip=None), pod(status={"startTime": "soon"}))) as con:
        for (table,) in con.execute("SELECT name FROM (SHOW ALL TABLES)").fetchall():
            if table in {"pods", "rejected", "skipped", "files"}:
                assert "c2VjcmV0" not in str(con.execute(f"FROM {table}").fetchall())
        assert con.execute("SELECT reason FROM rejected").fetchall() == [("no time that can be read",)]


def test_addresses_in_a_form_of_their_own_are_not_taken_for_pods(case: Build) -> None:
    other = json.dumps({"10.0.0.5": {"pod": NAME, "namespace": "arc", "node": "ci-1"}}, indent=1)
    with case(other=other, pods=listed(pod()), none=listed()) as con:
        files = con.execute("SELECT source, rows FROM files ORDER BY rows").fetchall()
        assert files == [("pods", 0), ("pods", 1)]


def test_values_of_the_wrong_kind_are_no_trouble(case: Build) -> None:
    odd = [
        pod(labels=[1]), pod(status={"podIPs": "x", "containerStatuses": {"a": 1}, "phase": "Failed"}),
        pod(spec={"nodeName": {}}), pod(metadata={"name": None}), runner(**TOOK | {"jobWorkflowRef": 7}),
        {"kind": "Pod", "apiVersion": "v1", "metadata": "x"}, {"type": "ADDED", "object": 3},
    ]  # fmt: skip
    with case(pods=listed(pod(), *odd)) as con:
        assert len(rows(con, "pod")) == 5
        reasons = con.execute("SELECT reason FROM rejected ORDER BY line_no").fetchall()
        assert reasons == [("no name",), ("no object of Kubernetes",), ("no object of Kubernetes",)]


def insert(con: duckdb.DuckDBPyConnection, table: str, rows: Sequence[dict[str, Any]]) -> None:
    frame = pl.DataFrame(rows, infer_schema_length=None)
    con.register("given_rows", Stream(frame.select(cs.exclude(pl.Null))))
    con.execute(f"INSERT INTO {table} BY NAME FROM given_rows")
    con.unregister("given_rows")


def held(ip: str | None, name: str, start: int, end: int | None = None, **more: Any) -> dict[str, Any]:
    return {"client_ip": ip, "namespace": "arc", "pod": name, "runner": name, "from_ts": at(start),
            "to_ts": None if end is None else at(end), **more}  # fmt: skip


def job(runner: str, run_id: str, start: int, end: int | None, **more: Any) -> dict[str, Any]:
    return {"runner": runner, "run_id": run_id, "started_at": at(start), "ci_repo": "acme/web",
            "completed_at": None if end is None else at(end), "workflow": "CI", "job": "build",
            **more}  # fmt: skip


def seconds(moment: datetime) -> int:
    return int((moment - DAY).total_seconds())


Hold = tuple[str, str, int, int | None, str | None]


def holds(con: duckdb.DuckDBPyConnection) -> list[Hold]:
    """(client_ip, pod, first second, second of the end, run) of each hold."""
    rows = con.execute(
        "SELECT client_ip, pod, from_ts, to_ts, run_id FROM pod_holds ORDER BY client_ip, from_ts, to_ts"
    ).fetchall()
    return [(ip, name, seconds(since), until and seconds(until), run) for ip, name, since, until, run in rows]


def test_an_address_is_the_next_pods_when_that_one_starts_if_no_end_is_known(
    con: duckdb.DuckDBPyConnection,
) -> None:
    insert(con, "pods", [held("10.0.0.5", "a", 10), held("10.0.0.5", "b", 50), held("10.0.0.6", "c", 20)])
    assert holds(con) == [
        ("10.0.0.5", "a", 10, 50, None),
        ("10.0.0.5", "b", 50, None, None),
        ("10.0.0.6", "c", 20, None, None),
    ]


def test_a_known_end_counts_with_its_last_second_and_leaves_the_address_free(
    con: duckdb.DuckDBPyConnection,
) -> None:
    insert(con, "pods", [held("10.0.0.5", "a", 10, 30), held("10.0.0.5", "b", 50)])
    assert holds(con) == [("10.0.0.5", "a", 10, 31, None), ("10.0.0.5", "b", 50, None, None)]


def test_snapshots_of_a_pod_are_one_hold_and_a_name_that_comes_back_is_another(
    con: duckdb.DuckDBPyConnection,
) -> None:
    first = [held("10.0.0.5", "a", 12), held("10.0.0.5", "a", 10), held("10.0.0.5", "a", 12, 31)]
    insert(con, "pods", [*first, held("10.0.0.5", "a", 12, 30), held("10.0.0.5", "a", 60)])
    assert holds(con) == [("10.0.0.5", "a", 10, 31, None), ("10.0.0.5", "a", 60, None, None)]


def test_a_name_is_one_pods_at_a_time_whatever_its_addresses(con: duckdb.DuckDBPyConnection) -> None:
    both = [held("10.0.0.5", "a", 10), held("fd00::5", "a", 10)]
    insert(con, "pods", [*both, held("10.0.0.6", "a", 60)])
    assert holds(con) == [
        ("10.0.0.5", "a", 10, 60, None),
        ("10.0.0.6", "a", 60, None, None),
        ("fd00::5", "a", 10, 60, None),
    ]


def test_a_pod_that_ran_several_jobs_is_a_row_for_each_and_for_the_time_between(
    con: duckdb.DuckDBPyConnection,
) -> None:
    insert(con, "pods", [held("10.0.0.5", "a", 10, 90)])
    insert(con, "jobs", [job("a", "1", 20, 29), job("a", "2", 40, 50), job("b", "3", 20, 60)])
    assert holds(con) == [
        ("10.0.0.5", "a", 10, 20, None),
        ("10.0.0.5", "a", 20, 30, "1"),
        ("10.0.0.5", "a", 30, 40, None),
        ("10.0.0.5", "a", 40, 51, "2"),
        ("10.0.0.5", "a", 51, 91, None),
    ]


def test_two_jobs_that_share_a_second_both_have_it(con: duckdb.DuckDBPyConnection) -> None:
    insert(con, "pods", [held("10.0.0.5", "a", 10)])
    insert(con, "jobs", [job("a", "1", 10, 30), job("a", "2", 30, 40)])
    assert holds(con) == [
        ("10.0.0.5", "a", 10, 31, "1"),
        ("10.0.0.5", "a", 30, 41, "2"),
        ("10.0.0.5", "a", 41, None, None),
    ]


def test_a_job_seen_while_it_ran_and_after_it_is_one_and_one_that_still_runs_lasts_to_the_next(
    con: duckdb.DuckDBPyConnection,
) -> None:
    insert(con, "pods", [held("10.0.0.5", "a", 10)])
    seen = [job("a", "1", 10, None), job("a", "1", 10, 30), job("a", "2", 40, None), job("a", "3", 60, None)]
    insert(con, "jobs", seen)
    assert holds(con) == [
        ("10.0.0.5", "a", 10, 31, "1"),
        ("10.0.0.5", "a", 31, 40, None),
        ("10.0.0.5", "a", 40, 60, "2"),
        ("10.0.0.5", "a", 60, None, "3"),
    ]


def test_a_job_has_an_address_only_while_its_pod_holds_it(con: duckdb.DuckDBPyConnection) -> None:
    insert(con, "pods", [held("10.0.0.5", "a", 10, 30), held("10.0.0.5", "b", 40)])
    insert(con, "jobs", [job("a", "1", 5, 80), job("b", "2", 10, 20), job("b", "3", 45, 45)])
    assert holds(con) == [
        ("10.0.0.5", "a", 10, 31, "1"),
        ("10.0.0.5", "b", 40, 45, None),
        ("10.0.0.5", "b", 45, 46, "3"),
        ("10.0.0.5", "b", 46, None, None),
    ]


def test_an_ephemeral_runner_names_the_run_of_its_pod_and_jobs_and_invocations_name_the_workflow(
    con: duckdb.DuckDBPyConnection,
) -> None:
    file = ".github/workflows/ci.yml"
    took = [
        held(None, name, 10, ci_repo="acme/web", workflow=file, job="build", run_id=run)
        for name, run in (("a", "1"), ("b", "2"), ("c", "3"))
    ]
    pods = [held(f"10.0.0.{n}", name, 12) for n, name in enumerate(("a", "b", "c", "d"))]
    insert(con, "pods", [*pods, *took, *took])
    insert(con, "pods", [held("10.0.0.9", "a", 12, namespace="elsewhere")])
    insert(con, "jobs", [job("other", "1", 20, 30, workflow="CI")])
    insert(con, "invocations", [{"run_id": "2", "workflow": "Release"}])
    rows = con.execute("SELECT client_ip, ci_repo, workflow, job, run_id FROM pod_holds ORDER BY client_ip")
    assert rows.fetchall() == [
        ("10.0.0.0", "acme/web", "CI", "build", "1"),
        ("10.0.0.1", "acme/web", "Release", "build", "2"),
        ("10.0.0.2", "acme/web", file, "build", "3"),
        ("10.0.0.3", None, None, None, None),
        ("10.0.0.9", None, None, None, None),
    ]


def test_the_pod_of_a_jobs_own_container_is_its_runners_run(con: duckdb.DuckDBPyConnection) -> None:
    insert(con, "pods", [held("10.0.0.5", "a", 10), held("10.0.0.6", "a-workflow", 15, 30, runner="a")])
    insert(con, "jobs", [job("a", "1", 12, 40)])
    assert ("10.0.0.6", "a-workflow", 15, 31, "1") in holds(con)
    assert ("10.0.0.5", "a", 12, 41, "1") in holds(con)


SPANS = st.tuples(st.integers(0, 60), st.none() | st.integers(0, 20))


@settings(deadline=None, max_examples=60)
@given(
    pods=st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("xyz"), SPANS), max_size=6),
    jobs=st.lists(st.tuples(st.sampled_from("xyz"), SPANS), max_size=6),
)
def test_holds_cover_the_time_of_their_pods_without_a_gap_and_nothing_else(
    empty: duckdb.DuckDBPyConnection, pods: list[Any], jobs: list[Any]
) -> None:
    empty.execute("BEGIN")
    try:
        for ip, name, (start, took) in pods:
            insert(empty, "pods", [held(ip, name, start, None if took is None else start + took)])
        for n, (name, (start, took)) in enumerate(jobs):
            insert(empty, "jobs", [job(name, str(n), start, None if took is None else start + took)])
        holders = holds(empty)
    finally:
        empty.execute("ROLLBACK")
    far = 10_000
    covered: dict[tuple[str, str], set[int]] = {}
    for ip, name, since, until, run in holders:
        assert since < (far if until is None else until)
        span = set(range(since, min(200, far if until is None else until)))
        before = covered.setdefault((ip, name), set())
        assert run is not None or not span & before
        before |= span
    for ip, name in {(ip, name) for ip, name, _ in pods}:
        starts = [start for each, other, (start, _) in pods if (each, other) == (ip, name)]
        assert min(covered[ip, name]) == min(starts)
    assert covered.keys() == {(ip, name) for ip, name, _ in pods}
    for n, (name, (start, took)) in enumerate(jobs):
        for ip in "ab":
            ran = {
                second
                for *which, since, until, run in holders
                if (*which, run) == (ip, name, str(n))
                for second in range(since, min(200, until or far))
            }
            lasted = set() if took is None else set(range(start, start + took + 1))
            assert took is None or ran == lasted & covered.get((ip, name), set())
