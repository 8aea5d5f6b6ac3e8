"""The commands that measure attribution: make a fleet with known truth, score an answer against it."""

from __future__ import annotations

from dataclasses import asdict
from enum import StrEnum
from pathlib import Path  # noqa: TC003 (typer reads the annotations)
from typing import Annotated

import typer

from ciforensics.cli.console import show_table, write_json
from ciforensics.errors import CiforensicsError

app = typer.Typer()


class Delays(StrEnum):
    """Shapes of the time from a build's start to a request of it."""

    lognormal = "lognormal"
    bimodal = "bimodal"
    flat = "flat"


@app.command("simulate")
def simulate_fleet(
    out: Annotated[Path, typer.Option(help="Folder to write into; made if it is not there.")],
    seed: Annotated[int, typer.Option(help="Another seed makes another fleet.")] = 1,
    workflows: Annotated[int, typer.Option(help="How many workflows there are.")] = 57,
    builds_per_hour: Annotated[float, typer.Option(help="Of all workflows together.")] = 60,
    hours: Annotated[float, typer.Option(help="How long the logs are.")] = 24,
    coverage: Annotated[float, typer.Option(help="Share of the builds that the wrapper sees, 0 to 1.")] = 1,
    offset: Annotated[float, typer.Option(help="Seconds by which the CSV's clock is ahead.")] = 0,
    delays: Annotated[Delays, typer.Option(help="Shape of the time from start to fetch.")] = Delays.lognormal,
) -> None:
    """Make up a fleet: its logs, who really sent each 401, and the parameters behind it.

    OUT/evidence holds the logs, OUT/evidence-jobs what makes them exact (jobs and pods), OUT/truth the truth.
    """
    from ciforensics.fleet.random_fleet import random_parameters  # noqa: PLC0415
    from ciforensics.fleet.run import simulate  # noqa: PLC0415
    from ciforensics.fleet.truth import evidence_files, truth_files  # noqa: PLC0415

    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise CiforensicsError(f"{out} is there already.", hint="give --out a folder that is new or empty.")
    fleet = simulate(
        random_parameters(
            seed=seed,
            workflows=workflows,
            builds_per_hour=builds_per_hour,
            hours=hours,
            coverage=coverage,
            offset=offset,
            delays=delays.value,
        )
    )
    try:
        for name, content in (evidence_files(fleet) | truth_files(fleet)).items():
            path = out / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content, encoding="utf-8", newline="")
    except OSError as error:
        raise CiforensicsError(
            f"{out} cannot be written: {error.strerror}.", hint="give --out a folder with room in it."
        ) from error


@app.command("score")
def score_attribution(
    truth: Annotated[Path, typer.Argument(help="OUT/truth of `ciforensics simulate`, or its requests.csv.")],
    attribution: Annotated[Path, typer.Argument(help="What `ciforensics attribute --out` wrote.")],
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object for each answer that is scored.")
    ] = False,
) -> None:
    """Measure an attribution against the truth, and against the best that can be known.

    The best is the posterior under the fleet's true parameters. Where no build with a wrapper sent a 401, to
    attribute it to nobody is right.
    """
    from ciforensics.fleet.score import read_attribution, read_truth, score_requests  # noqa: PLC0415 (numpy)

    told = read_truth(truth)
    scores = {
        "attribution": score_requests(told.requests, read_attribution(attribution, file=told.file)),
        "true parameters": told.best(with_outcome=False),
        "true parameters, outcome": told.best(with_outcome=True),
    }
    rows = {name: asdict(one) for name, one in scores.items() if one}
    if as_json:
        for name, row in rows.items():
            write_json({"answer": name} | row)
        return
    measures = next(iter(rows.values()))
    show_table(("", *rows), ([each, *(_shown(row[each]) for row in rows.values())] for each in measures))


def _shown(value: float | None) -> str:
    return "" if value is None else f"{value:,}" if isinstance(value, int) else f"{value:.3f}"
