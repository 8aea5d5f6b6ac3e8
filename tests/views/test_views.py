"""The questions, each counting rule on a few rows that the test shows."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import polars as pl
import polars.selectors as cs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ciforensics import connect, ingest, keep_repos, views
from ciforensics.case import store
from ciforensics.formats import http
from ciforensics.formats.records import Stream
from ciforensics.tables import REQUESTS

if TYPE_CHECKING:
    from collections.abc import Sequence

DAY = datetime(2026, 11, 24, 3, 0, 0)


def at(seconds: str | float) -> datetime:
    return DAY + timedelta(seconds=float(seconds))


def insert(con: duckdb.DuckDBPyConnection, table: str, rows: Sequence[dict[str, Any]]) -> None:
    frame = pl.DataFrame(rows, infer_schema_length=None)
    # DuckDB 2.0.1 takes no column of polars' type Null, which has no validity bitmap.
    con.register("rows_given", Stream(frame.select(cs.exclude(pl.Null))))
    con.execute(f"INSERT INTO {table} BY NAME FROM rows_given")
    con.unregister("rows_given")


def file(con: duckdb.DuckDBPyConnection, source: str, times: Sequence[datetime], **columns: Any) -> int:
    """Adds a row to table files; gives its id."""
    known: int = con.execute("SELECT coalesce(max(file_id), 0) FROM files").fetchall()[0][0]
    row = {
        "file_id": known + 1,
        "path": f"{known + 1}.log",
        "source": source,
        "format": "csv",
        "in_order": True,
    }
    spans = {"first_ts": min(times), "last_ts": max(times)} if times else {}
    counts = {"records": len(times), "rows": len(times), "rejected": 0, "skipped": 0, "redacted": 0}
    insert(con, "files", [{**row, **counts, **spans, **columns}])
    return known + 1


def url_of(word: str) -> str:
    """`web` is short for what git asks of acme/web first."""
    return (
        f"https://{word}"
        if "/" in word
        else f"https://github.com/acme/{word}.git/info/refs?service=git-upload-pack"
    )


def saw(
    con: duckdb.DuckDBPyConnection,
    log: str,
    *,
    source: str = "github_csv",
    user_agent: str | None = "git/2.39.5",
    same: dict[str, Any] | None = None,
    **columns: Any,
) -> int:
    """Adds a file of requests. A line is: second, method, url, status and, if known, the client's address."""
    lines = [line.split() for line in log.strip().splitlines()]
    file_id = file(con, source, [at(words[0]) for words in lines if words[0] != "-"], **columns)
    parts = http.split_urls(pl.Series(sorted({url_of(words[2]) for words in lines}), dtype=pl.String))
    # Each file brings its own urls, as each ingest does: the same url has several ids.
    insert(con, "store.urls", parts.with_row_index("url_id", offset=file_id * 1000).to_dicts())
    agents = http.split_user_agents(pl.Series([user_agent], dtype=pl.String))
    insert(con, "store.user_agents", agents.with_columns(user_agent_id=pl.lit(file_id)).to_dicts())
    ids = dict(zip(parts["url"], range(file_id * 1000, file_id * 1000 + len(parts)), strict=True))
    rows = [
        {
            "file_id": file_id,
            "line_no": n,
            "ts": None if second == "-" else at(second),
            "ts_kind": "logged",
            "ts_resolution_ms": 1000.0,
            "method": method,
            "url_id": ids[url_of(url)],
            "status": None if status == "-" else int(status),
            "user_agent_id": file_id,
            "client_ip": client[0] if client else None,
            **(same or {}),
        }
        for n, (second, method, url, status, *client) in enumerate(lines, start=2)
    ]
    insert(con, "store.requests", rows)
    return file_id


def tunnelled(
    con: duckdb.DuckDBPyConnection, log: str, *, same: dict[str, Any] | None = None, **columns: Any
) -> int:
    """Adds a file of Squid's. A line is: second, client's address, host, bytes down."""
    lines = [line.split() for line in log.strip().splitlines()]
    file_id = file(con, "squid", [at(words[0]) for words in lines], **columns)
    rows = [
        {
            "source": "squid",
            "file_id": file_id,
            "line_no": n,
            "ts": at(second),
            "ts_kind": "end",
            "ts_resolution_ms": 1000.0,
            "host": host,
            "port": 443,
            "bytes_down": int(down),
            "client_ip": client,
            **(same or {}),
        }
        for n, (second, client, host, down) in enumerate(lines, start=1)
    ]
    insert(con, "tunnels", rows)
    return file_id


def ask(con: duckdb.DuckDBPyConnection, query: str) -> list[Any]:
    """Rows; of a single column, its values."""
    rows = con.sql(query).fetchall()
    return [row[0] for row in rows] if rows and len(rows[0]) == 1 else rows


def outcomes(con: duckdb.DuckDBPyConnection, parameters: str = "") -> list[str]:
    """The outcome of each 401, in the order of the file."""
    return ask(con, f"SELECT outcome FROM unauthorized({parameters}) ORDER BY file_id, line_no")


