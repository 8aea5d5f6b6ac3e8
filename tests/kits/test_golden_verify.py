"""The forge on loopback, and what `golden verify` says of what cannot be verified."""

from __future__ import annotations

import base64
import http.client
import json
import ssl
from typing import TYPE_CHECKING

import pytest

from ciforensics.errors import CiforensicsError
from ciforensics.kits.golden import gits
from ciforensics.kits.golden.catalogue import Credentials
from ciforensics.kits.golden.forge import Answer, Asked, Forge
from program import run

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

REFS = "/acme/lib.git/info/refs?service=git-upload-pack"


def ask(
    forge: Forge, method: str = "GET", body: bytes | None = None, **headers: str
) -> tuple[int, bytes, str | None]:
    """One request through the proxy, with a certificate that its authority vouches for."""
    context = ssl.create_default_context()
    forge.authority.configure_trust(context)
    connection = http.client.HTTPSConnection(
        "127.0.0.1", int(forge.url.rpartition(":")[2]), context=context, timeout=20
    )
    connection.set_tunnel("github.com", 443)
    connection.request(method, REFS, body=body, headers={"User-Agent": "git/2 proactive", **headers})
    answer = connection.getresponse()
    told = answer.status, answer.read(), answer.headers["WWW-Authenticate"]
    connection.close()
    return told


def test_who_brings_no_credential_is_asked_for_one_and_a_credential_is_never_kept() -> None:
    secret = base64.b64encode(b"x:made-up").decode()
    with Forge() as forge:
        assert ask(forge)[::2] == (401, 'Basic realm="forge"')
        assert ask(forge, Authorization=f"Basic {secret}")[0] == 200
    assert forge.asked == [
        Asked(method="GET", path=REFS, user_agent="git/2 proactive", authenticated=False, status=401),
        Asked(method="GET", path=REFS, user_agent="git/2 proactive", authenticated=True, status=200),
    ]
    assert secret not in repr(forge.asked)


def test_a_public_forge_lets_everybody_in() -> None:
    with Forge(public=True) as forge:
        assert ask(forge)[:2] == (200, b"001e# service=git-upload-pack\n00000000")


def test_a_repository_gets_the_body_however_it_is_sent() -> None:
    def echo(method: str, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        assert (method, path, headers["User-Agent"]) == ("POST", REFS, "git/2 proactive")
        return Answer(status=200, headers={}, body=body)

    with Forge(repository=echo, public=True) as forge:
        assert ask(forge, "POST", b"0000")[1] == b"0000"
        chunked = b"3\r\nabc\r\n1;x=y\r\nd\r\n0\r\n\r\n"
        assert ask(forge, "POST", chunked, **{"Transfer-Encoding": "chunked"})[1] == b"abcd"


def test_the_forge_is_gone_after_it() -> None:
    with Forge() as forge:
        pass
    with pytest.raises(ConnectionRefusedError):
        ask(forge)


@pytest.mark.parametrize(
    ("arguments", "said", "code"),
    [
        ([], "give one of --git, --rootfs, --image", 2),
        (["--git", "/usr/bin/git", "--image", "a"], "give one of --git, --rootfs, --image", 2),
        (["--git", "/no/such/git"], "No such file or directory", 1),
        (["--git", "/"], "Permission denied", 1),
        (["--git", "/bin/false"], "fails: exit code 1", 1),
        (["--git", "/bin/true"], "/bin/true is no git", 1),
        (["--rootfs", "/no/such/folder"], "is no folder", 1),
        (["--git", "/usr/bin/git", "--url", "http://github.com/acme"], "is no https URL", 1),
        (["--git", "/usr/bin/git", "--url", "github.com/acme"], "is no https URL", 1),
        (["--git", "/usr/bin/git", "--url", "https://me:pw@github.com/acme"], "without user and query", 1),
        (["--git", "/usr/bin/git", "--variable", "A=B"], "'A=B', not the name of a variable", 1),
        (["--git", "/usr/bin/git", "--secret", "../x"], "not the id of a secret", 1),
    ],
)
def test_what_cannot_be_verified_is_said(arguments: list[str], said: str, code: int, tmp_path: Path) -> None:
    done = run("golden", "verify", *arguments, cwd=tmp_path)
    assert done.returncode == code
    assert said in done.stderr
    assert (code == 2) or "Hint:" in done.stderr


def test_no_users_configuration_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "config").write_text("[http]\n\tuserAgent = git/x proactive\n")
    given = {
        "GIT_CONFIG_GLOBAL": str(tmp_path / "config"),
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "http.userAgent",
        "GIT_CONFIG_VALUE_0": "git/x proactive",
        "GIT_CONFIG_PARAMETERS": "'http.userAgent'='git/x proactive'",
        "GIT_TRACE": str(tmp_path / "trace"),
    }
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    done = run("golden", "verify", "--git", "/usr/bin/git", "--json", cwd=tmp_path)
    assert json.loads(done.stdout)["tagged"] is False
    assert not (tmp_path / "trace").exists()


def test_a_docker_that_does_not_answer_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "docker").write_text("#!/bin/sh\nexec sleep 60\n")
    (tmp_path / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(gits, "_PATIENCE_S", 0.2)
    monkeypatch.setattr(gits, "_chroot", lambda _: ("chroot", "/"))
    with pytest.raises(CiforensicsError, match="did not end"), gits.image("a:1", Credentials()):
        pass


def test_a_git_that_sends_nothing_at_all_is_told_from_one_that_lacks_a_helper(tmp_path: Path) -> None:
    """As a git without its https helper (Debian's git-remote-https) does."""
    git = tmp_path / "git"
    git.write_text(
        '#!/bin/sh\nif [ "$1" = version ]; then echo git version 2.50.0; exit; fi\n'
        'if [ "$1" = config ]; then exit 1; fi\necho "fatal: no helper for https" >&2\nexit 128\n'
    )
    git.chmod(0o755)
    done = run("golden", "verify", "--git", git, cwd=tmp_path)
    assert done.returncode == 1
    assert "sends no request" in done.stdout
    assert "fatal: no helper for https" in done.stderr
