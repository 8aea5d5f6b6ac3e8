"""What the streamer writes and sends is clean, bounded and whole, whatever docker and the job call things."""

from __future__ import annotations

import json
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import time
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

import ciforensics as ci
from ciforensics.errors import CiforensicsError
from ciforensics.kits import export
from ciforensics.kits.docker_events import stream_events as stream

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cases import Build

WORDS = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=40)
SECRET = "hunter2-x9"


def event(action: str = "start", *, nano: int = 1795489485603573981, **attributes: str) -> dict[str, Any]:
    actor = {"ID": "d794" * 16, "Attributes": {"name": "web", **attributes}}
    times = {"scope": "local", "time": nano // 10**9, "timeNano": nano}
    return {"Type": "container", "Action": action, "Actor": actor, **times}


@given(st.sampled_from(["workflow", "repo", "action"]), st.text())
@example("workflow", "a,b|c#d:e@f\ng\r\0h" + "é" * 500)
def test_a_tag_holds_nothing_that_dogstatsd_gives_a_meaning_and_is_bounded(key: str, value: str) -> None:
    cleaned = stream.tag(key, value)
    assert re.fullmatch(rf"{key}:[A-Za-z0-9_./-]*", cleaned, re.ASCII)
    assert len(cleaned) <= 200


@pytest.mark.parametrize(
    "text",
    [
        "sh -c curl https://me:{}@host/x",
        "env NPM_TOKEN={} npm ci",
        "env DB_PASSWORD='{}' app",
        'curl -H "Authorization: Bearer {}" host',
        "curl -H Authorization: Basic {} host",
        "curl -u me:{} host",
        "curl --user me:{} host",
        "curl --user=me:{} host",
        "login --password {} host",
        "login --password={} host",
        '{{"api_key": "{}"}}',
        r"curl -d {{\"client_secret\":\"{}\"}}",
        "x --env SECRET={}",
        "a=b=TOKEN={}",
        "MYSQL_PWD={} mysql",
        "curl -H 'Cookie: {}'",
        '{{"auths":{{"host":{{"auth":"{}"}}}}}}',
    ],
)
def test_what_looks_like_a_secret_is_masked(text: str) -> None:
    masked = stream.masked(f"exec_create: {text.format(SECRET)}")
    assert SECRET not in masked
    assert stream.MARK in masked


@pytest.mark.parametrize(
    "token", ["ghp_" + "a1" * 18, "ghs_" + "b2" * 18, "github_pat_" + "c3" * 20, "eyJhbGciOiJ9.eyJzdWIi.c2ln"]
)
def test_a_token_is_masked_wherever_it_stands(token: str) -> None:
    found = stream.without_secrets(
        event("exec_start: x", label=f"a{chr(9)}{token}b"[:-1], other=f"[{token}]")
    )
    assert token not in json.dumps(found)


@pytest.mark.parametrize(
    "text",
    [
        "acme/token-service:1.2",
        "golang:1.24-bookworm",
        "sha256:" + "d7947874" * 8,
        "exec_create: sh -c exit 3",
        "registry.example.com:5000/secret/app@sha256:" + "0" * 64,
        "su -u 1000:1000",
        "read the token file",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert stream.masked(text) == text


@given(WORDS, WORDS)
def test_masking_twice_masks_no_more(before: str, after: str) -> None:
    once = stream.masked(f"{before} PASSWORD={SECRET} {after}")
    assert SECRET not in once
    assert stream.masked(once) == once


@pytest.mark.parametrize(
    "piece", ["token", "a=", "token=", "-u ", "a  ", '"', "://", "eyJ", "bearer ", "a:\t"]
)
def test_masking_takes_no_time_and_a_long_value_is_cut(piece: str) -> None:
    started = time.monotonic()
    assert len(stream.masked(piece * 200_000)) < 20_000
    assert time.monotonic() - started < 2


def test_the_agent_is_what_is_named_first() -> None:
    environment = {
        "DD_DOGSTATSD_URL": "unix:///dsd.sock",
        "DD_AGENT_HOST": "fd00::1",
        "DD_DOGSTATSD_PORT": "9125",
        "HOST_IP": "10.0.0.1",
    }
    found = [stream.find_agent(environment, url="udp://a:1", service="datadog")]
    for name in [None, "DD_DOGSTATSD_URL", "DD_AGENT_HOST", "HOST_IP", "DD_DOGSTATSD_PORT"]:
        environment.pop(name or "", None)
        found.append(stream.find_agent(environment, service="datadog"))
    assert found == [
        "udp://a:1",
        "unix:///dsd.sock",
        "udp://[fd00::1]:9125",
        "udp://10.0.0.1:9125",
        "udp://datadog:9125",
        "udp://datadog:8125",
    ]
    assert (
        stream.find_agent({"DD_DOGSTATSD_URL": "unix:///dsd.sock"}, url="off") == stream.find_agent({}) == ""
    )


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_counters_reach_an_agent_by_address_and_by_name(host: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as agent:
        agent.bind(("127.0.0.1", 0))
        agent.settimeout(10)
        port = agent.getsockname()[1]
        if socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0][0] != socket.AF_INET:
            pytest.skip("this localhost is IPv6 first")
        with closing(stream.Metrics(f"udp://{host}:{port}", {"repo": "acme/web"})) as metrics:
            metrics.count("docker.events", event_type="image", action="")
        assert agent.recv(2000) == b"docker.events:1|c|#event_type:image,repo:acme/web"


def test_counters_reach_an_agents_socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # a socket's path is short
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as agent:
        agent.bind("dsd.sock")
        agent.settimeout(10)
        with closing(stream.Metrics(f"unix://{tmp_path}/dsd.sock", {})) as metrics:
            metrics.count("docker.events", action="pull")
        assert agent.recv(2000) == b"docker.events:1|c|#action:pull"


@pytest.mark.parametrize(
    "url", ["", "udp://", "udp://h:99999", "unixstream:///x", "unix:///none", "[", "udp://[x"]
)
def test_an_agent_that_cannot_be_is_no_error(url: str) -> None:
    with closing(stream.Metrics(url, {})) as metrics:
        metrics.count("docker.events", action="pull")


def test_the_log_follows_its_name_when_it_is_rotated_or_removed(tmp_path: Path) -> None:
    log = stream.Log(tmp_path / "log")
    log.add(b"1\n")
    (tmp_path / "log").rename(tmp_path / "log.1")
    log.add(b"2\n")
    (tmp_path / "log").unlink()
    log.add(b"3\n")
    assert [(tmp_path / name).read_bytes() for name in ("log.1", "log")] == [b"1\n", b"3\n"]
    # A collector beside it is another user, and root without privileges in the sidecar.
    assert (tmp_path / "log").stat().st_mode & 0o444 == 0o444


def test_a_line_that_does_not_fit_leaves_no_part_of_it(tmp_path: Path) -> None:
    log = stream.Log(tmp_path / "log")
    log.add(b"before\n")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(OSError, match="only 993 of 2000 bytes"):
            log.add(b"x" * 1999 + b"\n")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    log.add(b"after\n")
    assert (tmp_path / "log").read_bytes() == b"before\nafter\n"


def test_a_pipe_that_nobody_reads_does_not_hold_it_up(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "log")
    with pytest.raises(OSError, match="No such device"):
        stream.Log(tmp_path / "log").add(b"1\n")


@contextmanager
def streaming(
    tmp_path: Path, docker: str, *options: str, **environment: str
) -> Iterator[subprocess.Popen[bytes]]:
    """The streamer with a `docker` that is this shell script."""
    (tmp_path / "docker").write_text(f"#!/bin/sh\n{docker}\n")
    (tmp_path / "docker").chmod(0o755)
    command: list[str | Path] = [
        sys.executable,
        stream.__file__,
        "--log",
        tmp_path / "log",
        "--docker",
        tmp_path / "docker",
        *options,
    ]
    ours = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    with subprocess.Popen(
        command, env=ours | environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def wait_for_lines(path: Path, count: int) -> list[bytes]:
    end = time.monotonic() + 30
    while not path.exists() or len(path.read_bytes().splitlines()) < count:
        assert time.monotonic() < end
        time.sleep(0.02)
    return path.read_bytes().splitlines()


def said(tmp_path: Path, *events: dict[str, Any] | str) -> str:
    """A script that says these, then stays, as docker does."""
    lines = [each if isinstance(each, str) else json.dumps(each) for each in events]
    (tmp_path / "said").write_text("".join(f"{line}\n" for line in lines))
    return f"cat '{tmp_path}/said'; exec sleep 60"


def test_events_that_come_again_are_written_once_and_garbage_not_at_all(tmp_path: Path, case: Build) -> None:
    names = {"GITHUB_RUN_ID": "42", "GITHUB_REPOSITORY": "acme/web", "GITHUB_WORKFLOW": 'a "b" \\c\n\udcff'}
    script = said(tmp_path, event(), "a warning", "[1]", event(), '{"broken', event("die", exitCode="3"))
    with streaming(tmp_path, script, **names) as process:
        lines = wait_for_lines(tmp_path / "log", 2)
        process.send_signal(signal.SIGTERM)
        said_by_it, _ = process.communicate(timeout=20)
    assert (process.returncode, said_by_it) == (0, b"")
    assert len(lines) == 2
    rows = case(log=(tmp_path / "log").read_bytes()).sql(
        "SELECT action, exit_code, run_id, ci_repo, workflow FROM docker_events ORDER BY action"
    )
    of_whom = ("42", "acme/web", 'a "b" \\c\n\ufffd')
    assert rows.fetchall() == [("die", 3, *of_whom), ("start", None, *of_whom)]


def test_it_goes_on_from_the_last_line_of_its_own_job_only(tmp_path: Path) -> None:
    lines = [
        event("create", nano=1_000_000_000_000_000_007) | {"run_id": "42"},
        event("start", nano=1_000_000_005_000_000_007) | {"run_id": "42"},
        event("die", nano=1_000_000_009_000_000_007) | {"run_id": "41"},
    ]
    (tmp_path / "log").write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"torn')
    asked = tmp_path / "asked"
    script = f"echo \"$@\" >> '{asked}'; exec sleep 60"
    for run, since in (("42", "1000000004.000000007"), ("43", "123.500000000")):
        asked.unlink(missing_ok=True)
        with streaming(tmp_path, script, "--since", "123.5", GITHUB_RUN_ID=run):
            assert b"events --since " + since.encode() in wait_for_lines(asked, 1)[0]


def test_a_docker_that_never_answers_does_not_keep_it_from_ending(tmp_path: Path) -> None:
    with streaming(tmp_path, f"echo >> '{tmp_path}/asked'; trap '' TERM; sleep 60; sleep 60") as process:
        wait_for_lines(tmp_path / "asked", 1)
        started = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=20) == 0
        assert time.monotonic() - started < 10


def test_a_second_streamer_of_a_log_is_refused_and_the_first_can_be_stopped(tmp_path: Path) -> None:
    script = said(tmp_path, event())
    with streaming(tmp_path, script) as first:
        wait_for_lines(tmp_path / "log", 1)
        with streaming(tmp_path, script) as second:
            assert second.wait(timeout=20) == 1
        assert stream.main(["--log", str(tmp_path / "log"), "--stop"]) == 0
        assert first.wait(timeout=20) == 0
    assert stream.main(["--log", str(tmp_path / "log"), "--stop"]) == 0
    assert stream.main(["--log", str(tmp_path / "none" / "log"), "--stop"]) == 0


def test_a_log_that_cannot_be_written_still_counts(tmp_path: Path) -> None:
    (tmp_path / "log").mkdir()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as agent:
        agent.bind(("127.0.0.1", 0))
        agent.settimeout(20)
        url = f"udp://127.0.0.1:{agent.getsockname()[1]}"
        with streaming(tmp_path, said(tmp_path, event()), "--metrics", url, GITHUB_WORKFLOW="CI"):
            counted = {agent.recv(2000), agent.recv(2000)}
    assert counted == {
        b"docker.events:1|c|#event_type:container,action:start,workflow:CI",
        b"docker.events.dropped:1|c|#workflow:CI",
    }


def test_the_manifest_mounts_what_the_hooks_need(tmp_path: Path) -> None:
    export.export_kit("docker-events", tmp_path / "kit", settings={"folder": "/logs/a b", "namespace": "ci"})
    manifest = yaml.safe_load((tmp_path / "kit" / "runner-scale-set.yaml").read_text())
    assert (manifest["metadata"]["namespace"], manifest["metadata"]["name"]) == ("ci", "arc-runners")
    pod = manifest["spec"]["template"]["spec"]
    volumes = {volume["name"] for volume in pod["volumes"]}
    mounts = [mount for each in pod["containers"] + pod["initContainers"] for mount in each["volumeMounts"]]
    assert {mount["name"] for mount in mounts} == volumes
    assert pod["initContainers"][0]["command"][-1] == "/logs/a b/docker-events.jsonl"
    hooks = [each["value"] for each in pod["containers"][0]["env"] if "HOOK" in each["name"]]
    assert all((tmp_path / "kit" / Path(hook).name).stat().st_mode & 0o111 for hook in hooks)


def test_hooks_succeed_in_silence_where_nothing_of_theirs_works(tmp_path: Path) -> None:
    settings = {"python": str(tmp_path / "no python"), "folder": "/proc/nowhere", "metrics": "off"}
    export.export_kit("docker-events", tmp_path / "kit", settings=settings)
    for hook in ("job-started.sh", "job-completed.sh"):
        done = subprocess.run(
            ["/bin/sh", "-e", hook],
            cwd=tmp_path / "kit",
            capture_output=True,
            check=True,
            env={"PATH": ""},
            timeout=20,
        )
        assert done.stdout == done.stderr == b""


def test_a_setting_without_effect_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CiforensicsError, match="no effect with metrics=off"):
        export.export_kit("docker-events", tmp_path / "kit", settings={"metrics": "off", "port": "9125"})


def test_the_case_has_what_finds_a_pull_that_failed(tmp_path: Path) -> None:
    pulled = event("pull") | {
        "Type": "image",
        "Actor": {"ID": "golang:1.24", "Attributes": {"name": "golang"}},
    }
    (tmp_path / "log").write_text(json.dumps(pulled | {"run_id": "42", "pod": "p"}) + "\n")
    ci.ingest([tmp_path / "log"], case=tmp_path / "case.duckdb")
    with ci.connect(tmp_path / "case.duckdb") as con:
        rows = con.sql("SELECT run_id, pod, image, image_tag, ts IS NOT NULL FROM docker_events").fetchall()
    assert rows == [("42", "p", "golang", "1.24", True)]
