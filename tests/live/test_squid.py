"""The exported squid.conf with the real Squid, the helper, a Kubernetes API, curl and git, on loopback."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import pytest
import yaml

import ciforensics as ci
from docker_daemon import wait_until
from kubernetes_double import KubernetesDouble, pod, runner
from squid_proxy import CLEAN, ORIGIN, Proxy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

AT_ONCE_S = 1.0  # a CONNECT takes a millisecond; a machine may be busy


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """A folder that Squid's user may enter: pytest's own are closed to it."""
    with tempfile.TemporaryDirectory(prefix="ciforensics-squid-") as made:
        Path(made).chmod(0o755)
        yield Path(made)


@pytest.fixture(scope="module", autouse=True)
def origin(
    needs: Callable[..., str],
    as_root: None,  # noqa: ARG001 (to listen on port 443)
    folder: Path,
) -> Iterator[Path]:
    """An HTTPS server on port 443 with a git repository in it; its certificate."""
    site, certificate = folder / "site", folder / "certificate.pem"
    git, openssl = needs("git", package="git"), needs("openssl", package="openssl")
    subprocess.run(
        [openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
         "-keyout", folder / "key.pem", "-out", certificate, "-days", "1",
         "-subj", "/CN=origin", "-addext", f"subjectAltName=IP:{ORIGIN}"],
        check=True, capture_output=True,
    )  # fmt: skip
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.com"]
    subprocess.run([git, "init", "-q", folder / "work"], check=True)
    subprocess.run(
        [git, "-C", folder / "work", *identity, "commit", "-q", "--allow-empty", "-m", "one"], check=True
    )
    subprocess.run([git, "clone", "-q", "--bare", folder / "work", site / "repo.git"], check=True)
    subprocess.run([git, "-C", site / "repo.git", "update-server-info"], check=True)
    (site / "payload").write_bytes(b"x" * 100_000)

    class Handler(SimpleHTTPRequestHandler):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments, directory=str(site))

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, folder / "key.pem")
    server = _Server((ORIGIN, 443), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield certificate
    server.shutdown()
    server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """Some clients only connect."""


@pytest.fixture(scope="module")
def api() -> Iterator[KubernetesDouble]:
    with KubernetesDouble() as double:
        yield double


@pytest.fixture(scope="module")
def proxy(needs: Callable[..., str], api: KubernetesDouble, folder: Path) -> Iterator[Proxy]:
    squid = needs("squid", package="squid")
    (folder / "squid").mkdir()
    with Proxy(folder / "squid", squid, api.url) as started:
        api.put("pods", pod("first", "127.0.0.250"))
        started.await_pod("first", source="127.0.0.250")
        yield started


@pytest.fixture
def curl(needs: Callable[..., str], proxy: Proxy, origin: Path) -> Callable[..., str]:
    """`curl(URL, source=…)` is the status of the answer, or of the proxy's to CONNECT."""

    def ask(url: str, *options: str, source: str) -> str:
        said = subprocess.run(
            [needs("curl", package="curl"), "-s", "-o", os.devnull, "-w", "%{http_connect} %{http_code}",
             "--max-time", "60", "--interface", source, "-x", proxy.url, "--cacert", origin, *options, url],
            capture_output=True, text=True, check=False, env=CLEAN,
        )  # fmt: skip
        return said.stdout

    return ask


def job(name: str, **status: Any) -> dict[str, Any]:
    """An EphemeralRunner that has a job."""
    given: dict[str, Any] = {
        "jobRepositoryName": "octo/app",
        "jobWorkflowRef": "octo/app/.github/workflows/ci.yml@refs/heads/main",
        "jobDisplayName": "build",
        "workflowRunId": 4711,
    }
    return runner(name, **(given | status))


