# ruff: noqa: E501 (a planted line and what it holds stand side by side)
"""Secrets never land: every shape, in every field of every source, and then everything that was written is read."""

from __future__ import annotations

import base64
import gzip
import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

import ciforensics as ci
from ciforensics import redact

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import duckdb


PROGRAM = Path(sys.executable).with_name("ciforensics")
FAKE = "FAKE0secret0"
"""In every secret."""


def base64_of(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _inside(shift: int) -> str:
    """What base64 makes of `FAKE` if it begins so many bytes behind a multiple of three."""
    whole = base64_of("x" * shift + FAKE)
    return whole[(shift * 8 + 5) // 6 : (shift + len(FAKE)) * 8 // 6].lower()


NEEDLES = (FAKE.lower(), *map(_inside, range(3)))
"""In lower case: a token whose case was changed is almost as good as the token."""


def long(number: int) -> str:
    return f"{FAKE}{number:04d}" + "x" * 20


def jwt(number: int) -> str:
    header = base64.urlsafe_b64encode(b'{"alg":"RS256"}').decode().rstrip("=")
    return f"{header}.{base64_of(json.dumps({'sub': 'someone', 'jti': long(number)}))}.{long(number)}"


SHAPES: dict[str, Callable[[int], str]] = {
    "bearer": lambda n: f"Authorization: Bearer {long(n)}",
    "basic": lambda n: f"Authorization: Basic {base64_of('someone:' + long(n))}",
    "cookie": lambda n: f"Cookie: user_session={long(n)}; _gh_sess={long(n)}",
    "user:password@": lambda n: f"https://someone:{long(n)}@github.com/acme/web.git",
    "token@": lambda n: f"https://{'ghs_' + long(n)}@github.com/acme/web.git",
    "?token=": lambda n: f"https://raw.githubusercontent.com/acme/web/main/a?token={long(n)}",
    "access_token=": lambda n: f"https://github.com/acme/web?a=1&access_token={long(n)}&b=2",
    **{
        prefix: lambda n, prefix=prefix: f"git {prefix}_{long(n)} fetch"  # type: ignore[misc]
        for prefix in ("ghp", "gho", "ghu", "ghs", "ghr", "github_pat")
    },
    "jwt": lambda n: f"git {jwt(n)} fetch",
    "blob": lambda n: f"git {base64_of('x-access-token:' + long(n))} fetch",
    "login -p": lambda n: f"docker login -u someone -p {long(n)} ghcr.io",
    "--password": lambda n: f"docker login --username someone --password={long(n)} ghcr.io",
    "-e": lambda n: f"docker run -e DB_PASSWORD={long(n)} image",
    "--build-arg": lambda n: f"docker build --build-arg NPM_TOKEN={long(n)} .",
}


@dataclass
class Planted:
    """Gives each field of a record each of the shapes, one at a time."""

    count: int = 0

    def text(self, shape: str) -> str:
        self.count += 1
        return SHAPES[shape](self.count)

    def url(self, shape: str) -> str:
        text = self.text(shape)
        return text if text.startswith("https:") else f"https://github.com/acme/web?q={quote(text, safe='')}"

    def records(self, record: dict[str, Any], *, urls: tuple[str, ...] = ()) -> Iterator[dict[str, Any]]:
        """The record itself, then copies in which one field, however deep, holds one secret."""
        yield record
        for path in _leaves(record):
            for shape in SHAPES:
                copy = json.loads(json.dumps(record))
                inner = copy
                for step in path[:-1]:
                    inner = inner[step]
                inner[path[-1]] = self.url(shape) if path[-1] in urls else self.text(shape)
                yield copy


def _leaves(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if isinstance(node, dict | list):
        for step, inner in node.items() if isinstance(node, dict) else enumerate(node):
            yield from _leaves(inner, (*path, step))
    else:
        yield path


def json_lines(records: Iterator[dict[str, Any]], planted: Planted) -> str:
    """The records, and some lines that break off in the middle of a secret's record or are no JSON at all."""
    lines = [json.dumps(record, separators=(",", ":")) for record in records]
    broken = [planted.text(shape) for shape in SHAPES]
    broken += [f"{line[:-2]}" for line in lines[1:40]]
    # Whole lines in front, so that the head tells what it is.
    return "\n".join([lines[0]] * 400 + lines + broken) + "\n"


def github_csv(planted: Planted) -> str:
    record = {
        "timestamp": "2026-11-24T03:04:13Z", "method": "GET", "url": "https://github.com/acme/web.git/info/refs",
        "status": "401", "user_agent": "git/2.39.5", "content_length": "21", "remote_address": "10.0.0.5",
        "request_id": "A1:B2", "actor": "someone", "orchestration_id": "o-1", "authenticated": "true", "elapsed": "1",
    }  # fmt: skip
    rows = [",".join(record)]
    rows += [
        ",".join(str(value) for value in each.values()) for each in planted.records(record, urls=("url",))
    ]
    rows += [planted.text(shape) for shape in SHAPES]
    return "\n".join([*rows, '2026-11-24T03:04:13Z,GET,"' + planted.text("ghp")]) + "\n"


MITMPROXY = {
    "timestamp": "2026-11-24T03:04:13Z", "method": "GET", "url": "https://github.com/acme/web.git/info/refs",
    "status": 401, "user_agent": "git/2.39.5", "content_length": 21, "client_ip": "10.0.0.5", "client_port": 4711,
    "duration_ms": 12.5, "request_id": "A1:B2", "authorization": "***", "note": "x",
}  # fmt: skip

FLOW = {
    "version": 21,
    "type": "http",
    "id": "84ac79bd",
    "error": {"msg": "refused", "timestamp": 1795489315426},
    "client_conn": {"peername": ["192.168.77.11", 34792], "timestamp_start": 1795489315415},
    "request": {
        "headers": {
            "Host": "github.com",
            "User-Agent": "git/2.39.5",
            "Authorization": "",
            "Cookie": "",
            "X-More": "",
        },
        "content": "",
        "timestamp_start": 1795489315416,
        "timestamp_end": 1795489315417,
        "host": "140.82.121.3",
        "port": 443,
        "method": "GET",
        "scheme": "https",
        "path": "/acme/web.git/info/refs",
    },
    "response": {
        "headers": {"content-length": "22", "X-GitHub-Request-Id": "A1:B2", "Set-Cookie": ""},
        "content": "",
        "timestamp_start": 1795489315420,
        "timestamp_end": 1795489315466,
        "status_code": 401,
    },
}

ENTRY = {
    "startedDateTime": "2026-11-24T04:01:55.416876+01:00",
    "time": 48.5,
    "request": {
        "method": "GET",
        "url": "https://github.com/acme/web.git/info/refs",
        "headers": [{"name": "user-agent", "value": "git/2.39.5"}, {"name": "Authorization", "value": ""}],
        "cookies": [{"name": "user_session", "value": ""}],
        "queryString": [{"name": "token", "value": ""}],
        "postData": {"text": ""},
        "bodySize": 0,
    },
    "response": {"status": 401, "headers": [{"name": "Set-Cookie", "value": ""}], "content": {"text": ""}},
    "serverIPAddress": "140.82.121.3",
}

CONNECT = {
    "ts": "1795489505", "client_ip": "10.0.0.5", "authority": "github.com:443", "bytes_up": "2220", "bytes_down": "167",
    "podmeta": {"pod": "runner-x", "namespace": "arc", "node": "node-a", "repo": "acme/web", "labels": {"team": "x"}},
}  # fmt: skip

SQUID_JSON = {
    "ts": "1795489505", "client_ip": "10.0.0.5", "method": "GET", "url": "https://github.com/acme/web", "status": "401",
    "result": "TCP_MISS/401", "user_agent": "git/2.39.5", "user": "someone", "sni": "github.com", "bytes_down": "167",
}  # fmt: skip

WRAPPER = {
    "ts": "2026-11-24T03:04:13Z", "repo": "acme/web", "workflow": "CI", "job": "build", "run_id": "9018059362",
    "cmd": "run", "args": "--rm alpine", "image": "alpine:3.20", "pod": "runner-x", "runner": "big", "exit_code": "0",
    "run_attempt": "1", "note": "x",
}  # fmt: skip

EVENT = {
    "Type": "container",
    "Action": "exec_create: sh -c true",
    "Actor": {
        "ID": "4d1f",
        "Attributes": {"image": "alpine:3.20", "name": "wry_lovelace", "exitCode": "0", "label": "x"},
    },
    "time": 1795489512,
    "timeNano": 1795489512169656392,
    "workflow": "CI",
    "repo": "acme/web",
    "job": "build",
    "run_id": "9018059362",
    "pod": "runner-x",
}


def native(planted: Planted) -> str:
    """Squid percent-encodes the blanks in a field, and in the headers that log_mime_hdrs appends."""
    usual = ["1795489505.519", "2", "127.0.0.1", "TCP_MISS/503", "3460", "GET", "http://localhost:9/", "ann",
             "HIER_DIRECT/::1", "text/html"]  # fmt: skip
    lines = [" ".join(usual)] * 400
    for field in range(len(usual)):
        for shape in SHAPES:
            text = planted.url(shape) if field == 6 else quote(planted.text(shape), safe="")
            lines.append(" ".join([*usual[:field], text, *usual[field + 1 :]]))
    for shape in SHAPES:
        headers = rf"Host:%20h\r\nX-More:%20{quote(planted.text(shape), safe=':')}\r\n"
        lines.append(" ".join([*usual, f"[{headers}]", "[HTTP/1.1%20200%20OK]"]))
        lines.append(" ".join([*usual, rf"[{quote(planted.text(shape), safe=':')}\r\n]", "[]"]))
    return "\n".join([*lines, *(planted.text(shape) for shape in SHAPES)]) + "\n"


def salvageable(planted: Planted) -> str:
    """What `echo` makes of a workflow with quotes: no JSON, put together again by the reader."""
    lines = []
    for name in ("workflow", "args"):
        for shape in SHAPES:
            text = json.dumps({**WRAPPER, name: "Q"}).replace(
                '"Q"', f'"Nightly "{planted.text(shape)}" suite"'
            )
            lines.append(text.replace(": ", ":").replace(", ", ","))
    return "\n".join(lines) + "\n"


def write_logs(folder: Path) -> None:
    planted = Planted()
    urls = ("url",)
    wrapper = json_lines(planted.records(WRAPPER), planted) + salvageable(planted)
    kubernetes = "".join(
        json.dumps({"log": line + "\n", "stream": "stdout", "time": "2026-11-24T03:04:13.5Z"}) + "\n"
        for line in wrapper.splitlines()
    )
    entries = list(planted.records(ENTRY, urls=urls))
    har = {"log": {"version": "1.2", "creator": {"name": planted.text("ghp")}, "entries": entries}}
    secret_folder = folder / f"of-{'ghp_' + long(9000)}"
    secret_folder.mkdir(parents=True)
    logs: dict[str, str] = {
        f"export-{'ghs_' + long(9001)}.csv": github_csv(planted),
        "mitmproxy.jsonl": json_lines(planted.records(MITMPROXY, urls=urls), planted),
        "jsondump.jsonl": json_lines(planted.records(FLOW, urls=("path",)), planted),
        "browser.har": json.dumps(har),
        "connect.jsonl": json_lines(planted.records(CONNECT), planted),
        "squid.jsonl": json_lines(planted.records(SQUID_JSON, urls=urls), planted),
        "access.log": native(planted),
        "wrapper.jsonl": wrapper,
        "kubernetes.log": kubernetes,
        "events.jsonl": json_lines(planted.records(EVENT), planted),
        f"unknown-{'gho_' + long(9002)}.txt": planted.text("ghp"),
    }
    for name, content in logs.items():
        (secret_folder / name).write_text(content, "utf-8")
    packed = json_lines(planted.records(WRAPPER), planted)
    (secret_folder / "wrapper.gz").write_bytes(gzip.compress(packed.encode()))


@dataclass(frozen=True)
class Made:
    """The logs, what the program wrote of them, and what it said."""

    out: Path
    said: str

    @property
    def case(self) -> Path:
        return self.out / "report" / "case.duckdb"


def run(*arguments: str | Path, cwd: Path) -> str:
    done = subprocess.run(
        [PROGRAM, *arguments], capture_output=True, text=True, check=False, cwd=cwd, timeout=120
    )
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    logs = tmp_path_factory.mktemp("logs")
    write_logs(logs)
    out = tmp_path_factory.mktemp("out")
    said = run("report", logs, "--out", "report", cwd=out)
    assert (out / "report" / "index.html").exists(), said
    said += run("ingest", logs, "--case", "again.duckdb", "--json", cwd=out)
    said += run("ingest", logs, "--case", "again.duckdb", "--map", "ts=When", cwd=out)
    said += run("sql", "FROM rejected", "--case", "report/case.duckdb", "--csv", cwd=out)
    said += run("sql", "FROM files", "--case", "report/case.duckdb", cwd=out)
    said += run("sql", "SELECT max(workflow)::INT FROM invocations", "--case", "report/case.duckdb", cwd=out)
    return Made(out, said)


def leaks(text: str) -> list[str]:
    """Where secrets stand in a text, one place for each needle."""
    lower = text.lower()
    places = [lower.find(needle) for needle in NEEDLES]
    return [text[max(0, place - 60) : place + 30] for place in places if place >= 0]


def values(case: Path) -> Iterator[tuple[str, str, str]]:
    """Each value of each column of each table and view, as text."""
    with ci.connect(case) as con:
        tables = con.sql(
            "SELECT schema_name, table_name FROM duckdb_tables() WHERE database_name = 'evidence' UNION ALL "
            "SELECT schema_name, view_name FROM duckdb_views() WHERE database_name = 'evidence' AND NOT internal"
        ).fetchall()
        for schema, name in tables:
            rows = con.sql(f'SELECT DISTINCT COLUMNS(*)::VARCHAR FROM evidence."{schema}"."{name}"')
            for row in rows.fetchall():
                for column, value in zip(rows.columns, row, strict=True):
                    if value is not None:
                        yield f"{schema}.{name}", column, value


def test_the_search_would_find_a_secret() -> None:
    for shape in SHAPES.values():
        assert leaks(shape(1)), shape(1)
        assert leaks(shape(1).upper()), shape(1)


def test_no_value_of_the_case_holds_a_secret(made: Made) -> None:
    seen, leaked = set(), []
    for table, column, value in values(made.case):
        seen.add(table)
        leaked += [(table, column, leak) for leak in leaks(value)]
    assert leaked == []
    assert {"main.requests", "main.rejected", "store.urls", "store.user_agents", "store.progress"} <= seen


def test_no_byte_that_was_written_is_of_a_secret(made: Made) -> None:
    paths = [path for path in made.out.rglob("*") if path.is_file()]
    assert {".html", ".ipynb", ".duckdb"} <= {path.suffix for path in paths}
    for path in paths:
        assert leaks(path.read_bytes().decode("latin-1")) == [], path.name
        assert leaks(str(path.relative_to(made.out))) == []


def test_the_program_says_no_secret(made: Made) -> None:
    assert leaks(re.sub(r"\s+", "", made.said)) == []
    assert leaks(made.said) == []
    assert "[redacted:ghs:" in made.said


def test_each_file_counts_what_was_taken_out(made: Made) -> None:
    with ci.connect(made.case) as con:
        files = con.sql("SELECT format, redacted, rows FROM files ORDER BY format").fetchall()
    assert len(files) == 11
    assert all(redacted > 0 and rows > 0 for _, redacted, rows in files), files


def test_the_key_is_not_in_what_was_written(made: Made) -> None:
    key = redact.load_key()
    for path in made.out.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert key not in content
            assert key.hex().encode() not in content
            assert base64.b64encode(key) not in content
    folder = Path(os.environ["XDG_CONFIG_HOME"]) / "ciforensics"
    assert (folder / "redaction.key").stat().st_mode & 0o777 == 0o600


def test_the_same_token_gets_the_same_mark_in_two_sources_and_another_token_another(
    case: Callable[..., duckdb.DuckDBPyConnection],
) -> None:
    one, other = "ghp_" + "x" * 36, "ghp_" + "y" * 36
    con = case(
        csv="timestamp,method,url,status,user_agent,content_length\n"
        f"2026-11-24T03:04:13Z,GET,https://api.github.com/?access_token={one},401,curl/8,0\n"
        f"2026-11-24T03:04:14Z,GET,https://api.github.com/?access_token={other},401,curl/8,0\n",
        wrapper=json.dumps({**WRAPPER, "args": f"build --build-arg T={one} ."}) + "\n",
    )
    mark = r"\[redacted:ghp:[0-9a-f]{8}\]"
    urls = [
        re.findall(mark, url) for (url,) in con.sql("SELECT url FROM requests ORDER BY line_no").fetchall()
    ]
    args = re.findall(mark, con.sql("SELECT args FROM invocations").fetchall()[0][0])
    assert urls[0] == args
    assert len(args) == 1
    assert urls[1] != args


def test_of_a_logged_authorization_only_whether_there_was_one_is_kept(
    case: Callable[..., duckdb.DuckDBPyConnection],
) -> None:
    secret = base64.b64encode(f"x-access-token:ghs_{FAKE}{'x' * 24}".encode()).decode()
    sent = [f"basic {secret}", f"Bearer ghs_{FAKE}{'x' * 24}", "***", "", None]
    con = case(mitmproxy="".join(json.dumps({**MITMPROXY, "authorization": value}) + "\n" for value in sent))
    assert con.sql("SELECT authenticated FROM requests ORDER BY line_no").fetchall() == [
        (True,), (True,), (True,), (False,), (False,),
    ]  # fmt: skip
    assert con.sql("SELECT redacted FROM files").fetchall() == [(2,)]
    assert "redacted" not in repr(con.sql("FROM requests").fetchall())


def test_a_message_about_a_file_that_does_not_fit_holds_no_secret(tmp_path: Path) -> None:
    log = tmp_path / f"{'ghp_' + long(1)}.csv"
    log.write_text(f"When,status,user_agent,{'ghp_' + long(2)},?token={long(3)}\n1,2,3,4,5\n", "utf-8")
    for options in ([], ["--json"], ["--source", "github_csv"], ["--map", "url=u"]):
        said = run("ingest", tmp_path, *options, cwd=tmp_path)
        assert "Columns found: When, status, user_agent, " in said
        assert leaks(said) == []
        assert leaks(re.sub(r"\s+", "", said)) == []
