"""The streamer beside a real docker daemon: what happened is in the log once, tagged, and was counted."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import ciforensics as ci
from ciforensics.kits import export
from ciforensics.kits.docker_events import stream_events
from docker_daemon import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from docker_daemon import DockerDaemon

WORKFLOW = 'Nightly "full" \\c suite, a|b'
JOB = {
    "GITHUB_REPOSITORY": "acme/web",
    "GITHUB_WORKFLOW": WORKFLOW,
    "GITHUB_JOB": "build",
    "GITHUB_RUN_ID": "9018059362",
    "GITHUB_RUN_ATTEMPT": "2",
    "RUNNER_NAME": "runner-7",
    "HOSTNAME": "pod-7",
}
SCRIPT = stream_events.__file__


class Stream:
    """A streamer that was started, and its log."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process = process
        self.log = log

    @property
    def events(self) -> list[dict[str, Any]]:
        if not self.log.exists():
            return []
        return [json.loads(line) for line in self.log.read_bytes().splitlines()]

    def has(self, action: str, name: str) -> bool:
        return (action, name) in [
            (event["Action"], event["Actor"]["Attributes"].get("name")) for event in self.events
        ]

    def wait_for(self, action: str, name: str) -> None:
        wait_until(lambda: self.has(action, name), what=f"{action} of {name} in the log")

    def end(self, how: signal.Signals = signal.SIGTERM) -> None:
        self.process.send_signal(how)
        assert self.process.wait(timeout=20) == (0 if how == signal.SIGTERM else -how)


@contextmanager
def streaming(
    daemon: DockerDaemon, log: Path, *options: str | Path, docker: str | None = None, **environment: str
) -> Iterator[Stream]:
    command = [sys.executable, SCRIPT, "--log", log, "--docker", docker or daemon.docker, *options]
    # Whatever it says goes to the test's own output, and fails the test that looks.
    with subprocess.Popen(command, env={**daemon.environment, **JOB, **environment}) as process:
        try:
            yield Stream(process, log)
        finally:
            process.kill()


def followers(daemon: DockerDaemon) -> list[int]:
    """The processes that follow this daemon's events."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            command = (folder / "cmdline").read_bytes().split(b"\0")
            if b"events" in command and daemon.host.encode() in (folder / "environ").read_bytes():
                found.append(int(folder.name))
    return found


def known(daemon: DockerDaemon, since: float) -> Counter[tuple[int, str, str]]:
    """What the daemon itself says that it did."""
    span = ("--since", f"{since:.9f}", "--until", f"{time.time():.9f}")
    said = daemon.run("events", *span, "--format", "{{json .}}").stdout
    return Counter(key(json.loads(line)) for line in said.splitlines())


def key(event: dict[str, Any]) -> tuple[int, str, str]:
    return event["timeNano"], event["Action"], event["Actor"]["ID"]


def container(daemon: DockerDaemon, name: str, *command: str) -> None:
    daemon.run("run", "--rm", "--name", name, "--network", "none", "tiny:1", *command)


@pytest.fixture
def agent() -> Iterator[socket.socket]:
    """What DogStatsD would be."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listening:
        listening.bind(("127.0.0.1", 0))
        listening.setblocking(False)
        yield listening


def received(agent: socket.socket) -> list[str]:
    datagrams = []
    with suppress(BlockingIOError):
        while True:
            datagrams.append(agent.recv(65536).decode("ascii"))
    return datagrams


def clients(daemon: DockerDaemon) -> set[str]:
    """The docker client in PATH and, if that is another one, Debian's."""
    return {daemon.docker, *map(str, Path("/usr/bin").glob("docker"))}


