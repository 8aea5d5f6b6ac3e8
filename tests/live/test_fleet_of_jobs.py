"""Jobs of several workflows, real programs all around: the 401s end up on the workflows that sent them."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import socketserver
import subprocess
import threading
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

import ciforensics as ci
from ciforensics.kits.export import export_kit
from docker_daemon import wait_until
from forge_double import ForgeDouble
from kubernetes_double import pod, runner
from lab_proxy import LabProxy
from program import start
from rootfs import copy
from runner_image import RunnerImage, ran

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from docker_daemon import DockerDaemon

TOKEN = "ghs" + "_F4KE" * 8
RUNS = 3
CLONES = {"CI": 3, "Nightly": 4, "Docs": 2, "Release": 4}
"""By each run of each workflow, while its build runs."""
GOLDEN, WITHOUT_CREDENTIALS = "Release", "Docs"


def pump(come: socket.socket, go: socket.socket) -> None:
    """Passes on what comes, until its end."""
    with contextlib.suppress(OSError):
        while data := come.recv(1 << 16):
            go.sendall(data)
    with contextlib.suppress(OSError):
        go.shutdown(socket.SHUT_WR)


@contextlib.contextmanager
def relay(source: str, port: int) -> Iterator[int]:
    """A pod's way to the proxy on its node: what comes in on the port it yields goes on from this address."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with socket.create_connection(("127.0.0.1", port), source_address=(source, 0)) as to:
                back = threading.Thread(target=pump, args=(to, self.request))
                back.start()
                pump(self.request, to)
                back.join()

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


