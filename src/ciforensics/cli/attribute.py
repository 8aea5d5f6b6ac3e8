"""`ciforensics attribute`: who sent each 401, as a ranked table on the terminal and as a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ciforensics import views
from ciforensics.cli.console import show, spreadsheet_safe_frame
from ciforensics.errors import CiforensicsError
from ciforensics.swap import replacing
from ciforensics.wording import tables

if TYPE_CHECKING:
    import polars as pl

    from ciforensics.analysis.answer import Attribution

app = typer.Typer()

_SHOWN = 25


def _say(parameter: str) -> str:
    meaning = views.parameters()[parameter].meaning
    return f"{meaning[0].upper()}{meaning[1:]}."


@app.command("attribute")
def attribute_requests(
    case: Annotated[Path, typer.Option(help="The case file.")] = Path("case.duckdb"),
    out: Annotated[
        Path | None,
        typer.Option(help="FILE.parquet or FILE.csv: a row for each 401 and candidate.", metavar="FILE"),
    ] = None,
    workflows: Annotated[
        Path | None, typer.Option(help="FILE.parquet or FILE.csv: a row for each workflow.", metavar="FILE")
    ] = None,
    build_window_s: Annotated[float, typer.Option(help=_say("build_window_s"))] = 320,
    offset_s: Annotated[float | None, typer.Option(help=_say("offset_s"))] = None,
    observer: Annotated[str | None, typer.Option(help=_say("observer"))] = None,
) -> None:
    """Name the workflow that sent each 401, with a probability.

    Exact where evidence shares a key, else by a model of who sends what, how often and when; what no known
    build explains is unattributed.
    """
    import ciforensics as ci  # noqa: PLC0415 (scipy takes its time)

    for path in (out, workflows):
        if path is not None and path.suffix not in _WRITERS:
            raise typer.BadParameter(f"{path}: give a name that ends in .parquet or .csv")
    with ci.connect(case) as con:
        attribution = ci.attribute(con, build_window_s=build_window_s, offset_s=offset_s, observer=observer)
    if out is not None:
        _write(attribution.requests, out)
    if workflows is not None:
        _write(attribution.workflows, workflows)
    _show(attribution)


def _show(attribution: Attribution) -> None:
    columns = ("name", "requests", "challenges", "refused", "share", "exact_share", "runs", "run_ids")
    ranking = tables.show_table(
        attribution.workflows.select(columns),
        rows=_SHOWN,
        percent=["share", "exact_share"],
        decimals=1,
        width=60,
        caption="Workflows by expected 401s",
    )
    for each in (ranking, *attribution.remarks):
        show(each, keep="\n")


def _write(frame: pl.DataFrame, path: Path) -> None:
    """Writes beside and swaps in, so that nobody finds half a file."""
    try:
        with replacing(path, private=True) as new:
            _WRITERS[path.suffix](frame, new)
    except OSError as error:
        raise CiforensicsError(
            f"{path} cannot be written: {error.strerror or error}.", hint="give a folder that is there."
        ) from error


def _write_parquet(frame: pl.DataFrame, path: Path) -> None:
    frame.write_parquet(path)


def _write_csv(frame: pl.DataFrame, path: Path) -> None:
    spreadsheet_safe_frame(frame).write_csv(path, quote_style="non_numeric")


_WRITERS = {".parquet": _write_parquet, ".csv": _write_csv}
