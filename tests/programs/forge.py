"""Real repositories behind the forge on loopback: git's own CGI program serves them."""

from __future__ import annotations

import os
import subprocess
from email.parser import BytesHeaderParser
from typing import TYPE_CHECKING

from ciforensics.kits.golden.forge import Answer, Repository

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def repositories(folder: Path) -> Repository:
    """What is in a folder, as git-http-backend(1) serves it: `/acme/lib.git` is `folder/acme/lib.git`."""

    def answer(method: str, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        path, _, query = path.partition("?")
        done = subprocess.run(
            ["git", "http-backend"],
            env={
                "PATH": os.environ["PATH"],
                "GIT_PROJECT_ROOT": str(folder),
                "GIT_HTTP_EXPORT_ALL": "1",
                "GIT_CONFIG_COUNT": "1",  # the tests' folder may be another user's
                "GIT_CONFIG_KEY_0": "safe.directory",
                "GIT_CONFIG_VALUE_0": "*",
                "REMOTE_USER": "x",  # lets it receive a push
                "REQUEST_METHOD": method,
                "PATH_INFO": path,
                "QUERY_STRING": query,
                "CONTENT_TYPE": headers.get("Content-Type", ""),
                "CONTENT_LENGTH": str(len(body)),
                "HTTP_CONTENT_ENCODING": headers.get("Content-Encoding", ""),
                "HTTP_GIT_PROTOCOL": headers.get("Git-Protocol", ""),
            },
            input=body,
            capture_output=True,
            check=True,
            timeout=60,
        )
        head, _, content = done.stdout.partition(b"\r\n\r\n")
        said = BytesHeaderParser().parsebytes(head)
        status = int(said.get("Status", "200").split()[0])
        return Answer(status=status, headers={k: v for k, v in said.items() if k != "Status"}, body=content)

    return answer


def repository(path: Path) -> None:
    """A bare repository with one commit."""
    work = path.with_suffix(".work")
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@example.com", "-c", "init.defaultBranch=main"]
    for arguments in (
        ["init", "-q", str(work)],
        ["-C", str(work), "commit", "-q", "--allow-empty", "-m", "one"],
        ["clone", "-q", "--bare", str(work), str(path)],
    ):
        subprocess.run([*git, *arguments], check=True, capture_output=True, timeout=60)