def test_a_line_tells_pod_and_job_times_and_bytes(
    proxy: Proxy, api: KubernetesDouble, curl: Callable[..., str]
) -> None:
    api.put("ephemeralrunners", job("ci-1"))
    api.put("pods", pod("ci-1", "127.0.0.2"))
    proxy.await_pod("ci-1", source="127.0.0.2")
    before = len(proxy.lines("127.0.0.2"))
    assert curl(f"https://{ORIGIN}/payload", source="127.0.0.2") == "200 200"
    assert curl(f"https://{ORIGIN}/payload", "--data-binary", "x" * 50_000, source="127.0.0.2") == "200 204"
    wait_until(lambda: len(proxy.lines("127.0.0.2")) == before + 2, what="two more lines")
    down, up = proxy.lines("127.0.0.2")[-2:]
    for line in (down, up):
        assert {name: line[name] for name in ("pod", "namespace", "node", "repo", "workflow", "job")} == {
            "pod": "ci-1",
            "namespace": "runners",
            "node": "node-1",
            "repo": "octo/app",
            "workflow": ".github/workflows/ci.yml",
            "job": "build",
        }
        assert (line["run_id"], line["method"], line["status"]) == ("4711", "CONNECT", "200")
        assert line["result"].startswith("TCP_TUNNEL")
        assert line["authority"] == f"{ORIGIN}:443"
        assert float(line["ts"]) - float(line["start"]) == pytest.approx(
            int(line["duration_ms"]) / 1000, abs=0.01
        )
        assert int(line["client_port"])
    assert 100_000 < int(down["bytes_down"]) < 110_000
    assert int(down["bytes_up"]) < 5_000
    assert 50_000 < int(up["bytes_up"]) < 60_000


def test_git_clones_through_it(needs: Callable[..., str], proxy: Proxy, origin: Path, tmp_path: Path) -> None:
    values = yaml.safe_load((proxy.folder / "kit" / "runner" / "values.yaml").read_text())
    (container,) = values["template"]["spec"]["containers"]
    variables = {each["name"]: each["value"] for each in container["env"]}
    variables |= {name: proxy.url for name in variables if name.lower() == "https_proxy"}
    variables |= {name: "localhost" for name in variables if name.lower() == "no_proxy"}
    command = ["clone", "-q", f"https://{ORIGIN}/repo.git", str(tmp_path / "clone")]
    environment = CLEAN | variables | {"GIT_SSL_CAINFO": str(origin), "GIT_CURL_VERBOSE": "1"}
    done = subprocess.run(
        [needs("git", package="git"), *command], env=environment, capture_output=True, text=True, check=True
    )
    assert "CONNECT" in done.stderr
    assert "HTTP/1.1 200 Connection established" in done.stderr
    assert (tmp_path / "clone" / ".git" / "HEAD").is_file()
    wait_until(lambda: bool(proxy.lines("127.0.0.1")), what="git's line")
    assert {line["authority"] for line in proxy.lines("127.0.0.1")} == {f"{ORIGIN}:443"}


HOSTILE = 'a "q" \\ b\\" é 🙈 {"pod":"x"} %22 ${x}'


@pytest.mark.parametrize(
    ("source", "name", "logged"),
    [
        ("127.0.0.10", HOSTILE, HOSTILE),
        ("127.0.0.11", "one\ntwo\r\n\tthree\x00\x1b[31m\x7f", None),
        ("127.0.0.12", "x" * 5000, None),
        ("127.0.0.13", "\ud83d lone", None),
        ("127.0.0.14", "-", "-"),
    ],
    ids=["quotes", "controls", "long", "surrogate", "dash"],
)
def test_a_job_may_be_called_anything(
    proxy: Proxy, api: KubernetesDouble, source: str, name: str, logged: str | None
) -> None:
    host = f"hostile-{source.rpartition('.')[2]}"
    api.put("ephemeralrunners", job(host, jobDisplayName=name))
    api.put("pods", pod(host, source))
    wait_until(lambda: _asks(proxy, source)["run_id"] == "4711", what="the job is known")
    found = proxy.lines(source)[-1]
    assert (found["pod"], found["workflow"]) == (host, ".github/workflows/ci.yml")
    assert len(found["job"]) <= 200
    assert found["job"].isprintable()
    if logged:
        assert found["job"] == logged


