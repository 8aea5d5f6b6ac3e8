"""mitmproxy's logs in all their forms, as files are recognised and read."""

from __future__ import annotations

import http.client
import io
import json
import os
import shutil
import socket
import subprocess
import threading
import time
import zlib
from contextlib import closing
from datetime import datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ciforensics.contract import RECORDS, Head, Parsed, Reader, ReadOptions
from ciforensics.errors import Unreadable
from ciforensics.formats import flows
from ciforensics.sources.mitmproxy import SOURCE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

FAKE = "gh" + "s_" + "F4KE" * 9
BASIC = "Basic " + "eC1hY2Nlc3MtdG9rZW46" + "RkFLRUZBS0VGQUtF"


class Result:
    """What became of a file."""

    def __init__(self, reader: Reader, parsed: list[Parsed], spans: list[tuple[int, int, bool]]) -> None:
        self.format = reader.format
        self.rows = pl.concat([one.rows["requests"] for one in parsed])
        self.rejected = pl.concat([one.rejected for one in parsed])
        self.redacted = sum(one.redacted for one in parsed)
        self.extra = sum(one.extra for one in parsed)
        self.skipped: dict[str, int] = {}
        for one in parsed:
            for reason, count in one.skipped.items():
                self.skipped[reason] = self.skipped.get(reason, 0) + count
        self.spans = spans

    def column(self, name: str) -> list[Any]:
        return self.rows[name].to_list()


def reader_of(data: bytes, **options: Any) -> Reader | None:
    lines = tuple(line for line in data[: 1 << 18].decode("utf-8", "replace").split("\n") if line.strip())
    return SOURCE.recognise(Head(data[: 1 << 18], lines), ReadOptions(ZoneInfo("UTC"), **options))


def read(data: bytes | Sequence[object], **options: Any) -> Result:
    """Reads a file as the ingest does; each record has to become something."""
    data = data if isinstance(data, bytes) else "\n".join(map(_line, data)).encode()
    reader = reader_of(data, **options)
    assert reader is not None
    if reader.blocks:
        blocks = list(reader.blocks(io.BufferedReader(io.BytesIO(data)), 1))
        assert blocks[-1].end == len(data)
        batches = [block.records for block in blocks]
        spans = [(len(block.records), block.end, block.provisional) for block in blocks]
    else:
        lines = data.decode("utf-8", "replace").split("\n")
        numbered = [(number, 1, line) for number, line in enumerate(lines, start=1) if line]
        batches, spans = [pl.DataFrame(numbered, schema=RECORDS, orient="row")], []
    result = Result(reader, [reader.parse(batch) for batch in batches], spans)
    became = len(result.rows) + len(result.rejected) + sum(result.skipped.values())
    assert became == sum(map(len, batches)) + result.extra
    return result


