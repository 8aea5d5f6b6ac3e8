"""Every column of every table and view has a comment, and a name has one type."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from ciforensics import views
from ciforensics.tables import TABLES

if TYPE_CHECKING:
    import duckdb

EVERY, OF = (views._read("columns.toml")[part] for part in ("every", "of"))  # noqa: SLF001


def columns_of(con: duckdb.DuckDBPyConnection) -> list[tuple[str, str, str, str | None]]:
    """View or table, column, type and comment."""
    return con.execute(
        "SELECT table_name, column_name, data_type, comment FROM duckdb_columns() WHERE NOT internal"
    ).fetchall()


def test_every_column_of_every_table_and_view_says_what_it_means(con: duckdb.DuckDBPyConnection) -> None:
    without = [f"{table}.{column}" for table, column, _, comment in columns_of(con) if not comment]
    assert not without, f"views/columns.toml does not say what these mean: {', '.join(without)}"


def test_a_column_that_views_work_out_is_not_told_as_that_of_a_file(con: duckdb.DuckDBPyConnection) -> None:
    said = {(view, column): comment for view, column, _, comment in columns_of(con)}
    assert said["unauthorized_by_host", "first_ts"] == "earliest time of what the row counts, UTC"
    assert said["files", "first_ts"] == "earliest time in it, UTC"


def test_a_name_has_one_type_unless_a_view_says_what_it_means_there(con: duckdb.DuckDBPyConnection) -> None:
    types = defaultdict(set)
    for view, column, kind, _ in columns_of(con):
        if column not in OF.get(view, {}):
            types[column].add(kind)
    assert {column: found for column, found in types.items() if len(found) > 1} == {}


def test_a_name_that_tables_use_in_two_senses_is_told_apart_in_views(con: duckdb.DuckDBPyConnection) -> None:
    senses = defaultdict(set)
    for table in TABLES.values():
        for column in table.columns:
            senses[column.name].add(column.comment)
    in_views = {column for view, column, *_ in columns_of(con) if view not in TABLES}
    assert {name for name, found in senses.items() if len(found) > 1 and name in in_views} <= EVERY.keys()


def test_no_meaning_is_left_of_a_column_that_is_gone(con: duckdb.DuckDBPyConnection) -> None:
    there = {(view, column) for view, column, *_ in columns_of(con)}
    assert EVERY.keys() - {column for _, column in there} == set()
    assert {(view, column) for view, columns in OF.items() for column in columns} - there == set()