# the loader


def test_every_question_works_on_an_empty_case(con: duckdb.DuckDBPyConnection) -> None:
    for question in views.questions():
        if question.kind != "MACRO":
            con.sql(question.sql).fetchall()
    assert ask(con, "SELECT DISTINCT answer FROM answerable") == ["no"]


@pytest.mark.parametrize(
    ("repos", "repo", "chosen"),
    [
        ("", "acme/web", True), ("", None, True), (None, None, True), (" , ", None, True),
        ("acme/web", "acme/web", True), ("acme/x, Acme/Web", "acme/web", True),
        ("acme/web", "ACME/web", True),
        ("acme/web", "acme/website", False), ("acme/web", None, False), ("acme/_eb", "acme/web", False),
    ],
)  # fmt: skip
def test_repositories_are_chosen_by_name_in_sql_as_in_python(
    con: duckdb.DuckDBPyConnection, repos: str | None, repo: str | None, *, chosen: bool
) -> None:
    assert con.sql("SELECT is_chosen($1, $2)", params=[repos, repo]).fetchall() == [(chosen,)]
    assert keep_repos(pl.DataFrame({"ci_repo": [repo]}, {"ci_repo": pl.String}), repos or "").height == chosen


@pytest.mark.parametrize("question", views.questions(), ids=lambda question: question.name)
def test_a_file_opens_with_its_question_and_a_counting_rule(question: views.Question) -> None:
    first, rule = question.comment.split("\n")
    assert first.endswith("?")
    assert rule.endswith(".")
    assert f" {question.name}" in question.text.partition("CREATE OR REPLACE")[2].partition("\n")[0]


@pytest.mark.parametrize(
    ("rule", "macros"),
    [
        ("'git-receive-pack'", {"is_git"}),
        ("1970-01-01", {"unix_seconds", "unix_micros"}),
        ("CAST(p_bucket AS INTERVAL)", {"interval_micros"}),
    ],
)
def test_what_several_questions_need_stands_in_one_macro(rule: str, macros: set[str]) -> None:
    assert {question.name for question in views.questions() if rule in question.text} == macros


def test_views_and_macros_carry_their_question_as_a_comment(con: duckdb.DuckDBPyConnection) -> None:
    views.install(con)
    for catalogue in ("duckdb_views() WHERE view_name", "duckdb_functions() WHERE function_name"):
        (comment,) = ask(con, f"SELECT comment FROM {catalogue} = 'unauthorized'")
        assert comment.startswith("What became of each 401?")


def test_a_case_that_is_attached_under_any_name_answers(tmp_path: Any) -> None:
    with duckdb.connect(tmp_path / "case.duckdb") as con:
        store.create(con)
        saw(con, "1 GET web 401")
    with duckdb.connect() as con:
        con.execute(f"ATTACH '{tmp_path / 'case.duckdb'}' AS mine (READ_ONLY); USE mine")
        assert outcomes(con) == ["unknown"]


def test_requests_have_the_columns_of_the_data_dictionary(con: duckdb.DuckDBPyConnection) -> None:
    saw(con, "1 GET web 401")
    assert ask(con, "SELECT column_name FROM (DESCRIBE requests)") == list(REQUESTS.types)
    assert ask(con, "SELECT column_type FROM (DESCRIBE requests)") == list(REQUESTS.types.values())
    row = con.execute(
        "SELECT source, host, asked_repo, service, client, client_version FROM requests"
    ).fetchone()
    assert row == ("github_csv", "github.com", "acme/web", "git-upload-pack", "git", "2.39.5")


def test_a_request_without_url_and_user_agent_stays(con: duckdb.DuckDBPyConnection) -> None:
    file_id = file(con, "squid", [at(1)])
    insert(con, "store.requests", [{"file_id": file_id, "line_no": 1, "ts": at(1), "status": 200}])
    assert ask(con, "SELECT url IS NULL AND user_agent IS NULL FROM observed_requests") == [True]


# what became of a 401


def test_a_401_that_the_client_gets_past_is_a_challenge_and_says_by_which_answer(
    con: duckdb.DuckDBPyConnection,
) -> None:
    saw(con, "1 GET web 401 \n 2 GET web 200")
    query = "SELECT outcome, paid_ts, paid_by_file_id, paid_by_line_no FROM unauthorized"
    assert ask(con, query) == [("challenge", at(2), 1, 3)]


def test_a_401_without_an_answer_behind_it_is_refused(con: duckdb.DuckDBPyConnection) -> None:
    saw(con, "1 GET web 200 \n 1 GET web 401 \n 1 GET web 401")
    assert outcomes(con) == ["refused", "refused"]
    assert ask(con, "SELECT DISTINCT paid_ts FROM unauthorized") == [None]


@pytest.mark.parametrize("other", ["POST web 200", "GET api 200"])
def test_only_an_answer_to_the_same_method_and_url_pays(con: duckdb.DuckDBPyConnection, other: str) -> None:
    saw(con, f"1 GET web 401 \n 1 {other}")
    assert outcomes(con) == ["refused"]


