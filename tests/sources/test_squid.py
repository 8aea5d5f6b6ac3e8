"""Squid's access log: its built-in formats, the notes' `connect_bytes`, other JSON logformats."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ciforensics import tables
from ciforensics.contract import RECORDS, Head, Parsed, Reader, ReadOptions
from ciforensics.errors import Unreadable
from ciforensics.sources.squid import SOURCE

NATIVE = """\
1795489504.779      0 127.0.0.1 NONE_NONE/000 0 - error:transaction-end-before-headers - HIER_NONE/- -
1795489505.137     18 127.0.0.1 TCP_TUNNEL/200 7816 CONNECT LocalHost:19443 - HIER_DIRECT/127.0.0.1 -
1795489505.519      2 127.0.0.1 TCP_MISS/503 3460 GET http://localhost:9/%20x? ann HIER_DIRECT/::1 text/html
1795489506.015      0 127.0.0.1 NONE_NONE/400 3380 GARBAGE error:invalid-request - HIER_NONE/- text/html
1795489506.017      0 127.0.0.1 NONE_NONE/503 0 CONNECT [::1]:19443 - HIER_DIRECT/::1 -
"""

COMBINED = """\
127.0.0.1 - - [24/Nov/2026:03:05:04 +0000] "- error:transaction-end-before-headers NONE/0.0" 0 0 "-" "-" NONE_NONE:HIER_NONE
127.0.0.1 - - [24/Nov/2026:03:05:05 +0000] "CONNECT localhost:19443 HTTP/1.1" 200 7816 "-" "git/2.39.5 "q" \\ x" TCP_TUNNEL:HIER_DIRECT
127.0.0.1 - ann [24/Nov/2026:04:05:05 +0100] "GET http://localhost:19999/a? HTTP/1.1" 503 3460 "-" "pip/23.2.1 {"ci":true,"cpu":"x86_64"}" TCP_MISS:HIER_DIRECT
"""  # noqa: E501 (as Squid writes them)

CONNECT = (
    '{"ts":"1795489505","client_ip":"127.0.0.1","authority":"localhost:19443",'
    '"bytes_up":"100091","bytes_down":"7816","podmeta":-}'
)
PROBE = CONNECT.replace("localhost:19443", "error:transaction-end-before-headers")


def told(answer: str) -> str:
    """A line of `connect_bytes` when the helper answered so."""
    return CONNECT.removesuffix("-}") + answer + "}"


def lines_of(log: str) -> pl.DataFrame:
    numbered = [(number, 1, line) for number, line in enumerate(log.split("\n"), start=1) if line.strip()]
    return pl.DataFrame(numbered, schema=RECORDS, orient="row")


def reader(log: str, zone: str = "UTC", **said: Any) -> Reader | None:
    head = Head(log.encode("utf-8", "replace"), tuple(lines_of(log)["text"]))
    return SOURCE.recognise(head, ReadOptions(ZoneInfo(zone), **said))


def read(log: str, *, as_in: str | None = None, **said: Any) -> Parsed:
    """Reads a log, by its own head or by that of another; checks that no record is lost."""
    log_reader = reader(as_in or log, **said)
    assert log_reader is not None
    joined, held = log_reader.assemble(lines_of(log), True)
    parsed = log_reader.parse(joined)
    assert held == 0
    kept = sum(map(len, parsed.rows.values())) + len(parsed.rejected) + sum(parsed.skipped.values())
    assert kept == len(joined) + parsed.extra
    return parsed


def rows(parsed: Parsed, table: str = "tunnels") -> list[dict[str, Any]]:
    return parsed.rows[table].rows(named=True) if table in parsed.rows else []


def tunnel(line: str, **said: Any) -> dict[str, Any]:
    (row,) = rows(read(line, **said))
    return row


def test_a_connect_of_the_native_format_is_a_tunnel() -> None:
    row = tunnel(
        "1795489505.137     18 10.0.0.5 TCP_TUNNEL/200 7816 CONNECT GitHub.com:443 - HIER_DIRECT/1.2.3.4 -"
    )
    assert row["ts"] == dt.datetime(2026, 11, 24, 3, 5, 5, 137_000)
    assert (row["ts_kind"], row["ts_resolution_ms"], row["duration_ms"]) == ("end", 1, 18)
    assert (row["host"], row["port"]) == ("github.com", 443)
    assert (row["bytes_up"], row["bytes_down"], row["status"]) == (None, 7816, 200)
    assert (row["result_code"], row["client_ip"]) == ("TCP_TUNNEL", "10.0.0.5")


def test_native_lines_go_where_they_belong() -> None:
    parsed = read(NATIVE)
    assert [(row["line_no"], row["host"], row["status"]) for row in rows(parsed)] == [
        (2, "localhost", 200),
        (5, "::1", 503),
    ]
    (request,) = rows(parsed, "requests")
    assert request["url"] == "http://localhost:9/%20x?"
    assert (request["method"], request["status"], request["response_bytes"]) == ("GET", 503, 3460)
    assert request["actor"] == "ann"
    assert parsed.skipped == {
        "no request (error:invalid-request)": 1,
        "no request (error:transaction-end-before-headers)": 1,
    }
    assert parsed.rejected.is_empty()


@pytest.mark.parametrize(
    "line",
    [
        "1157689312.049   5006 10.0.0.5 TCP_MISS/200 19763 CONNECT a.example:443 bob DIRECT/1.2.3.4 -",
        "1157689358.173      1 10.0.0.5 TCP_DENIED/407 1667 CONNECT a.example:443 - NONE/- text/html",
        "1677971741.100     -1 10.0.0.5 TAG_NONE_ABORTED/000 -1 CONNECT a.example:443 - HIER_NONE/- -",
        "1677971741.100      1 10.0.0.5 TCP_TUNNEL/200 39 CONNECT a.example:443 b@c.d HIER_DIRECT/1.2.3.4  -",
        "1677971741.100      1 10.0.0.5 TCP_TUNNEL/200 39 CONNECT a.example:443 Ann Lee HIER_DIRECT/::1 -",
        '1677971741.100      1 ::1 TCP_TUNNEL/200 39 CONNECT a.example:443 - HIER_DIRECT/::1 - "curl/8" "x"',
    ],
)
def test_spellings_of_other_squids_are_read(line: str) -> None:
    row = tunnel(line)
    assert (row["host"], row["port"], row["result_code"]) == (
        "a.example",
        443,
        line.split()[3].partition("/")[0],
    )


def test_negative_numbers_and_status_000_are_null() -> None:
    row = tunnel("1677971741.100     -1 10.0.0.5 NONE_NONE/000 -5 CONNECT a.example:443 - HIER_NONE/- -")
    assert (row["duration_ms"], row["status"], row["bytes_down"]) == (None, None, None)


def test_of_logged_headers_only_the_user_agent_is_kept() -> None:
    secret = "Basic " + "eHg" * 9
    line = (
        "1677971741.100    12 10.0.0.5 TCP_MISS/200 3553 GET http://h/x? - HIER_DIRECT/::1 text/html "
        f"[User-Agent: git/2.39.5 %5bx%5d 100%25%0d%0aAuthorization: {secret}%0d%0aHost: h%0d%0a] "
        "[HTTP/1.1 200 OK%0d%0aSet-Cookie: a=b%0d%0a%0d]"
    )
    parsed = read(line)
    (row,) = rows(parsed, "requests")
    assert row["user_agent"] == "git/2.39.5 [x] 100%"
    assert row["authenticated"]
    assert parsed.redacted == 2
    assert secret not in str(row)


def test_a_query_between_caches_is_no_request() -> None:
    parsed = read("1677971741.100    12 10.0.0.5 UDP_MISS/000 61 ICP_QUERY http://h/x - HIER_NONE/- -")
    assert parsed.skipped == {"a query between caches, no request": 1}


def test_a_native_line_cut_or_glued_is_rejected_not_misread() -> None:
    line = "1795489505.137     18 10.0.0.5 TCP_TUNNEL/200 7816 CONNECT a:443 - HIER_DIRECT/1.2.3.4 -"
    parsed = read(f"{line}\n{line}{line}\n{line[:60]}\n{line}")
    assert [row["line_no"] for row in rows(parsed)] == [1, 4]
    assert parsed.rejected["line_no"].to_list() == [2, 3]
    assert set(parsed.rejected["reason"]) == {"no line of a Squid access log"}


def test_combined_is_parsed_from_both_ends() -> None:
    recognised = reader(COMBINED)
    assert recognised is not None
    assert recognised.format == "combined"
    parsed = read(COMBINED)
    (request,) = rows(parsed, "requests")
    assert request["user_agent"] == 'pip/23.2.1 {"ci":true,"cpu":"x86_64"}'
    assert request["ts"] == dt.datetime(2026, 11, 24, 3, 5, 5)
    assert (request["ts_resolution_ms"], request["actor"]) == (1000, "ann")
    assert [row["host"] for row in rows(parsed)] == ["localhost"]
    assert sum(parsed.skipped.values()) == 1


def test_common_log_time_without_a_zone_is_taken_in_the_users() -> None:
    line = (
        '10.0.0.5 - - [24/Nov/2026:12:05:05] "CONNECT a.example:443 HTTP/1.1" 200 7816 TCP_TUNNEL:HIER_DIRECT'
    )
    recognised = reader(line, zone="Asia/Tokyo")
    assert recognised is not None
    assert recognised.format == "common"
    (row,) = rows(read(line, zone="Asia/Tokyo"))
    assert row["ts"] == dt.datetime(2026, 11, 24, 3, 5, 5)


def test_glued_combined_lines_are_rejected() -> None:
    line = COMBINED.splitlines()[1]
    parsed = read(f"{line}\n{line}{line}\n{line}")
    assert [row["line_no"] for row in rows(parsed)] == [1, 3]
    assert parsed.rejected["line_no"].to_list() == [2]


def test_a_web_servers_combined_log_is_not_squids() -> None:
    nginx = '10.0.0.5 - - [24/Nov/2026:03:05:05 +0000] "GET /a HTTP/1.1" 200 17 "-" "curl/8.0"'
    assert reader(nginx) is None


def test_referrer_lines_have_no_method() -> None:
    parsed = read(
        "1795489504.779 127.0.0.1 - error:transaction-end-before-headers\n"
        "1795489505.137 127.0.0.1 - localhost:19443\n"
        "1795489505.519 127.0.0.1 http://from.example/a b http://localhost:19999/a?\n"
        "1795489506.017 127.0.0.1 - [::1]:19443\n"
    )
    assert [(row["host"], row["port"]) for row in rows(parsed)] == [("localhost", 19443), ("::1", 19443)]
    (request,) = rows(parsed, "requests")
    assert (request["method"], request["url"]) == (None, "http://localhost:19999/a?")


def test_useragent_lines_are_skipped_for_they_name_no_url() -> None:
    parsed = read('127.0.0.1 [24/Nov/2026:03:05:05 +0000] "git/2.39.5 "q" \\ x"\n')
    assert parsed.rows == {}
    (reason,) = parsed.skipped
    assert reason.startswith("a user agent without")


def test_a_line_of_connect_bytes_becomes_a_tunnel() -> None:
    row = tunnel(told('{"pod":"runner-abc","namespace":"ci","node":"n1","wf":"Build \\"x\\" & test"}'))
    assert row["ts"] == dt.datetime(2026, 11, 24, 3, 5, 5)
    assert (row["ts_kind"], row["ts_resolution_ms"]) == ("end", 1000)
    assert (row["host"], row["port"], row["bytes_up"], row["bytes_down"]) == (
        "localhost",
        19443,
        100091,
        7816,
    )
    assert (row["pod"], row["namespace"], row["node"]) == ("runner-abc", "ci", "n1")
    assert row["workflow"] == 'Build "x" & test'
    assert json.loads(row["metadata"])["wf"] == 'Build "x" & test'
    assert (row["status"], row["result_code"], row["duration_ms"]) == (None, None, None)


def test_without_a_method_a_url_is_a_request_and_an_authority_a_tunnel() -> None:
    url = CONNECT.replace("localhost:19443", "http://localhost:19999/p?")
    parsed = read("\n".join([CONNECT, url, PROBE, CONNECT.replace("localhost:19443", "[::1]:19443")]))
    assert [(row["host"], row["port"]) for row in rows(parsed)] == [("localhost", 19443), ("::1", 19443)]
    (request,) = rows(parsed, "requests")
    assert (request["method"], request["url"]) == (None, "http://localhost:19999/p?")
    assert (request["request_bytes"], request["response_bytes"]) == (100091, 7816)
    assert parsed.skipped == {"no request (error:transaction-end-before-headers)": 1}


@pytest.mark.parametrize(
    ("answer", "metadata", "pod"),
    [
        ("-", None, None),
        ("runner-abc", "runner-abc", None),
        ("{pod:runner-abc}", "{pod:runner-abc}", "runner-abc"),
        ("{pod:runner-abc,namespace:ci}", "{pod:runner-abc,namespace:ci}", "runner-abc"),
        ("{pod:a,wf:x,pod:evil}", "{pod:a,wf:x,pod:evil}", None),
        ("{wf:x,pod:evil}", "{wf:x,pod:evil}", None),
        ("{pod:}", "{pod:}", None),
        ("{pod:", "{pod:", None),
        ("line1\nline2", "line1\nline2", None),
        ('{"pod":null}', {"pod": None}, None),
        ('{"pod":"a",\n"x":1}', {"pod": "a", "x": 1}, "a"),
        ('"{\\"pod\\":\\"a\\"}"', {"pod": "a"}, "a"),
        ('"{"pod":"a"}"', {"pod": "a"}, "a"),
        ('{\\"pod\\":\\"a\\",\\"wf\\":\\"B \\\\\\"x\\\\\\"\\"}', {"pod": "a", "wf": 'B "x"'}, "a"),
        ('{"pod":"a","wf":"B \\\\"x\\\\""}', {"pod": "a", "wf": 'B "x"'}, "a"),
        ("%7B%22pod%22:%22a%22,%22wf%22:%22B%20%5C%22x%5C%22%22%7D", {"pod": "a", "wf": 'B "x"'}, "a"),
        ('"%7B%22pod%22:%22a%22%7D"', {"pod": "a"}, "a"),
        ("100%25", "100%25", None),
        ("%ff", "%ff", None),
        ('[{"pod":"a"}]', [{"pod": "a"}], None),
    ],
)  # fmt: skip
def test_what_the_helper_said_is_kept_and_read_where_it_is_an_object(
    answer: str, metadata: object, pod: str | None
) -> None:
    row = tunnel(told(answer), as_in=CONNECT)
    assert (json.loads(row["metadata"]) if row["metadata"] else None) == metadata
    assert row["pod"] == pod
    assert (row["host"], row["bytes_down"]) == ("localhost", 7816)


def test_ci_keys_of_a_runners_status_fill_their_columns() -> None:
    row = tunnel(
        told(
            '{"jobRepositoryName":"acme/web","workflowRunId":77,"jobDisplayName":"build (1)",'
            '"jobWorkflowRef":"acme/web/.github/workflows/ci.yml@refs/heads/main"}'
        )
    )
    assert (row["ci_repo"], row["run_id"], row["job"]) == ("acme/web", "77", "build (1)")
    assert row["workflow"] == ".github/workflows/ci.yml"


def test_two_glued_records_are_two() -> None:
    parsed = read(CONNECT + told("{pod:a}") + "\n" + CONNECT)
    assert [(row["line_no"], row["pod"]) for row in rows(parsed)] == [(1, None), (1, "a"), (2, None)]
    assert parsed.extra == 1


def test_the_stump_before_a_glued_record_is_rejected_alone() -> None:
    for stump in (CONNECT[:50], CONNECT.removesuffix("-}")):
        parsed = read(f"{CONNECT}\n{stump}{CONNECT}\n{CONNECT}")
        assert [row["line_no"] for row in rows(parsed)] == [1, 2, 3]
        assert parsed.rejected.rows() == [(2, 1, "broken JSON", stump)]


def test_a_record_without_time_or_url_is_rejected_with_the_reason() -> None:
    parsed = read(
        "\n".join(
            [CONNECT, CONNECT, CONNECT.replace("1795489505", "soon"), CONNECT.replace("localhost:19443", "-")]
        )
    )
    assert parsed.rejected.select("line_no", "reason").rows() == [
        (3, "no time that can be read"),
        (4, "no URL and no authority"),
    ]


AUDIT = (
    '{"timestamp":"24/Nov/2026:03:05:05 +0000","client":"10.0.0.5","duration_ms":18,'
    '"cache_status":"TCP_TUNNEL","http_status":200,"bytes_sent":7816,"bytes_received":91,"method":"CONNECT",'
    '"uri":"github.com:443","User-Agent":"git/2.39.5","upstream":"HIER_DIRECT/1.2.3.4","runner":{"pod":"p1"}}'
)


def test_a_json_logformat_with_other_keys_is_read() -> None:
    row = tunnel(AUDIT)
    assert (row["host"], row["port"], row["client_ip"]) == ("github.com", 443, "10.0.0.5")
    assert (row["bytes_up"], row["bytes_down"], row["duration_ms"]) == (91, 7816, 18)
    assert (row["status"], row["result_code"], row["pod"]) == (200, "TCP_TUNNEL", "p1")
    assert row["metadata"] == '{"pod":"p1"}'
    get = AUDIT.replace("CONNECT", "get").replace("github.com:443", "http://a.example/x?")
    (request,) = rows(read(get), "requests")
    assert (request["method"], request["user_agent"]) == ("GET", "git/2.39.5")


def test_bare_values_where_json_wants_numbers_are_mended() -> None:
    bare = AUDIT.replace('"duration_ms":18', '"duration_ms":-').replace(
        '"http_status":200', '"http_status":000'
    )
    row = tunnel(bare)
    assert (row["duration_ms"], row["status"], row["pod"]) == (None, None, "p1")
    assert tunnel(bare.replace('{"pod":"p1"}', "{pod:p1}"))["pod"] == "p1"


def test_control_characters_in_a_value_are_mended() -> None:
    get = (
        AUDIT.replace("CONNECT", "GET").replace("github.com:443", "http://a/x").replace("git/", "git\x01\t/")
    )
    (request,) = rows(read(get), "requests")
    assert request["user_agent"] == "git\x01\t/2.39.5"


def test_start_and_end_give_the_duration_and_the_sni_names_an_intercepted_address() -> None:
    line = (
        '{"start":"1795489500.100","end":"1795489505.350","src":"10.0.0.5","code":"TCP_TUNNEL/200",'
        '"method":"CONNECT","url":"140.82.121.4:443","sni":"GitHub.com"}'
    )
    row = tunnel(line)
    assert (row["duration_ms"], row["status"], row["result_code"]) == (5250, 200, "TCP_TUNNEL")
    assert (row["host"], row["port"], row["ts_kind"]) == ("github.com", 443, "end")
    begun = tunnel(line.replace('"1795489505.350"', "-"))
    assert (begun["ts"].microsecond, begun["ts_kind"], begun["duration_ms"]) == (100_000, "start", None)


def test_map_names_a_logformats_own_keys() -> None:
    line = '{"when":"1795489505","who":{"ip":"10.0.0.5"},"where":"a.example:443","out":"5","box":"p1"}'
    mapping = {"ts": "when", "url": "where", "client_ip": "who.ip", "bytes_up": "out", "pod": "box"}
    assert reader(line) is None
    row = tunnel(line, mapping=mapping, forced=True)
    assert (row["host"], row["client_ip"], row["bytes_up"], row["pod"]) == ("a.example", "10.0.0.5", 5, "p1")


def test_a_file_forced_to_be_squids_that_cannot_be_says_what_to_do() -> None:
    with pytest.raises(Unreadable, match="--map"):
        reader('{"when":"1795489505","where":"a.example:443"}', forced=True)


def test_cache_log_lines_and_other_formats_in_one_file_are_told_apart() -> None:
    diary = "2026/11/24 03:05:04 kid1| Starting Squid Cache version 5.7\n" * 5
    parsed = read(diary + NATIVE + CONNECT + "\n" + COMBINED)
    assert [row["line_no"] for row in rows(parsed)] == [7, 10, 11, 13]
    assert [row["line_no"] for row in rows(parsed, "requests")] == [8, 14]
    assert parsed.skipped["a line of cache.log, no access"] == 5
    assert parsed.rejected.is_empty()


@pytest.mark.parametrize(
    "line",
    [
        '{"ts":"2026-11-24T03:05:46Z","repo":"o/r","workflow":"CI","job":"build","run_id":"1","cmd":"build"}',
        '{"timestamp":"2026-11-24T03:04:14Z","method":"GET","url":"https://a/b","status":200,"client_ip":"::"}',
        '{"status":"tag","id":"x","Type":"image","Action":"tag","Actor":{"ID":"x"},"time":1795489485}',
        "timestamp,method,url,status,user_agent,content_length",
        "plain=<-> q=<-> rm=CONNECT Ss=TCP_TUNNEL Hs=200",
        '10.0.0.5 [24/Nov/2026:03:05:05 +0000] "GET /a HTTP/1.1"',
        "2026/11/24 03:05:04 kid1| Starting Squid Cache version 5.7",
        "{",
    ],
)
def test_other_logs_are_not_claimed(line: str) -> None:
    assert reader(line) is None
    assert reader("\n".join([line] * 20)) is None


def test_an_empty_file_is_nobodys() -> None:
    assert reader("") is None


def test_the_columns_filled_are_the_tables_own() -> None:
    parsed = read(NATIVE)
    for table, columns in SOURCE.fills.items():
        assert set(columns) < set(tables.TABLES[table].types)
        assert set(parsed.rows[table].columns) == {"line_no", *columns}


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(
        [NATIVE, COMBINED, "\n".join([CONNECT, told("{pod:a}"), told('{"pod":"a"}'), PROBE, AUDIT])]
    ),
    st.lists(
        st.tuples(
            st.integers(0, 700),
            st.integers(0, 40),
            st.one_of(
                st.text(max_size=4), st.sampled_from(["\n", "\0", '"', "{", "}", "-", CONNECT, NATIVE])
            ),
        ),
        max_size=5,
    ),
)
def test_whatever_happens_to_a_log_each_record_is_accounted_for(
    log: str, edits: list[tuple[int, int, str]]
) -> None:
    edited = log
    for begin, length, text in edits:
        edited = edited[:begin] + text + edited[begin + length :]
    read(edited, as_in=log)


@settings(max_examples=30, deadline=None)
@given(st.text(max_size=30))
def test_an_answer_given_as_json_is_kept_to_the_letter(word: str) -> None:
    said = {"pod": "p1", "wf": word}
    row = tunnel(told(json.dumps(said)))
    assert json.loads(row["metadata"]) == said
    assert row["pod"] == "p1"


@pytest.mark.parametrize("nothing", ["-:-", "-://-:-/", "http://-:80/"])
def test_dashes_for_host_and_port_are_no_request(nothing: str) -> None:
    parsed = read(CONNECT.replace("localhost:19443", nothing) + "\n" + CONNECT)
    assert parsed.skipped == {"no request that Squid could read": 1}
    assert len(parsed.rows["tunnels"]) == 1
    assert parsed.rejected.is_empty()
