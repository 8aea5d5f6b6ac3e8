"""What holds for every source: a newcomer under `sources/` is tested here without a line of its own."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ciforensics as ci
from ciforensics.case import load, stream, unpack
from ciforensics.case.recognition import look, recognise
from ciforensics.contract import ReadOptions, Source
from ciforensics.formats import envelopes
from ciforensics.sources import all_sources
from ciforensics.tables import TABLES

if TYPE_CHECKING:
    from collections.abc import Callable

SAMPLES = sorted((Path(__file__).parents[1] / "samples").glob("*.*"))
"""Of logs that no made-up fleet writes: `SOURCE.EXTENSION`, three records or more."""

OPTIONS = {"source": None, "mapping": None, "timezone": None}

GIT = "https://github.com/acme/web.git"
FLOW = {
    "type": "http", "id": "f1", "timestamp_created": 1795489453.5,
    "client_conn": {"peername": ["10.0.0.5", 40000]},
    "request": {"method": "GET", "scheme": "https", "host": "github.com", "port": 443,
                "path": "/acme/web.git/info/refs", "headers": {"user-agent": "git/2.39.5"},
                "timestamp_start": 1795489453500, "timestamp_end": 1795489453501},
    "response": {"status_code": 401, "headers": {"content-length": "0"}, "timestamp_start": 1,
                 "timestamp_end": 1795489453600},
}  # fmt: skip
ENTRY = {
    "startedDateTime": "2026-11-24T03:04:13.5+00:00", "time": 12.5,
    "request": {"method": "GET", "url": GIT, "headers": [{"name": "User-Agent", "value": "git/2.39.5"}]},
    "response": {"status": 401, "content": {"size": 0}},
}  # fmt: skip
EVENT = {
    "Type": "image", "Action": "pull", "Actor": {"ID": "alpine:3", "Attributes": {"name": "alpine"}},
    "scope": "local", "time": 1795489485, "timeNano": 1795489485603573981,
}  # fmt: skip
BASE = {
    "ts": "2026-11-24T03:04:13Z", "ci_repo": "acme/web", "dockerfile": "Dockerfile", "line": 2,
    "stage": "0", "instruction": "FROM", "platform": None, "reference": "golang:1.24", "image": "golang",
    "image_tag": "1.24", "image_digest": None, "registry": "docker.io", "served_by": "cache",
    "reason": "no golden version",
}  # fmt: skip
JOB = {
    "id": 403, "run_id": 9018059362, "workflow_name": "CI", "run_attempt": 1, "status": "completed",
    "run_url": "https://api.github.com/repos/acme/web/actions/runs/9018059362", "conclusion": "success",
    "started_at": "2026-11-24T03:04:13Z", "completed_at": "2026-11-24T03:04:15Z", "name": "build",
    "labels": ["arc"], "steps": [{"name": "Checkout", "number": 1}], "runner_name": "arc-runner-13",
}  # fmt: skip
POD = {
    "apiVersion": "v1", "kind": "Pod",
    "metadata": {"name": "arc-runner-13", "namespace": "arc", "creationTimestamp": "2026-11-24T03:03:13Z"},
    "spec": {"nodeName": "ci-1", "containers": [{"env": [{"name": "A", "value": '}\\"]'}]}]},
    "status": {"phase": "Running", "podIP": "10.0.0.5", "startTime": "2026-11-24T03:03:18Z"},
}  # fmt: skip

SEEDS: dict[str, str] = {
    "github csv": "timestamp,method,url,status,user_agent,content_length\n"
    f"2026-11-24T03:04:13Z,GET,{GIT}/info/refs?service=git-upload-pack,401,git/2.39.5,0\n"
    f'2026-11-24T03:04:14Z,GET,{GIT},200,"pip/23.2.1 {{""ci"":null,""cpu"":""x86_64""}}",12\n'
    f'2026-11-24T03:04:15Z,GET,{GIT},200,"two\nlines",12\n',
    "mitmproxy lines": "".join(
        json.dumps({"timestamp": f"2026-11-24T03:04:1{n}Z", "method": "GET", "url": GIT, "status": 401,
                    "user_agent": "git/2.39.5", "content_length": n}) + "\n" for n in range(3)),
    "jsondump": (json.dumps(FLOW) + "\n") * 3,
    "har": json.dumps({"log": {"version": "1.2", "entries": [ENTRY, ENTRY, ENTRY]}}, indent=1),
    "squid json": "".join(
        '{"ts":"1795489505","client_ip":"10.0.0.5","authority":"github.com:443","bytes_up":"1",'
        f'"bytes_down":"2","podmeta":{podmeta}}}\n' for podmeta in ('{"pod":"a"}', "-", "a\nb")),
    "squid native": "1795489505.137     18 10.0.0.5 TCP_TUNNEL/200 7816 CONNECT github.com:443 - "
    "HIER_DIRECT/192.0.2.1 -\n" * 3,
    "squid combined": '10.0.0.5 - - [24/Nov/2026:03:05:05 +0000] "CONNECT github.com:443 HTTP/1.1" 200 7816 '
    '"-" "git/2.39.5 "q"" TCP_TUNNEL:HIER_DIRECT\n' * 3,
    "docker wrapper": "".join(
        f'{{"ts":"2026-11-24T03:05:46Z","repo":"acme/web","workflow":"{workflow}","job":"build",'
        '"run_id":"123","cmd":"build"}\n' for workflow in ("CI", 'Build "prod" image')),
    "docker events": (json.dumps(EVENT) + "\n") * 3,
    "dockerfile scan": (json.dumps(BASE) + "\n") * 3,
    "jobs": (json.dumps({"total_count": 2, "jobs": [JOB, JOB]}) + "\n") * 2,
    "jobs printed": json.dumps([{"total_count": 1, "jobs": [JOB]}] * 3, indent=2),
    "pods": json.dumps({"apiVersion": "v1", "items": [POD, POD], "kind": "List"}, indent=4),
    "pods watched": "\n".join(json.dumps({"type": "ADDED", "object": POD}, indent=4) for _ in range(3)),
}  # fmt: skip
SEEDS |= {path.name: path.read_text("utf-8") for path in SAMPLES}


def parts(data: bytes, seed: str) -> tuple[list[stream.Batch], list[load.Prepared]]:
    """Reads `data` as the kind of log that `seed` is."""
    recognised = recognise(seed.encode(), OPTIONS)
    assert recognised is not None
    _, reader, envelope = recognised
    file, hashes = io.BytesIO(data), stream.Hashes()
    if reader.blocks:
        batches = list(stream.block_batches(file, reader=reader, start=stream.Position(), hashes=hashes))
    else:
        assemble = envelopes.assembler(envelope, reader.assemble)
        batches = list(
            stream.line_batches(
                file, reader=reader, assemble=assemble, start=stream.Position(), hashes=hashes
            )
        )
    return batches, [load.prepare(batch, reader.parse, b"key") for batch in batches]


def assert_adds_up(data: bytes, seed: str) -> load.Counts:
    """Each byte is in one span; each record is one row, rejected or skipped (`prepare` raises otherwise)."""
    batches, prepared = parts(data, seed)
    total = load.Counts()
    for each in prepared:
        total.add(each.counts)
    assert sum(batch.data for batch in batches) == len(data)
    assert total.header_bytes + total.blank_bytes + total.record_bytes == len(data)
    assert min(total.header_bytes, total.blank_bytes, total.record_bytes) >= 0
    assert total.records == total.rows + total.rejected + total.skipped.total()
    last = max(data.count(b"\n") + 1, total.records)  # elements of JSON documents are counted instead
    for each in prepared:
        for frame in (*each.rows.values(), each.rejected):
            assert all(1 <= line <= last for line in frame["line_no"])
    return total


MUTATIONS: dict[str, Callable[[bytes, int], bytes]] = {
    "cut at the end": lambda data, at: data[:at],
    "cut at the start": lambda data, at: data[at:],
    "a byte missing": lambda data, at: data[:at] + data[at + 1 :],
    "NUL bytes": lambda data, at: data[:at] + b"\0\0" + data[at:],
    "invalid UTF-8": lambda data, at: data[:at] + b"\xff\xc3" + data[at:],
    "a newline": lambda data, at: data[:at] + b"\n" + data[at:],
    "a quote": lambda data, at: data[:at] + b'"' + data[at:],
    "a carriage return": lambda data, at: data[:at] + b"\r\n" + data[at:],
    "glued": lambda data, at: data[:at].replace(b"\n", b"") + data[at:],
    "a piece twice": lambda data, at: data[:at] + data[max(0, at - 40) :],
    "garbage between": lambda data, at: data[:at] + b"\n}{][,,,;;\t\x1e\n\n" + data[at:],
}


@given(
    seed=st.sampled_from(sorted(SEEDS)),
    changes=st.lists(st.tuples(st.sampled_from(sorted(MUTATIONS)), st.floats(0, 1)), min_size=1, max_size=4),
)
@settings(max_examples=300, deadline=None)
def test_however_a_log_is_mutilated_every_byte_and_every_record_is_accounted_for(
    seed: str, changes: list[tuple[str, float]]
) -> None:
    data = SEEDS[seed].encode()
    for change, where in changes:
        data = MUTATIONS[change](data, int(where * len(data)))
    assert_adds_up(data, SEEDS[seed])


@pytest.mark.parametrize("seed", sorted(SEEDS))
def test_a_whole_log_has_nothing_rejected(seed: str) -> None:
    total = assert_adds_up(SEEDS[seed].encode(), SEEDS[seed])
    assert total.rejected == 0
    assert total.rows >= 2


@pytest.mark.parametrize("seed", sorted(SEEDS))
def test_a_line_of_ten_megabytes_is_read_or_rejected_whole(seed: str) -> None:
    data = SEEDS[seed].encode()
    end = data.index(b"\n") + 1
    total = assert_adds_up(data[:end] + b"x" * 10_000_000 + b"\n" + data[end:], SEEDS[seed])
    assert total.records >= 1


@pytest.mark.parametrize("seed", sorted(SEEDS))
def test_nothing_and_a_first_line_alone_are_no_trouble(seed: str) -> None:
    assert assert_adds_up(b"", SEEDS[seed]).records == 0
    data = SEEDS[seed].encode()
    assert_adds_up(data[: data.index(b"\n") + 1], SEEDS[seed])


@pytest.mark.parametrize("log", all_sources(), ids=lambda log: log.name)
def test_a_source_fills_columns_that_the_data_dictionary_has(log: Source) -> None:
    for table, columns in log.fills.items():
        assert set(columns) <= set(TABLES[table].types)
        assert all(columns.values())


@pytest.mark.parametrize("log", all_sources(), ids=lambda log: log.name)
def test_the_line_that_a_source_shows_in_its_docstring_loads(log: Source, tmp_path: Path) -> None:
    shown = re.findall(r"^    (\S.*)$", log.doc, re.MULTILINE)
    (tmp_path / "shown.log").write_text("\n".join(shown) + "\n")
    [report] = ci.ingest([tmp_path / "shown.log"], case=tmp_path / "case.duckdb")
    assert (report.source, report.rejected) == (log.name, 0)
    assert report.rows >= 1


@pytest.mark.parametrize("log", all_sources(), ids=lambda log: log.name)
def test_a_source_has_a_sample_that_only_it_recognises(log: Source) -> None:
    with ci.connect() as con:
        rows = con.execute("SELECT path FROM files WHERE source = ? AND rows > 0", [log.name]).fetchall()
    paths = [Path(path) for (path,) in rows] + [path for path in SAMPLES if path.stem == log.name]
    assert paths, f"a sample is missing: tests/samples/{log.name}.jsonl or the like"
    for path in paths:
        with unpack.open_content(path, limit=unpack.MAX_UNCOMPRESSED) as (content, _, _):
            head = content.read(1 << 18)
        seen, _ = look(head)
        claims = [
            other.name
            for other in all_sources()
            if other.recognise(seen, ReadOptions(ZoneInfo("UTC"))) is not None
        ]
        assert claims == [log.name]


def test_a_name_has_one_type_in_all_tables() -> None:
    types: dict[str, set[str]] = {}
    for table in TABLES.values():
        for name, kind in table.types.items():
            types.setdefault(name, set()).add(kind)
    assert {name: kinds for name, kinds in types.items() if len(kinds) > 1} == {}


def test_a_case_has_the_tables_and_types_of_the_data_dictionary() -> None:
    with ci.connect() as con:
        for table in TABLES.values():
            columns = con.execute(f"SELECT column_name, column_type FROM (DESCRIBE {table.name})").fetchall()
            assert dict(columns) == table.types


def test_files_add_up_in_the_sample_case() -> None:
    with ci.connect() as con:
        assert con.execute(
            "SELECT count(*) FROM files WHERE records <> rows + rejected + skipped"
        ).fetchone() == (0,)
        assert con.execute(
            "SELECT count(*) FROM files JOIN store.progress USING (file_id) "
            "WHERE bytes <> header_bytes + blank_bytes + record_bytes + provisional_bytes"
        ).fetchone() == (0,)
        for table, column in (("rejected", "rejected"), ("skipped", "skipped")):
            counted = "count(*)" if table == "rejected" else "coalesce(sum(records), 0)"
            query = f"SELECT (SELECT {counted} FROM {table}) = (SELECT sum({column}) FROM files)"
            assert con.execute(query).fetchone() == (True,)