def test_only_the_same_user_agent_pays(con: duckdb.DuckDBPyConnection) -> None:
    saw(con, "1 GET web 401 \n 9 GET other 200")
    saw(con, "1 GET web 200", user_agent="git/2.47.3 proactive")
    assert outcomes(con) == ["refused"]


def test_only_the_same_client_pays_where_the_address_is_known(con: duckdb.DuckDBPyConnection) -> None:
    log = """
        1 GET web 401 10.0.0.1
        1 GET web 401 10.0.0.2
        1 GET web 200 10.0.0.1
        1 GET web 200 10.0.0.1
    """
    saw(con, log, source="mitmproxy")
    assert outcomes(con) == ["challenge", "refused"]


def test_an_answer_after_the_window_does_not_pay(con: duckdb.DuckDBPyConnection) -> None:
    saw(con, "1 GET web 401 \n 3.001 GET web 200")
    assert outcomes(con) == ["refused"]
    assert outcomes(con, "p_answer_within_s := 2.001") == ["challenge"]
    assert outcomes(con, "p_answer_within_s := 5") == ["challenge"]


def test_one_answer_pays_for_one_401_the_nearest_before_it(con: duckdb.DuckDBPyConnection) -> None:
    saw(con, "1 GET web 401 \n 1.5 GET web 401 \n 2 GET web 200")
    assert outcomes(con) == ["refused", "challenge"]


def test_a_401_passed_over_can_be_paid_by_a_later_answer(con: duckdb.DuckDBPyConnection) -> None:
    saw(con, "1 GET web 401 \n 1 GET web 401 \n 2 GET web 200 \n 3 GET web 200 \n 3 GET web 200")
    assert ask(con, "SELECT paid_by_line_no FROM unauthorized ORDER BY line_no") == [5, 4]


def test_an_answer_that_nothing_waits_for_is_not_kept_for_later(con: duckdb.DuckDBPyConnection) -> None:
    saw(con, "1 GET web 200 \n 1 GET web 200 \n 1 GET web 401 \n 1 GET web 200 \n 1 GET web 401")
    assert outcomes(con) == ["challenge", "refused"]


def test_an_answer_too_late_for_one_401_pays_for_none(
    con: duckdb.DuckDBPyConnection,
) -> None:
    saw(con, "1 GET web 401 \n 9 GET web 200 \n 10 GET web 401 \n 10 GET web 404")
    assert outcomes(con) == ["refused", "challenge"]


def test_a_row_without_a_status_is_no_answer(con: duckdb.DuckDBPyConnection) -> None:
    saw(con, "1 GET web 401 \n 1 GET web -\n 9 GET web 200")
    assert outcomes(con) == ["refused"]


def test_within_one_second_file_order_counts_if_the_file_is_in_order(con: duckdb.DuckDBPyConnection) -> None:
    saw(con, "1 GET web 200 \n 1 GET web 401")
    assert outcomes(con) == ["refused"]


def test_within_one_second_401s_come_first_if_the_file_is_not_in_order(
    con: duckdb.DuckDBPyConnection,
) -> None:
    saw(con, "1 GET web 200 \n 1 GET web 401 \n 0 GET web 404", in_order=False)
    assert outcomes(con) == ["challenge"]


def test_a_pair_can_lie_in_two_files_of_a_rotated_log(con: duckdb.DuckDBPyConnection) -> None:
    saw(con, "0 GET other 200 \n 1 GET web 401", source="mitmproxy")
    saw(con, "2 GET web 200", source="mitmproxy")
    assert ask(con, "SELECT outcome, paid_by_file_id FROM unauthorized") == [("challenge", 2)]


@pytest.mark.parametrize("url", ["api.github.com/user", "ghes.example.org/api/v3/user"])
def test_a_401_of_an_api_is_bad_credentials_whatever_follows(
    con: duckdb.DuckDBPyConnection, url: str
) -> None:
    saw(con, f"1 GET {url} 401 \n 1 GET {url} 200")
    assert outcomes(con) == ["bad_credentials"]


def test_in_a_file_of_nothing_but_401s_nobody_knows(con: duckdb.DuckDBPyConnection) -> None:
    saw(con, "1 GET web 401 \n 2 GET web 401 \n 3 GET web - \n 4 GET api.github.com/user 401")
    assert outcomes(con) == ["unknown", "unknown", "bad_credentials"]


def test_a_401_without_a_time_is_unknown(con: duckdb.DuckDBPyConnection) -> None:
    saw(con, "- GET web 401 \n 1 GET web 200")
    assert outcomes(con) == ["unknown"]


def test_requests_without_url_user_agent_and_method_are_alike(con: duckdb.DuckDBPyConnection) -> None:
    file_id = file(con, "squid", [at(1), at(2)])
    rows = [
        {"file_id": file_id, "line_no": n, "ts": at(n), "status": status}
        for n, status in ((1, 401), (2, 200))
    ]
    insert(con, "store.requests", rows)
    assert outcomes(con) == ["challenge"]


