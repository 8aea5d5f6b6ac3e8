"""`ciforensics golden`: base images whose git sends credentials first."""

from __future__ import annotations

import typer

app = typer.Typer()
golden = typer.Typer(help="Golden images: base images whose git sends credentials first.", no_args_is_help=True)
app.add_typer(golden, name="golden")


@golden.command()
def build() -> None: ...
@golden.command()
def verify() -> None: ...
