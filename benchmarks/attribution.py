"""How often attribution is right, how long it takes and what it needs, on fleets whose truth is known.

    python benchmarks/attribution.py [--quick] [--seeds 2] [--out FOLDER]
    python benchmarks/attribution.py --speed
    python benchmarks/attribution.py --capture EVIDENCE … TRUTH
    python benchmarks/attribution.py --expected

Prints accuracy, share error, calibration error, time and peak memory against concurrency, hours of evidence,
coverage and shape of the delays; beside them the posterior under the true parameters, which no method can
beat, and two baselines. `--out` draws the same. Every attribution is a process of its own, timed from the
connection to the answer; it gets GitHub's CSV and the wrapper's log, nothing else.
"""

from __future__ import annotations

import argparse
import math
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from importlib import resources
from itertools import product
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Literal

import altair as alt
import polars as pl
import polars.selectors as cs

import ciforensics as ci
from ciforensics.analysis.trust import expected
from ciforensics.fleet import logs
from ciforensics.fleet.random_fleet import random_parameters
from ciforensics.fleet.run import simulate
from ciforensics.fleet.score import Score, Truth, read_attribution, read_truth, score_requests
from ciforensics.fleet.truth import CSV, truth_files
from ciforensics.show.charts import drawing

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

OURS, BEST, OUTCOME = "ciforensics", "true parameters", "true parameters, outcome"
NEAREST, EQUAL = "nearest preceding build", "equal share"

ATTRIBUTE = """
import re, sys, time
import ciforensics as ci
began = time.monotonic()
with ci.connect(sys.argv[1]) as con:
    requests = ci.attribute(con).requests
seconds = time.monotonic() - began
print(seconds, *re.findall(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read()))
requests.write_parquet(sys.argv[2])
"""
"""Linux says the peak of its own memory; `getrusage` begins with that of the process which started it."""

BASELINES = {
    NEAREST: """
        WITH nearest AS (
            SELECT second, arg_min(build_id, (after_start_s, -build_id)) AS build_id
            FROM build_candidates()
            GROUP BY second
        )
        SELECT r.line_no, b.ci_repo, b.workflow, b.run_id, 1.0::DOUBLE AS probability
        FROM observed_requests() AS r
        LEFT JOIN nearest AS n ON n.second = date_diff('second', TIMESTAMP '1970-01-01 00:00:00', r.ts)
        LEFT JOIN builds AS b ON b.build_id = n.build_id
        WHERE r.status = 401
    """,
    EQUAL: """
        WITH shares AS (
            SELECT c.second, b.ci_repo, b.workflow,
                count(*) / sum(count(*)) OVER (PARTITION BY c.second) AS probability
            FROM build_candidates() AS c
            JOIN builds AS b ON b.build_id = c.build_id
            GROUP BY c.second, b.ci_repo, b.workflow
        )
        SELECT r.line_no, s.ci_repo, s.workflow, NULL::VARCHAR AS run_id,
            coalesce(s.probability, 1)::DOUBLE AS probability
        FROM observed_requests() AS r
        LEFT JOIN shares AS s ON s.second = date_diff('second', TIMESTAMP '1970-01-01 00:00:00', r.ts)
        WHERE r.status = 401
    """,
}
CANDIDATES = """
    WITH candidates AS (SELECT second, count(*) AS n FROM build_candidates() GROUP BY second)
    SELECT coalesce(sum(n), 0) / count(*)
    FROM observed_requests() AS r
    LEFT JOIN candidates AS c ON c.second = date_diff('second', TIMESTAMP '1970-01-01 00:00:00', r.ts)
    WHERE r.status = 401
"""


@dataclass(frozen=True)
class Setting:
    """What a fleet is drawn from."""

    builds_per_hour: float = 600
    hours: float = 24
    coverage: float = 1
    delays: Literal["lognormal", "bimodal", "flat"] = "lognormal"
    seed: int = 1


SWEEPS = {
    "builds_per_hour": [
        *(Setting(builds_per_hour=each) for each in (20, 60, 200, 600)),
        Setting(builds_per_hour=3000, hours=5),
    ],
    "hours": [Setting(hours=each) for each in (1, 4, 24)],
    "coverage": [Setting(coverage=each) for each in (0.5, 0.7, 0.9, 1)],
    "delays": [Setting(), Setting(delays="bimodal"), Setting(delays="flat")],
}
QUICK = {
    "builds_per_hour": [Setting(each, hours) for each, hours in ((60, 24), (600, 4), (3000, 1))],
    "coverage": [Setting(hours=4, coverage=0.7), Setting(hours=4)],
}
SPEED = (  # builds an hour, hours, at most so many seconds and MB
    (600, 4.42, math.inf, math.inf),
    (600, 44.2, 15, 2_000),
    (3000, 7.1, 45, 4_000),
)
GROWTH = 11
"""Ten times the 401s may take so many times as long."""