def test_a_line_that_holds_several_records_is_paired_like_any_other(con: duckdb.DuckDBPyConnection) -> None:
    saw(
        con,
        "1 GET web 200 \n 1 GET web 401 \n 1 GET web 200 \n 1 GET web 401 \n 9 GET web 200",
        source="mitmproxy",
    )
    con.execute("UPDATE store.requests SET line_no = 1")
    assert outcomes(con) == ["challenge", "challenge"]


def test_reversed_the_same_rule_pairs_with_answers_before(con: duckdb.DuckDBPyConnection) -> None:
    saw(con, "1 GET web 200 \n 2 GET web 401 \n 9 GET web 401 \n 9 GET web 200")
    assert outcomes(con) == ["refused", "challenge"]
    assert outcomes(con, "p_reversed := true") == ["challenge", "refused"]
    assert ask(con, "FROM chance_of_challenge") == [(1, 1, 1.0)]


def test_with_no_pair_at_all_there_is_no_share_of_chance(con: duckdb.DuckDBPyConnection) -> None:
    saw(con, "1 GET web 401 \n 9 GET web 200")
    assert ask(con, "FROM chance_of_challenge") == [(0, 0, None)]


def paired_by_hand(events: Sequence[tuple[int, int]], window: int) -> dict[int, int]:
    """In words: each answer pays for the nearest unpaid 401 before it, if near enough."""
    unpaid: list[int] = []
    paid = {}
    for n, (second, status) in enumerate(events):
        if status == 401:
            unpaid.append(n)
        elif unpaid and second - events[unpaid[-1]][0] <= window:
            paid[unpaid.pop()] = n
    return paid


EVENTS = st.lists(
    st.tuples(st.integers(0, 3), st.sampled_from([401, 401, 200, 404])), min_size=1, max_size=40
)


@settings(max_examples=50, deadline=None)
@given(EVENTS)
def test_pairs_are_those_that_a_loop_over_the_rows_makes(
    empty: duckdb.DuckDBPyConnection, gaps: list[tuple[int, int]]
) -> None:
    second, events = 0, [(0, 200)]
    for gap, status in gaps:
        second += gap
        events.append((second, status))
    empty.execute("BEGIN")
    try:
        saw(empty, "\n".join(f"{second} GET web {status}" for second, status in events))
        query = "SELECT line_no - 2, paid_by_line_no - 2 FROM unauthorized WHERE outcome = 'challenge'"
        assert dict(ask(empty, query)) == paired_by_hand(events, 2)
    finally:
        empty.execute("ROLLBACK")


# each request once


def test_one_observer_is_counted_githubs_own_log_before_mitmproxy_before_squid(
    con: duckdb.DuckDBPyConnection,
) -> None:
    saw(con, "1 GET web 401", source="squid")
    assert ask(con, "SELECT DISTINCT source FROM observed_requests") == ["squid"]
    saw(con, "1 GET web 401", source="mitmproxy")
    assert ask(con, "SELECT DISTINCT source FROM observed_requests") == ["mitmproxy"]
    saw(con, "1 GET web 401")
    assert ask(con, "SELECT DISTINCT source FROM observed_requests") == ["github_csv"]
    assert ask(con, "SELECT source FROM observed_requests(p_observer := 'squid')") == ["squid"]
    assert ask(con, "SELECT count(*) FROM observed_requests(p_observer := 'nobody')") == [0]


def test_logs_of_different_nodes_are_added_up_although_their_rows_are_alike(
    con: duckdb.DuckDBPyConnection,
) -> None:
    for _ in range(2):
        saw(con, "1 GET web 401 10.0.0.1 \n 2 GET web 200 10.0.0.1", source="mitmproxy", format="jsonl")
    assert ask(con, "FROM twins_found") == []
    assert ask(con, "SELECT count(*) FROM observed_requests") == [4]


def test_a_repeat_within_one_export_is_real(con: duckdb.DuckDBPyConnection) -> None:
    saw(con, "1 GET web 401 \n 1 GET web 401 \n 1 GET web 401")
    assert ask(con, "SELECT count(*) FROM observed_requests") == [3]


def test_of_two_overlapping_exports_identical_rows_count_as_often_as_one_of_them_has_them(
    con: duckdb.DuckDBPyConnection,
) -> None:
    saw(con, "1 GET web 401 \n 5 GET web 401 \n 5 GET web 401 \n 6 GET one 200")
    saw(con, "5 GET web 401 \n 5 GET web 401 \n 5 GET web 401 \n 6 GET two 200 \n 9 GET web 401")
    rows = ask(con, "SELECT asked_repo, ts, count(*) FROM observed_requests GROUP BY ALL ORDER BY ALL")
    once = [("acme/one", at(6), 1), ("acme/two", at(6), 1)]
    assert rows == [*once, ("acme/web", at(1), 1), ("acme/web", at(5), 3), ("acme/web", at(9), 1)]
    overlaps = (
        "SELECT file_id, other_file_id, from_ts, to_ts, rows, other_rows, same_rows FROM export_overlaps"
    )
    assert ask(con, overlaps) == [(1, 2, at(5), at(6), 3, 4, 2)]


