from __future__ import annotations

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ciforensics.contract import RECORDS, Head, Parsed, Reader, ReadOptions
from ciforensics.errors import Unreadable
from ciforensics.sources.github_csv import SOURCE, SPELLINGS
from ciforensics.tables import REQUESTS

HEADER = "timestamp,method,url,status,user_agent,content_length"
URL = "https://github.com/acme/ledger.git/info/refs?service=git-upload-pack"
ROW = f"2026-11-24T03:04:13Z,GET,{URL},401,git/2.39.5,158"


def recognise(text: str, **options: Any) -> Reader | None:
    zone = ZoneInfo(options.pop("timezone", "UTC"))
    whole = tuple(line for line in text.replace("\r\n", "\n").split("\n") if line.strip())
    return SOURCE.recognise(Head(text.encode(), whole), ReadOptions(zone, **options))


def split(text: str) -> pl.DataFrame:
    rows = [
        (number, 1, line)
        for number, line in enumerate(text.replace("\r\n", "\n").split("\n"), 1)
        if line.strip()
    ]
    return pl.DataFrame(rows, schema=RECORDS, orient="row")


def parse(text: str, **options: Any) -> Parsed:
    reader = recognise(text, **options)
    assert reader is not None
    records, held = reader.assemble(split(text)[reader.header_lines :], True)
    assert held == 0
    parsed = reader.parse(records)
    n_rows = len(parsed.rows["requests"])
    assert n_rows + len(parsed.rejected) + sum(parsed.skipped.values()) == len(records) + parsed.extra
    return parsed


def rows(text: str, *columns: str, **options: Any) -> list[tuple[Any, ...]]:
    parsed = parse(text, **options)
    assert parsed.rejected.is_empty(), parsed.rejected.rows()
    return parsed.rows["requests"].select(columns).rows()


def test_the_six_columns_become_requests() -> None:
    (row,) = parse(f"{HEADER}\n{ROW}\n").rows["requests"].rows(named=True)
    assert row == {
        "line_no": 2,
        "ts": datetime(2026, 11, 24, 3, 4, 13),
        "ts_kind": "logged",
        "ts_resolution_ms": 1000.0,
        "method": "GET",
        "url": URL,
        "status": 401,
        "user_agent": "git/2.39.5",
        "response_bytes": 158,
    }


def test_every_column_that_is_filled_is_one_of_the_table_and_is_given() -> None:
    header = ",".join(spelled[0] for spelled in SPELLINGS.values())
    filled = parse(f"{header}\n").rows["requests"]
    assert set(filled.columns) == {"line_no", *SOURCE.fills["requests"]}
    assert set(filled.columns) <= set(REQUESTS.types)


@pytest.mark.parametrize(
    "text",
    [
        f"\ufeff{HEADER}\r\n{ROW}\r\n",
        f"sep=;\n{HEADER.replace(',', ';')}\n{ROW.replace(',', ';')}\n",
        f"{HEADER}\n{ROW}\n".replace(",", ";"),
        f"{HEADER}\n{ROW}\n".replace(",", "\t"),
        '"Timestamp","Method","URL","Status","User-Agent","Content Length"\n"'
        + ROW.replace(",", '","')
        + '"\n',
        f"{HEADER},,\n{ROW},,\n",
        f"{HEADER}\n{ROW},,\n",
        f",{HEADER},note\n0,{ROW},x\n",
        f"user_agent,status,url,method,content_length,created_at\ngit/2.39.5,401,{URL},get,158,1795489453\n",
        f"ua,gh.x,http.status_code,http.url,verb,ss,now\ngit/2.39.5,1,401,{URL},GET,158,1.795489453E+12",
        f"@timestamp,verb,uri,code,ua,ss\n1795489453000.000000,get,{URL},401.0,git/2.39.5,158.0\n",
    ],
)
def test_any_spelling_order_and_delimiter_says_the_same(text: str) -> None:
    columns = ("ts", "method", "url", "status", "user_agent", "response_bytes")
    assert rows(text, *columns) == rows(f"{HEADER}\n{ROW}\n", *columns)


