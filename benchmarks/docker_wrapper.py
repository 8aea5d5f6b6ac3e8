"""What the docker wrapper adds to a call, beside a wrapper that only says `exec`.

    python benchmarks/docker_wrapper.py [--calls 300]

Both stand in front of a program that does nothing, and take turns. Prints medians in milliseconds for each
shell: the bare wrapper, ours and what ours adds, for an ordinary build (target: under 5 ms), for one with
characters or secrets that take the long way, and in the form that waits.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from statistics import median

from ciforensics.kits.export import export_kit

PLAIN = [
    "buildx",
    "build",
    "--platform",
    "linux/amd64",
    "-f",
    "ci/Dockerfile",
    "-t",
    "acme/web:1",
    "--push",
    ".",
]
CASES = {
    "ordinary": ("no", "CI", PLAIN),
    "long way": ("no", 'Nightly "full" 🚀', [*PLAIN, "--build-arg", "TOKEN=x"]),
    "waits": ("yes", "CI", PLAIN),
}


def timed(command: list[str], environment: dict[str, str]) -> float:
    """Milliseconds from start to end."""
    began = time.perf_counter()
    subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=True)
    return (time.perf_counter() - began) * 1000


def main() -> None:
    """Measures every shell that is installed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--calls", type=int, default=300)
    calls = parser.parse_args().calls
    docker = shutil.which("true") or "/bin/true"
    print(f"{'shell':<10}{'call':<12}{'bare ms':>9}{'ours ms':>9}{'added':>8}")
    for shell in ("dash", "busybox", "bash"):
        if shutil.which(shell) is None:
            continue
        interpreter = [shell, "sh"] if shell == "busybox" else [shell]
        for name, (wait, workflow, words) in CASES.items():
            with tempfile.TemporaryDirectory() as folder:
                kit, bare = Path(folder) / "kit", Path(folder) / "bare"
                settings = {"docker": docker, "log": f"{folder}/log", "wait": wait}
                export_kit("docker-wrapper", kit, settings=settings)
                bare.write_text(f'#!/bin/sh\nexec {docker} "$@"\n')
                environment = {
                    "PATH": os.environ["PATH"],
                    "GITHUB_REPOSITORY": "acme/web",
                    "GITHUB_WORKFLOW": workflow,
                    "GITHUB_JOB": "build",
                    "GITHUB_RUN_ID": "9018059362",
                }
                bares, ours = [], []
                for _ in range(calls):
                    bares.append(timed([*interpreter, str(bare), *words], environment))
                    ours.append(timed([*interpreter, str(kit / "docker-wrapper.sh"), *words], environment))
            one, other = median(bares), median(ours)
            print(f"{shell:<10}{name:<12}{one:>9.2f}{other:>9.2f}{other - one:>8.2f}", flush=True)


if __name__ == "__main__":
    main()
