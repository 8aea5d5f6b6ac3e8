"""Writes the sample case: `python -m ciforensics.fleet data/samples`."""

from __future__ import annotations

import argparse
from pathlib import Path

from ciforensics.fleet.story import SEED, sample_files


def main() -> None:
    """Writes the sample case into a folder."""
    parser = argparse.ArgumentParser(
        prog="python -m ciforensics.fleet", description="Writes the sample case."
    )
    parser.add_argument("dir", type=Path, help="folder to write into, made if it is not there")
    parser.add_argument(
        "--seed", type=int, default=SEED, help="another seed makes another day (default: %(default)s)"
    )
    options = parser.parse_args()
    options.dir.mkdir(parents=True, exist_ok=True)
    for name, content in sample_files(options.seed).items():
        (options.dir / name).write_bytes(content)


if __name__ == "__main__":
    main()
