"""The gits that can be verified: a program, one in a root file system, one in an image."""

from __future__ import annotations

import json
import os
import re
import secrets
import shlex
import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ciforensics.errors import CiforensicsError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ciforensics.kits.golden.catalogue import Credentials

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_PATIENCE_S = 600

# Proxies, and what a user, a workflow or a hook configures a git with; GIT_CONFIG_SYSTEM stays.
_NOT_THE_SYSTEMS = re.compile(
    r"(?i:.*_proxy)|GIT_(?:DIR|COMMON_DIR|TRACE.*|CONFIG(?!_SYSTEM$|_NOSYSTEM$).*)", re.DOTALL
)


@dataclass(frozen=True, kw_only=True)
class Git:
    """A git that can be run, and the token that it can be given.

    Attributes:
        name: as the user called it.
        command: how it is run.
        environment: all of it.
        credentials: where it looks for a token.
        root: the root file system, if it is a copy that a secret may be written into.
    """

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    credentials: Credentials
    root: Path | None = None

    @contextmanager
    def token(self, *, there: bool) -> Iterator[Mapping[str, str]]:
        """A made-up token where the image looks for one, or none: what to add to the environment."""
        made_up = f"made-up-{secrets.token_hex(8)}" if there else ""
        if self.root is None:
            yield {self.credentials.environment: made_up}
            return
        path = shlex.quote(f"/run/secrets/{self.credentials.secret}")
        _sh(self.root, f"mkdir -p /run/secrets && cat >{path}", made_up)
        yield {self.credentials.environment: ""}


@contextmanager
def program(path: Path, credentials: Credentials) -> Iterator[Git]:
    """A git of this machine, with the system's configuration and no user's."""
    with tempfile.TemporaryDirectory(prefix="ciforensics-home-") as home:
        environment = {
            name: value for name, value in os.environ.items() if not _NOT_THE_SYSTEMS.fullmatch(name)
        }
        yield Git(
            name=str(path),
            command=(str(path.absolute()),),
            environment=environment | {"HOME": home, "XDG_CONFIG_HOME": home},
            credentials=credentials,
        )


@contextmanager
def root_file_system(folder: Path, credentials: Credentials) -> Iterator[Git]:
    """A git in a folder that is a root file system; nothing in it is changed."""
    if not folder.is_dir():
        raise CiforensicsError(f"{folder} is no folder.", hint="give one that holds usr/bin/git.")
    yield Git(
        name=str(folder),
        command=(*_chroot(folder), "git"),
        environment={"PATH": _PATH, "HOME": "/root"},
        credentials=credentials,
    )


@contextmanager
def image(reference: str, credentials: Credentials) -> Iterator[Git]:
    """A git in an image: unpacked into a temporary folder, run with the image's environment."""
    with tempfile.TemporaryDirectory(prefix="ciforensics-image-") as scratch:
        chroot = _chroot(Path(scratch))
        container = _docker("create", "--", reference, "true").strip()
        try:
            (inspected,) = json.loads(_docker("inspect", "--", container))
            _unpack(container, Path(scratch))
        finally:
            _docker("rm", "--", container)
        named = (each.partition("=") for each in inspected["Config"]["Env"] or ())
        # An export has no devices, and git starts no helper without this one. `mknod -m` would need /proc.
        _sh(Path(scratch), "umask 0 && mkdir -p /dev && rm -f /dev/null && mknod /dev/null c 1 3")
        yield Git(
            name=reference,
            command=(*chroot, "git"),
            environment={"PATH": _PATH, "HOME": "/root"} | {name: value for name, _, value in named},
            credentials=credentials,
            root=Path(scratch),
        )


def _sh(root: Path, script: str, given: str = "") -> None:
    # In the root file system's own eyes: a symbolic link in it must not lead to a file of this machine.
    done = subprocess.run(
        [*_chroot(root), "/bin/sh", "-c", script],
        env={"PATH": _PATH},
        input=given.encode(),
        capture_output=True,
        check=False,
        timeout=_PATIENCE_S,
    )
    if done.returncode:
        said = " ".join(done.stderr.decode(errors="replace").split())
        raise CiforensicsError(f"The image's shell fails: {said}.", hint="verify an image that has /bin/sh.")


def _unpack(container: str, folder: Path) -> None:
    with subprocess.Popen(["docker", "export", container], stdout=subprocess.PIPE) as export:
        done = subprocess.run(
            ["tar", "--extract", "--directory", folder, "--numeric-owner"],
            stdin=export.stdout,
            capture_output=True,
            check=False,
            timeout=_PATIENCE_S,
        )
    if done.returncode or export.returncode:
        said = done.stderr.decode(errors="replace").strip() or "docker export failed"
        raise CiforensicsError(f"The image cannot be unpacked: {said}.", hint="set TMPDIR to a roomy folder.")


def _docker(*arguments: str) -> str:
    try:
        done = subprocess.run(
            ["docker", *arguments], capture_output=True, text=True, check=False, timeout=_PATIENCE_S
        )
    except FileNotFoundError as error:
        raise CiforensicsError("There is no docker here.", hint="unpack the image, give --rootfs.") from error
    except subprocess.TimeoutExpired as error:
        raise CiforensicsError(
            f"`docker {arguments[0]}` did not end within {_PATIENCE_S} s.", hint="pull the image before."
        ) from error
    if done.returncode:
        raise CiforensicsError(
            f"`docker {arguments[0]}` fails: {done.stderr.strip()}.", hint="is the daemon up, the name right?"
        )
    return done.stdout


def _chroot(folder: Path) -> tuple[str, str]:
    program = shutil.which("chroot", path=f"{os.environ.get('PATH', '')}:{_PATH}")
    if program is None or os.geteuid() != 0:
        raise CiforensicsError(
            "To run a git in another root file system needs root and chroot.",
            hint="run it as root, or verify a git that is installed with --git.",
        )
    return program, str(folder)