def test_an_export_of_ghes_is_put_together_from_its_parts() -> None:
    text = (
        "app,original_user_agent,now,request_id,remote_address,request_method,request_host,path_info,query_string,"
        "content_length,user_agent,status,elapsed,current_user\n"
        "github,git/2.39.5,2026-11-24T03:04:13+00:00,A1:B2,10.0.0.7,get,ghes.example,/acme/x.git/info/refs,"
        "service=git-upload-pack,0,GitHub-Babel/1,401,0.025,nil\n"
        "github,nil,2026-11-24T03:04:13+00:00,nil,nil,post,ghes.example,/api/v3/user,nil,nil,curl/8.1,200,nil,mona\n"
    )
    columns = (
        "url",
        "method",
        "user_agent",
        "client_ip",
        "request_id",
        "actor",
        "duration_ms",
        "response_bytes",
    )
    assert rows(text, *columns) == [
        ("https://ghes.example/acme/x.git/info/refs?service=git-upload-pack", "GET", "git/2.39.5", "10.0.0.7",
         "A1:B2", None, 25.0, 0),
        ("https://ghes.example/api/v3/user", "POST", "curl/8.1", None, None, "mona", None, None),
    ]  # fmt: skip


def test_of_several_forwarded_addresses_the_first_is_the_client() -> None:
    text = (
        f'{HEADER},x_forwarded_for,hasauth\n{ROW},"10.1.2.3, 10.9.9.9",true\n{ROW},,false\n{ROW},::1,maybe\n'
    )
    assert rows(text, "client_ip", "authenticated") == [("10.1.2.3", True), (None, False), ("::1", None)]


def test_a_path_alone_is_kept_as_it_is() -> None:
    text = "ts,http_method,path,status\n1795489453,get,/acme/x/info/refs,401\n"
    assert rows(text, "url", "method", "user_agent") == [("/acme/x/info/refs", "GET", None)]


def test_pips_user_agent_is_read_quoted_or_not() -> None:
    agent = 'pip/23.2.1 {"ci":null,"cpu":"x86_64","distro":{"id":"jammy","name":"Ubuntu"}}'
    quoted = '"' + agent.replace('"', '""') + '"'
    half = f'"{agent}"'
    text = "\n".join([HEADER, *(ROW.replace("git/2.39.5", written) for written in (quoted, agent, half))])
    assert rows(text, "line_no", "user_agent", "response_bytes") == [
        (2, agent, 158),
        (3, agent, 158),
        (4, agent, 158),
    ]


def test_a_quoted_newline_does_not_break_a_request_in_two() -> None:
    text = "\n".join([HEADER, ROW.replace("git/2.39.5", '"git/2.39.5\r\nx, y"'), ROW])
    assert rows(text, "line_no", "user_agent") == [(2, "git/2.39.5\nx, y"), (4, "git/2.39.5")]


def test_what_cannot_be_read_is_rejected_with_its_reason() -> None:
    parsed = parse(
        "\n".join([HEADER, ROW, ROW[:80], ROW.replace("401", "4o1"), ROW.replace("2026-11-24", "today"), ROW])
    )
    assert parsed.rows["requests"]["line_no"].to_list() == [2, 6]
    assert parsed.rejected.select("line_no", "reason").rows() == [
        (3, "3 fields, 6 expected"),
        (4, "no whole number as status"),
        (5, "no readable timestamp"),
    ]
    assert parsed.rejected["text"][1] == ROW.replace("401", "4o1")


def test_a_request_without_url_or_size_is_still_a_request() -> None:
    text = f"{HEADER}\n2026-11-24T03:04:13Z,,,401,-,\n2026-11-24T03:04:13Z,GET,-,499,nil,12 kB\n"
    assert rows(text, "method", "url", "status", "user_agent", "response_bytes") == [
        (None, None, 401, None, None),
        ("GET", None, 499, None, None),
    ]


def test_exports_glued_together_repeat_the_header() -> None:
    parsed = parse(f"{HEADER}\n{ROW}\n\ufeff{HEADER}\n{ROW}\n{HEADER}\n")
    assert parsed.rows["requests"]["line_no"].to_list() == [2, 4]
    assert parsed.skipped == {"header repeated": 2}


def test_a_header_alone_is_an_empty_log() -> None:
    assert rows(f"{HEADER}\n", "url") == []


def test_a_time_without_a_zone_is_in_the_users() -> None:
    text = f"{HEADER}\n{ROW.replace('T03', ' 03').replace('Z', '')}\n"
    assert rows(text, "ts", timezone="Europe/Berlin") == [(datetime(2026, 11, 24, 2, 4, 13),)]


STRANGE = (
    "When,Verb?,Link,Result,user_agent\n2026-11-24T03:04:13Z,GET,https://github.com/a/b,401,git/2.39.5\n"
)
MAPPING = {"ts": "When", "url": "link", "status": "Result"}


def test_a_strange_header_is_read_when_the_user_says_what_is_what() -> None:
    assert rows(STRANGE, "url", "status", mapping=MAPPING) == [("https://github.com/a/b", 401)]


