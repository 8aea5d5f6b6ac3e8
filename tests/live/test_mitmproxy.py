"""A real mitmdump, started as the kit's DaemonSet starts it, between a real git and a forge double."""

from __future__ import annotations

import base64
import os
import shutil
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

import ciforensics as ci
from ciforensics.formats.flows import VARIABLE
from docker_daemon import free_port, wait_until
from forge_double import ForgeDouble
from lab_proxy import LabProxy

TOKENS = {
    where: "gh" + "s_" + f"{number}F4KE" * 7 + "x"
    for number, where in enumerate(("credential", "query", "cookie"))
}


@pytest.fixture(scope="session")
def forge(tmp_path_factory: pytest.TempPathFactory, mitmdump: str) -> Iterator[ForgeDouble]:  # noqa: ARG001
    with ForgeDouble(tmp_path_factory.mktemp("forge")) as started:
        yield started


Start = Callable[..., AbstractContextManager[LabProxy]]


@pytest.fixture
def start(mitmdump: str, forge: ForgeDouble, tmp_path: Path) -> Start:
    """Runs a proxy for a `with`, with further arguments; `wait=False`: whether or not it comes to listen."""

    @contextmanager
    def run(*more: str, wait: bool = True) -> Iterator[LabProxy]:
        (tmp_path / "proxy").mkdir()
        with LabProxy(tmp_path / "proxy", mitmdump, forge.certificate, more) as proxy:
            proxy.start() if wait else proxy.launch()
            yield proxy

    return run


def client(proxy: LabProxy, *command: str, trusts: Path | None = None) -> subprocess.CompletedProcess[bytes]:
    """A program on a runner: what the runner's values put into its environment."""
    trusted = str(trusts or proxy.trust)
    return subprocess.run(
        command,
        cwd=proxy.folder.parent,
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(proxy.folder.parent),
            "HTTPS_PROXY": f"http://127.0.0.1:{proxy.port}",
            "NO_PROXY": "",
            "GIT_SSL_CAINFO": trusted,
            "CURL_CA_BUNDLE": trusted,
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_TERMINAL_PROMPT": "0",
        },
        capture_output=True,
        check=False,
        timeout=60,
    )


def clone(proxy: LabProxy, forge: ForgeDouble, name: str) -> None:
    """By a git that has a credential helper and a cookie."""
    helper = f"!f() {{ echo username=x-access-token; echo password={TOKENS['credential']}; }}; f"
    done = client(
        proxy,
        *("git", "-c", f"credential.helper={helper}", "-c", f"http.extraHeader=Cookie: a={TOKENS['cookie']}"),
        *("clone", "-q", f"{forge.url}/acme/web.git", name),
    )
    assert done.returncode == 0, done.stderr.decode()


def fetch(proxy: LabProxy, forge: ForgeDouble, path: str, *more: str) -> int:
    done = client(proxy, "curl", "-s", "-o", os.devnull, *more, f"{forge.url}{path}")
    return done.returncode


