"""A docker daemon of the tests' own, with a registry mirror, both on loopback or a private socket only."""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import tarfile
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable

_PATIENCE_S = 60


def free_port() -> int:
    """A TCP port on loopback that nobody uses, nor is likely to until it is listened on.

    Below those that Linux gives to connections (ip_local_port_range): of these one could be taken meanwhile.
    """
    while True:
        port = random.randrange(10_000, 32_000)  # noqa: S311
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def wait_until(ready: Callable[[], bool], *, what: str, patience_s: float = _PATIENCE_S) -> None:
    """Asks until the answer is true."""
    end = time.monotonic() + patience_s
    while not ready():
        assert time.monotonic() < end, f"{what} within {patience_s} s"
        time.sleep(0.05)


@dataclass
class DockerDaemon:
    """`dockerd` as root, without a bridge and without iptables: its containers have no network.

    Attributes:
        folder: holds its socket, images and log.
        docker: the client.
    """

    folder: Path
    docker: str
    dockerd: str
    registry: str
    busybox: str
    mirror_port: int = field(default_factory=free_port)
    _running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def host(self) -> str:
        """What DOCKER_HOST must be."""
        return f"unix://{self.folder}/docker.sock"

    @property
    def environment(self) -> dict[str, str]:
        """An environment in which `docker` asks this daemon, and keeps its settings in the tests' folder."""
        return {**os.environ, "DOCKER_HOST": self.host, "DOCKER_CONFIG": str(self.folder / "config")}

    def __enter__(self) -> Self:
        try:
            self._start_mirror()
            self.start()
            self._fill()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for process in reversed(self._running.values()):
            process.terminate()
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._unmount()

    def start(self) -> None:
        """Starts the daemon, or starts it again after `kill`."""
        (self.folder / "dockerd.pid").unlink(missing_ok=True)
        self._spawn(
            "dockerd",
            self.dockerd,
            "--bridge=none",
            "--iptables=false",
            f"--host={self.host}",
            f"--data-root={self.folder}/data",
            f"--exec-root={self.folder}/exec",
            f"--pidfile={self.folder}/dockerd.pid",
            f"--registry-mirror=http://127.0.0.1:{self.mirror_port}",
        )
        wait_until(self._answers, what="dockerd answers")

    def kill(self) -> None:
        """Ends the daemon at once, as a crash would."""
        process = self._running.pop("dockerd")
        process.send_signal(signal.SIGKILL)
        process.wait()
        # Its containerd died with it; what is left of that would make the next one wait for it in vain.
        shutil.rmtree(self.folder / "exec" / "containerd", ignore_errors=True)

    def run(self, *arguments: str, input: bytes | None = None) -> subprocess.CompletedProcess[bytes]:  # noqa: A002
        """The docker client, as it is."""
        return subprocess.run(
            [self.docker, *arguments],
            env=self.environment,
            input=input,
            capture_output=True,
            check=True,
            timeout=_PATIENCE_S,
        )

    def _unmount(self) -> None:
        """What a killed daemon leaves mounted would keep its folder from being removed."""
        mounts = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
        for mount in reversed([each for each in mounts if each.startswith(f"{self.folder}/")]):
            subprocess.run(["umount", "--lazy", mount], check=False, timeout=20)

    def _answers(self) -> bool:
        probe = subprocess.run(
            [self.docker, "version"], env=self.environment, capture_output=True, check=False, timeout=30
        )
        return probe.returncode == 0

    def _start_mirror(self) -> None:
        config = {
            "version": 0.1,
            "storage": {"filesystem": {"rootdirectory": str(self.folder / "registry")}},
            "http": {"addr": f"127.0.0.1:{self.mirror_port}"},
        }
        (self.folder / "registry.yml").write_text(json.dumps(config))  # JSON is YAML
        self._spawn("registry", self.registry, "serve", str(self.folder / "registry.yml"))
        wait_until(self._mirror_answers, what="the registry answers")

    def _mirror_answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.mirror_port}/v2/", timeout=5):
                return True
        except OSError:
            return False

    def _fill(self) -> None:
        """Imports the smallest root file system, and puts it into the mirror as an official image."""
        self.run("import", "-", "tiny:1", input=_root_file_system(Path(self.busybox)))
        golang = f"127.0.0.1:{self.mirror_port}/library/golang:1.24-bookworm"
        self.run("tag", "tiny:1", golang)
        self.run("push", golang)
        self.run("rmi", golang)

    def _spawn(self, name: str, *command: str) -> None:
        with (self.folder / f"{name}.log").open("ab") as log:
            self._running[name] = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.environment
            )


def _root_file_system(busybox: Path) -> bytes:
    """A tar archive with a static busybox as its shell."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        tar.add(busybox.resolve(), "bin/busybox")
        for name in ("sh", "sleep", "true", "head", "tail"):
            link = tarfile.TarInfo(f"bin/{name}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(link)
    return out.getvalue()
