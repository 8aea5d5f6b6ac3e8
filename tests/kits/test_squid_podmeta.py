"""Squid's helper as a process of its own, against a small Kubernetes API that does everything wrong."""

from __future__ import annotations

import ast
import os
import re
import select
import shutil
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ciforensics.kits.squid import podmeta
from docker_daemon import wait_until
from kubernetes_double import KubernetesDouble, pod, runner

JOB: dict[str, Any] = {
    "jobRepositoryName": "octo/app",
    "jobWorkflowRef": "octo/app/.github/workflows/ci.yml@refs/heads/main",
    "jobDisplayName": "build (3.11)",
    "workflowRunId": 4242,
}
POD = {"pod": "ci-a", "namespace": "runners", "node": "node-1"}
RUN = {
    "repo": "octo/app",
    "workflow": ".github/workflows/ci.yml",
    "job": "build (3.11)",
    "run_id": "4242",
}


def as_squid_reads(answer: bytes) -> tuple[str, dict[str, str]]:
    """The result and the values of an answer, by the rules of Squid's `strwordtok`."""
    result, _, rest = answer.decode().removesuffix("\n").partition(" ")
    values: dict[str, str] = {}
    while rest:
        key = re.match(r"[A-Za-z0-9_-]+(?==\S)", rest)
        assert key, rest
        word, at, quoted = "", key.end() + 1, False
        while at < len(rest) and (quoted or not rest[at].isspace()):
            if rest[at] == '"':
                quoted = not quoted
            else:
                escaped = rest[at] == "\\"
                at += escaped
                word += {"n": "\n", "r": "\r"}.get(rest[at], rest[at]) if escaped else rest[at]
            at += 1
        assert not quoted, rest
        values[key[0]], rest = word, rest[at:].lstrip()
    return result, values


