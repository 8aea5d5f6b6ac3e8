"""Real programs on loopback: in CI they must be there, elsewhere a test that misses one is skipped."""

from __future__ import annotations

import os
import shutil
import sys
from typing import TYPE_CHECKING

import pytest

from ciforensics.formats.flows import VARIABLE
from docker_daemon import DockerDaemon
from rootfs import debian

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


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


def of_the_run(factory: pytest.TempPathFactory) -> Path:
    """A folder of this run of the tests, which its workers share; each has a session of its own."""
    own = factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


@pytest.fixture(scope="session")
def trixie(
    needs: Callable[..., str],
    as_root: None,  # noqa: ARG001 (for debootstrap and chroot)
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """A Debian 13 as a root file system: its git is 2.47.3. Not to be changed; `rootfs.copy` copies."""
    debootstrap = needs("debootstrap", package="debootstrap")
    return debian("trixie", of_the_run(tmp_path_factory), debootstrap=debootstrap)


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