def _line(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def line(**more: Any) -> dict[str, Any]:
    usual: dict[str, Any] = {
        "timestamp": "2026-11-24T03:04:14Z",
        "method": "GET",
        "url": "https://github.com/acme/web.git/info/refs?service=git-upload-pack",
        "status": 401,
        "user_agent": "git/2.39.5",
        "content_length": 22,
    }
    return usual | more


# ---- JSON lines


def test_the_six_fields_of_the_usual_addon_are_a_row() -> None:
    result = read([line()])
    assert result.format == "jsonl"
    row = result.rows.row(0, named=True)
    assert row["ts"] == datetime(2026, 11, 24, 3, 4, 14)
    assert (row["ts_kind"], row["ts_resolution_ms"]) == ("start", 1000.0)
    assert (row["method"], row["status"], row["response_bytes"]) == ("GET", 401, 22)
    assert row["url"] == "https://github.com/acme/web.git/info/refs?service=git-upload-pack"
    assert row["authenticated"] is None


def test_what_an_addon_writes_beside_the_six_is_kept() -> None:
    result = read(
        [
            line(
                client_ip="192.168.77.11",
                client_port=38216,
                duration_ms=9.2,
                request_id="A1:B2",
                request_bytes=175,
            )
        ]
    )
    assert result.rows.select("client_ip", "client_port", "duration_ms", "request_id", "request_bytes").row(
        0
    ) == (
        "192.168.77.11",
        38216,
        9.2,
        "A1:B2",
        175,
    )


@pytest.mark.parametrize(
    ("more", "authenticated", "redacted"),
    [
        ({"authorization": "***"}, True, 0),
        ({"authorization": "Basic ***"}, True, 0),
        ({"authorization": "[REDACTED]"}, True, 0),
        ({"authorization": True}, True, 0),
        ({"Authorization": BASIC}, True, 1),
        ({"authorization": None}, False, 0),
        ({"authorization": ""}, False, 0),
        ({"authenticated": False}, False, 0),
        ({"has_auth": "yes"}, True, 0),
        ({"authority_x": None}, None, 0),
        ({}, None, 0),
    ],
)
def test_whether_there_was_a_credential_is_known_only_where_the_log_says_so(
    more: dict[str, Any],
    authenticated: bool | None,
    redacted: int,
) -> None:
    result = read([line(**more)])
    assert result.column("authenticated") == [authenticated]
    assert result.redacted == redacted
    assert BASIC not in repr(result.rows.rows())


def test_an_authorization_key_that_only_some_lines_have_says_nothing_of_the_others() -> None:
    result = read([line(), line(authorization="***")])
    assert result.column("authenticated") == [None, True]


def test_keys_are_known_under_other_names_and_cases() -> None:
    result = read(
        [
            {
                "@timestamp": 1795489454.697,
                "http.method": "get",
                "Host": "github.com",
                "path": "/acme/web.git/info/refs",
                "query": "service=git-upload-pack",
                "statusCode": "401",
                "User-Agent": "git/2.39.5",
                "client-ip": "::ffff:10.0.0.7",
                "duration_seconds": 0.25,
            }
        ]
    )
    row = result.rows.row(0, named=True)
    assert row["url"] == "https://github.com/acme/web.git/info/refs?service=git-upload-pack"
    assert row["ts"] == datetime(2026, 11, 24, 3, 4, 14, 697000)
    assert (row["method"], row["status"], row["client_ip"], row["duration_ms"]) == (
        "GET",
        401,
        "10.0.0.7",
        250.0,
    )


def test_an_address_with_its_port_is_taken_apart() -> None:
    result = read(
        [line(client_ip="10.0.0.7:4711"), line(client_ip="[fd00::7]:4711"), line(client_ip="fd00::7")]
    )
    assert result.column("client_ip") == ["10.0.0.7", "fd00::7", "fd00::7"]
    assert result.column("client_port") == [4711, 4711, None]


def test_a_key_of_its_own_is_read_where_the_user_maps_it() -> None:
    odd = {
        "When": "2026-11-24T03:04:14Z",
        "method": "GET",
        "url": "https://x/",
        "answer": {"code": 200},
        "ua": "git/2",
    }
    assert reader_of(json.dumps(odd).encode()) is None
    result = read([odd], mapping={"ts": "When", "status": "answer.code"})
    assert result.column("status") == [200]


def test_a_file_named_mitmproxy_by_the_user_that_lacks_a_field_says_which_and_what_there_is() -> None:
    with pytest.raises(Unreadable, match=r"lacks ts, status .*\(When, method, url\).*\n.*--map ts=KEY"):
        reader_of(b'{"When": 1, "method": "GET", "url": "https://x/"}', forced=True)


def test_a_time_named_as_an_end_is_one() -> None:
    record = line(timestamp_end="2026-11-24T03:04:15Z")
    del record["timestamp"]
    assert read([record]).column("ts_kind") == ["end"]


def test_a_request_without_an_answer_is_a_row_without_a_status() -> None:
    result = read([line(), line(status=None), line(status=0), line(status="-")])
    assert result.column("status") == [401, None, None, None]


def test_lines_that_cannot_be_read_are_rejected_with_a_reason() -> None:
    result = read(
        [
            line(),
            '{"timestamp": "2026-11-24T03:04:14Z", "meth',
            "[]",
            line(timestamp=None),
            line(timestamp="yesterday"),
            line(url=None),
            line(status="lots"),
        ]
    )
    assert len(result.rows) == 1
    assert result.rejected.select("line_no", "reason").rows() == [
        (2, "not a whole JSON object"),
        (3, "not a whole JSON object"),
        (4, "no timestamp"),
        (5, "timestamp not understood"),
        (6, "no URL"),
        (7, "status not understood"),
    ]


def test_a_rejected_line_does_not_keep_its_credential() -> None:
    result = read([line(), line(url=None, authorization=BASIC), '{"authorization": "' + BASIC])
    assert len(result.rejected) == 2
    assert BASIC.split()[1] not in repr(result.rejected.rows())


def test_two_lines_glued_to_one_are_two_rows() -> None:
    result = read([line(), json.dumps(line(status=200)) + json.dumps(line(status=403)), line()])
    assert result.column("status") == [401, 200, 403, 401]
    assert result.column("line_no") == [1, 2, 2, 3]
    assert result.extra == 1


def test_a_user_agent_that_is_no_text_does_not_cost_the_line() -> None:
    result = read([line(), line(user_agent="caf\udce9/1.0")])  # json.dumps writes half a surrogate pair
    assert result.column("user_agent") == ["git/2.39.5", "caf\ufffd/1.0"]


def test_the_tunnel_around_the_requests_is_no_request() -> None:
    result = read([line(), line(method="CONNECT", url="github.com:443", status=200)])
    assert len(result.rows) == 1
    assert result.skipped == {"CONNECT: the tunnel, not a request in it": 1}


@pytest.mark.parametrize(
    "other",
    [
        '{"ts":"2026-11-24T03:04:13Z","repo":"acme/x","workflow":"W","job":"j","run_id":"9","cmd":"build"}',
        '{"status":"tag","id":"sha256:d7","Type":"image","Action":"tag","Actor":{"ID":"x"},"time":1795489485}',
        '{"ts":"1795489453","client_ip":"10.0.0.1","authority":"github.com:443","bytes_up":"2","bytes_down":"3"}',
        '{"ts":1,"method":"GET","url":"http://x/","status":200,"user_agent":"a","result":"TCP_MISS/200"}',
        '{"total_count":1,"jobs":[{"id":1,"url":"https://api.github.com/x","status":"completed"}]}',
        '{"@timestamp":1,"action":"api.request","request_method":"GET","url_path":"/x","status_code":401,"user_agent":"a"}',
        '{"log":"a line\\n","stream":"stdout","time":"2026-11-24T03:04:13Z"}',
        "timestamp,method,url,status,user_agent,content_length",
        "",
    ],
)
def test_the_logs_of_others_are_left_to_others(other: str) -> None:
    assert reader_of(other.encode()) is None
    assert reader_of(f"[{other}]".encode()) is None


# ---- flows as JSON


def flow(**more: Any) -> dict[str, Any]:
    usual: dict[str, Any] = {
        "version": 21,
        "type": "http",
        "id": "84ac79bd",
        "error": None,
        "client_conn": {"peername": ["192.168.77.11", 34792], "timestamp_start": 1795489315415},
        "server_conn": {"peername": ["140.82.121.3", 443]},
        "request": {
            "headers": {"Host": "github.com", "User-Agent": 'pip/23.2.1 {"ci":null}', "AUTHORIZATION": BASIC},
            "content": "",
            "timestamp_start": 1795489315416,
            "timestamp_end": 1795489315417,
            "host": "140.82.121.3",
            "port": 443,
            "method": "GET",
            "scheme": "https",
            "authority": "",
            "path": "/acme/web.git/info/refs?service=git-upload-pack",
        },
        "response": {
            "headers": {"content-length": "22", "X-GitHub-Request-Id": "A1:B2"},
            "content": "Repository not found.\\n",
            "timestamp_start": 1795489315420,
            "timestamp_end": 1795489315466,
            "status_code": 401,
        },
        "websocket": None,
    }
    return usual | more


def test_a_flow_of_jsondump_is_a_row() -> None:
    result = read([flow()])
    assert result.format == "jsondump"
    row = result.rows.row(0, named=True)
    assert row["url"] == "https://github.com/acme/web.git/info/refs?service=git-upload-pack"
    assert row["ts"] == datetime(2026, 11, 24, 3, 1, 55, 416000)
    assert (row["ts_kind"], row["ts_resolution_ms"], row["duration_ms"]) == ("start", 1.0, 50.0)
    assert (row["client_ip"], row["client_port"]) == ("192.168.77.11", 34792)
    assert (row["status"], row["response_bytes"], row["request_id"]) == (401, 22, "A1:B2")
    assert row["user_agent"] == 'pip/23.2.1 {"ci":null}'
    assert row["authenticated"] is True
    assert result.redacted == 1


def test_the_address_of_an_older_jsondump_is_read_too() -> None:
    result = read([flow(client_conn={"address": {"host": "10.0.0.7", "port": 4711}})])
    assert (result.column("client_ip"), result.column("client_port")) == (["10.0.0.7"], [4711])


def test_a_flow_that_failed_is_a_row_without_a_status_that_lasted_until_the_error() -> None:
    result = read([flow(response=None, error={"msg": "refused", "timestamp": 1795489315426})])
    assert (result.column("status"), result.column("duration_ms")) == ([None], [10.0])


def test_flows_that_are_no_http_and_second_copies_are_skipped() -> None:
    tcp = {
        "version": 21,
        "type": "tcp",
        "id": "1",
        "client_conn": {"peername": ["10.0.0.7", 1]},
        "messages": [],
    }
    opened = flow(websocket={"messages": [], "timestamp_end": None})
    ended = flow(websocket={"messages": [], "timestamp_end": 1795489399000})
    result = read([tcp, opened, ended])
    assert len(result.rows) == 1
    assert result.skipped == {"not HTTP": 1, "a flow again, when its websocket ended": 1}


def test_a_first_flow_too_long_for_the_head_is_recognised() -> None:
    big = flow()
    big["response"] |= {"content": "x" * (1 << 19)}
    data = json.dumps(big).encode()
    reader = SOURCE.recognise(Head(data[: 1 << 18], ()), ReadOptions(ZoneInfo("UTC")))
    assert reader is not None
    assert reader.format == "jsondump"


def test_arrays_of_the_same_are_read_whatever_their_layout() -> None:
    flat = read(json.dumps([line(), line(status=200)], indent=2).encode())
    assert (flat.format, flat.column("status"), flat.column("line_no")) == ("json-array", [401, 200], [1, 2])
    whole = read(json.dumps([flow(), flow()]).encode())
    assert (whole.format, whole.column("authenticated")) == ("jsondump-array", [True, True])


# ---- HAR


def entry(**more: Any) -> dict[str, Any]:
    usual: dict[str, Any] = {
        "startedDateTime": "2026-11-24T04:01:55.416876+01:00",
        "time": 48.5,
        "request": {
            "method": "GET",
            "url": "https://github.com/acme/web.git/info/refs?service=git-upload-pack",
            "headers": [
                {"name": "user-agent", "value": "git/2.39.5"},
                {"name": "Authorization", "value": BASIC},
            ],
            "cookies": [{"name": "user_session", "value": FAKE}],
            "bodySize": 0,
        },
        "response": {"status": 200, "headers": [], "content": {"size": 147, "text": FAKE}, "bodySize": 147},
    }
    return usual | more


def har_file(*entries: Any, creator: str = "mitmproxy", **layout: Any) -> bytes:
    return json.dumps(
        {"log": {"version": "1.2", "creator": {"name": creator}, "entries": entries}}, **layout
    ).encode()


def test_a_har_entry_is_a_row_and_its_secrets_are_not_in_it() -> None:
    result = read(har_file(entry(), indent=4))
    assert result.format == "har"
    row = result.rows.row(0, named=True)
    assert row["ts"] == datetime(2026, 11, 24, 3, 1, 55, 416876)
    assert (row["status"], row["response_bytes"], row["request_bytes"], row["duration_ms"]) == (
        200,
        147,
        0,
        48.5,
    )
    assert (row["user_agent"], row["authenticated"], row["client_ip"]) == ("git/2.39.5", True, None)
    assert FAKE not in repr(result.rows.rows())
    assert BASIC not in repr(result.rows.rows())
    assert result.redacted == 1


def test_no_credential_in_a_har_means_none_only_if_its_writer_leaves_none_out() -> None:
    bare = entry()
    bare["request"] = bare["request"] | {"headers": []}
    assert read(har_file(bare)).column("authenticated") == [False]
    assert read(har_file(bare, creator="WebInspector")).column("authenticated") == [None]


def test_what_a_browser_did_not_send_over_the_network_is_skipped() -> None:
    inline = entry(request={"method": "GET", "url": "data:image/png;base64,AA", "headers": []})
    failed = entry(response={"status": 0, "_error": "net::ERR_FAILED", "bodySize": -1})
    result = read(har_file(inline, entry(_fromCache="disk"), failed, creator="WebInspector"))
    assert result.rows.select("line_no", "status", "response_bytes").rows() == [(3, None, None)]
    assert result.skipped == {"not HTTP": 1, "answered from the browser's cache": 1}


def test_a_byte_order_mark_and_a_cut_do_not_cost_the_entries_before() -> None:
    result = read(b"\xef\xbb\xbf" + har_file(entry(), entry(), entry())[:-200])
    assert result.column("line_no") == [1, 2]
    assert result.rejected.select("line_no", "reason").rows() == [(3, "not a whole JSON object")]
    assert BASIC not in repr(result.rejected.rows())
    assert [provisional for _, _, provisional in result.spans] == [False, True]


def test_entries_of_any_shape_are_rows_or_rejected() -> None:
    odd: list[Any] = [
        None,
        7,
        [],
        {},
        {"request": [], "response": "x"},
        entry(time={}, startedDateTime=7),
        entry(request=None),
    ]
    odd.append(entry(request={"headers": [None, {}, {"name": None}], "url": ["x"], "method": 7}))
    result = read(har_file(entry(), *odd))
    assert len(result.rows) == 2  # 7 s into 1970 is a time
    assert len(result.rejected) == 7


def test_mitmproxys_packed_har_is_read_as_it_is() -> None:
    result = read(zlib.compress(har_file(entry(), entry()), 9))
    assert (result.format, len(result.rows)) == ("zhar", 2)


@settings(deadline=None, max_examples=50)
@given(st.data())
def test_mutated_files_never_crash_and_never_lose_a_record(data: st.DataObject) -> None:
    plain = data.draw(
        st.sampled_from(
            [_line(line()).encode() * 2, (_line(line()) + "\n").encode() * 3, har_file(entry(), entry())]
        )
    )
    at = data.draw(st.integers(0, len(plain)))
    until = data.draw(st.integers(at, min(len(plain), at + 30)))
    mutated = plain[:at] + data.draw(st.binary(max_size=4)) + plain[until:]
    if reader_of(mutated) is not None:
        read(mutated)


# ---- dumps


@pytest.fixture
def mitmdump(monkeypatch: pytest.MonkeyPatch) -> str:
    """A real mitmdump; where CI runs the tests there has to be one."""
    program_here = shutil.which(os.environ.get(flows.VARIABLE, "mitmdump"))
    if program_here is None and os.environ.get("CI") != "true":
        pytest.skip(f"no mitmdump: set {flows.VARIABLE}")
    assert program_here is not None, "the tests need a mitmdump in CI"
    monkeypatch.setenv(flows.VARIABLE, program_here)
    return program_here


def tnetstring(value: Any) -> bytes:
    if isinstance(value, dict):
        body, kind = b"".join(tnetstring(part) for item in value.items() for part in item), b"}"
    elif isinstance(value, (list, tuple)):
        body, kind = b"".join(map(tnetstring, value)), b"]"
    elif isinstance(value, bool):
        body, kind = str(value).lower().encode(), b"!"
    elif value is None:
        body, kind = b"", b"~"
    else:
        kinds = {bytes: b",", str: b";", int: b"#", float: b"^"}
        body, kind = value if isinstance(value, bytes) else str(value).encode(), kinds[type(value)]
    return b"%d:%s%s" % (len(body), body, kind)


def state(**more: Any) -> dict[str, Any]:
    """A flow as mitmproxy 11 saves it."""
    side: dict[str, Any] = {
        "id": "c1", "transport_protocol": "tcp", "error": None, "tls": False, "certificate_list": [],
        "alpn": None, "alpn_offers": [], "cipher": None, "cipher_list": [], "tls_version": None, "sni": None,
        "timestamp_start": 1795489315.0, "timestamp_end": None, "timestamp_tls_setup": None,
    }  # fmt: skip
    client: dict[str, Any] = {
        "peername": ("192.168.77.11", 34792),
        "sockname": ("127.0.0.1", 8080),
        "mitmcert": None,
    }
    server: dict[str, Any] = {
        "peername": None,
        "sockname": None,
        "address": ("github.com", 443),
        "timestamp_tcp_setup": None,
    }
    message: dict[str, Any] = {"http_version": b"HTTP/1.1", "content": b"", "trailers": None}
    usual: dict[str, Any] = {
        "version": 21, "type": "http", "id": "f1", "error": None, "intercepted": False, "is_replay": None,
        "marked": "", "metadata": {}, "comment": "", "timestamp_created": 1795489315.4, "backup": None,
        "client_conn": side | client | {"proxy_mode": "regular"},
        "server_conn": side | server | {"via": None},
        "request": message | {
            "headers": ((b"Host", b"github.com"), (b"AUTHORIZATION", BASIC.encode())),
            "timestamp_start": 1795489315.416876, "timestamp_end": 1795489315.417,
            "host": "github.com", "port": 443, "method": b"GET", "scheme": b"https", "authority": b"",
            "path": b"/acme/web?access_token=" + FAKE.encode(),
        },
        "response": message | {
            "headers": ((b"Content-Length", b"22"),), "content": b"x" * 22, "status_code": 401,
            "reason": b"no", "timestamp_start": 1795489315.42, "timestamp_end": 1795489315.466876,
        },
        "websocket": None,
    }  # fmt: skip
    return usual | more


def tcp_state() -> dict[str, Any]:
    flow_state = state(type="tcp", messages=[])
    for name in ("request", "response", "websocket"):
        del flow_state[name]
    return flow_state


@pytest.mark.usefixtures("mitmdump")
def test_a_dump_is_read_by_the_users_own_mitmdump() -> None:
    failed = state(response=None, error={"msg": "refused", "timestamp": 1795489316.0})
    damaged = state(request="gone")
    result = read(b"".join(map(tnetstring, (state(), tcp_state(), failed, damaged, state()))))
    assert result.format == "mitm"
    assert result.column("line_no") == [1, 3, 5]
    assert result.column("status") == [401, None, 401]
    assert result.skipped == {"not HTTP": 1}
    assert result.rejected["line_no"].to_list() == [4]
    assert result.rejected["reason"][0].startswith("mitmproxy cannot read this flow: ")
    row = result.rows.row(0, named=True)
    assert row["ts"] == datetime(2026, 11, 24, 3, 1, 55, 416876)
    assert (row["client_ip"], row["client_port"], row["duration_ms"]) == ("192.168.77.11", 34792, 50.0)
    assert (row["authenticated"], row["response_bytes"]) == (True, 22)
    assert row["url"] == "https://github.com/acme/web?access_token=***"
    assert result.redacted == 6  # three requests, each with its header and its token
    assert FAKE not in repr(result.rows.rows())


def test_the_addon_logs_a_replayed_flow_that_broke_off_once(mitmdump: str, tmp_path: Path) -> None:
    broken = state(error={"msg": "peer closed connection", "timestamp": 1795489316.0})
    (tmp_path / "flows.mitm").write_bytes(tnetstring(broken) + tnetstring(state(id="f2")))
    command = [mitmdump, "-q", "-n", "-r", str(tmp_path / "flows.mitm"), "-s", str(flows.ADDON)]
    command += ["--set", f"confdir={tmp_path / 'conf'}", "--set", f"ciforensics_log={tmp_path / 'log'}"]
    subprocess.run(command, check=True, timeout=60)
    lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert [line["error"] for line in lines] == ["peer closed connection", None]
    assert [line["content_length"] for line in lines] == [22, 22]


@pytest.mark.usefixtures("mitmdump")
def test_a_dump_that_is_cut_off_keeps_the_flows_before() -> None:
    one = tnetstring(state())
    result = read(one + one[:300])
    assert len(result.rows) == 1
    assert result.rejected["text"].to_list() == ["flow 2: cut off"]
    assert result.spans == [(1, len(one), False), (1, len(one) + 300, True)]


@pytest.mark.usefixtures("mitmdump")
def test_a_dump_is_converted_in_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    one = tnetstring(state())
    monkeypatch.setattr(flows, "SLICE", 2 * len(one))
    result = read(one * 3)
    assert result.spans == [(2, 2 * len(one), False), (1, 3 * len(one), False)]
    assert result.column("line_no") == [1, 2, 3]


@pytest.mark.usefixtures("mitmdump")
def test_a_dump_of_another_version_is_refused_in_mitmdumps_own_words() -> None:
    with pytest.raises(
        Unreadable, match="cannot read files with flow format version 99, please update mitmproxy"
    ):
        read(tnetstring(state(version=99)))
    with pytest.raises(Unreadable, match=r"cannot read files with flow format version \(0, 10\)"):
        read(tnetstring(state(version=[0, 10])))


def test_without_mitmdump_the_error_says_how_to_convert_the_dump_elsewhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(flows.VARIABLE, "/nowhere/mitmdump")
    with pytest.raises(Unreadable) as caught:
        reader_of(tnetstring(state()))
    assert "there is no /nowhere/mitmdump here" in str(caught.value)
    assert "mitmdump -q -n -s mitmproxy_addon.py --set ciforensics_convert=true < flows.mitm" in str(
        caught.value
    )


def program(path: Path, script: str) -> str:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


def test_a_mitmdump_that_fails_is_quoted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(flows.VARIABLE, program(tmp_path / "mitmdump", "echo unknown option >&2; exit 1"))
    with pytest.raises(Unreadable, match=r"gave 0 of 1 flows and said: unknown option"):
        read(tnetstring(state()))


def test_a_mitmdump_sees_nothing_of_the_users_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_TOKEN", FAKE)
    monkeypatch.setenv(flows.VARIABLE, program(tmp_path / "mitmdump", "env; cat > /dev/null"))
    with pytest.raises(Unreadable) as caught:
        read(tnetstring(state()))
    assert FAKE not in str(caught.value)
    assert os.environ["HOME"] not in str(caught.value).split("said:")[1].split("PATH=")[0]


@pytest.mark.parametrize("damage", [b"oops", b"12", b"0:", b"5:abcde,", b"123456789012345:"])
def test_what_follows_the_last_flow_is_one_record_without_any_program_run(damage: bytes) -> None:
    blocks = list(flows.read_flows(io.BytesIO(damage), 7, program="/nowhere"))
    assert [number for block in blocks for number in block.records["line_no"]] == [7]
    assert all(block.provisional for block in blocks)
    assert blocks[-1].end == len(damage)


@pytest.mark.usefixtures("mitmdump")
def test_a_flow_too_large_to_convert_is_rejected_and_the_next_one_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    big, small = tnetstring(state(comment="x" * 5000)), tnetstring(state())
    monkeypatch.setattr(flows, "MAX_FLOW", len(big) - 100)
    result = read(big + small)
    assert result.column("line_no") == [2]
    assert result.rejected["text"].to_list() == [f"flow 1: its {len(big):,} bytes are too many"]
    assert [provisional for _, _, provisional in result.spans] == [False, False]


# ---- the addon in a running proxy


class Forge(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if "Authorization" in self.headers else 401)
        self.send_header("Content-Length", "2")
        self.send_header("X-GitHub-Request-Id", "A1:B2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *_args: object) -> None:
        pass


@pytest.fixture
def forge() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), Forge)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def proxy(mitmdump: str, tmp_path: Path) -> Iterator[tuple[str, Path]]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = tmp_path / "requests.jsonl"
    command = [mitmdump, "-q", "-p", str(port), "--listen-host", "127.0.0.1", "-s", str(flows.ADDON)]
    command += ["--set", f"confdir={tmp_path / 'conf'}", "--set", f"ciforensics_log={log}"]
    with subprocess.Popen(command) as running:
        for _ in range(300):
            with socket.socket() as client:
                if client.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        yield f"127.0.0.1:{port}", log
        running.terminate()