def test_what_a_job_does_is_in_the_log_the_counters_and_the_case(
    daemon: DockerDaemon, agent: socket.socket, tmp_path: Path
) -> None:
    log, url = tmp_path / "docker-events.jsonl", f"udp://127.0.0.1:{agent.getsockname()[1]}"
    with suppress(subprocess.CalledProcessError):
        daemon.run("rmi", "golang:1.24-bookworm")
    with streaming(daemon, log, "--metrics", url, "--since", str(time.time())) as stream:
        with pytest.raises(subprocess.CalledProcessError) as three:
            container(daemon, "three", "sh", "-c", "exit 3")
        daemon.run("run", "-d", "--name", "execs", "--network", "none", "tiny:1", "sleep", "60")
        daemon.run("exec", "execs", "sh", "-c", "true NPM_TOKEN=hunter2 https://me:hunter2@host/")
        daemon.run("rm", "-f", "execs")
        grows = "x=aaaaaaaaaaaaaaaa; while :; do x=$x$x; done"
        with pytest.raises(subprocess.CalledProcessError) as killed:
            daemon.run("run", "-m", "8m", "--name", "grows", "--network", "none", "tiny:1", "sh", "-c", grows)
        daemon.run("rm", "grows")
        daemon.run("pull", "golang:1.24-bookworm")
        with pytest.raises(subprocess.CalledProcessError):
            daemon.run("pull", f"127.0.0.1:{daemon.mirror_port}/no/such:image")
        build = ["build", "-q", "--network", "none", "-t", "built:1", "-"]
        subprocess.run(
            [daemon.docker, *build],
            env={**daemon.environment, "DOCKER_BUILDKIT": "0"},
            input=b"FROM golang:1.24-bookworm\nRUN true\n",
            check=True,
            capture_output=True,
        )
        stream.end()
    assert (three.value.returncode, killed.value.returncode) == (3, 137)
    (report,) = ci.ingest([log], case=tmp_path / "case.duckdb")
    assert (report.source, report.rejected, report.rows) == ("docker_events", 0, len(stream.events))
    with ci.connect(tmp_path / "case.duckdb") as con:
        of_whom = con.sql("SELECT DISTINCT ci_repo, workflow, job, run_id, pod FROM docker_events").fetchall()
        rows = con.sql("SELECT action, name, image, image_tag, exit_code FROM docker_events").fetchall()
    assert of_whom == [("acme/web", WORKFLOW, "build", "9018059362", "pod-7")]
    assert ("die", "three", "tiny", "1", 3) in rows
    assert ("die", "grows", "tiny", "1", 137) in rows
    assert ("pull", None, "golang", "1.24-bookworm", None) in rows
    assert ("tag", None, "built", "1", None) in rows
    assert ("exec_die", "execs", "tiny", "1", 0) in rows
    assert [row for row in rows if row[0] == "pull"] == [("pull", None, "golang", "1.24-bookworm", None)]
    assert b"hunter2" not in log.read_bytes()
    counted = Counter(received(agent))
    ends = f"workflow:Nightly_full_c_suite_a_b,repo:{JOB['GITHUB_REPOSITORY']}"
    assert counted.total() == len(rows)
    assert counted[f"docker.events:1|c|#event_type:container,action:exec_create,{ends}"] == 1
    assert counted[f"docker.events:1|c|#event_type:image,action:pull,{ends}"] == 1


def test_memory_that_ran_out_is_an_event_where_cgroups_say_so(daemon: DockerDaemon, tmp_path: Path) -> None:
    since = time.time()
    with streaming(daemon, tmp_path / "log", "--since", str(since)) as stream:
        grows = "x=aaaaaaaaaaaaaaaa; while :; do x=$x$x; done"
        with suppress(subprocess.CalledProcessError):
            daemon.run(
                "run", "--rm", "-m", "8m", "--name", "oom", "--network", "none", "tiny:1", "sh", "-c", grows
            )
        stream.wait_for("destroy", "oom")
        wants = any(action == "oom" for _, action, _ in known(daemon, since))
        stream.end()
    assert stream.has("oom", "oom") == wants


def test_nothing_is_missing_or_twice_when_streamer_and_daemon_are_killed(
    daemon: DockerDaemon, tmp_path: Path
) -> None:
    log, since = tmp_path / "log", time.time()
    with streaming(daemon, log, "--since", str(since)) as stream:
        container(daemon, "first", "true")
        stream.wait_for("destroy", "first")
        stream.end(signal.SIGKILL)
    wait_until(lambda: not followers(daemon), what="no client outlives its streamer")
    container(daemon, "meanwhile", "true")
    with streaming(daemon, log) as stream:
        stream.wait_for("destroy", "meanwhile")
        container(daemon, "again", "true")
        stream.wait_for("destroy", "again")
        expected = known(daemon, since)
        daemon.kill()
        daemon.start()
        reborn = time.time()
        container(daemon, "afterwards", "true")
        stream.end()
        expected += known(daemon, reborn)
    found = Counter(key(event) for event in stream.events)
    assert set(found.values()) == {1}
    # What the new daemon did while it started is nobody's container.
    assert {each for each in found if each[0] < reborn * 10**9} >= {
        each for each in expected if each[0] < reborn * 10**9
    }
    assert {each for each in found if each[0] >= reborn * 10**9} == {
        each for each in expected if each[0] >= reborn * 10**9
    }


