"""What docker does: pulls and how they ended, containers and how they lived, on a few lines of log."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest

from ciforensics import connect
from ciforensics.case.ranges import Range, narrow_case

if TYPE_CHECKING:
    from pathlib import Path

    import duckdb

Case = Callable[..., "duckdb.DuckDBPyConnection"]

START = 1_795_489_200  # 2026-11-24 03:00:00 UTC
POD = "arc-7k2f9-runner-ab1c2"
GOLANG = "golang:1.24"


def command(second: int, line: str, **more: Any) -> str:
    """A line of the wrapper's log."""
    known = {"repo": "acme/web", "workflow": "CI", "job": "build", "run_id": "1", "pod": POD}
    at = f"2026-11-24T03:{second // 60:02}:{second % 60:02}Z"
    keys = {"ts": at, **known, "cmd": line.partition(" ")[0], "args": line, **more}
    return json.dumps({k: v for k, v in keys.items() if v is not None}) + "\n"


def event(second: float, action: str, actor: str, kind: str = "image", **more: Any) -> str:
    """A line of docker's events; `attributes` are docker's, the rest is the streamer's."""
    known = {"repo": "acme/web", "workflow": "CI", "job": "build", "run_id": "1", "pod": POD}
    actor_of = {"ID": actor, "Attributes": more.pop("attributes", {})}
    nano = {"timeNano": START * 10**9 + round(second * 10**9)}
    line = {"Type": kind, "Action": action, "Actor": actor_of, **nano, **(known | more)}
    return json.dumps({k: v for k, v in line.items() if v is not None}) + "\n"


# Events of a second runner of the same scale set, before and after everything: the log covers place and time.
OTHER = {"run_id": "9", "pod": "arc-7k2f9-runner-zz9z9"}
COVERED = event(-60, "tag", "sha256:" + "1" * 64, **OTHER) + event(3500, "tag", "sha256:" + "2" * 64, **OTHER)


def outcomes(con: duckdb.DuckDBPyConnection, parameters: str = "") -> list[str]:
    return [row[0] for row in con.sql(f"SELECT outcome FROM pull_outcomes({parameters})").fetchall()]


def container(begin: float, end: float, code: int, name: str = "a", **more: Any) -> str:
    """The events of one container."""
    image = {"attributes": {"image": "acme/web:1", "name": name}}
    ends = {"attributes": image["attributes"] | {"exitCode": str(code)}}
    box = name * 64
    return (
        event(begin, "create", box, "container", **image, **more)
        + event(begin + 0.2, "start", box, "container", **image, **more)
        + event(end, "die", box, "container", **ends, **more)
    )


def test_a_pull_without_an_event_failed_or_hung_and_one_with_an_event_arrived(case: Case) -> None:
    asked = command(10, f"pull {GOLANG}") + command(700, "pull redis")
    con = case(wrapper=asked, events=COVERED + event(14, "pull", GOLANG, attributes={"name": "golang"}))
    assert outcomes(con) == ["arrived", "no event"]
    assert con.sql("SELECT name, pulls, judged, run_ids FROM failed_pulls").fetchall() == [
        ("acme/web · CI · redis:latest", 1, 1, "1")
    ]


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ("golang", "golang:latest"),
        ("docker.io/library/golang:1.24", "golang:1.24"),
        ("index.docker.io/acme/web", "acme/web:latest"),
        ("library/golang:1.24", "golang:1.24"),
        ("localhost:5000/app", "localhost:5000/app:latest"),
        ("--platform linux/arm64 golang:1.24", "golang:1.24"),
        ("golang:1.24 --platform=linux/arm64 -q", "golang:1.24"),
        ("golang:1.24@sha256:" + "a" * 64, "golang@sha256:" + "a" * 64),
    ],
)
def test_an_image_is_the_same_however_it_is_written(case: Case, asked: str, told: str) -> None:
    con = case(wrapper=command(10, f"pull {asked}"), events=COVERED + event(14, "pull", told))
    assert outcomes(con) == ["arrived"]


@pytest.mark.parametrize("told", ["golang:1.23", "mirror.example/library/golang:1.24", "acme/golang:1.24"])
def test_the_event_of_another_image_is_no_arrival(case: Case, told: str) -> None:
    con = case(wrapper=command(10, f"pull {GOLANG}"), events=COVERED + event(14, "pull", told))
    assert outcomes(con) == ["no event"]


def test_a_retry_that_arrives_does_not_hide_the_pull_that_failed_before_it(case: Case) -> None:
    asked = command(10, f"pull {GOLANG}") + command(20, f"pull {GOLANG}")
    con = case(wrapper=asked, events=COVERED + event(25, "pull", GOLANG))
    assert outcomes(con) == ["no event", "arrived"]
    assert con.sql("SELECT next_command, next_after_s FROM pull_outcomes").fetchall() == [
        ("pull", 10.0),
        (None, None),
    ]