def test_three_exports_of_the_same_hour_count_as_one(con: duckdb.DuckDBPyConnection) -> None:
    for _ in range(3):
        saw(con, "1 GET web 401 \n 1 GET web 401 \n 2 GET web 200")
    assert ask(con, "SELECT count(*), count(*) FILTER (WHERE status = 401) FROM observed_requests") == [
        (3, 2)
    ]
    assert ask(con, "SELECT DISTINCT file_id FROM observed_requests") == [1]


def test_rows_that_differ_in_any_column_are_not_merged(con: duckdb.DuckDBPyConnection) -> None:
    saw(con, "1 GET web 401", same={"response_bytes": 1})
    saw(con, "1 GET web 401", same={"response_bytes": 2})
    assert ask(con, "SELECT count(*) FROM observed_requests") == [2]


def test_an_export_of_401s_beside_a_full_one_leaves_the_outcome_known(con: duckdb.DuckDBPyConnection) -> None:
    saw(con, "0 GET web 401 \n 1 GET web 401")
    saw(con, "1 GET web 401 \n 1 GET web 200 \n 2 GET web 401")
    assert ask(con, "SELECT file_id, outcome FROM unauthorized ORDER BY ts") == [
        (1, "unknown"),
        (2, "challenge"),
        (2, "refused"),
    ]


POOR = """
    1 GET web 401
    2 GET web 200
    2 GET api 200
    9 GET web 200
"""


def test_one_proxys_traffic_in_two_formats_is_counted_once(con: duckdb.DuckDBPyConnection) -> None:
    saw(con, POOR, source="mitmproxy", format="jsonl")
    saw(con, POOR, source="mitmproxy", format="mitm", same={"authenticated": True})
    assert ask(con, "FROM twins_found") == [(1, 2, 1, 4, 1.0)]
    con.execute("INSERT INTO store.twins FROM twins_found")
    assert ask(con, "SELECT DISTINCT file_id FROM observed_requests") == [2]
    assert ask(con, "SELECT path, twin_path, left_out_file_id FROM twins") == [("1.log", "2.log", 1)]


def test_of_equal_twins_the_one_with_coarser_times_is_left_out_else_the_later(
    con: duckdb.DuckDBPyConnection,
) -> None:
    saw(con, POOR, source="mitmproxy", format="jsonl")
    saw(con, POOR, source="mitmproxy", format="har", same={"ts_resolution_ms": 1.0})
    saw(con, POOR, source="mitmproxy", format="mitm", same={"ts_resolution_ms": 1.0})
    query = "SELECT file_id, twin_file_id, left_out_file_id FROM twins_found ORDER BY ALL"
    assert ask(con, query) == [(1, 2, 1), (1, 3, 1), (2, 3, 3)]


def test_twins_may_differ_by_two_seconds_and_not_by_more(con: duckdb.DuckDBPyConnection) -> None:
    saw(con, "1 GET web 401 \n 9 GET web 200", source="mitmproxy", format="jsonl")
    saw(con, "3 GET web 401 \n 7 GET web 200", source="mitmproxy", format="har")
    assert ask(con, "SELECT pairs, share FROM twins_found") == [(2, 1.0)]
    con.execute("UPDATE store.requests SET ts = ts + INTERVAL 1 MILLISECOND WHERE file_id = 2")
    assert ask(con, "FROM twins_found") == []


def test_a_start_and_an_end_of_the_same_long_request_are_alike(con: duckdb.DuckDBPyConnection) -> None:
    saw(con, "61 GET web 200", source="mitmproxy", format="jsonl", same={"ts_kind": "end"})
    start = {"ts_kind": "start", "duration_ms": 60e3}
    saw(con, "1 GET web 200", source="mitmproxy", format="mitm", same=start, last_ts=at(61))
    assert ask(con, "SELECT share FROM twins_found") == [1.0]


def test_lines_lost_here_and_there_do_not_part_twins(con: duckdb.DuckDBPyConnection) -> None:
    log = [f"{10 * n} GET web 200" for n in range(100)]
    saw(con, "\n".join(log[:40] + log[41:]), source="mitmproxy", format="jsonl")
    saw(con, "\n".join(log[1:]), source="mitmproxy", format="har")
    assert ask(con, "SELECT pairs, round(share, 2) FROM twins_found") == [(98, 0.99)]


def test_the_same_urls_at_other_times_make_no_twins(con: duckdb.DuckDBPyConnection) -> None:
    saw(con, "\n".join(f"{10 * n} GET web 200" for n in range(100)), source="mitmproxy", format="jsonl")
    saw(con, "\n".join(f"{10 * n + 5} GET web 200" for n in range(100)), source="mitmproxy", format="har")
    assert ask(con, "FROM twins_found") == []


