"""Real gits against a forge that asks for credentials; a golden image built, verified and pulled."""

from __future__ import annotations

import http.client
import json
import re
import socket
import subprocess
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from ciforensics.kits.export import export_kit
from ciforensics.kits.golden.forge import Forge
from docker_daemon import free_port, wait_until
from forge import repositories, repository
from program import start
from rootfs import copy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from docker_daemon import DockerDaemon

SCOPE = "https://github.com/acme/"
HELPER = "usr/local/bin/git-credential-golden"
PROACTIVE = f'[http "{SCOPE}"]\n\tproactiveAuth = auto\n'
TAG = f'[http "{SCOPE}"]\n\tuserAgent = git/x proactive\n'
HELPED = f'[credential "{SCOPE}"]\n\thelper = /{HELPER}\n'
PROXIED = "".join(f"[http{name}]\n\tproxy = http://127.0.0.1:1\n" for name in ("", f' "{SCOPE}"'))
REWRITTEN = f'[url "ssh://git@127.0.0.1:1/"]\n\tinsteadOf = {SCOPE}\n'
EXTRA_HEADER = '[http "https://github.com/"]\n\textraHeader = AUTHORIZATION: basic eDp5\n'
TOKEN_IN_URL = '[url "https://x:made-up@github.com/"]\n\tinsteadOf = https://github.com/\n'
CATALOGUE = """
organisations: [acme, Acme-Labs]
mirror: europe-docker.pkg.dev/acme-ci/mirror
images:
  - name: debian:trixie
    git: as-is
"""
STOCK = ("401 first", False, True, False)


def verdicts(*arguments: str | Path, cwd: Path, **env: str) -> list[dict[str, Any]]:
    """What `golden verify --json` says; its exit code is 0 only if all is golden."""
    done = start("golden", "verify", "--json", *arguments, cwd=cwd, **env)
    told = [json.loads(line) for line in done.stdout.splitlines()]
    assert told, done.stderr
    assert (done.returncode == 0) == all(each["golden"] for each in told)
    assert ("Hint:" in done.stderr) == (done.returncode != 0)
    return told


def summary(verdict: dict[str, Any]) -> tuple[Any, ...]:
    """Behaviour, tag, whether public repositories are fetched without a token, golden."""
    return tuple(verdict[key] for key in ("behaviour", "tagged", "public_without_token", "golden"))


@pytest.fixture(scope="module")
def kit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The kit, built from a catalogue."""
    folder = tmp_path_factory.mktemp("kit")
    (folder / "catalogue.yaml").write_text(CATALOGUE)
    export_kit("golden-images", folder / "out", settings={"catalogue": str(folder / "catalogue.yaml")})
    return folder / "out"


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ("", STOCK),
        (PROACTIVE + TAG, ("401 first, although tagged", True, True, False)),
        (PROACTIVE, STOCK),
    ],
    ids=["stock", "proactiveAuth and tag", "proactiveAuth"],
)
def test_git_before_2_46_is_asked_for_credentials_whatever_is_configured(
    config: str, expected: tuple[Any, ...], needs: Callable[..., str], tmp_path: Path
) -> None:
    git = needs("git", package="git")
    if tuple(map(int, re.findall(r"\d+", subprocess.check_output([git, "version"], text=True))[:2])) >= (
        2,
        46,
    ):
        pytest.skip("this machine's git is too new")
    (tmp_path / "gitconfig").write_text(config)
    (verdict,) = verdicts("--git", git, cwd=tmp_path, GIT_CONFIG_SYSTEM=str(tmp_path / "gitconfig"))
    assert summary(verdict) == expected
    assert verdict["requests"][0]["status"] == 401
    assert verdict["url"].startswith(SCOPE if config else "https://github.com/your-org/")


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ("", STOCK),
        (PROACTIVE + TAG, ("breaks without a helper", True, False, False)),
        (PROACTIVE + HELPED, ("credentials first", False, True, False)),
        (PROACTIVE + TAG + HELPED, ("credentials first", True, True, True)),
        (PROACTIVE + TAG + HELPED + PROXIED, ("credentials first", True, True, True)),
        (REWRITTEN + PROACTIVE, ("sends no request", None, False, False)),
        (TAG + HELPED, ("401 first", False, True, False)),  # no scope to find: another organisation is asked
    ],
    ids=["stock", "no helper", "no tag", "golden", "golden behind a proxy", "over ssh", "no proactiveAuth"],
)
def test_git_2_47_does_what_its_configuration_makes_of_it(
    config: str, expected: tuple[Any, ...], trixie: Path, kit: Path, tmp_path: Path
) -> None:
    helper = (kit / "git-credential-golden.sh").read_text()
    root = copy(trixie, tmp_path / "root", {"etc/gitconfig": config, HELPER: helper})
    before = sorted(root.rglob("*"))
    (verdict,) = verdicts("--rootfs", root, cwd=tmp_path)
    assert verdict["version"].startswith("2.47")
    assert summary(verdict) == expected
    assert sorted(root.rglob("*")) == before


def test_the_case_of_an_organisation_counts(trixie: Path, kit: Path, tmp_path: Path) -> None:
    helper = (kit / "git-credential-golden.sh").read_text()
    root = copy(trixie, tmp_path / "root", {"etc/gitconfig": PROACTIVE + TAG + HELPED, HELPER: helper})
    (verdict,) = verdicts("--rootfs", root, "--url", "https://github.com/Acme/", cwd=tmp_path)
    assert summary(verdict) == STOCK


def clone(root: Path, forge: Forge, **env: str) -> int:
    """The exit code of `git clone` in a root file system."""
    git = ["git", "-c", f"http.proxy={forge.url}", "-c", "http.sslVerify=false"]
    done = subprocess.run(
        ["/usr/sbin/chroot", root, *git, "clone", "-q", f"{SCOPE}lib.git", "/clone"],
        env={"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": "/root", "GIT_TERMINAL_PROMPT": "0", **env},
        check=False,
        capture_output=True,
        timeout=60,
    )
    return done.returncode


NETRC = """\
machine example.com login a password b
machine github.com
  login me
  password made-up
