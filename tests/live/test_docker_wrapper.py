"""The docker wrapper under dash, busybox and bash, in front of a stand-in and of the real docker client."""

from __future__ import annotations

import fcntl
import json
import os
import resource
import select
import shutil
import signal
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import ciforensics as ci
from ciforensics.kits import export as kits
from docker_daemon import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from docker_daemon import DockerDaemon

DOCKER = """#!/bin/sh
case ${1-} in
    wait) trap 'echo "got TERM"; exit 7' TERM; trap 'echo "got INT"; exit 7' INT
        echo ready; while :; do sleep 0.05; done ;;
    cat) exec cat ;;
    die) kill -KILL $$ ;;
esac
printf 'out %s\\n' "$*"
printf 'err %s\\n' "$*" >&2
exit 3
"""
GCLOUD = """#!/bin/sh
printf '%s\\n' "$@" >"$RECORD"
echo noise; echo noise >&2
[ -z "${SLOW-}" ] || sleep 300
exit 1
"""


@dataclass
class Wrapped:
    """A wrapper in front of a stand-in for docker."""

    folder: Path
    shell: list[str]
    settings: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.real = self.folder / "docker.original"
        self.real.write_text(DOCKER)
        self.real.chmod(0o755)
        self.log = self.folder / "log.jsonl"
        given = {"docker": str(self.real)}
        if "sink" not in self.settings:
            given["log"] = str(self.log)
        kits.export_kit("docker-wrapper", self.folder / "kit", settings=given | self.settings)
        self.script = self.folder / "kit" / "docker-wrapper.sh"

    def command(self, *arguments: str | bytes) -> list[Any]:
        return [*self.shell, self.script, *arguments]

    def run(self, *arguments: str | bytes, **env: Any) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            self.command(*arguments),
            env={"PATH": os.environ["PATH"], **env},
            capture_output=True,
            stdin=subprocess.DEVNULL,
            check=False,
            timeout=60,
        )

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.read_bytes().splitlines()]


@pytest.fixture(params=["dash", "busybox", "bash"])
def shell(request: pytest.FixtureRequest, needs: Callable[..., str]) -> list[str]:
    name = request.param
    path = needs(name, package="busybox-static" if name == "busybox" else name)
    return [path, "sh"] if name == "busybox" else [path]


@pytest.fixture
def wrapped(shell: list[str], tmp_path: Path) -> Wrapped:
    return Wrapped(tmp_path, shell)


def quiet(done: subprocess.CompletedProcess[bytes], said: str) -> bool:
    """Whether nobody but docker spoke."""
    return (done.returncode, done.stdout.decode(), done.stderr.decode()) == (
        3,
        f"out {said}\n",
        f"err {said}\n",
    )


def test_a_call_is_docker_and_a_line(wrapped: Wrapped) -> None:
    done = wrapped.run("build", "-t", "a/b:1", ".", GITHUB_REPOSITORY="a/b", GITHUB_RUN_ID="7", HOSTNAME="p")
    assert quiet(done, "build -t a/b:1 .")
    (line,) = wrapped.lines()
    assert (line["repo"], line["run_id"], line["pod"]) == ("a/b", "7", "p")
    assert (line["subcommand"], line["image"]) == ("build", "a/b:1")
    assert line["args"] == ["build", "-t", "a/b:1", "."]


def decoded(value: bytes) -> str:
    """As the wrapper has it: U+FFFD for each byte that is no UTF-8."""
    text = ""
    while value:
        try:
            return text + value.decode()
        except UnicodeDecodeError as error:
            text += value[: error.start].decode() + "\ufffd"
            value = value[error.start + 1 :]
    return text