def test_two_nodes_that_do_the_same_at_once_are_told_apart_by_their_clients(
    con: duckdb.DuckDBPyConnection,
) -> None:
    saw(con, "1 GET web 401 10.0.0.1 \n 1 GET web 200 10.0.0.1", source="mitmproxy", format="jsonl")
    saw(con, "1 GET web 401 10.0.0.2 \n 1 GET web 200 10.0.0.2", source="mitmproxy", format="har")
    assert ask(con, "FROM twins_found") == []


def test_exports_and_files_of_different_sources_are_no_twins(con: duckdb.DuckDBPyConnection) -> None:
    saw(con, POOR, format="csv")
    saw(con, POOR, format="tsv")
    saw(con, POOR, source="mitmproxy", format="jsonl")
    saw(con, POOR, source="squid", format="squid")
    assert ask(con, "FROM twins_found") == []


def test_what_only_the_poorer_twin_saw_still_counts(con: duckdb.DuckDBPyConnection) -> None:
    saw(con, "\n".join(f"{10 * n} GET web 200" for n in range(12)), source="mitmproxy", format="jsonl")
    late = "\n".join(f"{10 * n} GET web 200" for n in range(4, 10))
    saw(con, late, source="mitmproxy", format="har", same={"authenticated": True})
    con.execute("INSERT INTO store.twins FROM twins_found")
    assert ask(con, "SELECT left_out_file_id, pairs FROM store.twins") == [(1, 6)]
    assert ask(con, "SELECT count(DISTINCT ts), count(*) FROM observed_requests") == [(12, 12)]


TUNNELS = "1 10.0.0.1 github.com 100 \n 1 10.0.0.2 github.com 100 \n 5 10.0.0.1 proxy.golang.org 7"


def test_tunnels_in_two_formats_are_counted_once(con: duckdb.DuckDBPyConnection) -> None:
    tunnelled(con, TUNNELS, format="json", same={"pod": "runner-1", "bytes_up": 1})
    tunnelled(con, TUNNELS, format="squid", same={"duration_ms": 3.0})
    tunnelled(con, TUNNELS.replace("10.0.0.", "10.0.1."), format="common")
    con.execute("INSERT INTO store.twins FROM twins_found")
    assert ask(con, "SELECT file_id, twin_file_id, left_out_file_id FROM twins_found") == [(1, 2, 2)]
    assert ask(con, "SELECT file_id, count(*) FROM observed_tunnels GROUP BY ALL ORDER BY ALL") == [
        (1, 3),
        (3, 3),
    ]


def test_of_large_twins_a_sample_is_compared(con: duckdb.DuckDBPyConnection) -> None:
    for format_, shift in (("json", 0), ("squid", 1)):
        file_id = tunnelled(con, TUNNELS, format=format_, rows=60_000, last_ts=at(60_000))
        con.execute(
            f"""
            INSERT INTO tunnels BY NAME SELECT 'squid' AS source, {file_id} AS file_id, n AS line_no,
                {shift} * INTERVAL 1 SECOND + TIMESTAMP '2026-11-24 03:00:00' + n * INTERVAL 1 SECOND AS ts,
                'end' AS ts_kind, 1000.0 AS ts_resolution_ms, 'h' AS host, 443 AS port, n % 500 AS bytes_down,
                '10.0.0.1' AS client_ip
            FROM range(60000) AS t(n)
            """
        )
    ((pairs, share),) = ask(con, "SELECT pairs, share FROM twins_found")
    assert 1_000 < pairs < 20_000
    assert share > 0.98


# the 401s from all sides


def test_401s_by_host_repository_and_client(con: duckdb.DuckDBPyConnection) -> None:
    saw(con, "1 GET web 401 \n 1 GET web 200 \n 2 GET web 401 \n 2 GET API.github.com/user 401")
    saw(con, "3 GET shop 401 \n 9 GET shop 200", user_agent="git/2.39.5 proactive")
    counts = "requests, challenges, refused, bad_credentials, unknown, share"
    hosts = ask(con, f"SELECT host, {counts} FROM unauthorized_by_host")
    assert hosts == [("github.com", 3, 1, 2, 0, 0, 0.75), ("api.github.com", 1, 0, 0, 1, 0, 0.25)]
    repos = ask(con, "SELECT asked_repo, requests FROM unauthorized_by_asked_repo")
    assert repos == [("acme/web", 2), ("acme/shop", 1), (None, 1)]
    clients = ask(con, "SELECT client, client_version, client_tag, requests FROM unauthorized_by_client")
    assert clients == [("git", "2.39.5", None, 3), ("git", "2.39.5", "proactive", 1)]


