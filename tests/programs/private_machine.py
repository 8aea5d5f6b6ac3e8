"""systemd as it would be on a machine of its own: other processes, other mounts, this machine's programs."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from docker_daemon import wait_until

ROOT = Path(__file__).parents[2]
# Where Python, its environment and the package are: they have to be seen by every user.
_NEEDED = dict.fromkeys(map(str, (sys.base_prefix, sys.prefix, ROOT)))

# The targets that every service and timer wants; the machine's own would start its own services.
_TARGETS = ("default", "sysinit", "basic", "shutdown", "timers", "multi-user")

# Its control group first: systemd takes what it finds for its own. $1: what is laid over the file system,
# $2...: folders to show to everybody, below folders that are closed to others.
_START = """
set -eu
laid=$1; shift
group=$laid/work/cgroup/$(basename "$laid")
mount -t tmpfs -o mode=700 none "$laid/work"
mkdir "$laid/work/cgroup"
mount -t cgroup2 none "$laid/work/cgroup"
mkdir "$group"
echo $$ >"$group/cgroup.procs"
umount "$laid/work/cgroup"
exec unshare --uts --ipc --pid --cgroup --mount --fork --kill-child --mount-proc sh -euc '
laid=$1; shift
umount -l /sys/fs/cgroup
mount -t cgroup2 none /sys/fs/cgroup
nth=0
for folder; do
    nth=$((nth + 1)); mkdir "$laid/work/$nth"; mount --bind "$folder" "$laid/work/$nth"
done
nth=0
for folder; do
    nth=$((nth + 1)); above=$folder
    while above=$(dirname "$above") && [ "$above" != / ]; do
        case $(stat -c %A "$above") in *x|*t) ;; *) mount -t tmpfs -o mode=755 none "$above" ;; esac
    done
    mkdir -p "$folder"; mount --bind "$laid/work/$nth" "$folder"
done
for each in /etc /usr/sbin /usr/local/bin; do
    mount -t overlay -o "lowerdir=$laid$each:$each" none "$each"
done
for each in /run /srv /var/lib/systemd /var/spool/cron; do mount -t tmpfs -o mode=755 none "$each"; done
exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin container=test SYSTEMD_UNIT_PATH=/etc/systemd/test \\
    /lib/systemd/systemd --system --log-target=console --show-status=no' sh "$laid" "$@"
"""


# Its control groups, which stay otherwise.
_TIDY = """
mount -t cgroup2 none "$1/work"
for _ in $(seq 50); do  # until the last process is gone
    find "$1/work/$(basename "$1")" -depth -type d -exec rmdir {} + 2>/dev/null && break
    sleep 0.1
done
"""


@dataclass
class PrivateMachine:
    """A systemd with nothing but the units that it is given, on this machine's file system.

    /srv is empty and its own; nothing that happens there is seen outside.

    Attributes:
        files: absolute path, below /etc, /usr/sbin or /usr/local/bin, to what lies there; units belong into
            /etc/systemd/test.
        user: an account that is there beside the machine's own; its home is /srv.
    """

    files: dict[str, str]
    user: str = "ciforensics"
    _folder: tempfile.TemporaryDirectory[str] = field(init=False)
    _process: subprocess.Popen[bytes] = field(init=False)

    def __enter__(self) -> Self:
        self._folder = tempfile.TemporaryDirectory(prefix="private-machine-", dir="/var/tmp")
        laid = Path(self._folder.name)
        laid.chmod(0o755)
        for name in ("work", "etc", "usr/sbin", "usr/local/bin"):
            (laid / name).mkdir(parents=True)
        for path, text in {**self._accounts(), **_targets(), **self.files}.items():
            target = laid / path.lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, encoding="utf-8")
            target.chmod(0o755 if text.startswith("#!") else 0o644)
        with (laid / "log").open("wb") as log:
            self._process = subprocess.Popen(
                # Mounts of its own already here: those of `work` go with it.
                [
                    "unshare",
                    "--mount",
                    "--kill-child",
                    "--fork",
                    "sh",
                    "-c",
                    _START,
                    "sh",
                    str(laid),
                    *_NEEDED,
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        try:
            wait_until(lambda: self._is_up(laid), what="systemd is up")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        subprocess.run(
            ["unshare", "--mount", "sh", "-c", _TIDY, "sh", self._folder.name], check=False, timeout=20
        )
        self._folder.cleanup()

    def _is_up(self, laid: Path) -> bool:
        assert self._process.poll() is None, (laid / "log").read_text()
        return (
            self._pid() is not None
            and self.run("systemctl", "is-active", "default.target").stdout == b"active\n"
        )

    def _pid(self) -> int | None:
        """Of the systemd, as it is seen from outside."""
        pid = self._process.pid
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # one on the way has just ended
            while children := Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
                pid = int(children[0])
                if Path(f"/proc/{pid}/comm").read_text() == "systemd\n":
                    return pid
        return None

    def path(self, path: str) -> Path:
        """A path of the machine, as it is seen from outside."""
        return Path(f"/proc/{self._pid()}/root{path}")

    def run(self, *command: str, check: bool = False) -> subprocess.CompletedProcess[bytes]:
        """Runs a command there, as root."""
        return subprocess.run(
            ["nsenter", "--target", str(self._pid()), "--mount", "--uts", "--ipc", "--pid", *command],
            capture_output=True,
            check=check,
            timeout=300,
            stdin=subprocess.DEVNULL,
        )

    def shown(self, unit: str, *properties: str) -> dict[str, str]:
        """What systemd knows of a unit."""
        said = self.run("systemctl", "show", unit, f"--property={','.join(properties)}", check=True)
        return dict(line.split("=", 1) for line in said.stdout.decode().splitlines())

    def _accounts(self) -> dict[str, str]:
        def with_more(path: str, line: str) -> str:
            return Path(path).read_text() + line + "\n"

        return {
            "/etc/passwd": with_more("/etc/passwd", f"{self.user}:x:64999:64999::/srv:/usr/sbin/nologin"),
            "/etc/group": with_more("/etc/group", f"{self.user}:x:64999:"),
            "/etc/shadow": f"root:*:20000::::::\n{self.user}:*:20000::::::\n",  # or PAM lets cron not in
        }


def _targets() -> dict[str, str]:
    text = "[Unit]\nDefaultDependencies=no\n"
    return {f"/etc/systemd/test/{name}.target": text for name in _TARGETS}