@pytest.mark.parametrize(
    ("text", "options", "said"),
    [
        (
            STRANGE,
            {"forced": True},
            [
                "ts and status and url",
                "When, Verb?, Link",
                "@timestamp",
                "--map ts=NAME --map status=NAME",
                "When or Verb? or Link",
            ],
        ),
        (
            "status,user_agent,Wann\n401,git,x\n",
            {},
            ["ts and url", "Columns found: status, user_agent, Wann", "NAME being e.g. Wann."],
        ),
        (f"{HEADER}\n{ROW}\n", {"mapping": {"ts": "When"}}, ["--map ts=…: there is no column 'When'"]),
        (f"{HEADER}\n{ROW}\n", {"mapping": {"tss": "timestamp"}}, ["a request has no column 'tss'"]),
        ("no csv\n", {"forced": True}, ["no header", "Columns found: none"]),
        ("status,user_agent,\x1b[31m<b>\n", {}, ["\ufffd[31m<b>"]),
    ],
)
def test_a_header_that_is_not_understood_is_answered_with_both_lists(
    text: str, options: dict[str, Any], said: list[str]
) -> None:
    with pytest.raises(Unreadable) as error:
        recognise(text, **options)
    for words in said:
        assert words in str(error.value)
    assert "\x1b" not in str(error.value)


def test_a_mapping_for_another_log_does_not_matter() -> None:
    assert len(rows(f"{HEADER}\n{ROW}\n", "url", mapping={"ci_repo": "repository"})) == 1


@pytest.mark.parametrize(
    "text",
    [
        "",
        "name,price,count\napple,1,2\n",
        "n,pod_ip,repo,workflow,job,run_id,image,credentials,start,end\n0,10.0.0.1,a/b,CI,run,1,stock,bad,1.5,2.5\n",
        "createdAt,status,url\n2026-11-24T03:04:13Z,completed,https://github.com/a/b/actions/runs/1\n",
        "created_at,status,url\n2026-11-24T03:04:13Z,completed,https://github.com/a/b/actions/runs/1\n",
        "time,path,status\n1795489453,/etc/passwd,0\n",
        '{"timestamp":"2026-11-24T03:04:13Z","method":"GET","url":"https://github.com","status":401}\n',
        "1795489453.100 12 10.0.0.1 TCP_TUNNEL/200 4000 CONNECT github.com:443 - HIER_DIRECT/1.2.3.4 -\n",
        ",".join(f"c{number}" for number in range(5000)) + "\n",
        '"timestamp,status,url\n',
    ],
)
def test_other_files_are_not_ours(text: str) -> None:
    assert recognise(text) is None


AGENTS = [
    "git/2.39.5",
    '"pip/23.2.1 {""ci"":null,""cpu"":""x86_64""}"',
    'pip/23.2.1 {"ci":null,"a":1}',
    '"a\nb ""c"""',
]
GOOD = [HEADER, *(ROW.replace("git/2.39.5", AGENTS[n % 4]).replace("158", str(n)) for n in range(12))]
EDITS = st.lists(
    st.tuples(
        st.integers(0, 1500),
        st.sampled_from([*'",;{}()', "\n", "\x00", "\r", "\ufeff", "", "\n" + ROW, '"\n"']),
        st.integers(0, 90),
    ),
    max_size=6,
)


@settings(deadline=None, max_examples=60)
@given(EDITS, st.lists(st.integers(0, 40), max_size=3))
def test_a_damaged_export_loses_nothing_wherever_it_is_cut_into_batches(
    edits: list[tuple[int, str, int]], cuts: list[int]
) -> None:
    reader = recognise("\n".join(GOOD[:2]))
    assert reader is not None
    text = "\n".join(GOOD[1:])
    for at, put, cut in edits:
        text = text[:at] + put + text[at + cut :]
    lines = split(text)
    whole = reader.parse(reader.assemble(lines, True)[0])
    parts, start = [], 0
    for end in [*sorted(min(cut, len(lines)) for cut in cuts), len(lines)]:
        final = end == len(lines)
        records, held = reader.assemble(lines[start:end], final)
        parts.append(reader.parse(records))
        lost = parts[-1]
        assert len(lost.rows["requests"]) + len(lost.rejected) + sum(lost.skipped.values()) == len(records)
        start = end - held
        if final:
            break
    assert pl.concat([part.rows["requests"] for part in parts]).rows() == whole.rows["requests"].rows()
    assert pl.concat([part.rejected for part in parts]).rows() == whole.rejected.rows()


@settings(deadline=None)
@given(st.text(max_size=200), st.sampled_from([True, False]))
def test_no_first_line_is_too_strange(text: str, forced: bool) -> None:
    try:
        reader = recognise(text, forced=forced)
    except Unreadable as error:
        assert error.hint  # noqa: PT017 (either is right)
    else:
        assert reader is None or reader.header_lines in {1, 2}