default login anonymous password c
"""


@pytest.mark.parametrize(
    ("public", "files", "env", "expected"),
    [
        (False, {}, {"GITHUB_TOKEN": "made-up"}, [200, 200, 200]),
        (False, {"run/secrets/github_token": "made-up\n"}, {}, [200, 200, 200]),
        (False, {"root/.netrc": NETRC}, {}, [200, 200, 200]),
        (
            False,
            {
                "root/.gitconfig": "[credential]\n\thelper = store\n",
                "root/.git-credentials": "https://a:b@github.com\n",
            },
            {},
            [200, 200, 200],
        ),
        (False, {"root/.gitconfig": EXTRA_HEADER}, {}, [200, 200, 200]),
        (False, {"root/.gitconfig": TOKEN_IN_URL}, {}, [200, 200, 200]),
        (False, {}, {}, [401]),
        (True, {}, {}, [200, 200, 200]),
    ],
    ids=[
        "variable",
        "secret",
        "netrc",
        "another helper",
        "extraHeader",
        "token in the URL",
        "nothing",
        "nothing, public",
    ],
)
def test_a_golden_git_clones_with_whatever_credential_there_is_and_sends_it_first(
    *,
    public: bool,
    files: dict[str, str],
    env: dict[str, str],
    expected: list[int],
    trixie: Path,
    kit: Path,
    tmp_path: Path,
) -> None:
    repository(tmp_path / "served" / "acme" / "lib.git")
    root = copy(trixie, tmp_path / "root", {"etc/gitconfig": PROACTIVE + TAG + HELPED})
    (root / "run/secrets").mkdir(exist_ok=True)
    for name, content in {HELPER: (kit / "git-credential-golden.sh").read_text(), **files}.items():
        (root / name).write_text(content)
        (root / name).chmod(0o755)
    with Forge(repository=repositories(tmp_path / "served"), public=public) as forge:
        code = clone(root, forge, **env)
    assert [each.status for each in forge.asked] == expected
    assert (code == 0) == (401 not in expected)
    assert {each.authenticated for each in forge.asked} == {not public and 401 not in expected}


def test_a_dockerfile_from_a_catalogue_builds_a_golden_image_that_the_mirror_serves_by_tag_only(
    daemon: DockerDaemon, trixie: Path, kit: Path, tmp_path: Path
) -> None:
    with subprocess.Popen(["tar", "-C", trixie, "-c", "."], stdout=subprocess.PIPE) as tar:
        subprocess.run(
            [daemon.docker, "import", "-", "base:trixie"],
            env=daemon.environment,
            stdin=tar.stdout,
            check=True,
            capture_output=True,
            timeout=300,
        )
    pushed = f"127.0.0.1:{daemon.mirror_port}/library/debian:trixie"
    dockerfile = kit / "images/library/debian/trixie/Dockerfile"
    daemon.run("build", "--build-arg", "BASE=base:trixie", "-f", str(dockerfile), "-t", pushed, str(kit))

    docker = {"DOCKER_HOST": daemon.host, "DOCKER_CONFIG": daemon.environment["DOCKER_CONFIG"]}
    stock = verdicts("--image", "base:trixie", cwd=tmp_path, **docker)
    golden = verdicts("--image", pushed, cwd=tmp_path, **docker)
    assert [summary(each) for each in stock] == [STOCK]
    assert [summary(each) for each in golden] == [("credentials first", True, True, True)] * 2
    assert golden[1]["url"].startswith("https://github.com/Acme-Labs/")
    assert golden[0]["requests"][0]["user_agent"] == "git/2.47.3 proactive"

    daemon.run("push", pushed)
    built = inspect(daemon, pushed, "{{.Id}}")
    digest = inspect(daemon, pushed, "{{index .RepoDigests 0}}").partition("@")[2]
    daemon.run("rmi", pushed)
    daemon.run("build", "-", input=b"FROM debian:trixie\nRUN git config --system --list | grep proactive\n")
    assert inspect(daemon, "debian:trixie", "{{.Id}}") == built

    # By digest the mirror is asked too; what was not pushed there is Docker Hub's to give.
    daemon.run("pull", f"debian@{digest}")
    other = f"sha256:{'0' * 64}"
    with pytest.raises(subprocess.CalledProcessError) as refused:
        daemon.run("pull", f"debian@{other}")
    assert b"docker.io" in refused.value.stderr
    log = daemon.folder / "registry.log"
    wait_until(
        lambda: f"/v2/library/debian/manifests/{other}" in log.read_text(), what="the mirror was asked"
    )
    assert re.search(rf'"(?:GET|HEAD) /v2/library/debian/manifests/{other} HTTP/1.1" 404', log.read_text())


def inspect(daemon: DockerDaemon, image: str, template: str) -> str:
    return daemon.run("image", "inspect", "--format", template, image).stdout.decode().strip()


def test_an_image_whose_git_is_too_old_is_not_built(daemon: DockerDaemon, kit: Path, tmp_path: Path) -> None:
    """The tiny image gets a git that says it is 2.45."""
    (tmp_path / "git").write_text("#!/bin/sh\necho git version 2.45.4\n")
    (tmp_path / "git").chmod(0o755)
    (tmp_path / "Dockerfile").write_text("FROM tiny:1\nCOPY git /bin/git\nRUN ln -s busybox /bin/sed\n")
    daemon.run("build", "-t", "old:1", str(tmp_path))
    dockerfile = kit / "images/library/debian/trixie/Dockerfile"
    with pytest.raises(subprocess.CalledProcessError) as refused:
        daemon.run("build", "--build-arg", "BASE=old:1", "-f", str(dockerfile), str(kit))
    assert b"git 2.45.4 is older than 2.46" in refused.value.stderr + refused.value.stdout


def test_the_mirror_adds_the_path_and_the_token_and_lets_nobody_write(
    daemon: DockerDaemon, kit: Path, needs: Callable[..., str], tmp_path: Path
) -> None:
    nginx = needs("nginx", package="nginx-light")
    below = f"127.0.0.1:{daemon.mirror_port}/acme-ci/mirror/library/behind:1"
    daemon.run("tag", "tiny:1", below)
    daemon.run("push", below)
    with _mirror(nginx, kit, daemon.mirror_port, tmp_path) as port:
        front = f"127.0.0.1:{port}/library/behind:1"
        daemon.run("pull", front)
        daemon.run("tag", "tiny:1", f"{front}-mine")
        with pytest.raises(subprocess.CalledProcessError, match="push"):
            daemon.run("push", f"{front}-mine")
    asked = (daemon.folder / "registry.log").read_text()
    assert re.search(r'"(?:GET|HEAD) /v2/acme-ci/mirror/library/behind/manifests/1 HTTP/1.[01]" 200', asked)
    assert "behind/manifests/1-mine" not in asked
    assert " 403 " in (tmp_path / "access.log").read_text()


def test_the_mirror_sends_daemons_for_layers_to_the_registry_itself(
    kit: Path, needs: Callable[..., str], tmp_path: Path
) -> None:
    class Registry(BaseHTTPRequestHandler):
        """Answers for a layer as Artifact Registry does: with a path of its own."""

        def do_GET(self) -> None:
            self.send_response(302)
            self.send_header("Location", "/artifacts-downloads/namespaces/acme-ci/signed")
            self.send_header("Content-Length", "0")
            self.end_headers()

    nginx = needs("nginx", package="nginx-light")
    with HTTPServer(("127.0.0.1", 0), Registry) as registry:
        thread = threading.Thread(target=registry.serve_forever, args=(0.05,))
        thread.start()
        with _mirror(nginx, kit, registry.server_port, tmp_path) as port:
            asked = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
            asked.request("GET", "/v2/library/golang/blobs/sha256:0")
            answer = asked.getresponse()
            asked.close()
        registry.shutdown()
        thread.join()
    to = f"http://127.0.0.1:{registry.server_port}/artifacts-downloads/namespaces/acme-ci/signed"
    assert (answer.status, answer.headers["Location"]) == (302, to)


@contextmanager
def _mirror(nginx: str, kit: Path, registry: int, folder: Path) -> Iterator[int]:
    """The kit's nginx.conf, run in front of a registry on loopback; its port."""
    port = free_port()
    config = (kit / "docker-mirror/nginx.conf").read_text()
    for there, here in {
        " /tmp/": f" {folder}/",
        "https://europe-docker.pkg.dev": f"http://127.0.0.1:{registry}",
        "Host europe-docker.pkg.dev": "X-Host europe-docker.pkg.dev",
        "listen 5000": f"listen 127.0.0.1:{port}",
        "/dev/stdout": f"{folder}/access.log",
    }.items():
        assert there in config
        config = config.replace(there, here)
    (folder / "token.conf").write_text('proxy_set_header Authorization "Bearer made-up";\n')
    (folder / "nginx.conf").write_text(config)
    with subprocess.Popen([nginx, "-c", folder / "nginx.conf", "-g", "daemon off;"]) as running:
        try:
            wait_until(lambda: _connects(port), what="nginx answers")
            yield port
        finally:
            running.terminate()


def _connects(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
