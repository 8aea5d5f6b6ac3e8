"""The command line: a skin over the library. What it knows is how to ask and how to show."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import duckdb
import typer
from rich.console import Console
from rich.measure import Measurement
from rich.progress import BarColumn, DownloadColumn, Progress, SpinnerColumn, TextColumn
from rich.table import Table
from rich.text import Text

import ciforensics as ci
from ciforensics import (
    cli_attribute,
    cli_capture,
    cli_fleet,
    cli_golden,
    cli_golden_resolve,
    display,
    redact,
    source,
    tables,
)
from ciforensics.errors import CiforensicsError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

app = typer.Typer(
    help="Find out which CI workflows send the 401s that GitHub complains about, and whether the cure works.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(cli_attribute.app)
app.add_typer(cli_fleet.app)
app.add_typer(cli_capture.app)
app.add_typer(cli_golden.app)
cli_golden.golden.add_typer(cli_golden_resolve.app)

Paths = Annotated[list[Path] | None, typer.Argument(metavar="PATH...", help="Log files, or folders of them.")]
Case = Annotated[Path | None, typer.Option(help="The case file.")]
SourceName = Annotated[str | None, typer.Option("--source", help="Read the files as this source.")]
Map = Annotated[
    list[str] | None, typer.Option("--map", help="Our column = the log's own name, e.g. ts=When.")
]
Timezone = Annotated[
    str | None, typer.Option(help="Zone of timestamps that name none, e.g. Europe/Berlin.  [default: UTC]")
]
Verify = Annotated[
    bool, typer.Option("--verify", help="Compare all that was read before, not only its edges.")
]
MaxUncompressed = Annotated[
    str, typer.Option(help="What one compressed file may unpack to, e.g. 200GB.", metavar="SIZE")
]

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)

_UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}


def main() -> None:
    """Runs the command line; an error that the user can mend is one line and exit code 1."""
    try:
        app()
    except CiforensicsError as error:
        err.print(Text(display.visible(str(error), keep="\n")), soft_wrap=True)
        sys.exit(1)
    except BrokenPipeError:
        sys.exit(1)


def size(text: str) -> int:
    """Bytes from a size such as `200GB`.

    Example:
        >>> size("1.5 GB")
        1500000000
    """
    number = text.strip().rstrip("BbKkMmGgTt ")
    unit = text.strip()[len(number) :].strip().upper()
    try:
        return int(float(number) * _UNITS[unit])
    except (ValueError, KeyError) as error:
        raise typer.BadParameter(f"{text!r} is no size such as 200GB") from error


def pairs(given: list[str] | None, option: str) -> dict[str, str]:
    """`name=value` options as a dict."""
    named = {}
    for each in given or ():
        name, equals, value = each.partition("=")
        if not equals or not name:
            raise typer.BadParameter(f"{option} {each!r}: give NAME=VALUE")
        named[name] = value
    return named


@app.command()
def ingest(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="Log files, or folders of them.")],
    case: Annotated[Path, typer.Option(help="The case file; made if it is not there.")] = Path("case.duckdb"),
    source_name: SourceName = None,
    mapping: Map = None,
    timezone: Timezone = None,
    verify: Verify = False,
    max_uncompressed: MaxUncompressed = "64GB",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a file.")] = False,
) -> None:
    """Read logs into a case. Run it again when they have grown: only what is new is read.

    A log is recognised by its content, whatever it is called; gzip, zstd and the envelopes of log collectors
    are peeled off. A file that no source knows is named and passed over.
    """
    options = _ingest_options(source_name, mapping, timezone, verify, max_uncompressed)
    if as_json:
        ci.ingest(paths, case=case, on_wait=_say, on_file=_write_file, **options)
        return
    _ingest(paths, case, options)


def _ingest_options(
    source_name: str | None,
    mapping: list[str] | None,
    timezone: str | None,
    verify: bool,
    max_uncompressed: str,
) -> dict[str, Any]:
    return {
        "source": source_name,
        "mapping": pairs(mapping, "--map") or None,
        "timezone": timezone,
        "verify": verify,
        "max_uncompressed": size(max_uncompressed),
    }


def _write_file(report: ci.FileReport) -> None:
    sys.stdout.write(json.dumps(asdict(report)) + "\n")
    sys.stdout.flush()


def _say(sentence: str) -> None:
    err.print(Text(display.visible(sentence)), soft_wrap=True)


def _ingest(paths: list[Path], case: Path, options: Mapping[str, Any]) -> None:
    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn())
    with Progress(*columns, console=err, transient=True) as progress:
        task = progress.add_task("", total=None)
        told: list[str] = []

        def on_bytes(path: Path, done: int) -> None:
            name = redact.text(path.name, key=redact.load_key())[0]
            progress.update(
                task, description=display.visible(name), completed=done, total=path.stat().st_size
            )

        def on_file(report: ci.FileReport) -> None:
            _show_file(report, progress.console)
            told.extend([report.message] if report.message else [])

        try:
            reports = ci.ingest(paths, case=case, on_file=on_file, on_bytes=on_bytes, on_wait=_say, **options)
        except CiforensicsError:
            if len(told) == 1:  # then it is the error
                told.clear()
            raise
        finally:
            for message in told:
                progress.console.print(Text(display.visible(message, keep="\n")), soft_wrap=True)
    read = [report for report in reports if report.source]
    rejected = sum(report.rejected for report in read)
    rows = sum(report.rows for report in read)
    shown = display.visible(str(case))
    err.print(
        Text(f"{shown}: {len(read)} of {len(reports)} files, {rows:,} rows, {rejected:,} rejected"),
        soft_wrap=True,
    )
    if rejected:
        why = f'see why: ciforensics sql "FROM rejected_by_reason" --case {shown}'
        err.print(Text(why, style="dim"), soft_wrap=True)


def _show_file(report: ci.FileReport, console: Console) -> None:
    style = {"unknown": "yellow", "unreadable": "red"}.get(report.status, "green")
    line = Text(f"{report.status:<10} ", style=style)
    line.append(display.visible(report.path), style="bold")
    if report.source:
        line.append(f"  {report.source} ({report.format}): {report.rows:,} rows")
        for name in ("rejected", "skipped", "redacted", "provisional"):
            if count := getattr(report, name):
                line.append(f", {count:,} {name}")
    elif report.status == "unknown":
        line.append("  no source knows this file; passed over")
    console.print(line, soft_wrap=True)


@app.command()
def report(
    paths: Paths = None,
    out_dir: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where the report goes.")] = ...,  # type: ignore[assignment]
    case: Annotated[
        Path | None,
        typer.Option(help="The case file.  [default: DIR/case.duckdb, else case.duckdb]"),
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option(help="Only this notebook, by the start of its name, e.g. 02.")
    ] = None,
    parameter: Annotated[
        list[str] | None, typer.Option("-p", metavar="NAME=VALUE", help="A notebook's parameter.")
    ] = None,
    source_name: SourceName = None,
    mapping: Map = None,
    timezone: Timezone = None,
    verify: Verify = False,
    max_uncompressed: MaxUncompressed = "64GB",
) -> None:
    """Run the notebooks on a case; write a report that needs no network. With PATHs, read those logs first.

    DIR/index.html is the place to begin; DIR/notebooks holds the notebooks as they were run.
    """
    from ciforensics.report import report as write_report  # noqa: PLC0415 (Jupyter takes a second to import)

    beside = out_dir / "case.duckdb"
    case = case or (beside if paths or beside.exists() else Path("case.duckdb"))
    named = pairs(parameter, "-p")
    if paths:
        _ingest(paths, case, _ingest_options(source_name, mapping, timezone, verify, max_uncompressed))
    index = write_report(case, out=out_dir, only=only or (), parameters=named, progress=_say)
    out.print(Text(display.visible(str(index))), soft_wrap=True)


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
        _say(f"{path}")
    sys.exit(subprocess.call([sys.executable, "-m", "jupyterlab", str(folder), *context.args]))