def _asks(proxy: Proxy, source: str) -> dict[str, str]:
    """Connects, and gives the line of that."""
    before = len(proxy.lines(source))
    proxy.connect(source)
    wait_until(lambda: len(proxy.lines(source)) > before, what="one more line")
    return proxy.lines(source)[-1]


def test_an_address_that_is_used_again_belongs_to_the_new_pod(proxy: Proxy, api: KubernetesDouble) -> None:
    old = pod("old", "127.0.0.20")
    api.put("pods", old)
    proxy.await_pod("old", source="127.0.0.20")
    api.delete("pods", old)
    proxy.await_pod(None, source="127.0.0.20")
    api.put("pods", pod("new", "127.0.0.20", since="2026-11-24T04:00:00Z"))
    proxy.await_pod("new", source="127.0.0.20")


def test_a_job_that_starts_after_its_pod_is_told_from_then_on(proxy: Proxy, api: KubernetesDouble) -> None:
    api.put("ephemeralrunners", runner("late"))
    api.put("pods", pod("late", "127.0.0.21"))
    proxy.await_pod("late", source="127.0.0.21")
    assert proxy.lines("127.0.0.21")[-1]["run_id"] == "-"
    api.put("ephemeralrunners", job("late"))
    wait_until(lambda: _asks(proxy, "127.0.0.21")["run_id"] == "4711", what="the job is known")


@pytest.mark.parametrize(
    ("source", "request_line"),
    [
        ("127.0.0.30", "CONNECT 169.254.169.254:443"),
        ("127.0.0.31", "CONNECT [fd00:ec2::254]:443"),
        ("127.0.0.32", "CONNECT [::ffff:169.254.169.254]:443"),
        ("127.0.0.33", "CONNECT 2852039166:443"),
        ("127.0.0.34", "CONNECT 127.0.1.2:443"),
        ("127.0.0.35", "CONNECT [::1]:443"),
        ("127.0.0.36", "CONNECT 10.0.0.1:443"),
        ("127.0.0.42", "CONNECT metadata.test:443"),
        ("127.0.0.37", f"CONNECT {ORIGIN}:80"),
        ("127.0.0.38", f"CONNECT {ORIGIN}:22"),
        ("127.0.0.39", f"GET http://{ORIGIN}/"),
        ("127.0.0.40", f"GET https://{ORIGIN}/"),
        ("127.0.0.41", "GET http://squid/squid-internal-mgr/info"),
    ],
)
def test_what_is_refused_is_logged_with_its_pod(
    proxy: Proxy, api: KubernetesDouble, source: str, request_line: str
) -> None:
    name = f"refused-{source.rpartition('.')[2]}"
    api.put("pods", pod(name, source))
    proxy.await_pod(name, source=source)
    before = len(proxy.lines(source))
    answer = proxy.send(f"{request_line} HTTP/1.1\r\n\r\n".encode(), source=source)
    assert answer == b"HTTP/1.1 403 Forbidden"
    wait_until(lambda: len(proxy.lines(source)) > before, what="one more line")
    line = proxy.lines(source)[-1]
    assert (line["pod"], line["status"]) == (name, "403")
    assert line["result"].startswith("TCP_DENIED")  # and _ABORTED, since we did not wait for the page


def test_a_name_is_allowed_where_its_address_is(proxy: Proxy) -> None:
    assert proxy.connect("127.0.0.44", "origin.test:443") == b"HTTP/1.1 200 Connection established"
    assert proxy.line("127.0.0.44")["authority"] == "origin.test:443"


def test_its_own_probe_is_not_logged_and_for_nobody_else(proxy: Proxy) -> None:
    assert proxy.is_well()
    assert proxy.connect("127.0.0.43", "127.0.0.1:1") == b"HTTP/1.1 403 Forbidden"
    assert proxy.line("127.0.0.43")["authority"] == "127.0.0.1:1"
    assert {line["authority"] for line in proxy.lines("127.0.0.1")} <= {f"{ORIGIN}:443"}


