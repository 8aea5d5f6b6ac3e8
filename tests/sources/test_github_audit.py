"""GitHub's audit log, in every form that exports, streams, the API and other systems have it in."""

from __future__ import annotations

import gzip
import json
import re
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest

import ciforensics as ci
from ciforensics.case import ranges
from ciforensics.errors import CiforensicsError
from ciforensics.report import known_repos
from ciforensics.share import pseudonymise

if TYPE_CHECKING:
    from pathlib import Path

    from cases import Build

HASH = "nXSTK9tvIdx6sh1vxSYPR04NU4Vx+6eoK3T/5H5vmhA="
GIT: dict[str, Any] = {
    "@timestamp": 1795489453512, "_document_id": "XIjnoibhGtEgTLjTDNXW_w", "action": "git.clone",
    "actor": "acme-ci[bot]", "actor_id": 5512, "actor_ip": "203.0.113.7", "actor_is_bot": True,
    "business": "acme-inc", "hashed_token": HASH, "org": "acme", "org_id": 90312,
    "programmatic_access_type": "GitHub App server-to-server token", "repo": "acme/Web",
    "repository": "acme/Web", "repository_public": False, "transport_protocol": 1,
    "transport_protocol_name": "http", "user": "", "user_agent": "git/2.39.5",
}  # fmt: skip
API: dict[str, Any] = {
    "@timestamp": 1795489463898, "_document_id": "8zQiuV47mDEK3tyTZV3leQ", "action": "api.request",
    "actor": "acme-ci[bot]", "actor_ip": "203.0.113.7", "business": "acme-inc", "org": "acme",
    "created_at": 1795489463898, "hashed_token": HASH, "operation_type": "access", "public_repo": True,
    "query_string": "?per_page=100", "rate_limit_remaining": 4712, "request_category": "api",
    "request_id": "0006:2A7F1:9C40:1:656A1B06", "request_method": "get",
    "route": "/repos/{owner}/{repo}/actions/runs", "status_code": 200, "token_id": 17,
    "url_path": "/repos/acme/web/actions/runs",
    "user_agent": "gh/2.63.0 actions_orchestration_id/8a1f.build.__default",
}  # fmt: skip
ORG = {"@timestamp": 1795489453000, "action": "org.add_member", "actor": "mara", "org": "acme"}
AT = datetime(2026, 11, 24, 3, 4, 13, 512000)


def lines(*events: Any) -> str:
    return "".join(json.dumps(event) + "\n" for event in events)


def rows(con: Any, columns: str = "*", table: str = "audit_events") -> list[tuple[Any, ...]]:
    found: list[tuple[Any, ...]] = con.sql(f"SELECT {columns} FROM {table} ORDER BY line_no").fetchall()
    return found


def test_what_git_did_and_what_the_api_was_asked_are_rows(case: Build) -> None:
    with case(log=lines(GIT, API)) as con:
        assert rows(con, "* EXCLUDE (source, file_id)") == [
            (
                1, AT, "git.clone", "acme-ci[bot]", "acme/web", False, "http", None, None, None, None,
                None, None, "git/2.39.5", None, HASH, "GitHub App server-to-server token", "203.0.113.7",
                None, "XIjnoibhGtEgTLjTDNXW_w",
            ),
            (
                2, datetime(2026, 11, 24, 3, 4, 23, 898000), "api.request", "acme-ci[bot]", "acme/web",
                True, None, "GET", "/repos/acme/web/actions/runs", "per_page=100",
                "/repos/{owner}/{repo}/actions/runs", 200, 4712,
                "gh/2.63.0 actions_orchestration_id/8a1f.build.__default", "8a1f.build.__default", HASH,
                None, "203.0.113.7", "0006:2A7F1:9C40:1:656A1B06", "8zQiuV47mDEK3tyTZV3leQ",
            ),
        ]  # fmt: skip
        assert con.sql("SELECT redacted FROM files").fetchall() == [(0,)]