HOSTILE = st.one_of(
    st.binary(max_size=40).map(lambda value: value.replace(b"\0", b"")),
    st.text(max_size=20).map(lambda text: text.encode("utf-8", "surrogatepass").replace(b"\0", b"")),
    st.sampled_from(
        [b'a "b" \\c', b"\\n\t\n\r", "🚀 ü".encode(), b"'", b"$(exit)", b"`id`", b"*", b"-n", b"%s"]
    ),
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(workflow=HOSTILE, word=HOSTILE)
def test_whatever_bytes_there_are_the_line_is_json_with_them_in_it(
    wrapped: Wrapped, workflow: bytes, word: bytes
) -> None:
    wrapped.log.unlink(missing_ok=True)
    done = subprocess.run(
        wrapped.command("ps", word),
        env={b"PATH": os.environb[b"PATH"], b"GITHUB_WORKFLOW": workflow},
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (3, b"err ps " + word + b"\n")
    (line,) = [json.loads(line) for line in wrapped.log.read_bytes().split(b"\n") if line]
    assert line["workflow"] == decoded(workflow)
    shown = line["args"][1]
    assert shown == decoded(word) or "***" in shown


def test_a_hundred_at_once_write_a_hundred_whole_lines(wrapped: Wrapped) -> None:
    long = ["run", "--name", "x" * 1500, "é" * 1200, "alpine"]
    running = [
        subprocess.Popen(wrapped.command(*long, str(n)), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for n in range(100)
    ]
    assert [process.wait(timeout=120) for process in running] == [3] * 100
    raw = wrapped.log.read_bytes().splitlines(keepends=True)
    assert len(raw) == 100
    assert all(len(line) < 4096 and line.endswith(b"}\n") for line in raw)
    assert len({json.loads(line)["pid"] for line in raw}) == 100


@pytest.mark.parametrize(
    "words", [["x" * 100_000], ["🚀" * 5000], ["é\\" * 900] * 9, ["a"] * 5000, ["://" * 40_000]]
)
def test_a_long_command_line_is_cut_and_says_so(wrapped: Wrapped, words: list[str]) -> None:
    began = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert wrapped.run("ps", *words, GITHUB_WORKFLOW="🚀" * 400).returncode == 3
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - began.ru_utime < 0.5
    (line,) = wrapped.lines()
    assert len(wrapped.log.read_bytes()) < 4096
    assert line["cut"] is True
    assert "\ufffd" not in json.dumps(line, ensure_ascii=False)


def spoil(log: Path, how: str) -> None:
    if how == "folder missing":
        log.parent.rmdir()
    elif how == "a FIFO that nobody reads":
        os.mkfifo(log)
    elif how == "a folder":
        log.mkdir()
    elif how == "a link to nowhere":
        log.symlink_to("/nowhere/at/all")
    elif how == "a full disk":
        log.symlink_to("/dev/full")


@pytest.mark.parametrize(
    "how", ["folder missing", "a FIFO that nobody reads", "a folder", "a link to nowhere", "a full disk"]
)
def test_a_log_that_cannot_be_written_is_nobodys_business(how: str, shell: list[str], tmp_path: Path) -> None:
    log = tmp_path / "logs" / "log"
    log.parent.mkdir()
    wrapped = Wrapped(tmp_path, shell, {"log": str(log)})
    spoil(log, how)
    assert quiet(wrapped.run("ps"), "ps")


@pytest.mark.skipif(os.geteuid() != 0, reason="to mount a disk needs root")
def test_a_disk_that_is_really_full_costs_lines_and_nothing_else(shell: list[str], tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8k", "tmpfs", disk], check=True, timeout=20)
    try:
        wrapped = Wrapped(tmp_path, shell, {"log": str(disk / "log")})
        assert all(quiet(wrapped.run("ps", "x" * 300), "ps " + "x" * 300) for _ in range(30))
        whole = (disk / "log").read_bytes().splitlines(keepends=True)
        assert len(whole) < 30
        (disk / "log").unlink()
        assert quiet(wrapped.run("ps"), "ps")
        assert json.loads((disk / "log").read_bytes())["cmd"] == "ps"
    finally:
        subprocess.run(["umount", disk], check=True, timeout=20)


def test_a_limit_on_the_size_of_files_ends_nothing(wrapped: Wrapped) -> None:
    done = subprocess.run(
        ["/bin/sh", "-c", 'ulimit -f 0; exec "$@"', "sh", *wrapped.command("ps")],
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert quiet(done, "ps")


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"PATH": ""},
        {"IFS": "/", "ENV": "/nowhere", "BASH_ENV": "/nowhere", "POSIXLY_CORRECT": "1", "PATH": "/bin"},
        {"log": "x", "line": "y", "docker": "z", "words": "w", "LC_ALL": "C", "PATH": "/bin", "image": "i"},
        {"GITHUB_WORKFLOW": "", "HOSTNAME": "", "PATH": "/nowhere"},
    ],
    ids=lambda env: ",".join(env) or "empty",
)
def test_a_hostile_environment_arrives_at_docker_as_it_was(
    shell: list[str], tmp_path: Path, environment: dict[str, str]
) -> None:
    wrapped = Wrapped(tmp_path, shell)
    wrapped.real.write_text("#!/bin/sh\nexec /usr/bin/env -0\n")
    seen = {}
    for name, script in (("bare", f'exec "{wrapped.real}" "$@"\n'), ("ours", wrapped.script.read_text())):
        path = tmp_path / name
        path.write_text(f"#!/bin/sh\n{script}")
        done = subprocess.run(
            [*shell, path, "ps"], env=environment, capture_output=True, check=True, timeout=60
        )
        seen[name] = (sorted(x for x in done.stdout.split(b"\0") if not x.startswith(b"_=")), done.stderr)
    assert seen["ours"] == seen["bare"]
    assert len(wrapped.lines()) == 1


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("wait", ["no", "yes"])
def test_closed_files_stay_closed_and_docker_runs(
    closed: str, wait: str, shell: list[str], tmp_path: Path
) -> None:
    wrapped = Wrapped(tmp_path, shell, {"wait": wait})
    wrapped.real.write_text(f"#!/bin/sh\necho ran >{tmp_path}/ran\nexit 5\n")
    done = subprocess.run(
        ["/bin/sh", "-c", f'"$@" {closed}', "sh", *wrapped.command("ps")],
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stdout, done.stderr) == (5, b"", b"")
    assert (tmp_path / "ran").exists()
    assert len(wrapped.lines()) == 1


def test_what_comes_in_goes_to_docker(shell: list[str], tmp_path: Path) -> None:
    for wait in ("no", "yes"):
        folder = tmp_path / wait
        folder.mkdir()
        done = subprocess.run(
            Wrapped(folder, shell, {"wait": wait}).command("cat"),
            input=b"\0\xff in\n",
            capture_output=True,
            check=False,
            timeout=60,
        )
        assert (done.returncode, done.stdout) == (0, b"\0\xff in\n")


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("wait", ["no", "yes"])
def test_a_signal_reaches_docker_and_its_exit_code_the_caller(
    wait: str, sent: signal.Signals, shell: list[str], tmp_path: Path
) -> None:
    wrapped = Wrapped(tmp_path, shell, {"wait": wait})
    with subprocess.Popen(wrapped.command("wait"), stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(sent)
        # A shell whose `env` cannot undo that it ignores INT asks docker to end with TERM.
        assert process.stdout.read() in {b"got TERM\n", b"got INT\n" if sent == signal.SIGINT else b""}
        assert process.wait(timeout=60) == 7
    (line,) = wrapped.lines()
    assert line.get("exit_code") == (7 if wait == "yes" else None)


def test_the_form_that_waits_logs_how_docker_ended(shell: list[str], tmp_path: Path) -> None:
    wrapped = Wrapped(tmp_path, shell, {"wait": "yes"})
    assert wrapped.run("die").returncode == 137
    assert quiet(wrapped.run("ps", SHELLOPTS="errexit"), "ps")
    killed, three = wrapped.lines()
    assert (killed["exit_code"], three["exit_code"]) == (137, 3)
    assert three["duration_ms"] >= 0


def test_a_wrapper_that_stands_where_docker_should_does_not_call_itself(wrapped: Wrapped) -> None:
    shutil.copy(wrapped.script, wrapped.real)
    done = wrapped.run("ps", PATH="/nowhere")
    assert done.returncode == 127
    assert b"not found where ciforensics expects it" in done.stderr
    wrapped.real.unlink()
    wrapped.real.symlink_to(wrapped.script)
    assert wrapped.run("ps", PATH="/nowhere").returncode == 127
    elsewhere = wrapped.folder / "bin" / "docker"
    elsewhere.parent.mkdir()
    elsewhere.write_text(DOCKER)
    elsewhere.chmod(0o755)
    assert quiet(wrapped.run("ps", PATH=f"/nowhere:{elsewhere.parent}"), "ps")


@pytest.mark.parametrize(
    ("sink", "slow"), [("cloud-logging", ""), ("cloud-logging", "1"), ("pubsub", ""), ("pubsub", "1")]
)
def test_a_sink_in_the_cloud_gets_the_line_and_keeps_nobody_waiting(
    sink: str, slow: str, shell: list[str], tmp_path: Path
) -> None:
    wrapped = Wrapped(tmp_path, shell, {"sink": sink, "project": "acme-ci", "limit_s": "3"})
    (tmp_path / "bin").mkdir()
    record = tmp_path / "record"
    gcloud = tmp_path / "bin" / "gcloud"
    gcloud.write_text(GCLOUD + f"# {tmp_path}\n")
    gcloud.chmod(0o755)
    # A real gcloud may be installed; the stand-in is in its place.
    wrapped.script.write_text(
        wrapped.script.read_text().replace("PATH=/usr/bin:", f"PATH={gcloud.parent}:/usr/bin:")
    )
    # As bash leaves it of `docker build > >(tee log)`: tee ends when nobody has the other end any more.
    read, write = os.pipe()
    high = fcntl.fcntl(write, fcntl.F_DUPFD, 63)
    os.set_inheritable(high, True)
    os.close(write)
    done = subprocess.run(
        wrapped.command("build", "-t", "a"),
        env={"PATH": os.environ["PATH"], "RECORD": str(record), "SLOW": slow, "RUNNER_TRACKING_ID": "x"},
        capture_output=True,
        stdin=subprocess.DEVNULL,
        pass_fds=[high],
        check=False,
        timeout=60,
    )
    assert quiet(done, "build -t a")
    os.close(high)
    wait_until(lambda: record.exists() and record.read_text().endswith("acme-ci\n"), what="gcloud is called")
    wait_until(lambda: bool(select.select([read], [], [], 0)[0]), what="nobody has it")
    os.close(read)
    assert still_running(str(gcloud)) or not slow
    words = record.read_text().splitlines()
    if sink == "pubsub":
        assert words[:4] == ["pubsub", "topics", "publish", "docker-wrapper"]
        line = words[4].removeprefix("--message=")
    else:
        assert [*words[:3], words[4]] == ["logging", "write", "docker-wrapper", "--payload-type=json"]
        line = words[3]
    assert json.loads(line)["subcommand"] == "build"
    wait_until(lambda: not still_running(str(gcloud)), what="gcloud is ended")


def still_running(name: str) -> bool:
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if name.encode() in path.read_bytes():
                return True
        except OSError:
            continue
    return False


def test_the_real_docker_through_the_wrapper_is_ingested_whole(
    daemon: DockerDaemon, shell: list[str], tmp_path: Path
) -> None:
    wrapped = Wrapped(tmp_path, shell, {"docker": daemon.docker})
    context = {"GITHUB_REPOSITORY": "acme/web", "GITHUB_WORKFLOW": 'Nightly "x" \\c', "GITHUB_RUN_ID": "901"}
    for arguments, code in (
        (["run", "--rm", "--network", "none", "-e", "TOKEN=hunter2", "tiny:1", "/bin/true"], 0),
        (["pull", "golang:1.24-bookworm"], 0),
        (["pull", "nowhere:1"], 1),
        (["run", "--rm", "--network=none", "tiny:1", "sh", "-c", "exit 3"], 3),
    ):
        done = subprocess.run(
            wrapped.command(*arguments),
            env={**daemon.environment, **context},
            capture_output=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == code, done.stderr
    assert b"hunter2" not in wrapped.log.read_bytes()
    (report,) = ci.ingest([wrapped.log], case=tmp_path / "case.duckdb")
    assert (report.source, report.rows, report.rejected) == ("docker_wrapper", 4, 0)
    with duckdb.connect(str(tmp_path / "case.duckdb"), read_only=True) as con:
        rows = con.sql("SELECT command, image, run_id, salvaged FROM invocations ORDER BY line_no").fetchall()
    assert rows == [
        ("run", "tiny:1", "901", False),
        ("pull", "golang:1.24-bookworm", "901", False),
        ("pull", "nowhere:1", "901", False),
        ("run", "tiny:1", "901", False),
    ]
