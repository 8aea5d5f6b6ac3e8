"""The commands that ask a case: `sql`, `questions` for it, and `sources`, the data dictionary."""

from __future__ import annotations

import csv
import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import duckdb
import typer

import ciforensics as ci
from ciforensics import tables, views, wording
from ciforensics.cli.console import show, show_table, spreadsheet_safe
from ciforensics.errors import CiforensicsError, suggest
from ciforensics.sources import all_sources

if TYPE_CHECKING:
    from collections.abc import Iterator

app = typer.Typer()


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

    `ciforensics sources` shows the tables, `ciforensics questions` the views, which answer the usual
    questions: FROM case_overview, FROM observed_requests, FROM unauthorized(p_answer_within_s := 2).
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
            raise CiforensicsError(first, hint=_hint(con, query, str(error))) from error


def _hint(con: duckdb.DuckDBPyConnection, query: str, message: str) -> str:
    """Which name may have been meant: DuckDB's own guess takes its internal tables for ours."""
    otherwise = (
        '`ciforensics sources` lists the tables, `ciforensics questions` the views; try "FROM case_overview".'
    )
    if thing := re.search(r"Macro (\w+)\(\) does not support|with name (\w+) does not exist", message):
        names = con.execute("SELECT table_name FROM duckdb_columns() WHERE NOT internal").fetchall()
        known = {name: f"FROM {name}" for (name,) in names}
        known |= {question.name: question.sql for question in views.questions()}
        name = thing[1] or thing[2]
        if name in known:
            return f'{_replacements(query, known[name])}ask it as "{known[name]}".'
        return suggest(name, sorted(known), otherwise=otherwise)
    if column := re.search(
        r"column (?:named )?\"([^\"]+)\".*Candidate bindings[ :]*(.*)", message, re.DOTALL
    ):
        return suggest(column[1], re.findall(r'"([^"]+)"', column[2].partition("\n")[0]), otherwise=otherwise)
    return otherwise


def _replacements(query: str, sql: str) -> str:
    """What `sql` takes in place of parameters in the query that are no more: the beginning of a hint."""
    return "".join(
        f"p_{name} is p_{part} now: "
        for name, parts in views.REPLACED.items()
        for part in parts
        if re.search(rf"\bp_{name}\b", query) and f"p_{part} " in sql
    )


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
        shown = [["" if value is None else wording.visible(str(value)) for value in row] for row in rows]
        show_table([wording.visible(name) for name in names], shown)


@app.command()
def questions(
    name: Annotated[
        str, typer.Argument(help="A view or macro: what counts, its parameters, its columns.")
    ] = "",
) -> None:
    """What a case can be asked in SQL: every view by room, with its question and what can be chosen."""
    every = ci.questions()
    show(every[name] if name else every, keep="\n")


@app.command()
def sources() -> None:
    """What can be read, and what it becomes: the data dictionary."""
    for log in all_sources():
        show(log.name, style="bold")
        show(log.doc.strip(), keep="\n")
        for name, columns in log.fills.items():
            meanings = tables.TABLES[name]
            title = f"{log.name} → {name}: {meanings.meaning}"
            rows = [
                (column.name, column.type, column.comment, columns[column.name])
                for column in meanings.columns
                if column.name in columns
            ]
            show_table(("column", "type", "meaning", "in this log"), rows, title=title, fold=True)
        show("")