GARBAGE = (
    b"",
    b"\r\n",
    b"\xff\x00\x01\r\n\r\n",
    b'GARBAGE"\\ x"y\\z\x01 HTTP/1.1\r\n\r\n',
    b'GET http://user:hunter2@ex"am\\ple/a"b\\c\x01?q=1 HTTP/1.1\r\n\r\n',
    b"GET http://user:hunter2@example.com:90/a?token=hunter2 HTTP/1.1\r\n\r\n",
    b"GET ftp://user:hunter2@example.com/x HTTP/1.1\r\n\r\n",
    b'CONNECT a"b\\c:22 HTTP/1.1\r\n\r\n',
    b"CONNECT user:22@hunter2:443 HTTP/1.1\r\n\r\n",
    b"CONNECT hunter2:99999@example.com:443 HTTP/1.1\r\n\r\n",
    b"GET foo://user:hunter2@example.com/x HTTP/1.1\r\n\r\n",
    b"CONNECT h\xff\x01:443 HTTP/1.1\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"A" * 70_000 + b"\r\n",
)


def test_probes_and_garbage_leave_json_without_secrets(proxy: Proxy) -> None:
    source = "127.0.0.50"
    for data in GARBAGE:
        with socket.create_connection(
            ("127.0.0.1", proxy.port), timeout=30, source_address=(source, 0)
        ) as line:
            line.sendall(data)
            line.shutdown(socket.SHUT_WR)
            while line.recv(1 << 16):
                pass
    wait_until(lambda: len(proxy.lines(source)) >= len(GARBAGE), what="a line of each")
    assert b"hunter2" not in proxy.log.read_bytes()
    authorities = [line["authority"] for line in proxy.lines(source)]
    assert {"-://-:-/", "http://example.com:90/", "ftp://example.com:21/"} <= set(authorities)


def timed(connect: Callable[[], bytes]) -> float:
    """Seconds until the tunnel stands: the best of three, for machines that are busy."""

    def once() -> float:
        began = time.monotonic()
        assert connect() == b"HTTP/1.1 200 Connection established"
        return time.monotonic() - began

    return min(once() for _ in range(3))


@pytest.mark.parametrize("how", ["hang", "403", "500", "garbage", "dead"])
def test_no_connection_waits_for_the_kubernetes_api(proxy: Proxy, api: KubernetesDouble, how: str) -> None:
    if how == "dead":
        api.stop()
    else:
        api.behave(how)
    try:
        assert timed(lambda: proxy.connect("127.0.0.60")) < AT_ONCE_S
        proxy.kill_helper()  # the next one has never heard of any pod
        assert timed(lambda: proxy.connect("127.0.0.61")) < AT_ONCE_S
    finally:
        if how == "dead":
            api.start()
        api.behave("well")
    wait_until(lambda: _asks(proxy, "127.0.0.250")["pod"] == "first", what="the API is asked again")
    assert {line["pod"] for line in proxy.lines("127.0.0.61")} == {"-"}


def test_helpers_that_die_stop_nothing(proxy: Proxy) -> None:
    for _ in range(5):
        proxy.kill_helper()
        assert timed(lambda: proxy.connect("127.0.0.62")) < AT_ONCE_S
    wait_until(lambda: _asks(proxy, "127.0.0.250")["pod"] == "first", what="the last one answers")


def test_a_helper_that_hangs_is_noticed_and_its_death_lets_connections_go_on(proxy: Proxy) -> None:
    (stopped,) = proxy.helpers()
    with socket.create_connection(
        ("127.0.0.1", proxy.port), timeout=30, source_address=("127.0.0.63", 0)
    ) as waiting:
        os.kill(stopped, signal.SIGSTOP)
        waiting.sendall(f"CONNECT {ORIGIN}:443 HTTP/1.1\r\n\r\n".encode())
        assert not proxy.is_well()  # the probe gives up after 4 seconds
        os.kill(stopped, signal.SIGKILL)
        assert waiting.makefile("rb").readline() == b"HTTP/1.1 200 Connection established\r\n"
    assert proxy.is_well()