def holding(folder: Path, secrets: list[str]) -> list[Path]:
    """The files below a folder that hold one of these."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert files
    return [path for path in files if any(secret.encode() in path.read_bytes() for secret in secrets)]


def test_a_clone_is_a_challenge_and_its_answers_on_one_connection_and_no_token_is_on_disk(
    start: Start, forge: ForgeDouble, tmp_path: Path
) -> None:
    with start() as proxy:
        before = len(forge.asked)
        proxy.process.send_signal(signal.SIGHUP)  # nothing to open again, and no reason to end
        clone(proxy, forge, "first")
        userinfo = forge.url.replace("://", f"://x-access-token:{TOKENS['credential']}@")
        done = client(proxy, "git", "ls-remote", f"{userinfo}/acme/web.git")
        assert done.returncode == 0, done.stderr.decode()
        assert fetch(proxy, forge, f"/acme/web?access_token={TOKENS['query']}&page=2") == 0
        asked = forge.asked[before:]
    lines = proxy.lines()
    assert [(line["method"], line["status"], line["authenticated"]) for line in lines] == [
        (method, status, authenticated) for method, _, authenticated, status in asked
    ]
    first = lines[:4]
    assert [(line["method"], line["status"]) for line in first] == [
        ("GET", 401), ("GET", 200), ("POST", 200), ("POST", 200),
    ]  # fmt: skip
    assert [line["credential"] for line in first] == [None, "basic", "basic", "basic"]
    assert len({(line["client_ip"], line["client_port"]) for line in first}) == 1
    assert first[3]["content_length"] > forge.size  # chunked: counted as it passed
    assert lines[-1]["url"] == f"{forge.url}/acme/web?access_token=***&page=2"
    assert (lines[0]["user_agent"] or "").startswith("git/")
    (report,) = ci.ingest([proxy.log], case=tmp_path / "case.duckdb")
    assert (report.source, report.rows, report.rejected, report.redacted) == ("mitmproxy", len(lines), 0, 0)
    con = ci.connect(tmp_path / "case.duckdb")
    outcomes = con.sql("SELECT outcome FROM unauthorized() ORDER BY line_no").fetchall()
    con.close()
    assert outcomes == [("challenge",), ("challenge",), ("refused",)]
    basic = base64.b64encode(f"x-access-token:{TOKENS['credential']}".encode()).decode()
    assert holding(tmp_path, [*TOKENS.values(), basic]) == []
    assert "addon.py" not in (proxy.folder / "stderr").read_text()


def test_a_log_that_is_renamed_and_one_that_is_copied_and_truncated_go_on_after_a_sighup(
    start: Start, forge: ForgeDouble, tmp_path: Path
) -> None:
    log = tmp_path / "requests.jsonl"
    with start("--set", f"ciforensics_log={log}") as proxy:
        fetch(proxy, forge, "/1")
        log.rename(tmp_path / "renamed")
        proxy.process.send_signal(signal.SIGHUP)
        wait_until(lambda: not proxy.holds(tmp_path / "renamed"), what="the renamed log is let go")
        fetch(proxy, forge, "/2")
        shutil.copy(log, tmp_path / "copied")
        os.truncate(log, 0)
        proxy.process.send_signal(signal.SIGHUP)
        fetch(proxy, forge, "/3")
        log.rename(tmp_path / "moved")
        fetch(proxy, forge, "/4")  # without a signal
        assert proxy.process.poll() is None
    names = ("renamed", "copied", "moved", "requests.jsonl")
    logs = [tmp_path / name for name in names]
    assert [line["url"].rsplit("/")[-1] for each in logs for line in proxy.lines(each)] == [
        "1",
        "2",
        "3",
        "4",
    ]
    (moved,) = (tmp_path / "moved").read_bytes().splitlines()
    assert moved.startswith(b"{")  # no hole where the truncated lines were


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 kB."""
    if os.geteuid() != 0:
        pytest.skip("mount needs root")
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", disk], check=True, timeout=20)
    yield disk
    subprocess.run(["umount", "--lazy", disk], check=True, timeout=20)


def test_on_a_full_disk_requests_pass_and_only_whole_lines_are_logged(
    start: Start, forge: ForgeDouble, small_disk: Path, tmp_path: Path
) -> None:
    log, ballast = small_disk / "requests.jsonl", small_disk / "ballast"
    with start("--set", f"ciforensics_log={log}") as proxy:
        assert fetch(proxy, forge, "/before") == 0
        with ballast.open("wb", buffering=0) as file, suppress(OSError):
            while file.write(b"x" * 100):
                pass
        paths = [f"/{number}-{'x' * 1000}" for number in range(8)]  # more than a page of memory
        assert [fetch(proxy, forge, path) for path in paths] == [0] * len(paths)
        ballast.unlink()
        assert fetch(proxy, forge, "/after") == 0
    urls = [line["url"] for line in proxy.lines(log)]
    assert (urls[0], urls[-1]) == (f"{forge.url}/before", f"{forge.url}/after")
    missing = 2 + len(paths) - len(urls)
    assert missing > 0
    said = proxy.log.read_text()
    assert said.count("No space left on device") == 1
    assert f"written again, {missing} lines are missing" in said
    assert "Traceback" not in said
    (report,) = ci.ingest([log], case=tmp_path / "case.duckdb")
    assert (report.rows, report.rejected) == (len(urls), 0)