@pytest.mark.parametrize(
    "text",
    [
        lines(GIT, API),
        json.dumps([GIT, API]),
        json.dumps([GIT]) + json.dumps([API]),
        json.dumps([GIT]) + "\n" + json.dumps([API]) + "\n",
        json.dumps([[GIT], [API]]),
        json.dumps([GIT, API], indent=2),
        json.dumps(GIT, indent=2) + "\n" + json.dumps(API, indent=2),
        "[\n" + ",\n".join(map(json.dumps, (GIT, API))) + "\n]\n",
        "[\n" + "\n,\n".join(map(json.dumps, (GIT, API))) + "\n]\n",
        lines(*({"integration": "github", "github": event} for event in (GIT, API))),
        lines(*({"rule": {"id": "91"}, "data": {"github": event}} for event in (GIT, API))),
        lines(*({"log": lines(e), "stream": "stdout", "time": "2026-11-24T03:04:14Z"} for e in (GIT, API))),
    ],
    ids=[
        "lines", "an array", "pages, glued", "pages, one a line", "slurped", "printed", "one after the other",
        "an array by lines", "commas on their own lines", "Wazuh", "Wazuh's alerts", "docker's log driver",
    ],
)  # fmt: skip
def test_however_events_are_saved_the_same_rows_come_out(case: Build, text: str) -> None:
    with case(log=text) as con:
        assert rows(con, "action, asked_repo, status") == [
            ("git.clone", "acme/web", None), ("api.request", "acme/web", 200)
        ]  # fmt: skip
        assert con.sql("SELECT source, rows, rejected, skipped FROM files").fetchall() == [
            ("github_audit", 2, 0, 0)
        ]


def test_an_export_and_the_folders_of_a_stream_are_read_and_what_both_have_is_one_row(tmp_path: Path) -> None:
    (tmp_path / "export-acme-1795489999.json.gz").write_bytes(gzip.compress(json.dumps([GIT]).encode()))
    streamed = tmp_path / "2026" / "11" / "24" / "03" / "04" / "6f1c2d3e.json.gz"
    streamed.parent.mkdir(parents=True)
    streamed.write_bytes(gzip.compress(lines(GIT, API, API).encode()))
    ci.ingest([tmp_path], case=tmp_path / "case.duckdb")
    with ci.connect(tmp_path / "case.duckdb") as con:
        assert sorted(rows(con, "action")) == [("api.request",), ("git.clone",)]
        assert con.sql("SELECT sum(rows) FROM files").fetchall() == [(4,)]


def test_an_event_without_an_id_is_one_row_however_often_and_however_it_is_written(case: Build) -> None:
    event = {key: value for key, value in GIT.items() if key != "_document_id"}
    event |= {"actor": "Jos\u00e9", "actor_location": {"country_code": "US", "ip": "203.0.113.7"}}
    turned = {key: event[key] for key in sorted(event, reverse=True)}
    turned["actor_location"] = {"ip": "203.0.113.7", "country_code": "US"}
    others = [{**event, "actor_id": 1}, {**event, "@timestamp": event["@timestamp"] + 1}]
    with case(
        a=lines(event, event, turned, *others),
        b=json.dumps([turned], indent=2, ensure_ascii=False),
        c=json.dumps([turned, event], separators=(",", ":")),
        d=lines(
            {"integration": "github", "github": turned}, {"data": {"github": {**event, "_document_id": ""}}}
        ),
    ) as con:
        assert con.sql("SELECT sum(rows) FROM files").fetchall() == [(10,)]
        events = con.sql("SELECT document_id, ts FROM audit_events").fetchall()
        assert len(events) == 4  # an empty id is not an absent one: another event
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", name) for name, _ in events)


@pytest.mark.parametrize(
    "time", ["1795489453512", "1795489453512.000000", 1795489453512.0, "2026-11-24T03:04:13.512Z"]
)
def test_times_are_read_however_a_copy_has_them(case: Build, time: object) -> None:
    created = {**GIT, "created_at": time, "_document_id": "b"}
    del created["@timestamp"]
    with case(log=lines({**GIT, "@timestamp": time}, created)) as con:
        assert rows(con, "ts") == [(AT,), (AT,)]


@pytest.mark.parametrize(
    ("changed", "repo"),
    [
        ({"repo": "acme/Web"}, "acme/web"),
        ({"repository": "acme/web"}, "acme/web"),
        ({"repo": "", "repository": "acme/web"}, "acme/web"),
        ({"repo": "web", "org": "Acme"}, "acme/web"),
        ({"repo": "web", "org": None}, None),
        ({"url_path": "/repos/acme/web/pulls"}, "acme/web"),
        ({"url_path": "/user"}, None),
    ],
)
def test_a_repository_is_found_wherever_it_is_named(
    case: Build, changed: dict[str, Any], repo: str | None
) -> None:
    bare = {"@timestamp": 1795489453512, "action": "git.fetch", "org": "acme"}
    with case(log=lines({**bare, **changed})) as con:
        assert rows(con, "asked_repo") == [(repo,)]


