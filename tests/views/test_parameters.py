"""A parameter's name means one thing, in views, notebooks, Python and on the command line."""

from __future__ import annotations

import ast
import inspect
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import typer

import ciforensics as ci
from ciforensics import views
from ciforensics.analysis.links.partners import WITHIN_S
from ciforensics.cli.attribute import attribute_requests
from ciforensics.tables import TABLES

if TYPE_CHECKING:
    import duckdb

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))
PYTHON_TYPES = {
    "VARCHAR": "str", "TIMESTAMP": "str", "INTERVAL": "str", "DOUBLE": "float", "BIGINT": "int",
    "BOOLEAN": "bool",
}  # fmt: skip


@pytest.mark.parametrize("question", views.questions(), ids=lambda question: question.name)
def test_a_macro_has_the_defaults_of_its_parameters(
    con: duckdb.DuckDBPyConnection, question: views.Question
) -> None:
    written = con.execute(
        """
        SELECT parameters FROM duckdb_functions() WHERE function_name = $1 AND function_type = 'table_macro'
        """,
        [question.name],
    ).fetchall()
    assert [f"p_{each.name}" for each in question.parameters] == [name for (row,) in written for name in row]
    columns = {column.name for table in TABLES.values() for column in table.columns}
    for (row,) in con.execute(
        "SELECT parameters FROM duckdb_functions() WHERE function_name = $1 AND function_type = 'macro'",
        [question.name],
    ).fetchall():
        assert {name.removeprefix("p_") for name in row} <= columns | set(views.parameters())
    for each in question.parameters:
        default = "NULL" if each.default is None else repr(each.default).replace("False", "false")
        assert f"p_{each.name} := {default}" in question.text


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_has_the_types_defaults_and_meanings_of_its_parameters(notebook: Path) -> None:
    (cell,) = (
        cell
        for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]
        if "parameters" in cell["metadata"].get("tags", [])
    )
    source = "".join(cell["source"])
    for line in ast.parse(source).body:
        assert isinstance(line, ast.AnnAssign)
        assert line.value is not None
        name = ast.unparse(line.target)
        assert name in views.parameters(), "not in views/parameters.toml"
        each = views.parameters()[name]
        assert ast.unparse(line.annotation) == PYTHON_TYPES[each.type]
        assert ast.literal_eval(line.value) == ("" if each.default is None else each.default)
        _, _, comment = source.splitlines()[line.lineno - 1].partition("  # ")
        assert comment, "papermill shows it as help"
        # A line has no room for all of the longest.
        assert each.meaning.startswith(comment.replace("; empty: ", "; not given: "))


def test_python_has_the_defaults_of_the_parameters() -> None:
    functions = [getattr(ci, name) for name in ci.__all__]
    given: list[tuple[str, Any]] = [
        (name, parameter.default)
        for function in functions
        if inspect.isfunction(function)
        for name, parameter in inspect.signature(function).parameters.items()
        if name in views.parameters() and parameter.default is not parameter.empty
    ]
    assert {"observer", "build_window_s", "offset_s"} <= {name for name, _ in given}
    # `case` is a path: of the case that an ingest writes, or a case to open.
    assert [
        (name, default)
        for name, default in given
        if name != "case" and default != views.parameters()[name].default
    ] == []


def test_partners_are_as_near_as_the_view_says() -> None:
    assert views.parameters()["seen_within_s"].default == WITHIN_S


def test_the_command_line_has_the_defaults_and_meanings_of_the_parameters() -> None:
    app = typer.Typer()
    app.command("attribute")(attribute_requests)
    options = {each.name: each for each in typer.main.get_command(app).params}
    for name in ("build_window_s", "offset_s", "observer"):
        option = options[name]
        assert isinstance(option, typer.core.TyperOption)
        assert option.default == views.parameters()[name].default
        assert str(option.help).removesuffix(".").lower() == views.parameters()[name].meaning.lower()


def test_each_parameter_is_somewhere_and_says_its_unit() -> None:
    cells = "\n".join(path.read_text(encoding="utf-8") for path in NOTEBOOKS)
    chosen = {each.name for question in views.questions() for each in question.parameters}
    for name, each in views.parameters().items():
        assert name in chosen or f'"{name}: ' in cells
        assert bool(each.unit) == (each.type in {"DOUBLE", "BIGINT"})