def test_401s_over_time_in_buckets_of_the_span_or_as_wide_as_asked(con: duckdb.DuckDBPyConnection) -> None:
    saw(con, "1 GET web 401 \n 1 GET web 200 \n 2 GET web 401 \n 130 GET web 401 \n 140 GET web 200")
    assert ask(con, "FROM unauthorized_over_time") == [
        (at(0), at(5), "challenge", 1),
        (at(0), at(5), "refused", 1),
        (at(130), at(135), "refused", 1),
    ]
    wide = ask(
        con, "SELECT bucket, outcome, requests FROM unauthorized_over_time(p_bucket := INTERVAL 1 HOUR)"
    )
    assert wide == [(at(0), "challenge", 1), (at(0), "refused", 2)]


@pytest.mark.parametrize(
    ("seconds", "width"), [(120, 1), (121, 5), (7_200, 60), (86_400, 900), (4e7, 604_800)]
)
def test_bars_are_as_narrow_as_120_of_them_allow(
    con: duckdb.DuckDBPyConnection, seconds: float, width: int
) -> None:
    saw(con, f"0 GET web 401 \n {seconds} GET web 200")
    assert ask(con, "SELECT bucket_us // 1000000 FROM span_buckets WHERE source IS NULL") == [width]


# how far the migration is


@pytest.mark.parametrize(
    ("user_agent", "class_"),
    [
        ("git/2.39.5", "stock"),
        ("git/2.47.1.windows.1", "stock"),
        ("git/2.39.5 (Apple Git-154)", "stock"),
        ("git/2.51 (github-actions-checkout)", "checkout"),
        ("git/2.39.5 proactive", "tagged, too old"),
        ("git/2.46.0.rc0 proactive", "tagged, too old"),
        ("git/1.99 proactive", "tagged, too old"),
        ("git/2.46.0-rc1 proactive", "golden"),
        ("git/v2.53.0 proactive", "golden"),
        ("git/2.47.1.windows.1 Proactive", "golden"),
        ("git/3.0 proactive", "golden"),
        ("git/2.47.3 reproactive", "stock"),
        ("git/next proactive", "tagged, version unknown"),
        ("git/2.0 (libgit2 0.28.0)", "other clients"),
        ("JGit/6.7 proactive", "other clients"),
        (None, "other clients"),
    ],
)
def test_git_clients_are_classed_by_version_and_not_by_the_tag_alone(
    con: duckdb.DuckDBPyConnection, user_agent: str | None, class_: str
) -> None:
    saw(con, "1 GET web 200", user_agent=user_agent)
    assert ask(con, "SELECT class FROM git_clients") == [class_]


def test_the_share_of_401s_shows_whether_the_cure_works(con: duckdb.DuckDBPyConnection) -> None:
    saw(con, "1 GET web 401 \n 1 GET web 200 \n 100 GET web 200")
    saw(
        con,
        "1 GET web 200 \n 1 POST github.com/acme/web.git/git-upload-pack 200",
        user_agent="git/2.47.3 proactive",
    )
    saw(con, "1 GET web 401 \n 1 GET web 401", user_agent="git/2.39.5 proactive")
    saw(con, "1 GET proxy.golang.org/web/list 200", user_agent="curl/8")
    query = "SELECT class, requests, unauthorized, unauthorized_share FROM git_clients"
    assert ask(con, query) == [
        ("stock", 3, 1, 1 / 3),
        ("golden", 2, 0, 0.0),
        ("tagged, too old", 2, 2, 1.0),
    ]
    assert ask(
        con, "SELECT bucket, class, requests, unauthorized FROM migration(p_bucket := INTERVAL 1 MINUTE)"
    ) == [
        (at(0), "golden", 2, 0),
        (at(0), "stock", 2, 1),
        (at(0), "tagged, too old", 2, 2),
        (at(60), "stock", 1, 0),
    ]


# what is in a case


def test_the_overview_adds_up_each_source(con: duckdb.DuckDBPyConnection) -> None:
    file(con, "github_csv", [at(5), at(9)], records=7, rejected=4, skipped=1, redacted=3)
    file(con, "github_csv", [at(1)])
    file(con, "squid", [])
    assert ask(con, "FROM case_overview") == [
        ("github_csv", 2, 8, 3, 4, 1, 3, at(1), at(9)),
        ("squid", 1, 0, 0, 0, 0, 0, None, None),
    ]


def test_what_was_not_read_is_counted_by_reason(con: duckdb.DuckDBPyConnection) -> None:
    reasons = ["no JSON", "no JSON", "no time"]
    rejected = [
        {"source": "squid", "file_id": n % 2, "line_no": n, "reason": reason}
        for n, reason in enumerate(reasons)
    ]
    insert(con, "rejected", rejected)
    insert(con, "skipped", [{"source": "squid", "file_id": 1, "reason": "a probe", "records": 9}])
    assert ask(con, "FROM rejected_by_reason") == [
        ("rejected", "squid", "no JSON", 2, 2),
        ("rejected", "squid", "no time", 1, 1),
        ("skipped", "squid", "a probe", 9, 1),
    ]