def ask(proxy: str, url: str, **headers: str) -> int:
    connection = http.client.HTTPConnection(proxy, timeout=20)
    with closing(connection):
        connection.request("GET", url, headers=headers)
        return connection.getresponse().status


def test_the_addon_logs_each_request_of_a_running_proxy_without_its_credential(
    proxy: tuple[str, Path], forge: str
) -> None:
    address, log = proxy
    assert ask(address, f"{forge}/acme/web?token={FAKE}", **{"User-Agent": "git/2.39.5"}) == 401
    assert ask(address, f"{forge}/acme/web", **{"User-Agent": "git/2.39.5", "Authorization": BASIC}) == 200
    log.rename(log.with_suffix(".1"))  # as logrotate does
    assert ask(address, "http://127.0.0.1:1/nobody") == 502
    written = log.with_suffix(".1").read_bytes() + log.read_bytes()
    assert FAKE.encode() not in written
    assert BASIC.split()[1].encode() not in written
    assert [json.loads(one)["credential"] for one in written.splitlines()] == [None, "basic", None]
    result = read(written)
    assert result.column("status") == [401, 200, None]
    assert result.column("authenticated") == [False, True, False]
    assert result.column("client_ip") == ["127.0.0.1"] * 3
    assert result.column("request_id") == ["A1:B2", "A1:B2", None]
    assert result.column("url")[0] == f"{forge}/acme/web?token=***"
    assert result.redacted == 0