class Fleet:
    """A runner's image, a node's proxy and a forge; each job has a pod and an address of its own."""

    def __init__(
        self, folder: Path, daemon: DockerDaemon, proxy: LabProxy, forge: ForgeDouble, root: Path
    ) -> None:
        self.folder, self.daemon, self.proxy, self.forge = folder, daemon, proxy, forge
        self.image = RunnerImage(folder, daemon)
        for each in ("context", "clones"):
            (folder / each).mkdir()
        (folder / "context" / "Dockerfile").write_text('FROM tiny:1\nRUN ["/bin/sh", "-c", "sleep 3"]\n')
        self.golden = self._golden_image(root)
        self.objects: list[dict[str, object]] = []

    def job(self, number: int, workflow: str) -> None:
        """One job: its hooks, a build, and what the build fetches."""
        name, address = f"runner-{number}", f"127.0.1.{number}"
        now = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        took: dict[str, Any] = {
            "jobRepositoryName": "octo/app",
            "jobWorkflowRef": f"octo/app/.github/workflows/{workflow.lower()}.yml@refs/heads/main",
            "jobDisplayName": "build",
            "workflowRunId": 1000 + number,
        }
        runs = runner(name, **took)
        runs["metadata"]["creationTimestamp"] = now
        self.objects += [
            {"apiVersion": "v1", "kind": "Pod", **pod(name, address, since=now)},
            {"apiVersion": "actions.github.com/v1alpha1", "kind": "EphemeralRunner", **runs},
        ]
        environment = {
            **self.daemon.environment,
            "DOCKER_BUILDKIT": "0",
            "GITHUB_REPOSITORY": "octo/app",
            "GITHUB_WORKFLOW": workflow,
            "GITHUB_JOB": "build",
            "GITHUB_RUN_ID": str(1000 + number),
            "GITHUB_RUN_ATTEMPT": "1",
            "RUNNER_NAME": name,
            "HOSTNAME": name,
        }
        self.image.job_started(environment)
        build: list[str | Path] = [
            self.image.docker,
            "build",
            "--network",
            "none",
            "--no-cache",
            self.folder / "context",
        ]
        # A daemon without a bridge has no network for a build: what it would fetch is fetched beside it.
        with subprocess.Popen(
            build, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        ) as building:
            with relay(address, self.proxy.port) as port:
                for nth in range(CLONES[workflow]):
                    self._clone(workflow, f"{number}-{nth}", port)
            assert building.wait(timeout=60) == 0
        self.image.job_completed(environment)

    def _clone(self, workflow: str, name: str, port: int) -> None:
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": "/nowhere",
            "HTTPS_PROXY": f"http://127.0.0.1:{port}",
            "GIT_SSL_CAINFO": str(self.proxy.trust),
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_CONFIG_GLOBAL": os.devnull,
        }
        url = f"{self.forge.url}/acme/web.git"
        if workflow == GOLDEN:
            inside = {"GIT_SSL_CAINFO": "/ca.crt", "GITHUB_TOKEN": TOKEN}
            ran(["chroot", self.golden, "git", "clone", "-q", url, f"/srv/{name}"], environment | inside)
            return
        helper = f"credential.helper=!f() {{ echo username=x; echo password={TOKEN}; }}; f"
        given = [] if workflow == WITHOUT_CREDENTIALS else ["-c", helper]
        to = self.folder / "clones" / name
        ran(["git", *given, "clone", "-q", url, to], environment, code=128 if not given else 0)

    def _golden_image(self, root: Path) -> Path:
        """What the last step of the kit's Dockerfile makes of a Debian that has git 2.47."""
        catalogue, kit = self.folder / "catalogue.yaml", self.folder / "golden"
        catalogue.write_text(
            "organisations: [acme]\nmirror: europe-docker.pkg.dev/acme-ci/mirror\n"
            f"forge: {self.forge.url}\nimages:\n  - name: debian:trixie\n    git: as-is\n"
        )
        export_kit("golden-images", kit, settings={"catalogue": str(catalogue)})
        (dockerfile,) = kit.rglob("Dockerfile")
        _, _, last = dockerfile.read_text().rpartition("\nRUN ")
        files = {
            "usr/local/bin/git-credential-golden": (kit / "git-credential-golden.sh").read_text(),
            "ca.crt": self.proxy.trust.read_text(),
        }
        made = copy(root, self.folder / "root", files)
        ran(["chroot", made, "/bin/sh", "-c", last], {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"})
        return made

    def collect(self) -> None:
        """What a person would fetch: the proxy's log, Kubernetes' objects, the forge's CSV."""
        shutil.copy(self.proxy.log, self.image.logs / "mitmproxy.jsonl")
        (self.image.logs / "pods.json").write_text(
            json.dumps({"apiVersion": "v1", "kind": "List", "items": self.objects})
        )
        (self.image.logs / "forge.csv").write_text("\n".join(self.forge.csv) + "\n")


def test_the_401s_end_up_on_the_workflows_that_sent_them_and_the_golden_one_has_none(
    daemon: DockerDaemon, mitmdump: str, trixie: Path, needs: Callable[..., str], tmp_path: Path
) -> None:
    version = subprocess.check_output([needs("git", package="git"), "version"], text=True).split()[2]
    if tuple(map(int, version.split(".")[:2])) >= (2, 46):
        pytest.skip("this machine's git is too new to be a stock image's")
    (tmp_path / "proxy").mkdir()
    with (
        ForgeDouble(tmp_path / "forge", size=1000) as forge,
        LabProxy(tmp_path / "proxy", mitmdump, forge.certificate) as proxy,
    ):
        proxy.start()
        fleet = Fleet(tmp_path, daemon, proxy, forge, trixie)
        jobs = [workflow for _ in range(RUNS) for workflow in CLONES]
        for number, workflow in enumerate(jobs, start=2):
            fleet.job(number, workflow)
        wait_until(lambda: len(proxy.lines()) == len(forge.asked), what="every request is logged")
        fleet.collect()

    done = start("report", fleet.image.logs, "--out", tmp_path / "out", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "index.html").exists()
    con = ci.connect(tmp_path / "out" / "case.duckdb")
    assert con.execute("SELECT count(*) FROM rejected").fetchone() == (0,)
    found = ci.attribute(con)
    sent = dict(found.workflows.select("name", "requests").rows())
    stock = {name: RUNS * clones for name, clones in CLONES.items() if name != GOLDEN}
    # Most by the proxy's rows, whose address was a pod's; where two are alike, by what that makes likely.
    assert {name: round(count) for name, count in sent.items() if count > 0.5} == {
        f"octo/app · {name}": count for name, count in stock.items()
    }
    assert sent.get(f"octo/app · {GOLDEN}", 0) < 0.05
    assert dict(found.by_basis.select("basis", "share").rows())["same request"] > 0.5
    assert sum(stock.values()) == sum(status == 401 for *_, status in forge.asked)
    outcomes = found.workflows.select("name", "challenges", "refused").rows()
    for name, challenges, refused in outcomes:
        assert (challenges == 0) == (name == f"octo/app · {WITHOUT_CREDENTIALS}"), (name, challenges, refused)
    assert TOKEN.encode() not in b"".join(path.read_bytes() for path in tmp_path.glob("logs/*"))
