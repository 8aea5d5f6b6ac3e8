"""`ciforensics capture`: kits that record evidence, and writing them out; `stream-events`, one at work."""

from __future__ import annotations

import sys
from pathlib import Path  # noqa: TC003 (typer reads the annotations)
from typing import Annotated

import typer

from ciforensics.cli.console import show, show_table
from ciforensics.cli.ingest import read_pairs

app = typer.Typer()
kits = typer.Typer(help="Record evidence: kits to deploy on runners.", no_args_is_help=True)
app.add_typer(kits, name="capture")


@kits.command("list")
def list_kits() -> None:
    """Which kits there are, what each records, and its keys."""
    from ciforensics.kits.export import all_kits, described  # noqa: PLC0415 (jinja2 takes its time)

    for kit in all_kits():
        show(f"{kit.name}: {kit.summary}", style="bold")
        show_table(("key", "default", "takes", "what it decides"), described(kit), fold=True)


@kits.command()
def export(
    kit: Annotated[str, typer.Argument(help="Its name, as `ciforensics capture list` shows it.")],
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder that is new or empty.")],
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="A key of the kit; again for more.")
    ] = None,
) -> None:
    """Write a kit's files, ready to deploy, with the values put in. DIR/README.md is the place to begin."""
    from ciforensics.kits.export import export_kit  # noqa: PLC0415 (jinja2 takes its time)

    for path in export_kit(kit, folder, settings=read_pairs(settings, "--set")):
        show(path)


@app.command(
    "stream-events",
    add_help_option=False,  # the program's own says more
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
)
def stream_events(context: typer.Context) -> None:
    """Follow `docker events` while a job runs: JSON lines and DogStatsD counters, tagged with the job."""
    # Needs fcntl, which Windows has not.
    from ciforensics.kits.docker_events.stream_events import main  # noqa: PLC0415

    sys.exit(main(context.args))
