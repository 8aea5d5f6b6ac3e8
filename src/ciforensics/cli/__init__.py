"""The command line: a skin over the library. What it knows is how to ask and how to show."""

from __future__ import annotations

import sys

import typer

from ciforensics.cli import ask, attribute, capture, fleet, golden, ingest, report
from ciforensics.cli.console import say
from ciforensics.errors import CiforensicsError

app = typer.Typer(
    help="Find out which CI workflows send the 401s that GitHub complains about, and whether the cure works.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(ingest.app)
app.add_typer(ask.app)
app.add_typer(report.app)
app.add_typer(attribute.app)
app.add_typer(fleet.app)
app.add_typer(capture.app)
app.add_typer(golden.app)


def main() -> None:
    """Runs the command line; an error that the user can mend is one line and exit code 1."""
    # As in the kernels of a report, see `report.runner`: nbformat imports jsonschema too.
    sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]
    try:
        app()
    except CiforensicsError as error:
        say(error, keep="\n")
        sys.exit(1)
    except BrokenPipeError:
        sys.exit(1)
    except OSError as error:  # a full disk, no permission, a folder that is a file
        where = error.filename2 or error.filename
        said = (error.strerror or str(error)) + (f": {where}" if where else "")
        say(f"{said}.")
        sys.exit(1)