class Helper:
    """The helper, as Squid starts it."""

    def __init__(self, *options: str, log: Path, **env: str) -> None:
        self._log = log
        with log.open("wb") as err:
            self.process = subprocess.Popen(
                [sys.executable, podmeta.__file__, *options],
                bufsize=0,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=err,
                env={"PATH": os.environ["PATH"], **env},
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Squid closes the pipe: the helper ends by itself, and has answered nothing that was not asked."""
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.close()
        assert self.process.wait(10) == 0
        assert self.process.stdout.read() == b""
        self.process.stdout.close()

    def lines(self, question: bytes, *, count: int = 1) -> bytes:
        """Asks, and reads the answers."""
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(question)
        answer = b""
        while answer.count(b"\n") < count:
            assert select.select([self.process.stdout], [], [], 10)[0], "no answer within 10 s"
            answer += os.read(self.process.stdout.fileno(), 1 << 16)
        return answer

    def ask(self, ip: str) -> dict[str, str]:
        """What the helper knows of an address."""
        channel, _, answer = self.lines(f"17 {ip} -\n".encode()).partition(b" ")
        assert channel == b"17"
        result, values = as_squid_reads(answer)
        assert result == "OK"
        return values

    def until(self, ip: str, known: dict[str, str]) -> None:
        """Asks until that is what it knows."""
        wait_until(lambda: self.ask(ip) == known, what=f"{ip} is {known}")

    def said(self) -> list[str]:
        return self._log.read_text().splitlines()


def fastest(do: Callable[[], object]) -> float:
    """Seconds that it takes at best: a busy machine now and then takes what it likes."""
    taken = []
    for _ in range(5):
        began = time.monotonic()
        do()
        taken.append(time.monotonic() - began)
    return min(taken)


Start = Callable[..., Helper]


@pytest.fixture
def api() -> Iterator[KubernetesDouble]:
    with KubernetesDouble() as double:
        yield double


@pytest.fixture
def start(api: KubernetesDouble, tmp_path: Path) -> Iterator[Start]:
    """Starts a helper; `start("--node", "n")`."""
    with ExitStack() as stack:

        def run(*options: str, **env: str) -> Helper:
            given = ["--api", api.url, "--account", str(tmp_path), *options]
            return stack.enter_context(Helper(*given, log=tmp_path / "cache.log", **env))

        yield run


def test_an_address_is_its_pod_and_the_job_of_the_runner_of_that_name(
    api: KubernetesDouble, start: Start
) -> None:
    api.put("pods", pod("ci-a", "10.0.0.5"))
    api.put("ephemeralrunners", runner("ci-a", **JOB))
    helper = start()
    helper.until("10.0.0.5", {**POD, **RUN})
    assert helper.ask("10.0.0.6") == {}
    assert helper.lines(b"3 10.0.0.6 -\n") == b"3 OK\n"
    assert helper.said() == []


def test_a_runner_has_a_job_from_the_moment_that_it_starts(api: KubernetesDouble, start: Start) -> None:
    api.put("pods", pod("ci-a", "10.0.0.5"))
    api.put("ephemeralrunners", runner("ci-a", workflowRunId=0, jobDisplayName=""))
    helper = start()
    helper.until("10.0.0.5", POD)
    api.put("ephemeralrunners", runner("ci-a", **JOB))
    helper.until("10.0.0.5", {**POD, **RUN})


def test_a_runner_of_another_namespace_is_another_runner(api: KubernetesDouble, start: Start) -> None:
    api.put("ephemeralrunners", runner("ci-a", namespace="others", **JOB))
    api.put("ephemeralrunners", runner("ci-b", **JOB))
    api.put("pods", pod("ci-b", "10.0.0.6"))
    api.put("pods", pod("ci-a", "10.0.0.5"))
    helper = start()
    helper.until("10.0.0.6", {**POD, "pod": "ci-b", **RUN})
    assert helper.ask("10.0.0.5") == POD


def test_the_pod_of_a_job_in_kubernetes_mode_has_the_job_of_its_runner(
    api: KubernetesDouble, start: Start
) -> None:
    job = pod("ci-a-workflow", "10.0.0.7")
    job["metadata"]["labels"] = {"runner-pod": "ci-a"}
    api.put("pods", job)
    api.put("ephemeralrunners", runner("ci-a", **JOB))
    start().until("10.0.0.7", {**POD, "pod": "ci-a-workflow", **RUN})


def test_it_lists_once_and_hears_of_all_changes_by_a_watch(api: KubernetesDouble, start: Start) -> None:
    helper = start()
    wait_until(lambda: bool(api.watches("pods")), what="a watch")
    api.put("pods", pod("ci-a", "10.0.0.5"))
    helper.until("10.0.0.5", POD)
    api.delete("pods", pod("ci-a", "10.0.0.5"))
    helper.until("10.0.0.5", {})
    assert [len(api.lists("pods")), len(api.watches("pods"))] == [1, 1]
    assert api.watches("pods")[0].query["allowWatchBookmarks"] == "true"


@pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
def test_a_pod_that_is_finished_has_given_its_address_back(
    api: KubernetesDouble, start: Start, phase: str
) -> None:
    api.put("pods", pod("ci-a", "10.0.0.5"))
    helper = start()
    helper.until("10.0.0.5", POD)
    api.put("pods", pod("ci-a", "10.0.0.5", phase=phase))
    helper.until("10.0.0.5", {})


def test_an_address_belongs_to_the_pod_that_started_last(api: KubernetesDouble, start: Start) -> None:
    api.put("pods", pod("ci-a", "10.0.0.5", since="2026-11-24T03:00:01Z"))
    helper = start()
    helper.until("10.0.0.5", POD)
    api.put("pods", pod("ci-b", "10.0.0.5", since="2026-11-24T03:00:02Z"))
    helper.until("10.0.0.5", {**POD, "pod": "ci-b"})
    # The older one is still being taken down: news of it, and its end, change nothing.
    api.put("pods", pod("ci-a", "10.0.0.5", since="2026-11-24T03:00:01Z"))
    api.put("pods", pod("ci-c", "10.0.0.6"))
    helper.until("10.0.0.6", {**POD, "pod": "ci-c"})
    assert helper.ask("10.0.0.5") == {**POD, "pod": "ci-b"}
    api.delete("pods", pod("ci-a", "10.0.0.5"))
    api.delete("pods", pod("ci-c", "10.0.0.6"))
    helper.until("10.0.0.6", {})
    assert helper.ask("10.0.0.5") == {**POD, "pod": "ci-b"}


def test_a_pod_created_earlier_that_waited_for_its_node_has_the_address(
    api: KubernetesDouble, start: Start
) -> None:
    waited = pod("ci-a", "10.0.0.5", since="2026-11-24T03:00:00Z", startTime="2026-11-24T03:30:00Z")
    api.put("pods", waited)
    api.put("pods", pod("ci-b", "10.0.0.5", since="2026-11-24T03:10:00Z"))
    start().until("10.0.0.5", POD)


def test_a_pod_that_gets_another_address_has_the_former_no_longer(
    api: KubernetesDouble, start: Start
) -> None:
    api.put("pods", pod("ci-a", "10.0.0.5"))
    helper = start()
    helper.until("10.0.0.5", POD)
    api.put("pods", pod("ci-a", "10.0.0.9"))
    helper.until("10.0.0.9", POD)
    assert helper.ask("10.0.0.5") == {}


def test_a_pod_on_the_network_of_its_node_never_matches(api: KubernetesDouble, start: Start) -> None:
    host = pod("agent", "10.0.0.1")
    host["spec"]["hostNetwork"] = True
    api.put("pods", host)
    api.put("pods", pod("ci-a", "10.0.0.5"))
    helper = start()
    helper.until("10.0.0.5", POD)
    assert helper.ask("10.0.0.1") == {}


def test_a_pod_is_known_by_each_of_its_addresses_however_squid_writes_them(
    api: KubernetesDouble, start: Start
) -> None:
    api.put("pods", pod("ci-a", "10.0.0.5", podIPs=[{"ip": "10.0.0.5"}, {"ip": "fd00::5"}]))
    helper = start()
    helper.until("10.0.0.5", POD)
    for written in ("fd00::5", "FD00:0::5", "::ffff:10.0.0.5", "%3A%3Affff:10.0.0.5", "fd00%3a%3A5"):
        assert helper.ask(written) == POD
    assert helper.ask("fd00::6") == {}


def test_a_long_list_is_read_page_by_page(api: KubernetesDouble, start: Start) -> None:
    api.page = 2
    for number in range(5):
        api.put("pods", pod(f"ci-{number}", f"10.0.0.{number}"))
    helper = start()
    helper.until("10.0.0.4", {**POD, "pod": "ci-4"})
    assert helper.ask("10.0.0.0") == {**POD, "pod": "ci-0"}
    pages = [one.query for one in api.lists("pods")]
    assert pages == [{"limit": "100", **more} for more in ({}, {"continue": "2"}, {"continue": "4"})]


@pytest.mark.parametrize(("options", "env"), [(["--node", "node-1"], {}), ([], {"NODE_NAME": "node-1"})])
def test_on_a_node_only_its_pods_are_asked_for(
    api: KubernetesDouble, start: Start, options: list[str], env: dict[str, str]
) -> None:
    other = pod("ci-b", "10.0.1.5")
    other["spec"]["nodeName"] = "node-2"
    api.put("pods", other)
    api.put("pods", pod("ci-a", "10.0.0.5"))
    helper = start(*options, **env)
    helper.until("10.0.0.5", POD)
    assert helper.ask("10.0.1.5") == {}
    wait_until(lambda: bool(api.watches("ephemeralrunners")), what="a watch of runners")
    asked = {(one.resource, one.query.get("fieldSelector")) for one in api.requests}
    assert asked == {("pods", "spec.nodeName=node-1"), ("ephemeralrunners", None)}


def test_only_some_namespaces_are_asked_for(api: KubernetesDouble, start: Start) -> None:
    for number, namespace in enumerate(("runners", "gpu", "kube-system")):
        api.put("pods", pod("ci-a", f"10.0.{number}.5", namespace=namespace))
        api.put("ephemeralrunners", runner("ci-a", namespace=namespace, workflowRunId=number + 1))
    helper = start("--namespace", "runners", "--namespace", "gpu")
    helper.until("10.0.0.5", {**POD, "run_id": "1"})
    helper.until("10.0.1.5", {**POD, "namespace": "gpu", "run_id": "2"})
    assert helper.ask("10.0.2.5") == {}
    assert {one.namespace for one in api.requests} == {"runners", "gpu"}


def test_a_watch_that_ended_goes_on_where_the_last_bookmark_was(api: KubernetesDouble, start: Start) -> None:
    helper = start("--watch", "1")
    wait_until(lambda: bool(api.watches("pods")), what="a watch")
    for name in ("x", "y"):  # the watch of pods hears nothing of these, but their numbers go on
        api.put("ephemeralrunners", runner(name))
    wait_until(lambda: len(api.watches("pods")) >= 2, what="another watch")
    api.put("pods", pod("ci-a", "10.0.0.5"))
    helper.until("10.0.0.5", POD)
    first, second = (int(one.query["resourceVersion"]) for one in api.watches("pods")[:2])
    assert second == first + 2
    assert len(api.lists("pods")) == 1
    assert helper.said() == []


def test_a_connection_that_broke_is_taken_up_where_it_was(api: KubernetesDouble, start: Start) -> None:
    api.put("pods", pod("ci-a", "10.0.0.5"))
    helper = start()
    helper.until("10.0.0.5", POD)
    wait_until(lambda: bool(api.watches("pods")), what="a watch")
    api.cut()
    api.delete("pods", pod("ci-a", "10.0.0.5"))
    helper.until("10.0.0.5", {})
    assert len(api.lists("pods")) == 1


@pytest.mark.parametrize("how", ["expired while away", "told in the watch", "told by the status"])
def test_after_410_gone_all_is_listed_anew(api: KubernetesDouble, start: Start, how: str) -> None:
    api.put("pods", pod("ci-a", "10.0.0.5"))
    api.put("pods", pod("ci-b", "10.0.0.6"))
    helper = start()
    helper.until("10.0.0.6", {**POD, "pod": "ci-b"})
    wait_until(lambda: bool(api.watches("pods")), what="a watch")
    api.lose("pods", pod("ci-a", "10.0.0.5"))
    if how == "expired while away":
        api.compact()
        api.cut()
    elif how == "told in the watch":
        api.push("pods", {"type": "ERROR", "object": {"kind": "Status", "code": 410}})
    else:
        api.behave("410")
        wait_until(lambda: len(api.watches("pods")) >= 2, what="another watch")
        api.behave("well")
    helper.until("10.0.0.5", {})
    assert helper.ask("10.0.0.6") == {**POD, "pod": "ci-b"}


@pytest.mark.parametrize(
    "event",
    [
        {"type": "ERROR", "object": {"kind": "Status", "code": 500}},
        {"type": "ERROR", "object": None},
        {"type": "MODIFIED", "object": "?"},
        {"object": "?"},
    ],
)
def test_after_an_event_that_makes_no_sense_all_is_listed_anew(
    api: KubernetesDouble, start: Start, event: Any
) -> None:
    helper = start()
    wait_until(lambda: bool(api.watches("pods")), what="a watch")
    api.push("pods", event)
    wait_until(lambda: len(api.lists("pods")) == 2, what="another list")
    api.put("pods", pod("ci-a", "10.0.0.5"))
    helper.until("10.0.0.5", POD)


def test_a_connection_that_died_in_silence_is_noticed(api: KubernetesDouble, start: Start) -> None:
    helper = start("--watch", "1", "--timeout", "0.5")
    wait_until(lambda: bool(api.watches("pods")), what="a watch")
    api.silence()
    api.put("pods", pod("ci-a", "10.0.0.5"))
    assert helper.ask("10.0.0.5") == {}
    helper.until("10.0.0.5", POD)
    assert len(api.lists("pods")) == 1


@pytest.mark.parametrize("trouble", ["hang", "garbage", "401", "403", "500", "429", "302", "dead"])
def test_whatever_ails_the_api_the_answer_is_ok_at_once_and_metadata_come_back_with_it(
    api: KubernetesDouble, start: Start, trouble: str
) -> None:
    api.put("pods", pod("ci-a", "10.0.0.5"))
    if trouble == "dead":
        api.stop()
    else:
        api.behave(trouble)
    helper = start("--timeout", "5")
    if trouble == "hang":
        wait_until(lambda: len(api.requests) >= 2, what="questions to the API")
    else:
        wait_until(lambda: len(helper.said()) >= 2, what="a word on the trouble")
    assert fastest(lambda: helper.ask("10.0.0.5")) < 0.5
    assert helper.ask("10.0.0.5") == {}
    if trouble == "dead":
        api.start()
    api.behave("well")
    helper.until("10.0.0.5", POD)


def test_a_hundred_questions_are_answered_in_half_a_second_while_the_api_hangs(
    api: KubernetesDouble, start: Start
) -> None:
    api.put("pods", pod("ci-a", "10.0.0.5"))
    helper = start()
    helper.until("10.0.0.5", POD)
    api.behave("hang")
    wait_until(lambda: len(api.watches("pods")) >= 2, what="a question that hangs")
    questions = b"".join(b"%d 10.0.0.5 -\n" % channel for channel in range(100))
    assert fastest(lambda: helper.lines(questions, count=100)) < 0.5
    answers = helper.lines(questions, count=100)
    assert [line.split()[0] for line in answers.splitlines()] == [b"%d" % channel for channel in range(100)]
    assert as_squid_reads(answers.splitlines()[-1].partition(b" ")[2]) == ("OK", POD)


def test_without_news_for_long_no_pod_is_believed_until_the_api_is_back(
    api: KubernetesDouble, start: Start
) -> None:
    api.put("pods", pod("ci-a", "10.0.0.5"))
    helper = start("--forget-after", "1.5", "--watch", "1")
    wait_until(lambda: len(api.watches("pods")) >= 3, what="two watches without any change")
    helper.until("10.0.0.5", POD)  # bookmarks are news
    api.behave("403")
    helper.until("10.0.0.5", {})
    api.behave("well")
    helper.until("10.0.0.5", POD)


def test_what_is_known_of_a_runner_stays_true_without_news(api: KubernetesDouble, start: Start) -> None:
    api.put("pods", pod("ci-a", "10.0.0.5"))
    api.put("ephemeralrunners", runner("ci-a", **JOB))
    helper = start("--forget-after", "1.5", "--watch", "1")
    helper.until("10.0.0.5", {**POD, **RUN})
    api.unknown = frozenset({"ephemeralrunners"})
    api.cut()
    watched = len(api.watches("pods"))
    wait_until(lambda: len(api.watches("pods")) >= watched + 3, what="three watches")
    helper.until("10.0.0.5", {**POD, **RUN})


def test_pods_are_named_where_arc_is_not_installed(api: KubernetesDouble, start: Start) -> None:
    api.unknown = frozenset({"ephemeralrunners"})
    api.put("pods", pod("ci-a", "10.0.0.5"))
    helper = start()
    helper.until("10.0.0.5", POD)
    wait_until(lambda: bool(helper.said()), what="a word on it")
    assert helper.said() == [
        "podmeta: /apis/actions.github.com/v1alpha1/ephemeralrunners: HTTP 404; trying again"
    ]


def test_of_a_long_trouble_little_is_said(api: KubernetesDouble, start: Start) -> None:
    api.behave("403")
    helper = start()
    wait_until(lambda: len(api.requests) >= 6, what="six attempts")
    assert sorted(helper.said()) == [
        "podmeta: /api/v1/pods: HTTP 403; trying again",
        "podmeta: /apis/actions.github.com/v1alpha1/ephemeralrunners: HTTP 403; trying again",
    ]


def test_the_token_is_read_for_each_connection(api: KubernetesDouble, start: Start, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("first\n")
    start("--watch", "1")
    wait_until(lambda: bool(api.watches("pods")), what="a watch")
    (tmp_path / "token").write_text("second")
    wait_until(lambda: api.requests[-1].token == "Bearer second", what="the new token")
    assert api.requests[0].token == "Bearer first"


@pytest.mark.parametrize("token", [b"sec\nret", "sec☃ret".encode(), b"sec\xffret"])
def test_a_token_that_cannot_be_sent_is_not_told_to_anyone(
    api: KubernetesDouble, start: Start, tmp_path: Path, token: bytes
) -> None:
    (tmp_path / "token").write_bytes(token)
    helper = start()
    wait_until(lambda: len(helper.said()) >= 2, what="a word on it")
    assert not [line for line in helper.said() if "ret" in line.removesuffix("; trying again")]
    assert helper.ask("10.0.0.5") == {}
    (tmp_path / "token").write_bytes(b"fit")
    api.put("pods", pod("ci-a", "10.0.0.5"))
    helper.until("10.0.0.5", POD)


@pytest.fixture
def authority(tmp_path: Path) -> ssl.SSLContext:
    """A certificate for 127.0.0.1 that signs itself; `ca.crt` is beside the token."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is not installed")
    where = [*["-keyout", "key.pem", "-out", "ca.crt", "-days", "2", "-nodes", "-subj", "/CN=api"]]
    made = [openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", *where]
    made += ["-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run(made, cwd=tmp_path, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "ca.crt", tmp_path / "key.pem")
    return context


def test_in_a_cluster_it_finds_the_api_by_itself_and_trusts_only_its_authority(
    authority: ssl.SSLContext, tmp_path: Path
) -> None:
    (tmp_path / "token").write_text("sesame")
    with KubernetesDouble(tls=authority) as api:
        api.put("pods", pod("ci-a", "10.0.0.5"))
        env = {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(api.port)}
        with Helper("--account", str(tmp_path), log=tmp_path / "log", **env) as helper:
            helper.until("10.0.0.5", POD)
        assert api.requests[0].token == "Bearer sesame"
        asked = len(api.requests)
        (tmp_path / "ca.crt").unlink()
        with Helper("--account", str(tmp_path), log=tmp_path / "log", **env) as helper:
            wait_until(lambda: len(helper.said()) >= 2, what="a word on it")
            assert "CERTIFICATE_VERIFY_FAILED" in helper.said()[0]
            assert helper.ask("10.0.0.5") == {}
        assert len(api.requests) == asked


@pytest.mark.parametrize(
    ("host", "port", "url"),
    [
        ("10.96.0.1", "443", "https://10.96.0.1:443"),
        ("fd00:10:96::1", "6443", "https://[fd00:10:96::1]:6443"),
        ("10.96.0.1", None, "https://10.96.0.1:443"),
        (None, None, ""),
    ],
)
def test_the_api_of_the_cluster_has_an_address_of_either_kind(
    monkeypatch: pytest.MonkeyPatch, host: str | None, port: str | None, url: str
) -> None:
    for part, value in (("HOST", host), ("PORT", port)):
        monkeypatch.delenv(f"KUBERNETES_SERVICE_{part}", raising=False)
        if value is not None:
            monkeypatch.setenv(f"KUBERNETES_SERVICE_{part}", value)
    assert podmeta.in_cluster() == url


@pytest.mark.parametrize("url", ["", "http://127.0.0.1:nonsense", "nonsense", "http://[::1"])
def test_without_an_api_that_can_be_asked_it_answers_all_the_same(tmp_path: Path, url: str) -> None:
    with Helper("--api", url, log=tmp_path / "log") as helper:
        assert helper.ask("10.0.0.5") == {}
        wait_until(lambda: bool(helper.said()), what="a word on it")
        assert helper.ask("10.0.0.5") == {}
        assert not [line for line in helper.said() if not line.startswith("podmeta: ")]


def test_when_squid_is_gone_it_ends_without_a_word(api: KubernetesDouble, tmp_path: Path) -> None:
    helper = Helper("--api", api.url, log=tmp_path / "log")
    assert helper.process.stdin
    assert helper.process.stdout
    with helper.process.stdin as questions:
        helper.process.stdout.close()
        questions.write(b"1 10.0.0.5 -\n")
        assert helper.process.wait(10) == 0
    assert helper.said() == []


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Helper]:
    """A helper that knows one pod."""
    with KubernetesDouble() as api:
        api.put("pods", pod("ci-a", "10.0.0.5"))
        with Helper("--api", api.url, log=tmp_path_factory.mktemp("squid") / "log") as helper:
            helper.until("10.0.0.5", POD)
            yield helper


@given(
    st.one_of(st.binary(), st.from_regex(rb"\A[0-9]{1,3} [0-9a-f.:%]+ [^\n]*\Z"), st.text().map(str.encode))
)
@settings(deadline=None)
def test_whatever_the_line_there_is_one_answer_to_it(asked: Helper, line: bytes) -> None:
    answer = asked.lines(line.replace(b"\n", b"") + b"\n")
    assert re.fullmatch(rb"(?:[0-9]+ )?OK(?: [a-z_]+=\".*\")*\n", answer)
    assert asked.ask("10.0.0.5") == POD
    assert asked.said() == []


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        (b"10.0.0.5 -", b"OK "),  # concurrency=0
        (b"0 10.0.0.5 -", b"0 OK "),
        (b"99 10.0.0.5", b"99 OK "),
        (b"99 - -", b"99 OK\n"),
        (b"99", b"99 OK\n"),
        (b"", b"OK\n"),
        (b"7 %31%30.0.0.5 -\r", b"7 OK "),
        (b"7 " + b"9" * 100_000, b"7 OK\n"),
    ],
)
def test_the_answer_goes_to_the_channel_that_asked(asked: Helper, line: bytes, answer: bytes) -> None:
    assert asked.lines(line + b"\n").startswith(answer)


