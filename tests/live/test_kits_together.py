"""A job with all kits on: what they wrote is one case, in which the same run is the same run."""

from __future__ import annotations

import shutil
import socket
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import ciforensics as ci
from docker_daemon import wait_until
from kubernetes_double import KubernetesDouble, pod, runner
from runner_image import RunnerImage, ran
from squid_proxy import Proxy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from docker_daemon import DockerDaemon

WORKFLOW = 'Nightly "full" \\c suite, a|b'
JOB = {
    "GITHUB_REPOSITORY": "octo/app",
    "GITHUB_WORKFLOW": WORKFLOW,
    "GITHUB_JOB": "build",
    "GITHUB_RUN_ID": "9018059362",
    "GITHUB_RUN_ATTEMPT": "2",
    "RUNNER_NAME": "runner-1",
    "HOSTNAME": "runner-1",
}


@pytest.fixture
def api() -> Iterator[KubernetesDouble]:
    with KubernetesDouble() as double:
        yield double


@pytest.fixture
def proxy(needs: Callable[..., str], api: KubernetesDouble) -> Iterator[Proxy]:
    # Squid's user may not enter pytest's own folders. A tunnel stands as soon as somebody listens at its end.
    with (
        socket.create_server((origin := "127.0.1.2", 443)),
        tempfile.TemporaryDirectory(prefix="ciforensics-squid-") as folder,
        Proxy(Path(folder), needs("squid", package="squid"), api.url, origin) as started,
    ):
        yield started


def test_a_jobs_calls_events_and_tunnels_are_one_run(
    daemon: DockerDaemon, api: KubernetesDouble, proxy: Proxy, tmp_path: Path
) -> None:
    image = RunnerImage(tmp_path, daemon)
    docker, logs, build = image.docker, image.logs, tmp_path / "context"
    build.mkdir()
    (build / "Dockerfile").write_text('FROM tiny:1\nRUN ["/bin/true"]\n')
    took: dict[str, Any] = {
        "jobRepositoryName": "octo/app",
        "jobDisplayName": "build",
        "workflowRunId": 9018059362,
    }
    api.put("pods", pod("runner-1", "127.0.0.2"))
    api.put("ephemeralrunners", runner("runner-1", **took))
    proxy.await_pod("runner-1", source="127.0.0.2")

    job = {**daemon.environment, **JOB, "DOCKER_BUILDKIT": "0"}
    image.job_started(job)
    ran([docker, "pull", "golang:1.24-bookworm"], job)
    ran([docker, "build", "--network", "none", "-t", "app:1", "--build-arg", "TOKEN=hunter2", build], job)
    ran([docker, "run", "--rm", "--network", "none", "app:1", "/bin/sh", "-c", "exit 3"], job, code=3)
    ran([docker, "pull", "127.0.0.1:1/not/there:7"], job, code=1)
    assert b" 200 " in proxy.connect("127.0.0.2")
    image.job_completed(job)
    wait_until(lambda: proxy.lines("127.0.0.2")[-1]["run_id"] != "-", what="the tunnel is logged")
    shutil.copy(proxy.log, logs / "squid.jsonl")

    found = [each for each in ci.ingest([logs], case=tmp_path / "case.duckdb") if each.rows]
    assert {(each.source, each.rejected) for each in found} == {
        ("docker_wrapper", 0),
        ("docker_events", 0),
        ("squid", 0),
    }
    con = ci.connect(tmp_path / "case.duckdb")
    for table in ("invocations", "docker_events", "tunnels"):
        runs = con.execute(
            f"SELECT DISTINCT run_id, pod, ci_repo FROM {table} WHERE run_id IS NOT NULL"
        ).fetchall()
        assert runs == [("9018059362", "runner-1", "octo/app")], table
    called = con.execute("SELECT command, image, salvaged FROM invocations ORDER BY ts, line_no").fetchall()
    assert called == [
        ("pull", "golang:1.24-bookworm", False),
        ("build", "app:1", False),
        ("run", "app:1", False),
        ("pull", "127.0.0.1:1/not/there:7", False),
    ]
    assert con.execute("SELECT DISTINCT workflow FROM invocations").fetchall() == [(WORKFLOW,)]
    exits = con.execute(
        "SELECT exit_code FROM docker_events WHERE action = 'die' AND image = 'app' ORDER BY ts"
    ).fetchall()
    assert exits == [(3,)]
    # A pull that fails leaves no event: it is the call that has none.
    failed = con.execute(
        """
        SELECT image FROM invocations AS called
        WHERE command = 'pull' AND NOT EXISTS (
            SELECT 1 FROM docker_events AS seen
            WHERE seen.action = 'pull' AND seen.run_id = called.run_id
                AND seen.image || ':' || seen.image_tag = called.image)
        """
    ).fetchall()
    assert failed == [("127.0.0.1:1/not/there:7",)]
    assert "hunter2" not in "".join(path.read_text() for path in logs.iterdir())
