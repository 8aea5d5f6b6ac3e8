"""A catalogue becomes Dockerfiles, push commands and the mirror's configuration."""

from __future__ import annotations

import json
import re
import subprocess
from typing import TYPE_CHECKING, Any

import kubernetes_validate  # type: ignore[import-untyped]
import pytest
import yaml

from program import run

if TYPE_CHECKING:
    from pathlib import Path

CATALOGUE = """
organisations: [acme, Acme-Labs]
mirror: europe-docker.pkg.dev/acme-ci/mirror
images:
  - golang:1.24-bookworm
  - {name: "acme/base:1", git: package, user: app}
  - {name: "registry.example.com/base:2", git: as-is}
credentials: {secret: forge, environment: FORGE_TOKEN}
endpoint: http://mirror.example.com:5000
"""


@pytest.fixture
def built(tmp_path: Path) -> Path:
    (tmp_path / "c.yaml").write_text(CATALOGUE)
    done = run("golden", "build", "--catalogue", "c.yaml", "--out", "out", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    return tmp_path / "out"


def dockerfile(built: Path, image: str) -> str:
    return (built / "images" / image / "Dockerfile").read_text()


def test_there_is_a_dockerfile_for_each_image_and_it_does_not_start_from_its_own_golden_version(
    built: Path,
) -> None:
    bases = {
        str(path.parent.relative_to(built / "images")): re.findall(
            "^ARG BASE=(.*)$", path.read_text(), re.MULTILINE
        )
        for path in built.rglob("Dockerfile")
    }
    hub = "europe-docker.pkg.dev/acme-ci/dockerhub-cache"
    assert bases == {
        "library/golang/1.24-bookworm": [f"{hub}/library/golang:1.24-bookworm"],
        "acme/base/1": [f"{hub}/acme/base:1"],
        "registry.example.com/base/2": ["registry.example.com/base:2"],
    }


def test_only_an_image_that_asks_for_it_compiles_git_from_an_archive_held_to_its_checksum(
    built: Path,
) -> None:
    source = dockerfile(built, "library/golang/1.24-bookworm")
    assert re.search("^ARG GIT_SHA256=[0-9a-f]{64}$", source, re.MULTILINE)
    assert "sha256sum -c" in source
    assert "sha256sum" not in dockerfile(built, "acme/base/1")
    assert "apt-get" in dockerfile(built, "acme/base/1")
    assert "apt-get" not in dockerfile(built, "registry.example.com/base/2")


def test_a_golden_version_runs_as_whom_its_base_does(built: Path) -> None:
    users = {
        path.parent.name: re.findall("^USER .*", path.read_text(), re.MULTILINE)
        for path in built.rglob("Dockerfile")
    }
    assert users == {"1.24-bookworm": [], "1": ["USER root", "USER app"], "2": []}


def test_every_organisation_gets_a_scope_of_its_own(built: Path) -> None:
    for path in built.rglob("Dockerfile"):
        for name in ("acme", "Acme-Labs"):
            for setting in ("http.{}.proactiveAuth auto", "http.{}.userAgent", "credential.{}.helper /usr/"):
                assert setting.format(f"https://github.com/{name}/") in path.read_text()


def test_images_are_proven_and_pushed_to_where_the_mirror_looks(built: Path) -> None:
    script = (built / "push.sh").read_text()
    golden = "europe-docker.pkg.dev/acme-ci/golden-images"
    assert re.findall("^golden (.*)$", script, re.MULTILINE) == [
        f"images/library/golang/1.24-bookworm {golden}/library/golang:1.24-bookworm",
        f"images/acme/base/1 {golden}/acme/base:1",
        f"images/registry.example.com/base/2 {golden}/registry.example.com/base:2",
    ]
    assert script.index("golden verify --image") < script.index("docker push")
    assert "--secret forge --variable FORGE_TOKEN" in script


def test_golden_images_are_asked_for_before_the_cache(built: Path) -> None:
    """Artifact Registry: entries with a greater priority value take precedence in the pull order."""
    script = (built / "artifact-registry.sh").read_text()
    (policy,) = re.findall(r"^printf .*?\n.*? >", script, re.MULTILINE)
    prefix = re.findall("^prefix=(.*)$", script, re.MULTILINE)
    said = subprocess.run(
        ["/bin/sh", "-c", f"prefix={prefix[0]}\n{policy.removesuffix('>')}"],
        capture_output=True,
        check=True,
        timeout=20,
    )
    first, second = json.loads(said.stdout)
    assert first["repository"] == "projects/acme-ci/locations/europe/repositories/golden-images"
    assert first["priority"] > second["priority"]
    terraform = (built / "artifact-registry.tf").read_text()
    priorities = re.findall(r'id += "(\w+)"\n.*\n +priority += (\d+)', terraform)
    assert dict(priorities) == {each["id"]: str(each["priority"]) for each in (first, second)}


def test_scripts_are_shell_and_manifests_are_kubernetes(built: Path) -> None:
    for script in built.rglob("*.sh"):
        subprocess.run(["/bin/sh", "-n", script], check=True, timeout=20)
    manifests = list(yaml.safe_load_all((built / "docker-mirror" / "docker-mirror.yaml").read_text()))
    for manifest in manifests:
        kubernetes_validate.validate(manifest, "1.30", strict=True)
    assert {each["kind"] for each in manifests} == {"Namespace", "ServiceAccount", "Deployment", "Service"}
    sidecar: Any = yaml.safe_load((built / "dind-sidecar.yaml").read_text())
    (dind,) = sidecar["template"]["spec"]["containers"]
    assert dind["args"][-1] == "--registry-mirror=http://mirror.example.com:5000"


def test_the_example_is_written_along_and_builds_again_what_came_with_it(tmp_path: Path) -> None:
    assert run("capture", "export", "golden-images", "kit", cwd=tmp_path).returncode == 0
    done = run("golden", "build", "--catalogue", "kit/catalogue.yaml", "--out", "out", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    out = tmp_path / "out"
    files = {path.relative_to(out): path.read_text() for path in out.rglob("*") if path.is_file()}
    assert files
    assert files == {path: (tmp_path / "kit" / path).read_text() for path in files}
    assert not (out / "catalogue.yaml").exists()


def test_a_catalogue_with_a_mistake_writes_nothing(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(CATALOGUE.replace("user: app", "usr: app"))
    done = run("golden", "build", "--catalogue", "c.yaml", "--out", "out", cwd=tmp_path)
    assert done.returncode == 1
    assert "Hint: did you mean user?" in done.stderr
    assert not (tmp_path / "out").exists()