BUILDS_PER_HOUR, COVERAGE = (20, 60, 200, 600, 2000, 4000), (0.5, 0.7, 0.9, 1)
BUILDS = {60: 8, 250: 4, 1000: 3, 4000: 2, 12_000: 1}
"""In all hours together, and how many fleets make a mean."""

AXES = {
    "builds_per_hour": "builds an hour",
    "hours": "hours of evidence",
    "coverage": "builds with the wrapper",
    "delays": "shape of the delays",
}
MEASURES = {  # the title of its axis, the format of its numbers, whose it shows
    "top1": ("401s with the right workflow", "%", (OURS, OUTCOME, EQUAL, NEAREST)),
    "share_error": ("share error (best: 0)", "~g", (OURS, OUTCOME, EQUAL, NEAREST)),
    "ece": ("calibration error (best: 0)", "~g", (OURS, OUTCOME)),
    "seconds": ("seconds", "~g", (OURS,)),
    "megabytes": ("peak MB", ",.0f", (OURS,)),
}
SUBTITLE = (
    "Made-up fleets of 57 workflows that share 40 dependencies. Where a panel does not say otherwise: 600 "
    "builds an hour, all with the wrapper, log-normal delays, {hours} hours of evidence; left: {builds}. "
    "Grey knows all true rates and delays: no method can beat it."
)


@dataclass(frozen=True)
class Measured:
    """What came of one case: how many `candidates` a 401 had, and the score of each answer."""

    requests: int
    candidates: float
    seconds: float
    megabytes: float
    scores: dict[str, Score]


@contextmanager
def fleet(setting: Setting) -> Iterator[tuple[Path, Truth]]:
    """A case of a made-up fleet's CSV and wrapper log, and its truth."""
    made = simulate(random_parameters(**asdict(setting)))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = truth_files(made) | {
            f"evidence/{CSV}": logs.github_csv(made),
            "evidence/docker-wrapper.jsonl": "".join(f"{line}\n" for line in logs.docker_wrapper(made)),
        }
        del made
        for path, content in files.items():
            (folder / path).parent.mkdir(exist_ok=True)
            (folder / path).write_text(content, encoding="utf-8")
        ci.ingest([folder / "evidence"], case=folder / "case.duckdb")
        yield folder / "case.duckdb", read_truth(folder / "truth")


def attributed(case: Path, file: str) -> tuple[pl.DataFrame, float, float]:
    """The answer of a process of its own, its seconds and its peak memory in MB."""
    with tempfile.TemporaryDirectory() as folder:
        answer = Path(folder) / "answer.parquet"
        done = subprocess.run(
            [sys.executable, "-c", ATTRIBUTE, str(case), str(answer)],
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        )
        seconds, kilobytes = done.stdout.split()
        return read_attribution(answer, file=file), float(seconds), int(kilobytes) / 1024


def measured(case: Path, truth: Truth) -> Measured:
    """Everything that is known of one case."""
    answer, seconds, megabytes = attributed(case, truth.file)
    answers = {OURS: score_requests(truth.requests, answer)}
    for name, with_outcome in ((BEST, False), (OUTCOME, True)):
        if best := truth.best(with_outcome=with_outcome):
            answers[name] = best
    with ci.connect(case) as con:
        for name, query in BASELINES.items():
            answers[name] = score_requests(truth.requests, pl.DataFrame(con.sql(query)))
        ((candidates,),) = con.execute(CANDIDATES).fetchall()
    return Measured(truth.requests.height, candidates, seconds, megabytes, answers)


def curves(sweeps: dict[str, list[Setting]], seeds: int) -> pl.DataFrame:
    """A row for each setting and answer, the mean of the seeds: the setting, and what was measured of it."""
    rows = []
    settings = dict.fromkeys(setting for sweep in sweeps.values() for setting in sweep)
    print(
        f"{'builds/h':>8}{'hours':>6}{'known':>6} {'delays':<10}{'401s':>8}{'each':>6}"
        f"{'top-1':>8}{'best':>6}{'outc.':>6}{'near':>6}{'equal':>6}{'share':>8}{'near':>6}{'equal':>6}{'ECE':>7}"
        f"{'s':>7}{'MB':>7}"
    )
    for setting in settings:
        for seed in range(1, seeds + 1):
            with fleet(replace(setting, seed=seed)) as (case, truth):
                one_fleet = measured(case, truth)
            shared = asdict(setting) | {
                name: getattr(one_fleet, name) for name in ("requests", "candidates", "seconds", "megabytes")
            }
            rows += [shared | {"answer": name} | asdict(one) for name, one in one_fleet.scores.items()]
        print(line(setting, mean(pl.DataFrame(rows))), flush=True)
    return mean(pl.DataFrame(rows))


