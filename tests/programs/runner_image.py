"""A runner image as the docker kits make it: the wrapper in front of docker, hooks that stream its events."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

from ciforensics.kits.export import export_kit
from docker_daemon import wait_until

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from docker_daemon import DockerDaemon


def ran(command: list[str | Path], environment: Mapping[str, str], *, code: int = 0) -> None:
    """Runs a program to its end, which has this exit code."""
    done = subprocess.run(
        command, env=environment, capture_output=True, check=False, timeout=120, stdin=subprocess.DEVNULL
    )
    assert done.returncode == code, done.stderr


class RunnerImage:
    """Both kits, exported and installed below a folder.

    Attributes:
        docker: what a job calls.
        logs: where both kits write.
    """

    def __init__(self, folder: Path, daemon: DockerDaemon) -> None:
        self.docker, self.logs = folder / "bin" / "docker", folder / "logs"
        self._hooks = folder / "events"
        self.docker.parent.mkdir()
        self.logs.mkdir()
        shutil.copy(daemon.docker, self.docker)
        real = str(self.docker.with_name("docker.original"))
        paths = {"docker": real, "wrapper": str(self.docker), "log": str(self.logs / "wrapper.jsonl")}
        export_kit("docker-wrapper", folder / "wrapper", settings=paths)
        streams = {"docker": real, "folder": str(self.logs), "metrics": "off"}
        export_kit("docker-events", self._hooks, settings=streams)
        ran([folder / "wrapper" / "install.sh"], os.environ)

    def job_started(self, environment: Mapping[str, str]) -> None:
        """The runner's hook, and the moment until the streamer runs."""
        lock = self.logs / "docker-events.jsonl.pid"
        lock.unlink(missing_ok=True)
        ran(["/bin/sh", self._hooks / "job-started.sh"], environment)
        wait_until(lock.exists, what="the streamer runs")

    def job_completed(self, environment: Mapping[str, str]) -> None:
        """The runner's hook; the streamer has ended behind it."""
        ran(["/bin/sh", self._hooks / "job-completed.sh"], environment)
