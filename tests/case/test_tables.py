"""What `tables.py` says of a table holds wherever tables are gone through: a new one is forgotten nowhere."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ciforensics.case import ranges, store
from ciforensics.errors import CiforensicsError
from ciforensics.report import known_repos
from ciforensics.schema import Column, Kind, Table
from ciforensics.tables import CI_REPO, EVIDENCE, FILE_ID, INVOCATIONS, LINE_NO, STORED

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

THEN = datetime(2026, 11, 24, 3, 0, 0)
HOUR = timedelta(hours=1)
KEYS = ("orchestration_id", "run_id", "runner", "client_ip", "connection", "request_id")


def row_of(columns: Iterable[Column], when: datetime, **given: Any) -> dict[str, Any]:
    """A row in which each text is the name of its column."""
    values = {"TIMESTAMP": when, "VARCHAR": None, "JSON": "{}", "BOOLEAN": True}
    row = {column.name: values.get(column.type, 1) or column.name for column in columns}
    return row | {name: value for name, value in given.items() if name in row}


def put(con: duckdb.DuckDBPyConnection, name: str, row: dict[str, Any]) -> None:
    columns, places = ", ".join(row), ", ".join("?" * len(row))
    con.execute(f"INSERT INTO {name} ({columns}) VALUES ({places})", list(row.values()))


def add(con: duckdb.DuckDBPyConnection, table: Table, when: datetime, **given: Any) -> None:
    """Adds one row of a table, from a log that has the table's name, to a case."""
    file = {"source": table.name, "file_id": 1, "first_ts": when, "last_ts": when + HOUR}
    put(con, "files", file)
    for name, columns in table.stored.items():
        put(con, name, row_of(columns, when, source=table.name, **given))


def named(table: Table) -> str:
    return table.name


HAPPENS = [table for table in EVIDENCE if table.happens]


@pytest.mark.parametrize("table", HAPPENS, ids=named)
def test_what_happens_is_a_moment(con: duckdb.DuckDBPyConnection, table: Table) -> None:
    add(con, table, THEN)
    missing = f"{table.name} is missing in views/case/moments.sql: add a SELECT with its {table.time}"
    assert con.execute("FROM moments").fetchall() == [(table.name, 1, THEN)], missing


@pytest.mark.parametrize("table", [table for table in EVIDENCE if table.end], ids=named)
def test_a_span_covers_the_time_until_its_end(con: duckdb.DuckDBPyConnection, table: Table) -> None:
    add(con, table, THEN, **{str(table.end): THEN + HOUR})
    covers = "SELECT DISTINCT source FROM covered_times WHERE ? BETWEEN bucket AND bucket_end"
    missing = f"{table.name} is missing in views/case/covered_times.sql: add a SELECT with its {table.end}"
    assert con.execute(covers, [THEN + HOUR / 2]).fetchall() == [(table.name,)], missing


@pytest.mark.parametrize("table", EVIDENCE, ids=named)
def test_a_key_in_any_table_is_a_row_of_row_keys(con: duckdb.DuckDBPyConnection, table: Table) -> None:
    add(con, table, THEN)
    keys = {name: name for name in KEYS if name in table.types}
    if "pod" in table.types:
        keys.setdefault("runner", "pod")
    if "client_port" in table.types:
        keys["connection"] = "client_ip:1"
    seen = con.execute(f"SELECT source, ts, {', '.join(KEYS)} FROM row_keys").fetchall()
    missing = f"views/links/row_keys.sql lacks what {table.name} has: {', '.join(keys)}"
    assert seen == ([(table.name, THEN, *map(keys.get, KEYS))] if keys else []), missing


def in_file(path: Path) -> Path:
    """A case that has, of each table, a row of THEN and one of an hour later; spans are of twenty minutes."""
    with store.writing(path) as copy:
        for table in EVIDENCE:
            for when in (THEN, THEN + HOUR):
                end = {table.end: when + HOUR / 3} if table.end else {}
                add(copy.con, table, when, ci_repo=f"acme/{table.name}", **end)
        copy.changed = True
    return path