def test_coverage_counts_the_rows_of_all_tables_by_time(con: duckdb.DuckDBPyConnection) -> None:
    saw(con, "0 GET web 401 \n 1 GET web 200 \n - GET web 200")
    tunnelled(con, "0 10.0.0.1 h 1 \n 300 10.0.0.1 h 1")
    insert(con, "jobs", [{"source": "jobs", "file_id": 9, "line_no": 1, "started_at": at(7)}])
    assert ask(con, "FROM coverage") == [
        ("github_csv", at(0), at(5), 2),
        ("jobs", at(5), at(10), 1),
        ("squid", at(0), at(5), 1),
        ("squid", at(300), at(305), 1),
    ]


def test_a_silence_much_longer_than_usual_is_a_gap(con: duckdb.DuckDBPyConnection) -> None:
    busy = [*range(0, 300, 2), *range(900, 1200, 2)]
    saw(con, "\n".join(f"{second} GET web 200" for second in busy))
    tunnelled(con, "\n".join(f"{second} 10.0.0.1 h 1" for second in range(0, 9000, 300)))
    assert ask(con, "SELECT * EXCLUDE (expected) FROM gaps") == [("github_csv", at(298), at(900), 602, 2)]


def test_a_silence_while_the_others_are_busy_is_a_gap_even_of_a_source_that_is_often_silent(
    con: duckdb.DuckDBPyConnection,
) -> None:
    saw(con, "\n".join(f"{second} GET web 200" for second in range(0, 9000, 5)))
    often_silent = [second for second in range(0, 9000, 60) if not 3000 < second < 7000]
    tunnelled(con, "\n".join(f"{second} 10.0.0.1 h 1" for second in often_silent))
    assert ask(con, "SELECT source, silence_s, expected >= 30 FROM gaps") == [("squid", 4020, True)]


def test_what_a_case_can_answer_depends_on_what_is_in_it(con: duckdb.DuckDBPyConnection) -> None:
    of_401s = "notebook IN ('unauthorized', 'links', 'attribution', 'migration')"
    query = f"SELECT answer FROM answerable WHERE {of_401s}"
    saw(con, "1 GET web 401")
    assert ask(con, query) == ["yes", "no", "no", "no", "no"]  # golden images do not show among 401s alone
    file_id = file(con, "docker_wrapper", [at(1)])
    build = {"source": "docker_wrapper", "file_id": file_id, "line_no": 1, "ts": at(1), "command": "build"}
    insert(con, "invocations", [build])
    saw(con, "1 GET web 401 \n 2 GET web 200")
    assert ask(con, query) == ["yes", "partly", "partly", "partly", "partly"]
    missing = con.sql(
        f"SELECT question, missing FROM answerable WHERE answer <> 'yes' AND {of_401s}"
    ).fetchall()
    assert missing[0] == (
        "Which 401s are challenges, and which are refused?",
        "github_csv with all statuses, or mitmproxy",
    )


def test_where_another_observer_saw_all_answers_it_is_named_instead_of_a_missing_log(
    con: duckdb.DuckDBPyConnection,
) -> None:
    saw(con, "1 GET web 401")
    saw(con, "1 GET web 401 \n 2 GET web 200", source="mitmproxy")
    missing = {
        row[0] for row in con.sql("SELECT missing FROM answerable WHERE notebook = 'migration'").fetchall()
    }
    assert missing == {"nothing: give the parameter observer=mitmproxy"}


def test_only_a_rule_counts_from_1970() -> None:
    assert [each.name for each in views.questions() if each.room != "rules" and "epoch" in each.text] == []


def test_the_summaries_are_one_row_each_or_say_that_nothing_can_be_told(
    con: duckdb.DuckDBPyConnection,
) -> None:
    assert ask(con, "FROM unauthorized_summary") == []
    assert ask(con, "SELECT golden FROM migration_summary") == [None]
    saw(con, "1 GET web 401 \n 2 GET web 200 \n 9 GET api.github.com/user 401")
    saw(con, "3 GET web 200 \n 4 GET web 200", user_agent="git/2.47.3 proactive")
    columns = "requests, unauthorized, challenges, refused, bad_credentials, unknown"
    assert ask(con, f"SELECT {columns} FROM unauthorized_summary") == [(5, 2, 1, 0, 1, 0)]
    columns = "golden, golden_share, stock_share, too_old"
    assert ask(con, f"SELECT {columns} FROM migration_summary") == [(0.5, 0, 0.5, 0)]


def test_among_401s_alone_no_migration_can_be_seen(con: duckdb.DuckDBPyConnection) -> None:
    saw(con, "1 GET web 401 \n 2 GET web 401")
    assert ask(con, "SELECT golden FROM migration_summary") == [None]


def test_a_proxy_that_knows_no_status_answers_nothing_about_401s(tmp_path: Path) -> None:
    samples = Path(__file__).parents[2] / "data" / "samples"
    ingest([samples / "squid-connect.jsonl"], case=tmp_path / "case.duckdb")
    with connect(tmp_path / "case.duckdb") as con:
        rows = con.sql("SELECT answer, missing FROM answerable WHERE notebook = 'attribution'").fetchall()
    assert rows == [("no", "github_csv or mitmproxy")]
