"""The docker wrapper's log, as dash writes it."""

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
from ciforensics.sources.docker_wrapper import SOURCE

PLAIN = (
    '{"ts":"2026-11-24T03:05:46Z","repo":"o/r","workflow":"CI","job":"build","run_id":"123","cmd":"build"}'
)


def echoed(workflow: str, job: str = "build") -> str:
    """What the wrapper's echo makes of a workflow's name: nothing is escaped."""
    return PLAIN.replace('"CI"', f'"{workflow}"').replace('"job":"build"', f'"job":"{job}"')


def lines_of(log: str) -> pl.DataFrame:
    numbered = [(number, 1, line) for number, line in enumerate(log.split("\n"), start=1) if line.strip()]
    return pl.DataFrame(numbered, schema=RECORDS, orient="row")


def reader(log: str, **said: Any) -> Reader | None:
    options = ReadOptions(ZoneInfo("UTC"), **said)
    return SOURCE.recognise(Head(log.encode(), tuple(lines_of(log)["text"])), options)


def read(log: str, *, as_in: str | None = None, **said: Any) -> Parsed:
    """Reads a log, by its own head or by that of another; checks that no record is lost."""
    log_reader = reader(as_in or log, **said)
    assert log_reader is not None
    joined, held = log_reader.assemble(lines_of(log), True)
    parsed = log_reader.parse(joined)
    assert held == 0
    assert len(parsed.rows["invocations"]) + len(parsed.rejected) == len(joined) + parsed.extra
    return parsed


def only(parsed: Parsed) -> dict[str, Any]:
    (row,) = parsed.rows["invocations"].rows(named=True)
    return row


def commands(parsed: Parsed) -> list[str | None]:
    return parsed.rows["invocations"]["command"].to_list()


def test_a_line_of_the_notes_wrapper_becomes_a_row() -> None:
    row = only(read(PLAIN))
    assert row["ts"] == dt.datetime(2026, 11, 24, 3, 5, 46)
    assert row["ts_resolution_ms"] == 1000
    assert (row["ci_repo"], row["workflow"], row["job"], row["run_id"]) == ("o/r", "CI", "build", "123")
    assert (row["command"], row["args"], row["salvaged"]) == ("build", None, False)


def test_rows_have_the_columns_of_the_table_and_fill_what_the_source_says() -> None:
    columns = set(read(PLAIN).rows["invocations"].columns)
    assert columns == set(tables.INVOCATIONS.types) - {"source", "file_id"}
    assert set(SOURCE.fills["invocations"]) == columns - {"line_no"}


def test_what_the_runner_itself_called_has_no_ci_context() -> None:
    own = '{"ts":"2026-11-24T03:05:46Z","repo":"","workflow":"","job":"","run_id":"","cmd":"pull"}'
    row = only(read(own))
    assert [row[name] for name in ("ci_repo", "workflow", "job", "run_id")] == [None] * 4
    assert row["command"] == "pull"


def test_docker_without_arguments_is_a_row_without_a_command() -> None:
    assert commands(read(PLAIN.replace('"cmd":"build"', '"cmd":""'))) == [None]


@pytest.mark.parametrize(
    "workflow",
    [
        'Nightly "full" suite',
        "tab\traw — ünïcode 🚀",
        "path\new\test",
        'm {"os":"linux"} x',
        "C:\\",
        'a\\\\"b',
        '"',
        "",
        "bell\x07\x00",
    ],
)
def test_a_name_that_broke_its_line_is_salvaged_as_it_stands(workflow: str) -> None:
    rows = read(f"{PLAIN}\n{echoed(workflow)}\n{PLAIN}").rows["invocations"]
    assert rows["workflow"].to_list() == ["CI", workflow or None, "CI"]
    assert rows["salvaged"].to_list() == [False, workflow != "", False]
    assert rows["job"].to_list() == ["build"] * 3


def test_the_log_of_the_lab_under_dash() -> None:
    log = "\n".join(
        [
            PLAIN,
            echoed("path\new\test"),
            PLAIN.partition('CI"')[0] + "back\\slash \\u00e9 " + echoed("multi\nline"),  # \c ate the rest
            echoed("CI").replace('"cmd":"build"', '"cmd":"buildx"'),
        ]
    )
    parsed = read(log)
    rows = parsed.rows["invocations"]
    assert rows["line_no"].to_list() == [1, 2, 4, 6]
    assert rows["workflow"].to_list() == ["CI", "path\new\test", "multi\nline", "CI"]
    assert rows["salvaged"].to_list() == [False, True, True, False]
    assert parsed.extra == 1
    (cut,) = parsed.rejected.rows()
    assert cut == (4, 1, "cut off before its end", PLAIN.partition('CI"')[0] + "back\\slash \\u00e9 ")