@pytest.mark.parametrize(
    ("since", "until", "once"),
    [
        ("30m", "", {table.name for table in HAPPENS}),
        ("", "30m", {table.name for table in HAPPENS}),
        ("2h", "", set()),
        # A job goes on, and so may the build of a docker command.
        ("55m", "", {table.name for table in HAPPENS if not table.end and not table.reach}),
    ],
)
def test_a_narrower_range_has_less_of_what_happens(
    tmp_path: Path, since: str, until: str, once: set[str]
) -> None:
    case, out = in_file(tmp_path / "case.duckdb"), tmp_path / "narrow.duckdb"
    wanted = ranges.choose_range(case, since=since, until=until)
    assert wanted is not None
    ranges.narrow_case(case, out, to=wanted)
    with duckdb.connect(out, read_only=True) as con:
        counts = {t.name: con.execute(f"SELECT count(*) FROM {t.home}").fetchall()[0][0] for t in EVIDENCE}
    assert {name for name, count in counts.items() if count == 1} == once
    assert {name for name, count in counts.items() if count == 2} == counts.keys() - once


def test_what_matters_for_days_is_kept_for_days(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    case, out = in_file(tmp_path / "case.duckdb"), tmp_path / "narrow.duckdb"
    monkeypatch.setattr(ranges, "_HAPPENS", [replace(INVOCATIONS, reach=timedelta(days=1))])
    ranges.narrow_case(case, out, to=ranges.Range(THEN + 23 * HOUR, None))
    with duckdb.connect(out, read_only=True) as con:
        assert con.execute("SELECT count(*) FROM invocations").fetchall() == [(2,)]


def test_a_repository_that_one_table_names_can_be_asked_for(tmp_path: Path) -> None:
    case = in_file(tmp_path / "case.duckdb")
    names = [f"acme/{table.name}" for table in EVIDENCE if CI_REPO in table.columns]
    assert "acme/pods" in names
    assert known_repos(case, names) == names
    with pytest.raises(
        CiforensicsError, match=r"names the CI repository acme/pod\.\nHint: did you mean acme/pods"
    ):
        known_repos(case, ["acme/pod"])


@given(
    rows=st.lists(st.tuples(st.integers(1, 3), st.none() | st.sampled_from("abc")), max_size=12),
    gone=st.integers(0, 3),
)
@settings(deadline=None, max_examples=50)
def test_the_same_event_read_twice_is_one_row_and_stays_when_one_of_its_files_is_forgotten(
    rows: list[tuple[int, str | None]], gone: int
) -> None:
    event = Column("event_id", Kind.TERM, "which event")
    events = Table("events", "one event", (FILE_ID, LINE_NO, event), identity="event_id")
    with duckdb.connect() as con:
        con.execute("CREATE SCHEMA store")
        store.create_table(con, events)
        for line, (file, name) in reversed([*enumerate(rows)]):
            con.execute(f"INSERT INTO {events.home} VALUES (?, ?, ?)", [file, line, name])
        con.execute(f"DELETE FROM {events.home} WHERE file_id = ?", [gone])
        seen = con.execute("SELECT file_id, line_no, event_id FROM events").fetchall()
        held = con.execute(f"SELECT count(*) FROM {events.home}").fetchone()
    left = sorted((file, line, name) for line, (file, name) in enumerate(rows) if file != gone)
    first: dict[object, tuple[int, int, str | None]] = {}
    for row in left:
        first.setdefault(row[2] or row, row)
    assert sorted(seen) == sorted(first.values())
    assert held == (len(left),)


def test_a_table_has_the_columns_that_it_names() -> None:
    for table in STORED:
        named_ones = {table.time, table.end, table.identity} - {None}
        named_ones |= {name for a in table.apart for name in (a.column, *a.parts, *a.also)}
        assert named_ones <= set(table.types)
        assert not (table.apart and table.identity)
        assert all(column.meaning for column in table.columns)
    assert all(kind.value[1] for kind in Kind)
