"""mitmdump as the kit `mitmproxy` deploys it, on loopback, everything below one folder."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import yaml

from ciforensics.kits.export import export_kit
from docker_daemon import free_port, wait_until


@dataclass
class LabProxy:
    """mitmdump with the arguments of the exported manifest, below one folder.

    Attributes:
        folder: where the kit was exported to, and where all is that the proxy writes.
        mitmdump: the program.
        forge_certificate: trusted upstream.
        more: further arguments.
    """

    folder: Path
    mitmdump: str
    forge_certificate: Path
    more: tuple[str, ...] = ()
    port: int = field(default_factory=free_port)

    @property
    def log(self) -> Path:
        """What `kubectl logs` would show, unless an argument says otherwise."""
        return self.folder / "log"

    @property
    def trust(self) -> Path:
        """The runners' trust store, made by their init container."""
        return self.folder / "trust" / "ca-certificates.crt"

    def __enter__(self) -> Self:
        self._kit = self.folder / "kit"
        settings = {
            "namespace": "ci-lab",
            "runner_namespace": "runner-lab",
            "host": "localhost",
            "port": str(self.port),
        }
        export_kit("mitmproxy", self._kit, settings=settings)
        self._certify()
        self._trust()
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        try:
            self.process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def start(self) -> None:
        """Starts the proxy, or starts it again."""
        self.launch()
        wait_until(self._listens, what="mitmdump listens")

    def launch(self) -> None:
        """Starts the program, wherever that leads."""
        (container,) = self._daemon_set["spec"]["template"]["spec"]["containers"]
        assert container["command"] == ["mitmdump"]
        places = {
            "confdir=/confdir": f"confdir={self.folder}/confdir",
            "/addon/addon.py": f"{self._kit}/addon.py",
        }
        arguments = [places.get(each, each) for each in container["args"]]
        trusted = f"ssl_verify_upstream_trusted_ca={self.forge_certificate}"
        with self.log.open("ab") as out, (self.folder / "stderr").open("ab") as err:
            self.process = subprocess.Popen(
                [self.mitmdump, *arguments, "--listen-host", "127.0.0.1", "--set", trusted, *self.more],
                env={"PATH": os.environ["PATH"], "HOME": "/nowhere", "PYTHONDONTWRITEBYTECODE": "1"},
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
            )

    def lines(self, log: Path | None = None) -> list[dict[str, Any]]:
        """What is logged."""
        return [json.loads(line) for line in (log or self.log).read_text().splitlines()]

    def holds(self, file: Path) -> bool:
        """Whether the proxy has this file open."""
        opened = Path(f"/proc/{self.process.pid}/fd").iterdir()
        return any(file.samefile(each) for each in opened if each.exists())

    @property
    def _daemon_set(self) -> dict[str, Any]:
        found: list[dict[str, Any]] = documents(self._kit / "proxy.yaml")
        return next(each for each in found if each["kind"] == "DaemonSet")

    def _listens(self) -> bool:
        assert self.process.poll() is None, self.log.read_text() + (self.folder / "stderr").read_text()
        with socket.socket() as probe:  # as the kubelet does
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def _certify(self) -> None:
        """Makes the certificates that cert-manager would, and runs the script that makes them one file."""
        specs = [
            each["spec"]
            for each in documents(self._kit / "certificates.yaml")
            if each["kind"] == "Certificate"
        ]
        root, ca = specs
        assert root["isCA"]
        assert ca["privateKey"] == {"algorithm": "RSA", "encoding": "PKCS1", "size": 2048}
        new = "openssl req -newkey rsa:2048 -nodes -days 2"
        self._run(*f"{new} -x509 -keyout root.key -out ca.crt -subj".split(), f"/CN={root['commonName']}")
        self._run(*f"{new} -keyout ca.key -out ca.csr -subj /CN={ca['commonName']}".split())
        (self.folder / "extensions").write_text(
            "basicConstraints=critical,CA:true\nkeyUsage=keyCertSign,cRLSign\n"
        )
        sign = (
            "openssl x509 -req -in ca.csr -CA ca.crt -CAkey root.key -days 2 -extfile extensions -out tls.crt"
        )
        self._run(*sign.split())
        self._run(*["openssl", "rsa", "-traditional", "-in", "ca.key", "-out", "tls.key"])
        (self.folder / "confdir").mkdir()
        pod = self._daemon_set["spec"]["template"]["spec"]
        self._init(
            pod["initContainers"][0], {" /ca/": f" {self.folder}/", "/confdir/": f"{self.folder}/confdir/"}
        )

    def _trust(self) -> None:
        (self.folder / "system.crt").write_bytes(self.forge_certificate.read_bytes())
        self.trust.parent.mkdir()
        places = {
            "/etc/ssl/certs/ca-certificates.crt": "system.crt", "/mitmproxy-ca/": "", "/trust/": "trust/",
        }  # fmt: skip
        pod = yaml.safe_load((self._kit / "runner-values.yaml").read_text())["template"]["spec"]
        self._init(pod["initContainers"][0], {each: f"{self.folder}/{ours}" for each, ours in places.items()})

    def _init(self, container: dict[str, Any], places: dict[str, str]) -> None:
        """Runs the script of an init container, with what it reads and writes below our folder."""
        (script,) = container["args"]
        for place, ours in places.items():
            assert place in script
            script = script.replace(place, ours)
        self._run(*container["command"], script)

    def _run(self, *command: str) -> None:
        subprocess.run(command, cwd=self.folder, check=True, capture_output=True, timeout=60)


def documents(path: Path) -> list[Any]:
    return list(yaml.safe_load_all(path.read_text()))
