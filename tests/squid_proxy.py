"""Squid as the tests run it: as a user without privileges, with what the kit wrote, on loopback."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from docker_daemon import wait_until

if TYPE_CHECKING:
    from kubernetes_double import KubernetesDouble

SERVER = f"127.80.{os.getpid() >> 8 & 255}.{os.getpid() & 255 or 1}"  # with port 443, of this process alone


@dataclass
class Proxy:
    """Squid as a user without privileges, with what the kit wrote."""

    folder: Path
    squid: str
    port: int
    api: KubernetesDouble
    process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> Path:
        return self.folder / "access.jsonl"

    def start(self) -> None:
        with (self.folder / "cache.log").open("ab") as log:
            self.process = subprocess.Popen(
                # A name of its own: two Squids of one name would share /dev/shm/squid-*.
                [self.squid, "-N", "-n", f"ci{self.port}", "-f", str(self.folder / "kit" / "squid.conf")],
                env={"PATH": "/usr/bin:/bin", "PODMETA_API": self.api.url, "NODE_NAME": "ci-1"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                user="nobody",
                group="nogroup",
                extra_groups=[],
            )
        wait_until(self._answers, what="Squid answers")

    def _answers(self) -> bool:
        assert self.process
        assert self.process.poll() is None, (self.folder / "cache.log").read_text()
        return self.ask("127.0.0.2", "0.0.0.0:443").startswith("HTTP/1.1 403")

    def kill(self) -> None:
        assert self.process
        self.process.kill()
        self.process.wait()

    def helpers(self) -> list[int]:
        assert self.process
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return [int(each) for each in children.split()]

    def ask(self, client: str, authority: str) -> str:
        """A CONNECT from an address; the status line that came."""
        return self.send(client, f"CONNECT {authority} HTTP/1.1\r\n\r\n".encode())

    def send(self, client: str, data: bytes) -> str:
        try:
            with socket.create_connection(("127.0.0.1", self.port), 5, source_address=(client, 0)) as to:
                to.sendall(data)
                return to.recv(200).split(b"\r\n")[0].decode()
        except ConnectionError:
            return ""

    def lines(self) -> list[dict[str, Any]]:
        text = self.log.read_text(encoding="utf-8") if self.log.exists() else ""
        return [json.loads(line) for line in text.splitlines()]

    def said(self, client: str) -> dict[str, str]:
        """What a new connection of an address is logged with."""
        before = len(self.lines())
        self.ask(client, f"{SERVER}:443")
        wait_until(
            lambda: any(each["client_ip"] == client for each in self.lines()[before:]), what="it is logged"
        )
        line = [each for each in self.lines()[before:] if each["client_ip"] == client][-1]
        return {name: value for name, value in line["podmeta"].items() if value != "-"}

    def until_pod(self, client: str, name: str | None) -> dict[str, str]:
        wait_until(lambda: self.said(client).get("pod") == name, what=f"{client} is {name}")
        return self.said(client)