def test_two_pulls_at_once_each_have_their_event(case: Case) -> None:
    asked = command(10, f"pull {GOLANG}") + command(11, f"pull {GOLANG}")
    con = case(wrapper=asked, events=COVERED + event(25, "pull", GOLANG) + event(26, "pull", GOLANG))
    assert outcomes(con) == ["arrived", "arrived"]


def test_an_event_after_the_window_is_too_late(case: Case) -> None:
    con = case(wrapper=command(10, f"pull {GOLANG}"), events=COVERED + event(400, "pull", GOLANG))
    assert outcomes(con) == ["arrived"]
    assert outcomes(con, "p_pull_within_s := 300") == ["no event"]
    assert con.sql("SELECT why FROM pull_outcomes(p_pull_within_s := 300)").fetchall() == [
        ("the pull event came too late",)
    ]


@pytest.mark.parametrize(
    ("events", "why"),
    [
        (
            event(-60, "tag", "x", pod="vm-legacy", run_id=None) + event(3500, "tag", "x", pod="vm-legacy"),
            "runner",
        ),
        (COVERED.replace('"Type": "image"', '"Type": "network"'), "runner"),  # a stream without image events
        (event(200, "tag", "sha256:" + "1" * 64, **OTHER) + event(3500, "tag", "x", **OTHER), "begin"),
        (event(-60, "tag", "x", **OTHER) + event(60, "tag", "x", **OTHER), "end too soon"),
    ],
)
def test_where_no_events_cover_the_pull_nobody_is_accused(case: Case, events: str, why: str) -> None:
    events = events.replace('"run_id": "1"', '"run_id": "9"')
    con = case(wrapper=command(10, f"pull {GOLANG}"), events=events)
    ((outcome, said),) = con.sql("SELECT outcome, why FROM pull_outcomes").fetchall()
    assert outcome == "cannot tell"
    assert why in said


def test_a_case_narrowed_to_a_range_does_not_accuse_a_pull_whose_event_is_outside(
    case: Case, tmp_path: Path
) -> None:
    case(wrapper=command(10, f"pull {GOLANG}"), events=COVERED + event(14, "pull", GOLANG))
    after = Range(datetime(2026, 11, 24, 3, 1), None)
    narrow_case(tmp_path / "case.duckdb", tmp_path / "narrow.duckdb", to=after)
    with connect(tmp_path / "narrow.duckdb") as con:
        assert con.sql("SELECT outcome, why FROM pull_outcomes").fetchall() == [
            ("cannot tell", "before docker events begin")
        ]


def test_without_any_docker_events_only_an_exit_code_can_tell(case: Case) -> None:
    lines = [
        command(10, f"pull {GOLANG}"),
        command(20, f"pull {GOLANG}", exit_code=0),
        command(30, f"pull {GOLANG}", exit_code=1),
        command(40, f"pull {GOLANG}", exit_code=143),
    ]
    con = case(wrapper="".join(lines))
    assert outcomes(con) == ["cannot tell", "arrived", "failed", "failed"]
    assert con.sql("SELECT why FROM pull_outcomes WHERE exit_code > 128").fetchall() == [
        ("ended by a signal: cancelled, or killed while it hung",)
    ]


def test_the_notes_wrapper_names_no_image_so_any_pull_event_of_the_run_speaks_for_it(case: Case) -> None:
    first = {"args": None, "pod": None}
    asked = command(10, "pull", **first) + command(700, "pull", **first) + command(800, "build", **first)
    con = case(wrapper=asked, events=COVERED + event(14, "pull", GOLANG))
    assert outcomes(con) == ["arrived", "no event"]
    assert con.sql("SELECT image FROM pull_outcomes").fetchall() == [(None,), (None,)]


def test_another_leg_of_the_run_does_not_speak_for_a_runner_whose_pull_failed(case: Case) -> None:
    leg = "arc-7k2f9-runner-cd3e4"
    asked = command(10, f"pull {GOLANG}") + command(10, f"pull {GOLANG}", pod=leg)
    con = case(wrapper=asked, events=COVERED + event(14, "pull", GOLANG, pod=leg))
    told = con.sql("SELECT runner, outcome FROM pull_outcomes ORDER BY runner").fetchall()
    assert told == [(POD, "no event"), (leg, "arrived")]


def test_the_pulls_that_failed_in_the_samples_are_found_and_no_other_is_accused() -> None:
    query = "SELECT DISTINCT ci_repo, run_id FROM pull_outcomes WHERE outcome <> 'arrived' ORDER BY run_id"
    with connect("") as con:
        assert con.sql(query).fetchall() == [
            ("acme/gateway", "23104571299"),
            ("acme/gateway", "23104901395"),
        ]


