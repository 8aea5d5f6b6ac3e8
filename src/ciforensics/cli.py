"""The command line: a skin over the library. What it knows is how to ask and how to show."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import duckdb
import typer
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

import ciforensics as ci
from ciforensics import (
    cli_attribute,
    cli_capture,
    cli_fleet,
    cli_golden,
    cli_golden_resolve,
    cli_ingest,
    cli_report,
    display,
    source,
    tables,
)
from ciforensics.errors import CiforensicsError

if TYPE_CHECKING:
    from collections.abc import Iterator

app = typer.Typer(
    help="Find out which CI workflows send the 401s that GitHub complains about, and whether the cure works.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(cli_ingest.app)
app.add_typer(cli_report.app)
app.add_typer(cli_attribute.app)
app.add_typer(cli_fleet.app)
app.add_typer(cli_capture.app)
app.add_typer(cli_golden.app)
cli_golden.golden.add_typer(cli_golden_resolve.app)

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)


def main() -> None:
    """Runs the command line; an error that the user can mend is one line and exit code 1."""
    try:
        app()
    except CiforensicsError as error:
        err.print(Text(display.visible(str(error), keep="\n")), soft_wrap=True)
        sys.exit(1)
    except BrokenPipeError:
        sys.exit(1)
    except OSError as error:  # a full disk, no permission, a folder that is a file
        where = error.filename2 or error.filename
        said = (error.strerror or str(error)) + (f": {where}" if where else "")
        err.print(Text(display.visible(f"{said}.")), soft_wrap=True)
        sys.exit(1)


@app.command()
def sql(
    query: Annotated[str, typer.Argument(help='DuckDB SQL, e.g. "FROM files".')],
    case: Annotated[Path, typer.Option(help="The case file.")] = Path("case.duckdb"),
    as_csv: Annotated[
        bool, typer.Option("--csv", help="CSV; cells that a spreadsheet would run get a '.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a row.")] = False,
) -> None:
    """Ask a case in SQL. It is opened read-only, and SQL cannot reach other files.

    `ciforensics sources` shows the tables. Views answer the usual questions: FROM case_overview, FROM
    rejected_by_reason, FROM observed_requests, FROM unauthorized(p_window_s := 2), FROM migration().
    """
    if as_csv and as_json:
        raise typer.BadParameter("give --csv or --json, not both")
    with ci.connect(case, external_access=False) as con:
        try:
            result = con.execute(query)
            if result is None:
                raise CiforensicsError("There is no SQL to run.", hint='try "FROM case_overview".')
            names = [column[0] for column in result.description or ()]
            rows = iter(lambda: result.fetchmany(10_000), [])
            _show_rows(names, (row for some in rows for row in some), as_csv=as_csv, as_json=as_json)
        except duckdb.Error as error:
            first, *_ = str(error).splitlines()
            if "pytz" in str(error):
                raise CiforensicsError(
                    "A TIMESTAMP WITH TIME ZONE cannot be shown.", hint="cast it, e.g. now()::VARCHAR."
                ) from error
            raise CiforensicsError(
                first, hint='`ciforensics sources` lists the tables; try "FROM case_overview".'
            ) from error


def _show_rows(names: list[str], rows: Iterator[tuple[Any, ...]], *, as_csv: bool, as_json: bool) -> None:
    if as_csv:
        # Each text in quotes: by itself the module leaves a lone CR bare, and what follows begins a new row.
        writer = csv.writer(sys.stdout, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
        writer.writerow(map(spreadsheet_safe, names))
        writer.writerows([spreadsheet_safe(value) for value in row] for row in rows)
    elif as_json:
        for row in rows:
            sys.stdout.write(json.dumps(dict(zip(names, row, strict=True)), default=str) + "\n")
    else:
        shown = [["" if value is None else display.visible(str(value)) for value in row] for row in rows]
        show_table([display.visible(name) for name in names], shown)


def show_table(names: list[str], rows: list[list[str]]) -> None:
    """Rows as a table; on a screen that is too narrow for it, one below the other."""
    table = Table()
    for name in names:
        table.add_column(Text(name), no_wrap=True)
    for row in rows:
        table.add_row(*map(Text, row))
    needed = Measurement.get(out, out.options.update(max_width=1 << 20), table).maximum
    if needed <= out.width or not out.is_terminal:
        Console(highlight=False, width=max(needed, out.width)).print(table)
        return
    for nth, row in enumerate(rows, start=1):  # too wide for the screen: a record below the other
        out.print(Text(f"row {nth}", style="bold"))
        for name, value in zip(names, row, strict=True):
            out.print(Text(f"  {name}: {value}"), soft_wrap=True)


def spreadsheet_safe(value: object) -> object:
    """A cell that no spreadsheet takes for a formula.

    Example:
        >>> spreadsheet_safe("=HYPERLINK(1)"), spreadsheet_safe(-1)
        ("'=HYPERLINK(1)", -1)
    """
    formula = isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r"))
    return f"'{value}" if formula else value


@app.command()
def sources() -> None:
    """What can be read, and what it becomes: the data dictionary."""
    for log in source.all_sources():
        out.print(Text(log.name, style="bold"))
        out.print(Text(log.doc.strip()), soft_wrap=True)
        for name, columns in log.fills.items():
            meanings = tables.TABLES[name]
            title = f"{log.name} → {name}: {meanings.meaning}"
            table = Table(title=title, title_justify="left")
            for heading in ("column", "type", "meaning", "in this log"):
                table.add_column(heading, overflow="fold")
            for column in meanings.columns:
                if column.name in columns:
                    table.add_row(column.name, column.type, column.comment, Text(columns[column.name]))
            out.print(table)
        out.print()


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def lab(
    context: typer.Context,
    case: Annotated[Path, typer.Option(help="The case file.")] = Path("case.duckdb"),
    folder: Annotated[Path, typer.Option("--dir", help="Where the working copy goes.")] = Path(
        "ciforensics-lab"
    ),
) -> None:
    """Open a working copy of the notebooks on a case in JupyterLab. What follows is passed on to it."""
    from ciforensics.report import working_copy  # noqa: PLC0415 (Jupyter takes a second to import)

    for path in working_copy(case, folder):
        cli_ingest.say(f"{path}")
    sys.exit(subprocess.call([sys.executable, "-m", "jupyterlab", str(folder), *context.args]))
