"""Squid with its helper: real connections, a log that is read back, and nothing that stops CI."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import ciforensics as ci
from docker_daemon import wait_until
from kubernetes_double import pod, runner
from squid_proxy import SERVER

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from squid_proxy import Proxy

HOSTILE = 'a"b\\c\nd\x01\ud800,pod:evil","pod":"evil'


def test_git_and_curl_go_through_and_every_line_is_read(
    proxy: Proxy, server: Path, needs: Callable[..., str], tmp_path: Path
) -> None:
    curl, git = needs("curl", package="curl"), needs("git", package="git")
    www = tmp_path / "www"
    (www / "file").write_bytes(b"x" * 100_000)
    for command in (
        ["init", "-q", "--bare", "app.git"],
        ["--git-dir=app.git", "update-server-info"],
    ):
        subprocess.run([git, *command], cwd=www, check=True, capture_output=True, timeout=60)
    for number in range(2, 7):
        proxy.api.put(pod(f"runner-{number}", f"127.0.0.{number}"))
        proxy.api.put(runner(f"runner-{number}", 100 + number))
    proxy.api.put(runner("runner-4", 104, workflow=HOSTILE, job=HOSTILE))
    proxy.start()
    proxy.until_pod("127.0.0.3", "runner-3")
    through = f"http://127.0.0.1:{proxy.port}"
    subprocess.run(
        [curl, "-sSf", "--cacert", server, "-x", through, "--interface", "127.0.0.3", "-o", tmp_path / "got",
         f"https://{SERVER}/file"],
        check=True, timeout=60,
    )  # fmt: skip
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "https_proxy": through,
                   "GIT_SSL_CAINFO": str(server), "GIT_CONFIG_COUNT": "1",
                   "GIT_CONFIG_KEY_0": "http.version", "GIT_CONFIG_VALUE_0": "HTTP/1.1"}  # fmt: skip
    subprocess.run([git, "ls-remote", f"https://{SERVER}/app.git"], env=environment, check=True, timeout=60)
    assert proxy.said("127.0.0.4")["run_id"] == "104"
    assert proxy.said("127.0.0.9") == {}
    for garbage in (
        b"", b"\xff\x00\x01\r\n\r\n", b'GARB"\\ x"y\x01 HTTP/1.1\r\n\r\n', b"GET /a?b HTTP/1.1\r\n\r\n",
        b'CONNECT a"b\\c:443 HTTP/1.1\r\n\r\n', b"CONNECT h:99999 HTTP/1.1\r\n\r\n",
        b"GET ftp://user:hunter2@h/ HTTP/1.1\r\n\r\n", b"GET http://user:hunter2@h/?hunter2 HTTP/1.1\r\n\r\n",
    ):  # fmt: skip
        if garbage:
            proxy.send("127.0.0.5", garbage)
        else:
            socket.create_connection(("127.0.0.1", proxy.port), 5, source_address=("127.0.0.5", 0)).close()
    wait_until(lambda: "http://h/?" in proxy.log.read_text(), what="the last is logged")
    assert "hunter2" not in proxy.log.read_text()
    assert all(each["podmeta"].get("pod") != "evil" for each in proxy.lines())

    (report,) = ci.ingest([proxy.log], case=tmp_path / "case.duckdb")
    assert (report.source, report.rejected) == ("squid", 0)
    assert report.skipped >= 1
    con = ci.connect(tmp_path / "case.duckdb")
    tunnels = con.execute(
        "SELECT DISTINCT client_ip, namespace, pod, node, ci_repo, workflow, job, run_id, metadata IS NULL "
        "FROM tunnels WHERE status = 200 AND (run_id IN ('103', '104') OR client_ip = '127.0.0.9') "
        "ORDER BY ALL"
    ).fetchall()
    shown = 'a"b\\c\ufffdd\ufffd?,pod:evil","pod":"evil'
    known = ("ci-1", "octo/app")
    assert tunnels == [
        ("127.0.0.3", "arc-runners", "runner-3", *known, ".github/workflows/ci.yml", "build", "103", False),
        ("127.0.0.4", "arc-runners", "runner-4", *known, f".github/workflows/{shown}", shown, "104", False),
        ("127.0.0.9", None, None, None, None, None, None, None, True),
    ]  # fmt: skip
    shape = con.execute(
        "SELECT ts_kind, ts_resolution_ms, result_code, duration_ms >= 0, bytes_down > 100000, "
        "metadata IS NULL "
        "FROM tunnels WHERE client_ip = '127.0.0.3' ORDER BY bytes_down DESC LIMIT 1"
    )
    assert shape.fetchone() == ("end", 1, "TCP_TUNNEL", True, True, False)


@pytest.mark.usefixtures("server")
def test_only_port_443_of_other_hosts_is_connected_to(proxy: Proxy) -> None:
    proxy.start()
    assert " 200 " in proxy.ask("127.0.0.2", f"{SERVER}:443")
    for authority in (
        f"{SERVER}:80", "169.254.169.254:443", "[fd00:ec2::254]:443", "[::ffff:169.254.169.254]:443",
        "2852039166:443", "0xa9fea9fe:443", "169.254.43518:443", "[64:ff9b::a9fe:a9fe]:443",
        "10.0.0.1:443", "192.168.1.1:443", "[::1]:443", "[fe80::1]:443", "0.0.0.0:443",
    ):  # fmt: skip
        assert " 200 " not in proxy.ask("127.0.0.2", authority), authority
    assert " 403 " in proxy.ask("127.0.0.2", "169.254.169.254:443")
    assert " 403 " in proxy.ask("127.0.0.2", f"{SERVER}:80")
    assert " 403 " in proxy.send("127.0.0.2", f"GET http://{SERVER}/ HTTP/1.1\r\n\r\n".encode())


@pytest.mark.usefixtures("server")
def test_an_address_belongs_to_the_pod_that_has_it_now(proxy: Proxy) -> None:
    proxy.api.put(pod("old", "127.0.0.2"))
    proxy.start()
    proxy.until_pod("127.0.0.2", "old")
    proxy.api.put(pod("old", "127.0.0.2", phase="Succeeded"))
    proxy.until_pod("127.0.0.2", None)
    proxy.api.put(pod("new", "127.0.0.2", created="2026-11-24T04:00:00Z"))
    assert "run_id" not in proxy.until_pod("127.0.0.2", "new")
    proxy.api.put(runner("new", 7))  # its job comes later
    wait_until(lambda: proxy.said("127.0.0.2").get("run_id") == "7", what="the job is known")
    proxy.api.forget()
    proxy.api.delete("Pod", "new")
    proxy.until_pod("127.0.0.2", None)


@pytest.mark.usefixtures("server")
@pytest.mark.parametrize("wrong", ["hang", "garbage", "403", "500", "410", "dead"])
def test_when_kubernetes_fails_connections_go_on_at_once_and_it_recovers(wrong: str, proxy: Proxy) -> None:
    proxy.api.wrong = wrong
    if wrong == "dead":
        proxy.api.__exit__()
    proxy.api.put(pod("a", "127.0.0.2"))
    proxy.start()
    began = time.monotonic()
    assert proxy.said("127.0.0.2") == {}
    assert time.monotonic() - began < 1
    proxy.api.wrong = ""
    if wrong == "dead":
        proxy.api.__enter__()
    proxy.until_pod("127.0.0.2", "a")


@pytest.mark.usefixtures("server")
def test_a_helper_or_squid_that_dies_comes_back(proxy: Proxy) -> None:
    proxy.api.put(pod("a", "127.0.0.2"))
    proxy.start()
    proxy.until_pod("127.0.0.2", "a")
    before = proxy.helpers()
    assert len(before) == 2
    os.kill(before[0], signal.SIGKILL)
    # The connection that the dead helper is asked about is denied; that starts another helper.
    wait_until(lambda: " 200 " in proxy.ask("127.0.0.2", f"{SERVER}:443"), what="connections go on")
    proxy.until_pod("127.0.0.2", "a")
    assert len(set(proxy.helpers()) - set(before)) == 1
    proxy.kill()
    proxy.start()
    proxy.until_pod("127.0.0.2", "a")


@pytest.mark.usefixtures("server")
def test_a_helper_that_hangs_keeps_only_what_it_was_asked(proxy: Proxy) -> None:
    proxy.start()
    stopped = proxy.helpers()[0]
    os.kill(stopped, signal.SIGSTOP)
    try:
        hung = 0
        for number in range(2, 12):
            try:
                assert " 200 " in proxy.ask(f"127.0.1.{number}", f"{SERVER}:443")
            except TimeoutError:
                hung += 1
        assert hung <= 1
    finally:
        os.kill(stopped, signal.SIGCONT)
