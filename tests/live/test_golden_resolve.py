"""What `golden resolve` says of an image is what docker does: whom it asks, and what it refuses."""

from __future__ import annotations

import re
import subprocess
from typing import TYPE_CHECKING

import pytest

from ciforensics.kits.golden.references import parse_reference
from ciforensics.kits.golden.resolve import resolve_reference
from docker_daemon import wait_until

if TYPE_CHECKING:
    from docker_daemon import DockerDaemon


def pull(daemon: DockerDaemon, reference: str) -> tuple[str, str]:
    """What docker says when it pulls, and what it asked the mirror for meanwhile."""
    log = daemon.folder / "registry.log"
    before = len(log.read_text())
    done = subprocess.run(
        [daemon.docker, "pull", "--", reference],
        env=daemon.environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    daemon.run("pull", "golang:1.24-bookworm")  # a mark: what stands before it in the log was asked before it
    mark = "/v2/library/golang/manifests/1.24-bookworm"
    wait_until(lambda: mark in log.read_text()[before:], what="the mirror logged the pull")
    return done.stderr, log.read_text()[before:]


@pytest.mark.parametrize(
    "reference",
    [
        "golang:1.24-bookworm", "docker.io/golang", "index.docker.io/node:22", "acme/app",
        "docker.io/acme/app:1", "a/b/c:1", "a__b/c-----d/e.f:A_b-c.D",
    ],
)  # fmt: skip
def test_the_mirror_is_asked_for_what_is_not_bypassed(daemon: DockerDaemon, reference: str) -> None:
    assert resolve_reference(reference).served_by == "cache"  # without a catalogue
    found = parse_reference(reference)
    _, asked = pull(daemon, reference)
    assert f"/v2/{found.repository}/manifests/{found.tag}" in asked


@pytest.mark.parametrize(
    "reference", ["127.0.0.1:9/app:7", "localhost:9/library/app:7", "registry.invalid/app:7"]
)
def test_it_is_not_asked_for_another_registrys(daemon: DockerDaemon, reference: str) -> None:
    assert resolve_reference(reference).served_by == "bypassed"
    said, asked = pull(daemon, reference)
    assert "invalid reference" not in said
    assert not re.search(r"/v2/\S*app/manifests", asked)


@pytest.mark.parametrize(
    "reference",
    [
        "Golang", "acme/App", "golang:", "golang 1", "golang:-x", "golang@sha256:12", "https://golang",
        "a//b", "/a", "a/", "a-", "a...b", "a___b", "golang:" + "x" * 129, "a" * 300, "gölang", "{{ x }}",
        "0123456789abcdef" * 4,
    ],
)  # fmt: skip
def test_what_docker_refuses_is_unknown(daemon: DockerDaemon, reference: str) -> None:
    assert resolve_reference(reference).served_by == "unknown"
    said, _ = pull(daemon, reference)
    assert re.search("invalid reference|invalid repository name|repository name must|cannot specify 64", said)
