"""Root file systems of other Debian releases, for the programs that this machine has not."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from filelock import FileLock

# Nobody reads here, and nothing has to outlive a power cut.
_DPKG = "force-unsafe-io\n" + "".join(
    f"path-exclude=/usr/share/{each}/*\n" for each in ("doc", "locale", "man")
)


def debian(suite: str, folder: Path, *, debootstrap: str) -> Path:
    """A minimal Debian with git, made once for all that share the folder: trixie's is 2.47.3.

    Takes half a minute and the Debian mirror. CIFORENSICS_TRIXIE and its like name one that is there already,
    which is not changed.
    """
    ready = os.environ.get(f"CIFORENSICS_{suite.upper()}")
    if ready:
        return Path(ready)
    root = folder / suite
    with FileLock(folder / f"{suite}.lock"):
        if not root.exists():
            _bootstrap(suite, folder / f"{suite}.part", debootstrap).rename(root)
    return root


def _bootstrap(suite: str, root: Path, debootstrap: str) -> Path:
    (root / "etc/dpkg/dpkg.cfg.d").mkdir(parents=True)
    (root / "etc/dpkg/dpkg.cfg.d/tests").write_text(_DPKG)
    subprocess.run(
        [debootstrap, "--variant=minbase", "--include=git,ca-certificates", suite, str(root)],
        check=True,
        capture_output=True,
        timeout=600,
    )
    for each in ("var/cache/apt/archives", "var/lib/apt/lists"):
        shutil.rmtree(root / each)
    return root


def copy(root: Path, to: Path, files: dict[str, str]) -> Path:
    """A copy with other files in it; of those that stay the same only the names are new."""
    subprocess.run(["cp", "-al", str(root), str(to)], check=True, timeout=120)
    for name, content in files.items():
        path = to / name
        path.unlink(missing_ok=True)  # or the original would change with it
        path.write_text(content, encoding="utf-8")
        path.chmod(0o755 if content.startswith("#!") else 0o644)
    return to