def test_images_are_ranked_by_events_or_commands_and_never_by_their_sum(case: Case) -> None:
    asked = command(10, f"pull {GOLANG}") + command(700, "pull ghcr.io/acme/app") * 3
    pulled = event(14, "pull", "docker.io/library/golang:1.24") + event(90, "pull", GOLANG)
    # Two streamers on one daemon log the same event.
    con = case(wrapper=asked, events=pulled + event(90, "pull", GOLANG, run_id="2"))
    query = "SELECT registry, name, events, commands, pulls FROM pulled_images"
    assert con.sql(query).fetchall() == [
        ("ghcr.io", "ghcr.io/acme/app:latest", 0, 3, 3),
        ("docker.io", "golang:1.24", 2, 1, 2),
    ]


def test_a_job_counts_its_containers_and_one_that_is_covered_in_part_does_not_count(case: Case) -> None:
    two = container(10, 20, 0, "a") + container(11, 13, 1, "b")
    cut = event(30, "start", "c" * 64, "container", run_id="2")  # its create was before the log
    none = event(40, "tag", "sha256:" + "1" * 64, run_id="3")
    con = case(events=two + cut + none)
    query = "SELECT run_id, containers, container_s, whole FROM containers_per_job ORDER BY run_id"
    assert con.sql(query).fetchall() == [("1", 2, 12.0, True), ("2", 0, 0.0, False), ("3", 0, 0.0, True)]
    per_workflow = con.sql("SELECT name, jobs, partly, median, mean FROM containers_by_workflow").fetchall()
    assert per_workflow == [("all jobs", 2, 1, 0, 1.0), ("acme/web · CI", 2, 1, 0, 1.0)]


def test_a_job_that_began_before_the_events_is_covered_in_part(case: Case) -> None:
    con = case(wrapper=command(5, "login"), events=container(10, 20, 0))
    assert con.sql("SELECT whole FROM containers_per_job").fetchall() == [(False,)]


def test_a_container_lives_from_create_to_its_last_die_and_says_how_it_ended(case: Case) -> None:
    oom = event(29, "oom", "b" * 64, "container")
    killed = event(39, "kill", "c" * 64, "container", attributes={"signal": "9"})
    lines = container(10, 12, 0) + container(20, 30, 137, "b") + oom + container(30, 40, 137, "c") + killed
    con = case(events=lines + event(50, "exec_die", "a" * 64, "container", attributes={"exitCode": "5"}))
    query = "SELECT life_s, exit_code, ran_out_of_memory, was_stopped FROM containers ORDER BY created_at"
    ends = [(2.0, 0, False, False), (10.0, 137, True, False), (10.0, 137, False, True)]
    assert con.sql(query).fetchall() == ends
    query = "SELECT exit_code, ended, out_of_memory, stopped FROM docker_exits ORDER BY exit_code"
    assert con.sql(query).fetchall() == [(0, 1, 0, 0), (137, 2, 1, 1)]
    life = con.sql("SELECT name, containers, median, total_s FROM container_life WHERE by_what = 'image'")
    assert life.fetchall() == [("acme/web", 3, 10.0, 22.0)]


def test_whose_container_it_is_is_not_known_where_the_streamers_of_two_runs_logged_it(case: Case) -> None:
    con = case(events=container(10, 20, 0) + container(10, 20, 0, run_id="2"))
    assert con.sql("SELECT count(*), max(run_id) FROM containers").fetchall() == [(1, None)]


def test_work_is_added_up_by_workflow_and_what_a_log_does_not_name_is_null_and_not_zero(case: Case) -> None:
    asked = command(5, "build .") + command(6, "build .", repo="acme/app", run_id="2")
    con = case(wrapper=asked, events=container(10, 22.5, 0))
    query = "SELECT name, builds, containers, container_s FROM docker_workload"
    assert con.sql(query).fetchall() == [("acme/web · CI", 1, 1, 12.5), ("acme/app · CI", 1, None, None)]
    only = con.sql("SELECT name FROM docker_workload(p_repos := 'acme/none, Acme/App')").fetchall()
    assert only == [("acme/app · CI",)]


def test_what_can_be_said_of_docker_depends_on_the_logs(case: Case) -> None:
    query = "SELECT answer FROM answerable WHERE notebook = 'docker'"
    assert case(wrapper=command(10, f"pull {GOLANG}")).sql(query).fetchall() == [("partly",), ("no",)]
    assert case(events=COVERED).sql(query).fetchall() == [("yes",), ("partly",)]
    assert case(more=command(10, f"pull {GOLANG}", exit_code=1)).sql(query).fetchall() == [("yes",), ("yes",)]


def test_the_summary_of_a_case_without_docker_says_that_there_is_nothing(con: Any) -> None:
    assert con.sql("SELECT pulls FROM docker_summary").fetchall() == [(None,)]
