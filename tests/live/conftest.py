"""Real programs on loopback: in CI they must be there, elsewhere a test that misses one is skipped."""

from __future__ import annotations

import os
import shutil
import ssl
import subprocess
import sys
import tempfile
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ciforensics.capture.export import export
from ciforensics.formats.flows import VARIABLE
from docker_daemon import DockerDaemon, free_port
from kubernetes_double import KubernetesDouble
from rootfs import debian
from squid_proxy import SERVER, Proxy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture(scope="session")
def needs() -> Callable[..., str]:
    """`needs("squid", package="squid")` is a path; without the program a test skips, and fails in CI."""

    def find(name: str, *, package: str) -> str:
        # Debian keeps daemons where a user's PATH does not look.
        found = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
        if found is None:
            missing = f"{name} is not installed: apt-get install {package}"
            if os.environ.get("CI"):
                pytest.fail(missing)
            pytest.skip(missing)
        return found

    return find


@pytest.fixture(scope="session")
def as_root() -> None:
    """A test that uses it is skipped where it does not run as root on Linux, and fails there in CI."""
    if sys.platform != "linux" or os.geteuid() != 0:
        if os.environ.get("CI"):
            pytest.fail("live tests run as root on Linux in CI")
        pytest.skip("needs root on Linux")


@pytest.fixture(scope="session")
def daemon(
    needs: Callable[..., str],
    as_root: None,  # noqa: ARG001 (a fixture that only has to be there)
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[DockerDaemon]:
    """A docker daemon with a registry mirror; it holds `tiny:1`, the mirror `golang:1.24-bookworm`."""
    started = DockerDaemon(
        folder=tmp_path_factory.mktemp("docker"),
        docker=needs("docker", package="docker.io"),
        dockerd=needs("dockerd", package="docker.io"),
        registry=needs("docker-registry", package="docker-registry"),
        busybox=needs("busybox", package="busybox-static"),
    )
    with started:
        yield started


@pytest.fixture(scope="session")
def trixie(
    needs: Callable[..., str],
    as_root: None,  # noqa: ARG001 (for debootstrap and chroot)
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """A Debian 13 as a root file system: its git is 2.47.3. Not to be changed; `rootfs.copy` copies."""
    debootstrap = needs("debootstrap", package="debootstrap")
    return debian("trixie", tmp_path_factory.mktemp("rootfs"), debootstrap=debootstrap)


@pytest.fixture
def proxy(
    needs: Callable[..., str],
    as_root: None,  # noqa: ARG001 (for port 443, and for addresses of 127.0.0.0/8)
) -> Iterator[Proxy]:
    squid = needs("squid", package="squid")
    # Under pytest's own folder only root can look.
    folder = Path(tempfile.mkdtemp(prefix="ciforensics-"))
    folder.chmod(0o777)
    port = free_port()
    settings = {
        "image": "none",
        "port": str(port),
        "allow_private": "127.0.0.0/8",
        "drain": "1",
        "log": str(folder / "access.jsonl"),
        "helper": str(folder / "kit" / "podmeta.py"),
        "python": shutil.which("python3", path="/usr/bin") or needs("python3", package="python3"),
    }
    export("squid", folder / "kit", settings=settings)
    (folder / "kit").chmod(0o755)
    with KubernetesDouble() as api:
        made = Proxy(folder, squid, port, api)
        try:
            yield made
        finally:
            if made.process:
                made.process.terminate()
                try:
                    made.process.wait(timeout=20)
                except subprocess.TimeoutExpired:
                    made.kill()
            shutil.rmtree(folder)


@pytest.fixture
def server(needs: Callable[..., str], tmp_path: Path) -> Iterator[Path]:
    """A TLS server on port 443 with a file; its certificate."""
    openssl = needs("openssl", package="openssl")
    certificate, key = tmp_path / "server.pem", tmp_path / "key.pem"
    subprocess.run(
        [openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
         "-keyout", key, "-out", certificate, "-days", "2", "-subj", "/CN=loopback",
         "-addext", f"subjectAltName=IP:{SERVER}"],
        check=True, capture_output=True, timeout=60,
    )  # fmt: skip

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            pass

    (tmp_path / "www").mkdir()
    served = Server((SERVER, 443), partial(Quiet, directory=str(tmp_path / "www")))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    served.socket = context.wrap_socket(served.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=served.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield certificate
    served.shutdown()
    served.server_close()


@pytest.fixture(scope="session")
def mitmdump(needs: Callable[..., str]) -> str:
    """The program, and what else these tests start."""
    for name in ("git", "curl", "openssl"):
        needs(name, package=name)
    found = shutil.which(os.environ.get(VARIABLE, "mitmdump"))
    if found is None and not os.environ.get("CI"):
        pytest.skip(f"mitmdump is not installed: pip install mitmproxy, and set {VARIABLE}")
    assert found is not None, f"the tests need a mitmdump in CI: set {VARIABLE}"
    return found