def knowing(*pods: Any, runners: Any = ()) -> podmeta.Directory:
    """What the helper keeps in memory, as its watches would have put it there."""
    api = podmeta.Api("", podmeta.ACCOUNT, timeout_s=1, watch_s=1)
    of_pods = podmeta.Watch(api, "", podmeta.Pods())
    of_runners = podmeta.Watch(api, "", podmeta.Runners())
    of_pods.heard_at = time.monotonic()
    for found in pods:
        of_pods.held.put(found)
    for found in runners:
        of_runners.held.put(found)
    return podmeta.Directory([of_pods], [of_runners])


awkward = st.text(st.one_of(st.characters(), st.sampled_from('"\\\n\r\t %=\ud800\u2028\x00-')))


@given(node=awkward, repo=awkward, job=awkward, reference=awkward)
def test_squid_reads_back_every_value_as_it_was_meant(node: str, repo: str, job: str, reference: str) -> None:
    found = pod("ci-a", "10.0.0.5")
    found["spec"]["nodeName"] = node
    known = runner("ci-a", jobRepositoryName=repo, jobDisplayName=job, jobWorkflowRef=reference)
    answer = podmeta.reply(b"10.0.0.5 -", knowing(found, runners=[known]))
    assert answer.count(b"\n") == 1
    result, values = as_squid_reads(answer)
    meant = {"node": node, "repo": repo, "job": job}
    assert result == "OK"
    assert {key: values.get(key, "") for key in meant} == {key: podmeta.clean(meant[key]) for key in meant}
    assert set(values) <= {"pod", "namespace", "workflow", *meant}