def test_two_records_on_one_line_are_two_rows() -> None:
    parsed = read(f"{PLAIN}\n{PLAIN}{echoed('other')}")
    assert parsed.rows["invocations"]["workflow"].to_list() == ["CI", "CI", "other"]
    assert parsed.rows["invocations"]["salvaged"].to_list() == [False, True, True]
    assert parsed.extra == 1


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (echoed('say "x","job":"y'), "two readings: the key job is there twice"),
        (echoed('x","job":"y'), "two readings: the key job is there twice"),  # valid JSON
        (echoed('a "b"').replace(',"cmd":"build"', ""), "cut off before its last key"),
        (echoed('a "b"')[:-1], "cut off before its end"),
        (echoed('a "b"')[:60], "cut off before its end"),
        (echoed('a "b","shard":"c'), "other keys than the log's valid lines have"),
        (PLAIN + '{"level":"info"}', "other keys than the log's valid lines have"),
        (PLAIN.replace('"123"', 'x"123"'), "a value does not end where the next key begins"),
        (PLAIN.replace("2026-11-24T", "soon "), "no readable time"),
        (echoed('a "b"').replace("2026-11-24T", "soon "), "no readable time"),
        (PLAIN.replace('"cmd":"build"', '"msg":"rotated"'), "names no docker command"),
        ("[1, 2]", "no record of the wrapper"),
        ("docker: command not found", "no record of the wrapper"),
    ],
)
def test_what_cannot_be_told_is_rejected_with_a_reason_and_as_it_was(line: str, reason: str) -> None:
    parsed = read(f"{PLAIN}\n{line}\n{PLAIN}")
    assert parsed.rows["invocations"]["line_no"].to_list() == [1, 3]
    ((line_no, n_lines, why, text),) = parsed.rejected.rows()
    assert (line_no, n_lines, text) == (2, 1, line)
    assert reason in why


def test_more_keys_in_any_order_fill_more_columns() -> None:
    line = json.dumps(
        {
            "cmd": "buildx",
            "args": ["buildx", "build", "-t", "a b", "."],
            "ts": 1795489505.25,
            "pid": 12,
            "exit_code": 3,
            "duration_ms": 12.5,
            "GITHUB_REPOSITORY": "o/r",
            "GITHUB_WORKFLOW": "CI",
            "run_id": 7,
            "attempt": "2",
            "runner_name": "runner-1",
            "hostname": "pod-1",
            "orchestration_id": "plan.job.leg",
            "image": "alpine:3",
        }
    )
    row = only(read(line))
    assert row["ts"] == dt.datetime(2026, 11, 24, 3, 5, 5, 250_000)
    assert (row["command"], row["args"]) == ("build", "buildx build -t 'a b' .")
    assert (row["exit_code"], row["duration_ms"], row["run_attempt"], row["run_id"]) == (3, 12.5, 2, "7")
    assert (row["ci_repo"], row["workflow"], row["runner"], row["pod"]) == ("o/r", "CI", "runner-1", "pod-1")
    assert (row["orchestration_id"], row["image"]) == ("plan.job.leg", "alpine:3")


def test_a_broken_line_with_more_keys_is_salvaged_by_the_order_of_the_valid_ones() -> None:
    valid = (
        '{"cmd":"push","pid":12,"x":null,"workflow":"CI","ts":1795489505,"repo":"o/r","job":"j","run_id":7}'
    )
    parsed = read(valid + "\n" + valid.replace("CI", 'say "x'))
    rows = parsed.rows["invocations"]
    assert rows["workflow"].to_list() == ["CI", 'say "x']
    assert rows["run_id"].to_list() == ["7", "7"]
    assert parsed.rejected.is_empty()


def test_a_log_without_a_single_valid_line_is_read_too() -> None:
    row = only(read(echoed('Nightly "full" suite')))
    assert (row["workflow"], row["salvaged"]) == ('Nightly "full" suite', True)


@pytest.mark.parametrize(
    ("cmd", "args", "command"),
    [
        ("buildx", None, "buildx"),
        ("--context", None, "--context"),
        ("--config=/home/runner", None, "--config"),
        ("buildx", "buildx build -t x .", "build"),
        ("buildx", "build -t x .", "build"),
        ("buildx", "b .", "build"),
        ("buildx", "--builder b1 build .", "build"),
        ("buildx", "bake", "buildx"),
        ("builder", "build .", "build"),
        ("image", "build .", "build"),
        ("image", "pull alpine", "pull"),
        ("image", "ls", "image"),
        ("container", "run alpine", "run"),
        ("--context", "x build .", "build"),
        ("--context", "--context x -D -H tcp://h:1 buildx build .", "build"),
        ("--config", "/cfg pull alpine", "pull"),
        ("--context", "x", "--context"),
        ("docker build -t x .", None, "build"),
        ("/usr/bin/docker.original", "push x", "push"),
        ("compose", "build", "compose"),
        ("build", "build", "build"),
        ("--version", "", "--version"),
    ],
)
def test_the_subcommand_is_read_from_as_much_of_the_line_as_there_is(
    cmd: str, args: str | None, command: str
) -> None:
    record = json.loads(PLAIN) | {"cmd": cmd} | ({} if args is None else {"args": args})
    assert commands(read(json.dumps(record))) == [command]


