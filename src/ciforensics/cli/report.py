"""The commands that run the notebooks: `report`, by hand, by cron or in CI, and `lab`, to work in them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from ciforensics.cli.console import say, show
from ciforensics.cli.ingest import (
    Map,
    MaxUncompressed,
    Paths,
    SourceName,
    Timezone,
    Verify,
    read_logs,
    read_options,
    read_pairs,
)

app = typer.Typer()


@app.command("report")
def make_report(
    paths: Paths = None,
    out_dir: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where the report goes.")] = ...,  # type: ignore[assignment]
    case: Annotated[
        Path | None,
        typer.Option(help="The case file.  [default: DIR/case.duckdb, else case.duckdb]"),
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option(help="Only this notebook, by its name, e.g. attribution.")
    ] = None,
    parameter: Annotated[
        list[str] | None, typer.Option("-p", metavar="NAME=VALUE", help="A notebook's parameter.")
    ] = None,
    since: Annotated[
        str, typer.Option(help="From when on: 2026-03-17, 2026-03-17T09:30, or 7d, 12h before --until.")
    ] = "",
    until: Annotated[
        str, typer.Option(help="Until when, UTC where it names no zone.  [default: the evidence's end]")
    ] = "",
    repo: Annotated[list[str] | None, typer.Option(help="Show only this CI repository.")] = None,
    fail_on: Annotated[
        list[str] | None,
        typer.Option(
            metavar="WHAT", help="Exit with 3 if it holds: warning, changed, or e.g. 'unauthorized_share>5%'."
        ),
    ] = None,
    summary: Annotated[
        Path | None, typer.Option(help="Append what was found to this file, in Markdown.", metavar="FILE")
    ] = None,
    pseudonyms: Annotated[
        bool,
        typer.Option(
            "--pseudonyms",
            help="Pseudonyms instead of names, as one zip in DIR to pass on; keeps no history.",
        ),
    ] = False,
    source_name: SourceName = None,
    mapping: Map = None,
    timezone: Timezone = None,
    verify: Verify = False,
    max_uncompressed: MaxUncompressed = "64GB",
) -> None:
    """Run the notebooks on a case; write a report that needs no network. With PATHs, read those logs first.

    DIR/index.html is the place to begin: what was found, its trend, and what changed since the last run.
    DIR/runs keeps each run: its pages, the notebooks as they were run, and its findings as JSON.
    Exit code 1: something failed, also a notebook; 3: a finding passes --fail-on.
    """
    from ciforensics.report import thresholds, write_report  # noqa: PLC0415 (Jupyter takes a second to import)
    from ciforensics.report.summary import write_summary  # noqa: PLC0415
    from ciforensics.share.report import share_report  # noqa: PLC0415

    limits = [thresholds.read_threshold(each) for each in fail_on or ()]
    thresholds.check_notebooks(limits, only or ())
    if summary:
        summary.open("a", encoding="utf-8").close()  # else one learns after the run that it cannot be written
    beside = out_dir / "case.duckdb"
    case = case or (beside if paths or beside.exists() else Path("case.duckdb"))
    if paths:
        reading = read_options(source_name, mapping, timezone, verify, max_uncompressed)
        read_logs(paths, case, reading)
    options: dict[str, Any] = {
        "only": only or (),
        "parameters": read_pairs(parameter, "-p"),
        "since": since,
        "until": until,
        "repos": repo or (),
        "progress": say,
    }
    if pseudonyms:
        shared = share_report(case, out=out_dir, **options)
        made, index = shared.report, shared.zip
        say(f"{shared.mapping} says whom each pseudonym stands for: keep it")
    else:
        made = write_report(case, out=out_dir, **options)
        index = made.index
    passing = thresholds.passing(limits, made.run.findings, made.changes)
    if summary:
        with summary.open("a", encoding="utf-8") as file:
            file.write(write_summary(made, passing))
    for error in made.errors.values():
        say(error, keep="\n")
    for sentence in passing:
        say(sentence)
    show(index)
    if made.errors or passing:
        raise typer.Exit(1 if made.errors else 3)


@app.command("lab", context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def open_lab(
    context: typer.Context,
    case: Annotated[Path, typer.Option(help="The case file.")] = Path("case.duckdb"),
    folder: Annotated[Path, typer.Option("--dir", help="Where the working copy goes.")] = Path(
        "ciforensics-lab"
    ),
) -> None:
    """Open a working copy of the notebooks on a case in JupyterLab. What follows is passed on to it."""
    from ciforensics.report import working_copy  # noqa: PLC0415 (Jupyter takes a second to import)

    for path in working_copy(case, folder):
        say(path)
    sys.exit(subprocess.call([sys.executable, "-m", "jupyterlab", str(folder), *context.args]))
