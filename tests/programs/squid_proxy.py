"""The squid kit as the tests run it: as a user without privileges, on loopback."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import yaml

from ciforensics.kits.export import export_kit
from docker_daemon import free_port, wait_until

ORIGIN = "127.0.1.1"
"""Has port 443 in the tests of Squid."""

CLEAN = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}


@dataclass
class Proxy:
    """The exported kit, run as its DaemonSet does, but on loopback, and asking the API that it is given.

    Attributes:
        folder: holds the kit, its log and what Squid says.
        api: URL of the Kubernetes API.
        origin: the one address in private networks that may be reached.
    """

    folder: Path
    squid: str
    api: str
    origin: str = ORIGIN
    port: int = field(default_factory=free_port)
    _process: subprocess.Popen[bytes] | None = None

    def __post_init__(self) -> None:
        kit = self.folder / "kit"
        settings = {"image": "squid", "allow_private": f"{self.origin}/32", "runner_namespace": "runners"}
        settings |= {"port": str(self.port), "folder": str(kit), "log": str(self.log), "shutdown": "1"}
        export_kit("squid", kit, settings=settings)
        conf = (kit / "squid.conf").read_text()
        for said, instead in (
            (f"http_port {self.port} ", f"http_port 127.0.0.1:{self.port} "),
            ("--namespace runners", f"--namespace runners --api {self.api}"),
        ):
            assert conf.count(said) == 1
            conf = conf.replace(said, instead)
        # Names are looked up in a file, so that no test asks the network.
        (kit / "hosts").write_text(f"169.254.169.254 metadata.test\n{self.origin} origin.test\n")
        (kit / "squid.conf").write_text(conf + f"hosts_file {kit / 'hosts'}\n")
        self.log.parent.mkdir()
        for path in (self.folder, self.log.parent):
            path.chmod(0o777)

    @property
    def log(self) -> Path:
        return self.folder / "log" / "tunnels.jsonl"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.end(signal.SIGTERM)

    def start(self) -> None:
        """Starts Squid as the user that the DaemonSet gives it, and waits for its probe."""
        with (self.folder / "stderr").open("ab") as said:
            self._process = subprocess.Popen(
                [self.squid, "-N", "-f", self.folder / "kit" / "squid.conf"],
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                env=CLEAN | {"NODE_NAME": "node-1"},
                user=13,
                group=13,
                extra_groups=[],
            )
        wait_until(self.is_well, what="the probe succeeds")

    def end(self, by: signal.Signals) -> None:
        """Ends Squid; its helper ends with it."""
        if self._process:
            self._process.send_signal(by)
            self._process.wait(timeout=60)

    def is_well(self) -> bool:
        """What the DaemonSet's probes say."""
        manifest = yaml.safe_load((self.folder / "kit" / "daemonset.yaml").read_text())
        (container,) = manifest["spec"]["template"]["spec"]["containers"]
        command = container["livenessProbe"]["exec"]["command"]
        return subprocess.run(command, capture_output=True, check=False, timeout=60).returncode == 0

    def helpers(self) -> list[int]:
        """The process ids of helpers: one, or none while Squid starts the next."""
        assert self._process
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
        return [int(each) for each in children if _runs(int(each), "podmeta.py")]

    def kill_helper(self) -> None:
        """Kills the helper and waits for the next: Squid may abort when it asks one that just died."""
        (old,) = self.helpers()
        os.kill(old, signal.SIGKILL)
        wait_until(lambda: bool(set(self.helpers()) - {old}), what="another helper")

    def send(self, data: bytes, *, source: str) -> bytes:
        """The first line of the answer to what is no proper request, or to a CONNECT."""
        with socket.create_connection(
            ("127.0.0.1", self.port), timeout=30, source_address=(source, 0)
        ) as line:
            line.sendall(data)
            return line.makefile("rb").readline().strip()

    def connect(self, source: str, authority: str = "") -> bytes:
        authority = authority or f"{self.origin}:443"
        return self.send(f"CONNECT {authority} HTTP/1.1\r\n\r\n".encode(), source=source)

    def lines(self, source: str) -> list[dict[str, str]]:
        """What the log says of a source address: each line must be JSON."""
        text = self.log.read_bytes() if self.log.exists() else b""
        told = [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith(b"\n")]
        return [each for each in told if each["client_ip"] == source]

    def line(self, source: str) -> dict[str, str]:
        """The only line of a source address, as soon as it is there."""
        wait_until(lambda: bool(self.lines(source)), what=f"a line of {source}")
        (only,) = self.lines(source)
        return only

    def await_pod(self, name: str | None, *, source: str) -> None:
        """Connects until the log says that this pod, or none, has the address."""

        def told() -> bool:
            before = len(self.lines(source))
            self.connect(source)
            wait_until(lambda: len(self.lines(source)) > before, what="one more line")
            return self.lines(source)[-1]["pod"] == (name or "-")

        wait_until(told, what=f"{source} is {name}")


def _runs(pid: int, program: str) -> bool:
    try:
        return program in Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return False