def test_a_helper_that_cannot_start_is_noticed(
    needs: Callable[..., str], api: KubernetesDouble, folder: Path
) -> None:
    (folder / "broken").mkdir()
    proxy = Proxy(folder / "broken", needs("squid", package="squid"), api.url)
    helper = proxy.folder / "kit" / "podmeta.py"
    works = helper.read_text()
    with proxy:
        (pid,) = proxy.helpers()
        helper.write_text("raise SystemExit(1)")
        os.kill(pid, signal.SIGKILL)
        assert not proxy.is_well()
        helper.write_text(works)
        wait_until(proxy.is_well, what="it goes on when the helper can")


def test_a_hundred_at_once_all_have_their_pod(proxy: Proxy, api: KubernetesDouble) -> None:
    api.put("pods", pod("busy", "127.0.0.64"))
    proxy.await_pod("busy", source="127.0.0.64")
    before = len(proxy.lines("127.0.0.64"))
    with ThreadPoolExecutor(50) as pool:
        answers = set(pool.map(lambda _: proxy.connect("127.0.0.64"), range(100)))
    assert answers == {b"HTTP/1.1 200 Connection established"}
    wait_until(lambda: len(proxy.lines("127.0.0.64")) == before + 100, what="a line of each")
    assert {line["pod"] for line in proxy.lines("127.0.0.64")[before:]} == {"busy"}


def test_killed_and_started_again_it_goes_on_in_the_same_log(proxy: Proxy, api: KubernetesDouble) -> None:
    api.put("pods", pod("lasting", "127.0.0.65"))
    proxy.await_pod("lasting", source="127.0.0.65")
    before = len(proxy.lines("127.0.0.65"))
    proxy.end(signal.SIGKILL)
    proxy.start()
    proxy.await_pod("lasting", source="127.0.0.65")
    assert len(proxy.lines("127.0.0.65")) > before


def test_a_log_that_cannot_be_written_stops_no_connection(
    needs: Callable[..., str], api: KubernetesDouble, folder: Path
) -> None:
    (folder / "full").mkdir()
    proxy = Proxy(folder / "full", needs("squid", package="squid"), api.url)
    proxy.log.symlink_to("/dev/full")
    with proxy:
        assert [proxy.connect("127.0.0.66") for _ in range(20)] == [
            b"HTTP/1.1 200 Connection established"
        ] * 20


def test_ingest_reads_everything_that_was_logged(proxy: Proxy, tmp_path: Path) -> None:
    lines = [json.loads(line) for line in proxy.log.read_bytes().splitlines()]
    probes = [each for each in lines if each["authority"] in {"-://-:-/", "-:-"}]
    tunnels = [each for each in lines if each["method"] == "CONNECT" and each not in probes]
    shutil.copy(proxy.log, tmp_path / "tunnels.jsonl")
    (report,) = ci.ingest([tmp_path / "tunnels.jsonl"], case=tmp_path / "case.duckdb")
    assert (report.source, report.rejected, report.skipped) == ("squid", 0, len(probes))
    assert report.rows == len(lines) - len(probes)
    assert probes
    assert rows(tmp_path / "case.duckdb") == sorted(
        (
            each["client_ip"],
            int(each["ts"].replace(".", "")),
            "end",
            *(int(each[name]) for name in ("duration_ms", "bytes_up", "bytes_down", "status")),
            each["result"],
            *(told(each[name]) for name in ("namespace", "pod", "node", "repo", "workflow", "job", "run_id")),
        )
        for each in tunnels
    )


def told(text: str) -> str:
    """What a field says; a dash says nothing."""
    return text if text != "-" else ""


def rows(case: Path) -> list[tuple[Any, ...]]:
    """The case's tunnels, with empty text for NULL."""
    numbers = "duration_ms, bytes_up, bytes_down, status, result_code"
    names = ("namespace", "pod", "node", "ci_repo", "workflow", "job", "run_id")
    words = ", ".join(f"coalesce({name}, '')" for name in names)
    with duckdb.connect(str(case), read_only=True) as con:
        query = f"SELECT client_ip, epoch_ms(ts), ts_kind, {numbers}, {words} FROM tunnels"
        return sorted(con.execute(query).fetchall())
