"""What docker, old and new, and Podman print as events."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ciforensics import tables
from ciforensics.contract import RECORDS, Head, Parsed, Reader, ReadOptions
from ciforensics.errors import Unreadable
from ciforensics.sources.docker_events import SOURCE

ID = "sha256:" + "d7947874" * 8
WHEN = dt.datetime(2026, 11, 24, 3, 4, 45, 603573)
PULL = (
    '{"status":"pull","id":"golang:1.24","Type":"image","Action":"pull","Actor":{"ID":"golang:1.24",'
    '"Attributes":{"name":"golang"}},"scope":"local","time":1795489485,"timeNano":1795489485603573981}'
)


def event(kind: str, action: str, actor: str, /, **attributes: str) -> str:
    """As engine 29 writes it: no status, id or from."""
    named = {"ID": actor, "Attributes": attributes}
    times = {"scope": "local", "time": 1795489485, "timeNano": 1795489485603573981}
    return json.dumps({"Type": kind, "Action": action, "Actor": named} | times)


def reader(log: str, **said: Any) -> Reader | None:
    head = Head(log.encode(), tuple(line for line in log.split("\n") if line.strip()))
    return SOURCE.recognise(head, ReadOptions(ZoneInfo("UTC"), **said))


def read(log: str, *, as_in: str | None = None, **said: Any) -> Parsed:
    """Reads a log, by its own head or by that of another; checks that no record is lost."""
    log_reader = reader(as_in or log, **said)
    assert log_reader is not None
    numbered = [(number, 1, line) for number, line in enumerate(log.split("\n"), start=1) if line.strip()]
    lines = pl.DataFrame(numbered, schema=RECORDS, orient="row")
    joined, held = log_reader.assemble(lines, True)
    parsed = log_reader.parse(joined)
    assert held == 0
    assert len(parsed.rows["docker_events"]) + len(parsed.rejected) == len(joined) + parsed.extra
    return parsed


def only(log: str, **said: Any) -> dict[str, Any]:
    (row,) = read(log, **said).rows["docker_events"].rows(named=True)
    return row


def image(row: dict[str, Any]) -> tuple[str | None, str | None, str | None]:
    return row["image"], row["image_tag"], row["image_digest"]


def test_a_pull_of_engine_20_becomes_a_row_with_its_time_to_the_microsecond() -> None:
    row = only(PULL)
    assert (row["ts"], row["type"], row["action"], row["object_id"]) == (WHEN, "image", "pull", "golang:1.24")
    assert image(row) == ("golang", "1.24", None)
    assert row["name"] is None
    assert json.loads(row["attributes"]) == {"name": "golang"}


def test_rows_have_the_columns_of_the_table_and_fill_what_the_source_says() -> None:
    columns = set(read(PULL).rows["docker_events"].columns)
    assert columns == set(tables.DOCKER_EVENTS.types) - {"source", "file_id"}
    assert set(SOURCE.fills["docker_events"]) == columns - {"line_no"}


def test_engine_29_without_the_old_fields_reads_the_same() -> None:
    new = {key: value for key, value in json.loads(PULL).items() if key not in {"status", "id", "scope"}}
    assert only(json.dumps(new)) == only(PULL)


def test_engines_before_1_22_have_only_four_keys() -> None:
    pulled = '{"status":"pull","id":"ruby:2","time":1422000000}'
    died = '{"status":"die","id":"ab12","from":"app:1","time":1422000001}'
    pull, die = read(f"{pulled}\n{died}").rows["docker_events"].rows(named=True)
    assert (pull["type"], pull["action"], *image(pull)) == ("image", "pull", "ruby", "2", None)
    assert (die["type"], die["object_id"], *image(die)) == ("container", "ab12", "app", "1", None)
    assert pull["ts"] == dt.datetime(2015, 1, 23, 8, 0)
    assert pull["attributes"] is None


def test_podmans_dialect_is_read_too() -> None:
    died = (
        '{"ID":"a1","Name":"web","Status":"died","Time":"2022-07-19T21:26:10.141234567+02:00","Type":"container",'
        '"Attributes":null,"Image":"docker.io/library/alpine:latest","ContainerExitCode":3}'
    )
    row = only(died)
    assert row["ts"] == dt.datetime(2022, 7, 19, 19, 26, 10, 141234)
    assert (row["action"], row["name"], row["exit_code"], row["attributes"]) == ("died", "web", 3, None)
    assert image(row) == ("docker.io/library/alpine", "latest", None)


def test_podmans_pull_names_the_image_beside_its_id() -> None:
    pull = json.dumps(
        {
            "ID": "e" * 64,
            "Name": "quay.io/a/b:3",
            "Status": "pull",
            "Type": "image",
            "timeNano": 1795489485603573981,
        }
    )
    assert image(only(pull)) == ("quay.io/a/b", "3", None)


def test_record_separators_of_a_json_sequence_are_no_part_of_the_event() -> None:
    parsed = read(f"\x1e{PULL}\n\x1e{PULL}")
    assert parsed.rows["docker_events"]["action"].to_list() == ["pull", "pull"]
    assert parsed.extra == 0


@pytest.mark.parametrize("nested", [False, True])
def test_the_tags_that_a_streamer_added_fill_the_ci_columns(nested: bool) -> None:
    tags = {"repo": "o/r", "workflow": "CI", "job": "b", "run_id": 12, "run_attempt": 1, "pod": "p-1"}
    tagged = {"event": json.loads(PULL), "tags": tags} if nested else json.loads(PULL) | tags
    row = only(json.dumps(tagged))
    assert [row[name] for name in ("ci_repo", "workflow", "job", "run_id", "pod")] == [
        "o/r",
        "CI",
        "b",
        "12",
        "p-1",
    ]
    assert (row["ts"], row["action"], *image(row)) == (WHEN, "pull", "golang", "1.24", None)


def test_a_streamers_own_time_does_not_replace_the_events() -> None:
    wrapped = {"time": "2026-11-24T09:00:00Z", "event": json.loads(PULL), "GITHUB_WORKFLOW": ""}
    row = only(json.dumps(wrapped))
    assert (row["ts"], row["workflow"]) == (WHEN, None)


@pytest.mark.parametrize("action", ["exec_create", "exec_start"])
def test_the_command_of_an_exec_moves_from_the_action_into_the_attributes(action: str) -> None:
    command = "sh -c \"curl -H 'Authorization: x' \\\\ \t\u0001 é: ✓\""
    row = only(event("container", f"{action}: {command}", "ab12", image="app", name="web", execID="e1"))
    assert row["action"] == action
    assert json.loads(row["attributes"]) == {
        "execCommand": command,
        "image": "app",
        "name": "web",
        "execID": "e1",
    }


def test_a_command_of_several_lines_is_kept_whole() -> None:
    row = only(event("container", "exec_create: sh -c a\nb: c\n", "ab12"))
    assert json.loads(row["attributes"]) == {"execCommand": "sh -c a\nb: c\n"}


def test_health_is_split_off_like_a_command() -> None:
    row = only(event("container", "health_status: healthy", "ab12", name="web"))
    assert (row["action"], json.loads(row["attributes"])) == (
        "health_status",
        {"healthStatus": "healthy", "name": "web"},
    )


@pytest.mark.parametrize(
    ("reference", "parts"),
    [
        ("app", ("app", None, None)),
        ("app:latest", ("app", "latest", None)),
        (
            "127.0.0.1:5000/library/golang:1.24-bookworm",
            ("127.0.0.1:5000/library/golang", "1.24-bookworm", None),
        ),
        ("localhost:5000/app", ("localhost:5000/app", None, None)),
        (f"ghcr.io/o/app@{ID}", ("ghcr.io/o/app", None, ID)),
        (f"r:5000/o/app:v1@{ID}", ("r:5000/o/app", "v1", ID)),
        (ID, (None, None, ID)),
        ("what is this", ("what is this", None, None)),
        ("", (None, None, None)),
    ],
)
def test_the_image_of_a_container_is_split(reference: str, parts: tuple[str | None, ...]) -> None:
    assert image(only(event("container", "create", "ab12", image=reference, name="n"))) == parts


@pytest.mark.parametrize(
    ("action", "actor", "name", "parts"),
    [
        ("pull", "golang:1.24", "golang", ("golang", "1.24", None)),
        ("pull", f"golang@{ID}", "golang", ("golang", None, ID)),
        (
            "push",
            "127.0.0.1:5000/golang:1.24",
            "127.0.0.1:5000/golang",
            ("127.0.0.1:5000/golang", "1.24", None),
        ),
        ("tag", ID, "127.0.0.1:5000/golang:1.24", ("127.0.0.1:5000/golang", "1.24", None)),
        ("untag", ID, ID, (None, None, ID)),
        ("delete", ID, ID, (None, None, ID)),
        ("prune", "", "", (None, None, None)),
    ],
)
def test_an_image_event_is_of_the_reference_in_its_id_or_its_name(
    action: str, actor: str, name: str, parts: tuple[str | None, ...]
) -> None:
    assert image(only(event("image", action, actor, name=name))) == parts


def test_the_exit_code_is_that_of_a_container_or_an_exec_that_ended() -> None:
    log = "\n".join(
        [
            event("container", "die", "ab12", exitCode="3"),
            event("container", "exec_die", "ab12", exitCode="0"),
            event("container", "create", "ab12", exitCode="7"),  # a label
            event("container", "die", "ab12", exitCode="see wiki"),  # a label that hides the real one
        ]
    )
    rows = read(log).rows["docker_events"]
    assert rows["exit_code"].to_list() == [3, 0, None, None]
    assert json.loads(rows["attributes"][3]) == {"exitCode": "see wiki"}


def test_networks_and_volumes_have_names_too() -> None:
    log = "\n".join(
        [
            event("network", "connect", "10aa", container="ab12", name="bridge", type="bridge"),
            event("volume", "create", "cache", driver="local"),
            event("daemon", "reload", "uuid", name="host-1"),
        ]
    )
    assert read(log).rows["docker_events"]["name"].to_list() == ["bridge", "cache", None]


def test_without_nanoseconds_the_seconds_count() -> None:
    for nano in ("", ',"timeNano":0', ',"timeNano":null'):
        line = PULL.replace(',"timeNano":1795489485603573981', nano)
        assert only(line)["ts"] == WHEN.replace(microsecond=0)


def test_attributes_that_are_no_object_still_end_up_as_json() -> None:
    line = PULL.replace('{"name":"golang"}', '"{oops"')
    assert json.loads(only(line)["attributes"]) == {"attributes": "{oops"}


def test_glued_events_are_two_and_one_that_was_cut_does_not_take_the_next_with_it() -> None:
    create = event("container", "create", "ab12", image="app")
    parsed = read(f"{PULL}\n{PULL}{create}\n{PULL[:80]}{create}\n{PULL} {create}\n{PULL[:80]}")
    assert parsed.rows["docker_events"]["line_no"].to_list() == [1, 2, 2, 3, 4, 4]
    assert parsed.rejected.rows() == [
        (3, 1, "no JSON object", PULL[:80]),
        (5, 1, "no JSON object", PULL[:80]),
    ]
    assert parsed.extra == 3


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"level":"error","msg":"lost connection"}', "names no action of docker's"),
        (PULL.replace("1795489485603573981", "0").replace("1795489485", '"now"'), "no readable time"),
        ("[]", "no JSON object"),
        ("Error response from daemon", "no JSON object"),
    ],
)
def test_what_is_no_event_is_rejected_with_a_reason(line: str, reason: str) -> None:
    parsed = read(f"{PULL}\n{line}\n{PULL}")
    assert parsed.rejected.rows() == [(2, 1, reason, line)]


@pytest.mark.parametrize(
    "line",
    [
        '{"timestamp":"2026-11-24T03:04:14Z","method":"GET","url":"https://github.com/o/r","status":200}',
        '{"ts":"1795488738","client_ip":"127.0.0.1","authority":"h:443","bytes_up":"9","podmeta":{"job":"x"}}',
        '{"ts":"2026-11-24T03:05:46Z","repo":"o/r","workflow":"CI","job":"build","run_id":"123","cmd":"build"}',
        '{"id":"1","run_id":2,"workflow_name":"CI","status":"completed","started_at":"2026-01-01T00:00:00Z"}',
        '{"total_count":1,"jobs":[{"id":1,"run_id":2,"workflow_name":"CI"}]}',
        '{"kind":"Event","type":"Normal","reason":"Pulled","action":"pull"}',
        '{"log":{"version":"1.2","entries":[]}}',
        "",
    ],
)
def test_another_log_is_not_taken_for_events(line: str) -> None:
    assert reader(line) is None


def test_a_forced_file_that_does_not_fit_says_why() -> None:
    with pytest.raises(Unreadable, match="Type, Action and time"):
        reader('{"a":1}', forced=True)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.text(), st.dictionaries(st.text(), st.text(), max_size=3)), min_size=1))
def test_commands_and_attributes_come_back_as_they_were(calls: list[tuple[str, dict[str, str]]]) -> None:
    log = [event("container", f"exec_start: {command}", "ab12", **labels) for command, labels in calls]
    rows = read("\n".join(log)).rows["docker_events"]
    assert set(rows["action"]) == {"exec_start"}
    kept = [json.loads(text) for text in rows["attributes"]]
    assert kept == [{"execCommand": command} | labels for command, labels in calls]


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_whatever_happens_to_a_log_no_record_is_lost(data: st.DataObject) -> None:
    log = "\n".join([PULL, event("container", "exec_create: sh", "ab12", image="a"), f"\x1e{PULL}"])
    start = data.draw(st.integers(0, len(log)))
    stop = data.draw(st.integers(start, len(log)))
    filling = data.draw(st.sampled_from(["", "\n", "\x00", "{", "}", '{"Type":', "\x1e", PULL, "�" * 100]))
    rows = read(log[:start] + filling + log[stop:], as_in=PULL).rows["docker_events"]
    assert all(isinstance(json.loads(text), dict) for text in rows["attributes"].drop_nulls())