@pytest.mark.parametrize("actor", [{"actor": ""}, {"actor": None}, {}])
def test_nobody_is_null(case: Build, actor: dict[str, Any]) -> None:
    event = {key: value for key, value in GIT.items() if key != "actor"} | actor
    with case(log=lines(event)) as con:
        assert rows(con, "actor") == [(None,)]


def test_numbers_and_flags_may_be_text_and_nonsense_is_null(case: Build) -> None:
    text = {**API, "status_code": "200", "rate_limit_remaining": "12.000000", "public_repo": "True"}
    wrong = {
        **API,
        "status_code": "ok",
        "rate_limit_remaining": 1e99,
        "public_repo": "?",
        "_document_id": "b",
    }
    git = {**GIT, "repository_public": "false", "transport_protocol": "2"}
    del git["transport_protocol_name"]
    with case(log=lines(text, wrong, git)) as con:
        assert rows(con, "status, rate_limit_remaining, public_repo, transport") == [
            (200, 12, True, None), (None, None, None, None), (None, None, False, "ssh")
        ]  # fmt: skip


def test_other_events_are_skipped_by_kind_and_what_is_no_event_is_rejected(case: Build) -> None:
    other = [ORG, {**ORG, "action": "org.remove_member"}, {**ORG, "action": "<b>"}]
    wrong = [{**GIT, "@timestamp": "soon"}, {"org": "acme"}, {"message": "Not Found", "status": "404"}]
    with case(log=lines(GIT, *other, *wrong) + "{broken\n" + lines(GIT, API)) as con:
        assert con.sql("SELECT reason, records FROM skipped ORDER BY ALL").fetchall() == [
            ("another kind of event: org", 2), ("another kind of event: unknown", 1)
        ]  # fmt: skip
        assert con.sql("SELECT line_no, reason FROM rejected ORDER BY ALL").fetchall() == [
            (5, "no time that can be read"), (6, "no action"), (7, "an error of the API: Not Found"),
            (8, "no JSON object"),
        ]  # fmt: skip


def test_a_log_of_other_events_alone_is_known_too(case: Build) -> None:
    with case(log=lines(ORG, ORG)) as con:
        assert con.sql("SELECT source, skipped FROM files").fetchall() == [("github_audit", 2)]


def test_what_is_no_audit_log_is_told_why(tmp_path: Path) -> None:
    (tmp_path / "log").write_text('{"action": "created", "workflow": {}}\n')
    with pytest.raises(CiforensicsError, match=r"its events have an action such as git\.clone"):
        ci.ingest([tmp_path / "log"], case=tmp_path / "case.duckdb", source="github_audit")


def test_names_are_hidden_in_pseudonyms_and_the_same_token_is_the_same(tmp_path: Path) -> None:
    (tmp_path / "log").write_text(lines(GIT, {**API, "actor": "mara"}, API))
    ci.ingest([tmp_path / "log"], case=tmp_path / "case.duckdb")
    pseudonymise(tmp_path / "case.duckdb", tmp_path / "out.duckdb", key=b"k" * 32)
    with ci.connect(tmp_path / "out.duckdb") as con:
        events = con.sql("FROM audit_events").fetchall()
        assert len(events) == 2
        assert len(set(con.sql("SELECT hashed_token FROM audit_events").fetchall())) == 1
        assert con.sql("SELECT list(action ORDER BY line_no) FROM audit_events").fetchall() == [
            (["git.clone", "api.request"],)
        ]
    for name in ("acme", "mara", "nXSTK9", "XIjno", "203.0.113", "8a1f"):
        assert name not in repr(events)


def test_a_range_of_time_narrows_them_and_what_they_ask_for_is_no_ci_repository(tmp_path: Path) -> None:
    (tmp_path / "log").write_text(lines(GIT, API))
    ci.ingest([tmp_path / "log"], case=tmp_path / "case.duckdb")
    wanted = ranges.choose_range(tmp_path / "case.duckdb", since="2026-11-24T03:04:20", until="")
    assert wanted is not None
    ranges.narrow_case(tmp_path / "case.duckdb", tmp_path / "narrow.duckdb", to=wanted)
    with ci.connect(tmp_path / "narrow.duckdb") as con:
        assert rows(con, "action") == [("api.request",)]
    with pytest.raises(CiforensicsError, match="acme/web"):
        known_repos(tmp_path / "case.duckdb", ["acme/web"])