@pytest.mark.parametrize("how", ["SIGTERM", "pid"])
def test_it_ends_with_the_job_and_leaves_no_process(daemon: DockerDaemon, tmp_path: Path, how: str) -> None:
    for client in clients(daemon):
        with (
            subprocess.Popen(["sleep", "60"]) as worker,
            streaming(daemon, tmp_path / "log", "--with-pid", str(worker.pid), docker=client) as stream,
        ):
            wait_until(lambda: bool(followers(daemon)), what="it follows")
            if how == "SIGTERM":
                stream.end()
            worker.kill()
            worker.wait()
            assert stream.process.wait(timeout=20) == 0
            assert followers(daemon) == []


def test_a_daemon_that_comes_late_is_waited_for_and_asked_for_all_since_the_start(
    daemon: DockerDaemon, tmp_path: Path
) -> None:
    late = tmp_path / "late.sock"
    with streaming(daemon, tmp_path / "log", DOCKER_HOST=f"unix://{late}") as stream:
        wait_until(lambda: Path(f"{stream.log}.pid").exists(), what="it has started")
        container(daemon, "early", "true")
        late.symlink_to(daemon.host.removeprefix("unix://"))
        stream.wait_for("destroy", "early")
        stream.end()


def test_a_streamer_that_is_held_up_loses_nothing_of_a_thousand_events(
    daemon: DockerDaemon, tmp_path: Path
) -> None:
    with streaming(daemon, tmp_path / "log") as stream:
        wait_until(lambda: bool(followers(daemon)), what="it follows")
        container(daemon, "before", "true")
        stream.wait_for("destroy", "before")
        stream.process.send_signal(signal.SIGSTOP)
        api = http.client.HTTPConnection("localhost")
        api.sock = socket.socket(socket.AF_UNIX)
        api.sock.connect(daemon.host.removeprefix("unix://"))
        for method, path in (("POST", "tiny:1/tag?repo=many&tag={}"), ("DELETE", "many:{}")):
            for number in range(500):
                api.request(method, "/images/" + path.format(number))
                api.getresponse().read()
        api.close()
        stream.process.send_signal(signal.SIGCONT)
        wait_until(lambda: len(stream.events) >= 1000, what="all are there")
        stream.end()
    found = Counter(event["Action"] for event in stream.events)
    assert (found["tag"], found["untag"]) == (500, 500)


@pytest.mark.parametrize("shell", ["bash", "dash"])
def test_hooks_start_and_end_it_without_a_word(
    daemon: DockerDaemon, needs: Any, agent: socket.socket, tmp_path: Path, shell: str
) -> None:
    settings = {
        "folder": str(tmp_path / "it's log"),
        "docker": daemon.docker,
        "python": sys.executable,
        "metrics": "service",
        "service": "localhost",
        "port": str(agent.getsockname()[1]),
        "run_id_tag": "yes",
    }
    export.export_kit("docker-events", tmp_path / "kit", settings=settings)
    log = tmp_path / "it's log" / "docker-events.jsonl"
    # Not in this environment: whatever else says where an agent is.
    environment = {k: v for k, v in daemon.environment.items() if not k.startswith("DD_") and k != "HOST_IP"}

    def hook(name: str, **job: str) -> None:
        done = subprocess.run(
            [needs(shell, package=shell), "-e", tmp_path / "kit" / name],
            env={**environment, **JOB, "RUNNER_TRACKING_ID": "github_1", **job},
            capture_output=True,
            check=True,
            timeout=20,
        )
        assert done.stdout == done.stderr == b""

    def running() -> int:
        with suppress(OSError, ValueError):
            return int(Path(f"{log}.pid").read_bytes())
        return 0

    try:
        hook("job-started.sh", GITHUB_RUN_ID="1")
        container(daemon, "one", "true")
        wait_until(lambda: Stream(None, log).has("destroy", "one"), what="the event")  # type: ignore[arg-type]
        first = running()
        assert b"RUNNER_TRACKING_ID" not in Path(f"/proc/{first}/environ").read_bytes()
        assert os.getsid(first) == first
        hook("job-started.sh", GITHUB_RUN_ID="2")  # the first job's end was never told
        wait_until(lambda: running() not in (0, first), what="the second job's streamer")
        container(daemon, "two", "true")
    finally:
        hook("job-completed.sh")
    for pid in (first, running()):  # a zombie that init has yet to bury has no command line
        with suppress(FileNotFoundError):
            assert Path(f"/proc/{pid}/cmdline").read_bytes() == b""
    assert followers(daemon) == []
    runs = {
        event["Actor"]["Attributes"]["name"]: event["run_id"]
        for event in Stream(None, log).events  # type: ignore[arg-type]
        if event["Action"] == "destroy"
    }
    assert runs == {"one": "1", "two": "2"}
    assert any(metric.endswith(",run_id:2") for metric in received(agent))