@given(awkward | awkward.map(lambda text: 50 * text))
def test_a_value_is_short_and_on_one_line(text: str) -> None:
    cleaned = podmeta.clean(text)
    cleaned.encode()
    assert len(cleaned) <= 200
    assert not re.search("[\x00-\x1f\x7f-\x9f\u2028\u2029]", cleaned)
    assert podmeta.clean(cleaned) == cleaned


documents = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.sampled_from(["10.0.0.5", "Running"]),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["ip", "name", "uid", "x"]), inner),
    max_leaves=8,
)


@given(st.data())
def test_whatever_an_object_holds_the_others_are_known(data: st.DataObject) -> None:
    broken: list[Any] = [data.draw(documents)]
    for whole in (pod("ci-a", "10.0.0.6"), runner("ci-a", **JOB)):
        part = data.draw(st.sampled_from(["metadata", "spec", "status"]))
        below = data.draw(st.sampled_from(["", *whole.get(part, ())]))
        broken.append({**whole, part: {**whole.get(part, {}), below: data.draw(documents)}})
        broken.append({**whole, part: data.draw(documents)})
    last = pod("ci-z", "10.0.0.7", since="2027-01-01T00:00:00Z")
    directory = knowing(*broken, last, runners=[*broken, runner("ci-z", **JOB)])
    assert directory.find("10.0.0.7") == {**POD, "pod": "ci-z", **RUN}
    for ip in ("10.0.0.5", "10.0.0.6"):
        assert podmeta.reply(ip.encode(), directory).startswith(b"OK")


def test_it_runs_with_python_3_9_and_nothing_installed() -> None:
    tree = ast.parse(Path(podmeta.__file__).read_text(), feature_version=(3, 9))
    used = {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
    used |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.partition(".")[0] for name in used} <= sys.stdlib_module_names