def mean(rows: pl.DataFrame) -> pl.DataFrame:
    """Over the seeds."""
    by = ["builds_per_hour", "hours", "coverage", "delays", "answer"]
    told = ("requests", "candidates", "seconds", "megabytes", "top1", "share_error", "ece")
    return rows.cast({cs.integer(): pl.Float64}).group_by(by, maintain_order=True).agg(pl.col(told).mean())


def line(setting: Setting, rows: pl.DataFrame) -> str:
    """A setting's line of the table."""
    of = rows.filter(
        builds_per_hour=setting.builds_per_hour,
        hours=setting.hours,
        coverage=setting.coverage,
        delays=setting.delays,
    )
    by = {row["answer"]: row for row in of.iter_rows(named=True)}
    ours, near, equal = by[OURS], by[NEAREST], by[EQUAL]
    return (
        f"{setting.builds_per_hour:>8g}{setting.hours:>6g}{setting.coverage:>6.0%} {setting.delays:<10}"
        f"{ours['requests']:>8,.0f}{ours['candidates']:>6.0f}"
        f"{ours['top1']:>8.3f}{by[BEST]['top1']:>6.3f}{by[OUTCOME]['top1']:>6.3f}"
        f"{near['top1']:>6.2f}{equal['top1']:>6.2f}"
        f"{ours['share_error']:>8.3f}{near['share_error']:>6.2f}{equal['share_error']:>6.2f}{ours['ece']:>7.3f}"
        f"{ours['seconds']:>7.1f}{ours['megabytes']:>7.0f}"
    )


def speed() -> None:
    """Time and memory of large cases beside what they may take, and how time grows with the 401s."""
    print(
        f"\n{'builds/h':>8}{'401s':>9}{'each':>6}{'s':>8}{'at most':>9}{'MB':>8}{'at most':>9}{'ms/401':>8}"
    )
    took = []
    for builds_per_hour, hours, seconds_at_most, mb_at_most in SPEED:
        with fleet(Setting(builds_per_hour, hours)) as (case, truth):
            _, seconds, megabytes = attributed(case, truth.file)
            with ci.connect(case) as con:
                ((candidates,),) = con.execute(CANDIDATES).fetchall()
        took.append((truth.requests.height, seconds))
        print(
            f"{builds_per_hour:>8}{truth.requests.height:>9,}{candidates:>6.0f}{seconds:>8.1f}{seconds_at_most:>9g}"
            f"{megabytes:>8.0f}{mb_at_most:>9g}{seconds / truth.requests.height * 1000:>8.2f}",
            flush=True,
        )
    (few, short), (many, long), *_ = took
    print(f"{many / few:.1f} times the 401s took {long / short:.1f} times as long; at most {GROWTH} for ten.")


def capture(evidence: Sequence[Path], truth: Truth) -> None:
    """Scores a real capture: from all its logs, and from GitHub's CSV and the wrapper's log alone."""
    print(
        f"\n{'logs':<22}{'answer':<26}{'401s':>7}{'top-1':>7}{'share':>7}{'ECE':>7}{'run':>7}{'exact':>7}{'right':>7}"
    )
    with tempfile.TemporaryDirectory() as name:
        every = Path(name) / "all.duckdb"
        reports = ci.ingest(evidence, case=every)
        few = [one.path for one in reports if one.source in {"github_csv", "docker_wrapper"}]
        ci.ingest(few, case=Path(name) / "few.duckdb")
        for logs_, case in (("all", every), ("CSV and wrapper only", Path(name) / "few.duckdb")):
            for answer, one in measured(case, truth).scores.items():
                right = "" if one.exact_accuracy is None else f"{one.exact_accuracy:.3f}"
                print(
                    f"{logs_:<22}{answer:<26}{one.requests:>7,}{one.top1:>7.3f}{one.share_error:>7.3f}"
                    f"{one.ece:>7.3f}{one.run_accuracy:>7.3f}{one.exact:>7}{right:>7}"
                )


