"""The credential helper of golden images, as git calls it (gitcredentials(7))."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from ciforensics.kits.export import export_kit

if TYPE_CHECKING:
    from pathlib import Path

GO_WITHOUT = "capability[]=authtype\nauthtype=\ncredential=\n"
NETRC = """\
machine example.com login a password b
machine github.com # of the build
  login me
  password made-up
default login anonymous password c
"""


@pytest.fixture(scope="module")
def helper(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("kit") / "kit"
    export_kit("golden-images", folder, settings={})
    return folder / "git-credential-golden.sh"


@pytest.mark.parametrize("shell", ["dash", "bash", "busybox"])
@pytest.mark.parametrize(
    ("operation", "env", "netrc", "said"),
    [
        ("get", {"GITHUB_TOKEN": "made-up"}, NETRC, "username=x-access-token\npassword=made-up\n"),
        ("get", {}, NETRC, "username=me\npassword=made-up\n"),
        ("get", {"GITHUB_TOKEN": ""}, NETRC, "username=me\npassword=made-up\n"),
        ("get", {}, "machine example.com login a password b\n", GO_WITHOUT),
        ("get", {}, "machine github.com login me\ndefault login a password b\n", GO_WITHOUT),
        ("get", {}, None, GO_WITHOUT),
        ("get", {"CIFORENSICS_ASKED": "1", "GITHUB_TOKEN": "made-up"}, None, ""),
        ("store", {"GITHUB_TOKEN": "made-up"}, None, ""),
        ("erase", {"GITHUB_TOKEN": "made-up"}, None, ""),
    ],
)
def test_it_answers_with_the_first_credential_there_is_or_says_to_go_without(
    *,
    shell: str,
    operation: str,
    env: dict[str, str],
    netrc: str | None,
    said: str,
    helper: Path,
    tmp_path: Path,
) -> None:
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"{shell} is not installed")
    if netrc is not None:
        (tmp_path / ".netrc").write_text(netrc)
    done = subprocess.run(
        [program, *(["sh"] if shell == "busybox" else []), helper, operation],
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(tmp_path),
            "GIT_CONFIG_SYSTEM": "/dev/null",
            **env,
        },
        input="protocol=https\nhost=github.com\n",
        capture_output=True,
        text=True,
        check=True,
        timeout=20,
    )
    assert (done.stdout, done.stderr) == (said, "")