def test_a_wrong_path_for_the_log_is_told_at_once(start: Start) -> None:
    with start("--set", "ciforensics_log=/nowhere/log", wait=False) as proxy:
        assert proxy.process.wait(timeout=60) == 1
    said = proxy.log.read_text()
    assert "ciforensics_log=/nowhere/log cannot be opened: No such file or directory" in said
    assert "Traceback" not in said


def test_a_proxy_that_was_killed_goes_on_in_the_same_log(
    start: Start, forge: ForgeDouble, tmp_path: Path
) -> None:
    log = tmp_path / "requests.jsonl"
    with start("--set", f"ciforensics_log={log}") as proxy:
        clone(proxy, forge, "first")
        proxy.process.kill()
        proxy.process.wait()
        assert fetch(proxy, forge, "/meanwhile") != 0
        proxy.start()
        clone(proxy, forge, "second")
    assert [line["status"] for line in proxy.lines(log)] == [401, 200, 200, 200] * 2
    (report,) = ci.ingest([log], case=tmp_path / "case.duckdb")
    assert (report.rows, report.rejected) == (8, 0)


def test_a_dump_recorded_beside_the_log_gives_the_same_lines(
    start: Start, forge: ForgeDouble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dump = tmp_path / "flows.mitm"
    with start("-w", str(dump)) as proxy:
        clone(proxy, forge, "first")
        assert fetch(proxy, forge, "/acme/web?token=" + TOKENS["query"]) == 0
    monkeypatch.setenv(VARIABLE, proxy.mitmdump)
    same = []
    for number, path in enumerate((proxy.log, dump)):
        case = tmp_path / f"{number}.duckdb"
        (report,) = ci.ingest([path], case=case)
        assert (report.source, report.rejected) == ("mitmproxy", 0)
        con = ci.connect(case)
        same.append(con.sql("SELECT * EXCLUDE (file_id) FROM requests ORDER BY ts").fetchall())
        con.close()
    assert len(same[0]) == 5
    assert same[0] == same[1]
    assert TOKENS["query"].encode() in dump.read_bytes()  # which is why nobody should keep one


def test_other_hosts_pass_unread(start: Start, forge: ForgeDouble) -> None:
    with start() as proxy:
        address = forge.url.replace("localhost", "127.0.0.1")
        usual = client(proxy, "curl", "-s", f"{address}/acme")
        only_the_proxys = client(proxy, "curl", "-s", f"{address}/acme", trusts=proxy.folder / "ca.crt")
    assert usual.returncode == 0  # the runner's own trust store is still in force
    assert only_the_proxys.returncode == 60  # it was the forge's own certificate
    assert proxy.lines() == []


def test_a_tunnel_that_comes_to_nothing_is_a_line_that_is_no_request(
    start: Start, forge: ForgeDouble, tmp_path: Path
) -> None:
    with start() as proxy:
        assert client(proxy, "curl", "-s", f"{forge.url}/acme", trusts=forge.certificate).returncode == 60
        nobody = f"localhost:{free_port()}"
        assert client(proxy, "curl", "-s", f"https://{nobody}/").returncode != 0
        wait_until(lambda: len(proxy.lines()) == 2, what="both are logged")
        assert fetch(proxy, forge, "/acme") == 0
    distrust, refused, request = proxy.lines()
    assert (distrust["method"], distrust["url"]) == ("CONNECT", forge.url.removeprefix("https://"))
    assert "does not trust the proxy's certificate" in distrust["error"]
    assert (refused["method"], refused["url"], refused["status"]) == ("CONNECT", nobody, 502)
    assert request["status"] == 401
    (report,) = ci.ingest([proxy.log], case=tmp_path / "case.duckdb")
    assert (report.rows, report.rejected, report.skipped) == (1, 0, 2)


def test_large_bodies_pass_without_filling_the_memory(
    start: Start, forge: ForgeDouble, tmp_path: Path
) -> None:
    size = 200 << 20
    with (tmp_path / "body").open("wb") as file:
        file.truncate(size)
    with start() as proxy, http_server(tmp_path) as downloads:
        before = peak_memory(proxy)
        up = ("-X", "POST", "-H", "Expect:", "-H", "Transfer-Encoding: chunked", "-T", str(tmp_path / "body"))
        assert fetch(proxy, forge, "/up", *up) == 0
        down = client(proxy, "curl", "-s", "-x", f"http://127.0.0.1:{proxy.port}", f"{downloads}/body")
        assert len(down.stdout) == size
        assert peak_memory(proxy) - before < 50 << 20
    sent, received = proxy.lines()
    assert (sent["request_bytes"], received["content_length"]) == (size, size)


@contextmanager
def http_server(folder: Path) -> Iterator[str]:
    handler = partial(SimpleHTTPRequestHandler, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def peak_memory(proxy: LabProxy) -> int:
    """In bytes."""
    status = Path(f"/proc/{proxy.process.pid}/status").read_text()
    (kilobytes,) = (line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:"))
    return 1024 * int(kilobytes)


ODD = {
    b"/cut": b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf",
    b"/nothing": b"",
    b"/socket": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    # to the key of RFC 6455's example; then two messages, `Hello` and `bye`, and the end
    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n\x81\x05Hello\x81\x03bye\x88\x00",
}


@pytest.fixture
def odd_server() -> Iterator[str]:
    """A server that answers as `ODD` says and hangs up."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            for _ in ODD:
                connection, _ = server.accept()
                with connection, suppress(OSError):
                    request = connection.recv(65536)
                    connection.sendall(ODD[request.split()[1]])
                    connection.shutdown(socket.SHUT_WR)
                    while connection.recv(65536):
                        pass

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        thread.join(timeout=30)
        assert not thread.is_alive()


def test_answers_that_break_off_or_never_come_or_become_a_websocket_are_a_line_each(
    start: Start, odd_server: str, tmp_path: Path
) -> None:
    with start() as proxy:
        for path in ODD:
            with socket.create_connection(("127.0.0.1", proxy.port), timeout=30) as connection:
                connection.sendall(
                    f"GET {odd_server}{path.decode()} HTTP/1.1\r\nHost: {odd_server[7:]}\r\n"
                    "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                    f'User-Agent: a"\\\xff {TOKENS["credential"]}\r\n'
                    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode("latin-1")
                )
                got = b""
                while (b"bye" not in got) and (more := connection.recv(65536)):
                    got += more
            assert got.startswith((ODD[path] or b"HTTP/1.1 502")[:12])
        wait_until(lambda: len(proxy.lines()) == len(ODD), what="all are logged")
    lines = proxy.lines()
    assert [(line["status"], line["content_length"]) for line in lines] == [(200, 4), (None, None), (101, 0)]
    assert [bool(line["error"]) for line in lines] == [True, True, False]
    assert {line["user_agent"] for line in lines} == {'a"\\\udcff ***'}
    assert "Traceback" not in proxy.log.read_text() + (proxy.folder / "stderr").read_text()
    (report,) = ci.ingest([proxy.log], case=tmp_path / "case.duckdb")
    assert (report.rows, report.rejected) == (len(ODD), 0)


def test_requests_over_one_http_2_connection_are_a_line_each(start: Start, forge: ForgeDouble) -> None:
    with start("--set", "connection_strategy=lazy") as proxy:  # the forge does not speak HTTP/2
        urls = [f"{forge.url}/{number}" for number in range(20)]
        done = client(proxy, "curl", "-s", "--parallel", "--http2", "-w", "%{http_version} ", *urls)
        assert done.stdout.split() == [b"2"] * len(urls), done.stderr
    lines = proxy.lines()
    assert sorted(line["url"] for line in lines) == sorted(urls)
    assert len({line["client_port"] for line in lines}) == 1
    assert {line["status"] for line in lines} == {401}
