"""How fast an ingest is, beside the raw engine on the same file in the same run.

    python benchmarks/ingest.py [--mb 250] [--runs 3]

Prints for each kind of log the raw engine's time (the fastest of the runs), ciforensics' time, their ratio,
the target, and the peak memory of the ingest. Every measurement is a process of its own; the two sides take
turns.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

AGENTS = (
    "git/2.39.5",
    "git/2.47.3 proactive",
    "git/2.39.5 proactive",
    "Go-http-client/2.0",
    'pip/23.2.1 {"ci":null,"cpu":"x86_64"}',
    "curl/8.14.1",
)
NATIVE = r"^(\d+\.\d+)\s+(\d+) (\S+) (\S+)/(\d+) (\d+) (\S+) (\S+) (\S+) (\S+)/(\S+) (\S+)$"
"""As anyone would write it. Ours leaves no two ways to match a character, and is twice as fast."""

CSV = """
import duckdb, sys
duckdb.connect(sys.argv[2]).execute(f"CREATE TABLE t AS FROM read_csv('{sys.argv[1]}')")
"""
JSON = """
import duckdb, sys
read = f"read_json('{sys.argv[1]}', format = 'newline_delimited')"
duckdb.connect(sys.argv[2]).execute(f"CREATE TABLE t AS FROM {read}")
"""
SQUID = f"""
import polars as pl, sys
lines = pl.scan_csv(sys.argv[1], has_header=False, separator=chr(1), quote_char=None, new_columns=["line"])
lines.select(pl.col("line").str.extract_groups({NATIVE!r})).collect()
"""
OURS = "import ciforensics as ci, sys; print(sum(r.rows for r in ci.ingest([sys.argv[1]], case=sys.argv[2])))"


@dataclass(frozen=True)
class Kind:
    """A kind of log: its lines, the raw engine's program, and the target as (ours/raw) at most."""

    name: str
    raw: str
    at_most: float
    distinct: float


KINDS = (
    Kind("csv, 10 % distinct urls", CSV, 2.0, 0.1),
    Kind("csv, all distinct", CSV, 2.0, 1.0),
    Kind("json lines, 10 % distinct urls", JSON, 2.5, 0.1),
    Kind("json lines, all distinct", JSON, 2.5, 1.0),
    Kind("squid native", SQUID, 2.5, 0.1),
)


def requests(distinct: float) -> Iterator[tuple[int, str, int, str, int]]:
    """Second, url, status, user agent, bytes, without end."""
    chance = random.Random(1)
    n = 0
    while True:
        repo = chance.randrange(max(1, int(n * distinct))) if distinct < 1 and n else n
        url = f"https://github.com/acme-{repo % 37}/service-{repo}.git/info/refs?service=git-upload-pack"
        agent = AGENTS[int(chance.random() ** 3 * len(AGENTS))]
        yield n // 20, url, 401 if chance.random() < 0.3 else 200, agent, chance.randrange(100_000)
        n += 1


def lines(kind: Kind) -> Iterator[str]:
    """The log's lines, without end."""
    if kind.name.startswith("csv"):
        yield "timestamp,method,url,status,user_agent,content_length\n"
    for second, url, status, agent, size in requests(kind.distinct):
        when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(1_795_478_400 + second))
        if kind.name.startswith("csv"):
            quoted = '"' + agent.replace('"', '""') + '"' if '"' in agent else agent
            yield f"{when},GET,{url},{status},{quoted},{size}\n"
        elif kind.name.startswith("json"):
            row = {"timestamp": when, "method": "GET", "url": url, "status": status, "user_agent": agent,
                   "content_length": size, "client_ip": f"10.0.{size % 7}.{size % 200}",
                   "authorization": "***", "duration_ms": size / 10}  # fmt: skip
            yield json.dumps(row) + "\n"
        else:
            host = f"h{size % 500}.example.org:443"
            yield (
                f"{1_795_478_400 + second}.{size % 1000:03} {size % 9000:6} 10.0.{size % 7}.{size % 200} "
                f"TCP_TUNNEL/200 {size} CONNECT {host} - HIER_DIRECT/192.0.2.{size % 250} -\n"
            )


def write(kind: Kind, path: Path, size: int) -> None:
    """Writes a log of about `size` bytes."""
    written = 0
    with path.open("w") as file:
        for line in lines(kind):
            file.write(line)
            written += len(line)
            if written >= size:
                return


def run(code: str, *arguments: str) -> tuple[float, int]:
    """Seconds and peak memory (MB) of a program in a process of its own."""
    watch = (
        "import resource, subprocess, sys, time\n"
        "t = time.monotonic()\n"
        "subprocess.run([sys.executable, '-c', *sys.argv[1:]], check=True, stdout=subprocess.DEVNULL)\n"
        "print(time.monotonic() - t, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    done = subprocess.run(
        [sys.executable, "-c", watch, code, *arguments], check=True, capture_output=True, text=True
    )
    seconds, kilobytes = done.stdout.split()
    return float(seconds), int(kilobytes) // 1024


def main() -> None:
    """Measures every kind."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--mb", type=int, default=250, help="size of each log")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--only", default="", help="kinds that begin so")
    asked = parser.parse_args()
    print(f"{'log':<32}{'MB':>6}{'raw s':>8}{'ours s':>8}{'ratio':>7}{'target':>8}{'peak MB':>9}")
    with tempfile.TemporaryDirectory() as folder:
        for kind in KINDS:
            if not kind.name.startswith(asked.only):
                continue
            log = Path(folder) / "log"
            write(kind, log, asked.mb * 10**6)
            raw, ours, peak = [], [], 0
            for n in range(asked.runs):
                raw.append(run(kind.raw, str(log), str(Path(folder) / f"raw-{n}.duckdb"))[0])
                seconds, memory = run(OURS, str(log), str(Path(folder) / f"ours-{n}.duckdb"))
                ours.append(seconds)
                peak = max(peak, memory)
                for used in Path(folder).glob("*.duckdb*"):
                    used.unlink()
            print(
                f"{kind.name:<32}{log.stat().st_size / 1e6:>6.0f}{min(raw):>8.2f}{min(ours):>8.2f}"
                f"{min(ours) / min(raw):>7.2f}{'≤ ' + str(kind.at_most):>8}{peak:>9}",
                flush=True,
            )


if __name__ == "__main__":
    main()