def test_a_whole_line_in_cmd_is_kept_as_the_args() -> None:
    assert only(read(PLAIN.replace('"cmd":"build"', '"cmd":"build -t x ."')))["args"] == "build -t x ."


def test_the_users_own_keys_are_found_by_the_mapping() -> None:
    line = '{"When at":"24/Nov/2026:03:05:46 +0000","repo":"o/r","workflow":"CI","What":"push"}'
    assert reader(line) is None
    row = only(read(line, mapping={"ts": "When at", "command": "What"}))
    assert row["ts"] == dt.datetime(2026, 11, 24, 3, 5, 46)
    assert row["command"] == "push"


@pytest.mark.parametrize(
    "line",
    [
        '{"timestamp":"2026-11-24T03:04:14Z","method":"GET","url":"https://github.com/o/r","status":200}',
        '{"ts":"1795488738","client_ip":"127.0.0.1","authority":"h:443","bytes_up":"9","podmeta":{"job":"x"}}',
        '{"ts":"1795488738","client_ip":"127.0.0.1","authority":"github.com:443","bytes_up":"9","podmeta":-}',
        '{"ts":"2023-02-18T13:45:53Z","pid":1,"cmd":"git-upload-pack","repo":"o/r","http_status":401}',
        '{"id":1,"run_id":2,"workflow_name":"CI","status":"completed","started_at":"2026-01-01T00:00:00Z"}',
        '{"total_count":1,"jobs":[{"id":1,"run_id":2,"workflow_name":"CI"}]}',
        '{"log":{"version":"1.2","entries":[]}}',
        '{"Type":"image","Action":"pull","Actor":{"ID":"x"},"time":1795489485,"repo":"o/r","workflow":"CI"}',
        "1795488738.123 5 10.0.0.1 TCP_TUNNEL/200 39 CONNECT github.com:443 - HIER_DIRECT/- -",
        "",
    ],
)
def test_another_log_is_not_taken_for_the_wrappers(line: str) -> None:
    assert reader(line) is None


def test_a_forced_file_that_does_not_fit_says_what_it_has_and_what_is_wanted() -> None:
    with pytest.raises(Unreadable, match=r"Keys seen: a, b\. Wanted: ts, repo"):
        reader('{"a":1,"b":2}', forced=True)


def test_forced_a_time_and_a_command_are_enough() -> None:
    assert commands(read('{"ts":"2026-11-24T03:05:46Z","cmd":"pull"}', forced=True)) == ["pull"]


NASTY = [
    '"',
    '","',
    '":"',
    '","job":"',
    '","x":',
    "}",
    '"}',
    '{"ts":"',
    "\nx",
    "\t",
    "\\",
    " ",
    "é",
    "a",
    ":",
    ",",
]
NAMES = st.lists(st.sampled_from(NASTY), max_size=8).map("".join)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(NAMES, st.sampled_from(["build", 'b"d', "}"])), min_size=1, max_size=30))
def test_a_salvaged_name_is_the_name_or_the_record_is_rejected(names: list[tuple[str, str]]) -> None:
    log = [echoed(*pair).replace('"123"', f'"{run}"') for run, pair in enumerate(names)]
    parsed = read("\n".join(log), as_in=PLAIN)
    for row in parsed.rows["invocations"].filter("salvaged").rows(named=True):
        workflow, job = names[int(row["run_id"])]
        assert (row["workflow"], row["job"]) == (workflow or None, job)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_whatever_happens_to_a_log_no_record_is_lost(data: st.DataObject) -> None:
    log = "\n".join([PLAIN, echoed('a "b"'), echoed("multi\nline"), PLAIN, echoed("tab\t")])
    start = data.draw(st.integers(0, len(log)))
    stop = data.draw(st.integers(start, len(log)))
    filling = data.draw(
        st.sampled_from(["", "\n", "\x00", "{", "}", '{"ts":"', '","cmd":"', PLAIN, "�" * 100])
    )
    read(log[:start] + filling + log[stop:], as_in=PLAIN)  # the helper adds the records up
