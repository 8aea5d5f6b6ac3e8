"""The command that reads logs into a case, and the options that `report` shares with it."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.progress import BarColumn, DownloadColumn, Progress, SpinnerColumn, TextColumn
from rich.text import Text

import ciforensics as ci
from ciforensics import redact, wording
from ciforensics.cli.console import err, say, write_json
from ciforensics.errors import CiforensicsError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.console import Console

app = typer.Typer()

Paths = Annotated[list[Path] | None, typer.Argument(metavar="PATH...", help="Log files, or folders of them.")]
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

_UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}


def read_size(text: str) -> int:
    """Bytes from a size such as `200GB`.

    Example:
        >>> read_size("1.5 GB")
        1500000000
    """
    number = text.strip().rstrip("BbKkMmGgTt ")
    unit = text.strip()[len(number) :].strip().upper()
    try:
        return int(float(number) * _UNITS[unit])
    except (ValueError, KeyError) as error:
        raise typer.BadParameter(f"{text!r} is no size such as 200GB") from error


def read_pairs(given: list[str] | None, option: str) -> dict[str, str]:
    """`name=value` options as a dict."""
    named = {}
    for each in given or ():
        name, equals, value = each.partition("=")
        if not equals or not name:
            raise typer.BadParameter(f"{option} {each!r}: give NAME=VALUE")
        named[name] = value
    return named


@app.command("ingest")
def ingest_logs(
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
    asked = read_options(source_name, mapping, timezone, verify, max_uncompressed)
    if as_json:
        ci.ingest(paths, case=case, on_wait=say, on_file=lambda file: write_json(asdict(file)), **asked)
        return
    read_logs(paths, case, asked)


def read_options(
    source_name: str | None,
    mapping: list[str] | None,
    timezone: str | None,
    verify: bool,
    max_uncompressed: str,
) -> dict[str, Any]:
    """What `ciforensics.ingest` takes, from the options that the commands share."""
    return {
        "source": source_name,
        "mapping": read_pairs(mapping, "--map") or None,
        "timezone": timezone,
        "verify": verify,
        "max_uncompressed": read_size(max_uncompressed),
    }


def read_logs(paths: list[Path], case: Path, options: Mapping[str, Any]) -> None:
    """Reads logs into a case, and says of each what became of it."""
    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn())
    with Progress(*columns, console=err, transient=True) as progress:
        task = progress.add_task("", total=None)
        told: list[str] = []

        def on_bytes(path: Path, done: int) -> None:
            name = redact.text(path.name, key=redact.load_key())[0]
            progress.update(
                task, description=wording.visible(name), completed=done, total=path.stat().st_size
            )

        def on_file(report: ci.FileReport) -> None:
            _show_file(report, progress.console)
            told.extend([report.message] if report.message else [])

        try:
            reports = ci.ingest(paths, case=case, on_file=on_file, on_bytes=on_bytes, on_wait=say, **options)
        except CiforensicsError:
            if len(told) == 1:  # then it is the error
                told.clear()
            raise
        finally:
            for message in told:
                say(message, keep="\n")
    read = [report for report in reports if report.source]
    rejected = sum(report.rejected for report in read)
    rows = sum(report.rows for report in read)
    say(f"{case}: {len(read)} of {len(reports)} files, {rows:,} rows, {rejected:,} rejected")
    if rejected:
        say(f'see why: ciforensics sql "FROM rejected_by_reason" --case {case}', style="dim")


def _show_file(report: ci.FileReport, console: Console) -> None:
    style = {"unknown": "yellow", "unreadable": "red"}.get(report.status, "green")
    line = Text(f"{report.status:<10} ", style=style)
    line.append(wording.visible(report.path), style="bold")
    if report.source:
        line.append(f"  {report.source} ({report.format}): {report.rows:,} rows")
        for name in ("rejected", "skipped", "redacted", "provisional"):
            if count := getattr(report, name):
                line.append(f", {count:,} {name}")
    elif report.status == "unknown":
        line.append("  no source knows this file; passed over")
    console.print(line, soft_wrap=True)