def expectations() -> pl.DataFrame:
    """What `ciforensics.analysis.trust.expected` looks up."""
    rows = []
    for builds_per_hour, builds, coverage in product(BUILDS_PER_HOUR, BUILDS, COVERAGE):
        ours, best = [], []
        for seed in range(1, BUILDS[builds] + 1):
            with fleet(Setting(builds_per_hour, builds / builds_per_hour, coverage, seed=seed)) as (
                case,
                truth,
            ):
                with ci.connect(case) as con:
                    ours.append(score_requests(truth.requests, ci.attribute(con).requests))
                best.append(truth.best(with_outcome=True))
        rows.append(
            {
                "builds_per_hour": builds_per_hour,
                "builds": builds,
                "coverage": coverage,
                "top1": fmean(one.top1 for one in ours),
                "best_top1": fmean(one.top1 for one in best if one),
                "share_error": fmean(one.share_error for one in ours),
            }
        )
        print(rows[-1], flush=True)
    return pl.DataFrame(rows).with_columns(cs.float().round(3))


def drawn(rows: pl.DataFrame, sweeps: dict[str, list[Setting]]) -> drawing.Chart:
    """A column of panels for each sweep, a row for each measure."""
    names = [OURS, OUTCOME, EQUAL, NEAREST]
    told = {one.builds_per_hour: one.hours for one in sweeps["builds_per_hour"]}
    hours = {f"{n:,g} h at {', '.join(f'{b:,g}' for b in told if told[b] == n)}": None for n in told.values()}
    subtitle = SUBTITLE.format(hours=f"{sweeps['coverage'][-1].hours:g}", builds="; ".join(hours))
    hues = alt.Scale(domain=names, range=[drawing.BLUE, drawing.GREY, drawing.SKY, drawing.ORANGE])
    columns = []
    for axis, sweep in sweeps.items():
        of = pl.DataFrame([asdict(one) for one in sweep]).drop("seed").cast({cs.integer(): pl.Float64})
        swept = rows.join(of, on=of.columns).filter(pl.col("answer").is_in(names))
        if axis == "delays":
            x = alt.X(f"{axis}:N", title=AXES[axis], axis=alt.Axis(labelAngle=0))
        else:
            kind: Literal["linear", "log"] = "linear" if axis == "coverage" else "log"
            marks = alt.Axis(
                values=of[axis].to_list(),
                grid=False,
                labelOverlap=False,
                labelFlush=False,
                format=",.1~%" if kind == "linear" else ",",
            )
            x = alt.X(
                f"{axis}:Q", title=AXES[axis], axis=marks, scale=alt.Scale(type=kind, nice=False, zero=False)
            )
        panels = []
        for measure, (title, numbers, answers) in MEASURES.items():
            shown = swept.filter(pl.col("answer").is_in(answers))
            most = max(rows.filter(pl.col("answer").is_in(answers))[measure])
            y = alt.Y(
                f"{measure}:Q",
                title=title,
                scale=alt.Scale(domain=[0, 1 if measure == "top1" else most]),
                axis=alt.Axis(tickCount=5, format=numbers, minExtent=36),
            )
            color = alt.Color("answer:N", scale=hues)
            panels.append(
                alt.Chart(shown)
                .mark_line(point=True, strokeWidth=0 if axis == "delays" else 2)
                .encode(x=x, y=y, color=color)
                .properties(width=220, height=150)
            )
        columns.append(alt.vconcat(*panels))
    spec = alt.hconcat(
        *columns, title=drawing.titled("How right is attribution, and what does it take?", subtitle)
    )
    return drawing.Chart(
        spec, "Accuracy, errors, time and memory by concurrency, hours, coverage and delays."
    )


def main() -> None:
    """Measures what was asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="a few small fleets")
    parser.add_argument("--seeds", type=int, default=2, help="fleets of each setting, whose mean is shown")
    parser.add_argument("--out", type=Path, help="folder for attribution.png and attribution.csv")
    parser.add_argument("--speed", action="store_true", help="only time and memory of large fleets")
    parser.add_argument(
        "--capture",
        type=Path,
        nargs="+",
        metavar="EVIDENCE … TRUTH",
        help="score real logs; the truth comes last",
    )
    parser.add_argument(
        "--expected", action="store_true", help="measure ciforensics/analysis/trust/expected.csv again"
    )
    asked = parser.parse_args()
    if asked.capture:
        *evidence, truth = asked.capture
        capture(evidence, read_truth(truth))
        return
    if asked.expected:
        with resources.as_file(resources.files(expected.__package__) / "expected.csv") as path:
            expectations().write_csv(path)
        return
    if not asked.speed:
        sweeps = QUICK if asked.quick else SWEEPS
        rows = curves(sweeps, 1 if asked.quick else asked.seeds)
        if asked.out:
            asked.out.mkdir(parents=True, exist_ok=True)
            rows.write_csv(asked.out / "attribution.csv")
            drawn(rows, sweeps).save(asked.out / "attribution.png")
    if not asked.quick:
        speed()


if __name__ == "__main__":
    main()
