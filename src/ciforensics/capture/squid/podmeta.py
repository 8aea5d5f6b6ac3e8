#!/usr/bin/env python3
"""Tells Squid whose connection it is: an external ACL helper that knows the pods of a Kubernetes node.

Squid asks with a source address, a line each; the answer is always OK, with the pod that holds the address
and the CI job that the Actions Runner Controller has put into it, as far as they are known:

    0 10.4.2.7 -
    0 OK namespace=arc-runners pod=builders-7x2kq-runner-9fzpl node=ci-1 repo=o/r run_id=123

Answers come from memory alone, so that no answer ever waits for Kubernetes. Threads keep the memory current
by list and watch. While Kubernetes cannot be asked, or refuses, an answer says less, and Squid goes on.

Needs Python 3.9 or newer and nothing else. In a pod it finds the API and its token by itself.
"""

from __future__ import annotations

import argparse
import http.client
import ipaddress
import json
import os
import random
import re
import socket
import ssl
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple
from urllib.parse import quote, unquote, urlencode, urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

_CREDENTIALS = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_PAGE = 500
_LONGEST_VALUE = 300
_LONGEST_LINE = 1 << 16  # of Squid's; it never writes as much
_LARGEST = 1 << 26  # of the API: a page of a list, or one event
_ANSWERS_WITHIN_S = 10.0
# The API server sends a bookmark about once a minute: a watch that is silent for longer may be dead.
_SILENT_S = 75.0
_WATCH_S = 240
# An address may be another pod's by now: what is older than this is not told.
_STALE_S = 120.0
_FIRST_WAIT_S = 0.2
_LONGEST_WAIT_S = 30.0
_SETTLED_S = 10.0
_WORKFLOW_FILE = re.compile(r"[^/\s]+/[^/\s]+/(\.github/workflows/[^@]+)@")
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


class Pod(NamedTuple):
    """A pod that holds addresses."""

    namespace: str
    name: str
    node: str
    runner: str
    addresses: frozenset[str]
    created: str


class Job(NamedTuple):
    """The job that a runner took."""

    repo: str
    workflow: str
    job: str
    run_id: str


class Refused(Exception):  # noqa: N818
    """The API gave an answer that cannot be used."""


class Gone(Refused):
    """The version to go on from is too old: list again."""


def pod_of(value: Mapping[str, Any]) -> Pod | None:
    """A Pod object of the API as one that holds addresses; None where it holds none.

    A pod that has ended keeps its address in its status, but the address is free. One on its node's network
    shares the address with the node.
    """
    spec, status, labels = (
        _object(value, "spec"),
        _object(value, "status"),
        _object(value, "metadata", "labels"),
    )
    listed = status.get("podIPs")
    found = [each.get("ip") for each in listed if isinstance(each, dict)] if isinstance(listed, list) else []
    addresses = frozenset(filter(None, map(address, [status.get("podIP"), *found])))
    if not addresses or spec.get("hostNetwork") is True or status.get("phase") in ("Succeeded", "Failed"):
        return None
    namespace, name = key_of(value)
    # In the hooks' Kubernetes mode a job has a pod of its own, labelled with the name of its runner.
    runner = _text(labels.get("runner-pod")) or name
    created = _text(_object(value, "metadata").get("creationTimestamp"))
    return Pod(namespace, name, _text(spec.get("nodeName")), runner, addresses, created)


def job_of(value: Mapping[str, Any]) -> Job | None:
    """The job of an EphemeralRunner object of the API; None until it has one."""
    status = _object(value, "status")
    reference = _text(status.get("jobWorkflowRef"))
    file = _WORKFLOW_FILE.match(reference)
    run_id = _text(status.get("workflowRunId"))
    job = Job(
        repo=_text(status.get("jobRepositoryName")),
        workflow=file[1] if file else reference,
        job=_text(status.get("jobDisplayName")),
        run_id="" if run_id == "0" else run_id,
    )
    return job if any(job) else None


def key_of(value: Mapping[str, Any]) -> tuple[str, str]:
    """Namespace and name of an object of the API."""
    metadata = _object(value, "metadata")
    return _text(metadata.get("namespace")), _text(metadata.get("name"))


def address(text: object) -> str:
    """An address in its one spelling; "" for anything else.

    Example:
        >>> address("::ffff:10.4.2.7"), address("fd00:0::7"), address("-")
        ('10.4.2.7', 'fd00::7', '')
    """
    try:
        read = ipaddress.ip_address(text if isinstance(text, str) else "")
    except ValueError:
        return ""
    return str(getattr(read, "ipv4_mapped", None) or read)


class Memory:
    """The pods and jobs that are known now."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()  # never held while anything is read or written
        self._known: dict[str, dict[tuple[str, str], Any]] = {}
        self._heard: dict[str, float] = {}

    def replace(self, scope: str, objects: dict[tuple[str, str], Any]) -> None:
        """What a list said: all that there is in a scope, `pods in NAMESPACE` or `jobs in NAMESPACE`."""
        with self._lock:
            self._known[scope] = objects
            self._heard[scope] = self._clock()

    def change(self, scope: str, key: tuple[str, str], value: Pod | Job | None) -> None:
        """What an event said."""
        with self._lock:
            known = self._known.setdefault(scope, {})
            if value is None:
                known.pop(key, None)
            else:
                known[key] = value

    def heard(self, scope: str) -> None:
        """Something came from the API: what is known of the scope is current."""
        with self._lock:
            self._heard[scope] = self._clock()

    def describe(self, client: str) -> dict[str, str]:
        """What is known of the pod that holds an address: the newest, should there be several."""
        with self._lock:
            current = self._clock() - _STALE_S
            pods = [
                pod
                for scope, known in self._known.items()
                if scope.startswith("pods") and self._heard[scope] >= current
                for pod in known.values()
                if client in pod.addresses
            ]
            if not pods:
                return {}
            pod = max(pods, key=lambda each: each.created)
            # A runner's name is never used again, so what is known of its job stays true.
            job = self._known.get(f"jobs in {pod.namespace}", {}).get((pod.namespace, pod.runner))
        return {
            "namespace": pod.namespace,
            "pod": pod.name,
            "node": pod.node,
            **(job._asdict() if job else {}),
        }


class Api:
    """The Kubernetes API, read-only."""

    def __init__(self, url: str, credentials: Path) -> None:
        parts = urlsplit(url)
        self._tls, self._host, self._port = parts.scheme == "https", parts.hostname or "", parts.port
        self._credentials = credentials

    def get(
        self, path: str, query: Mapping[str, object], *, silent_s: float
    ) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        """Asks; the caller reads the answer and closes the connection."""
        connection = self._connection()
        try:
            connection.request("GET", f"{path}?{urlencode(query)}", headers=self._headers())
            response = connection.getresponse()
            if response.status != 200:
                raise (Gone if response.status == 410 else Refused)(f"HTTP {response.status}")  # noqa: TRY301
            if connection.sock:
                connection.sock.settimeout(silent_s)
        except BaseException:
            connection.close()
            raise
        return connection, response

    def _connection(self) -> http.client.HTTPConnection:
        if not self._tls:
            return http.client.HTTPConnection(self._host, self._port, timeout=_ANSWERS_WITHIN_S)
        ca = self._credentials / "ca.crt"
        context = ssl.create_default_context(cafile=str(ca) if ca.exists() else None)
        return http.client.HTTPSConnection(self._host, self._port, timeout=_ANSWERS_WITHIN_S, context=context)

    def _headers(self) -> dict[str, str]:
        headers = {"Accept": "application/json", "User-Agent": "ciforensics-podmeta"}
        token = self._credentials / "token"
        if token.exists():  # read each time: it is renewed every hour
            headers["Authorization"] = f"Bearer {token.read_text(encoding='ascii').strip()}"
        return headers


class Watch:
    """Keeps one kind of object in one namespace current in memory."""

    def __init__(
        self,
        api: Api,
        memory: Memory,
        *,
        scope: str,
        path: str,
        read: Callable[[Mapping[str, Any]], Pod | Job | None],
        selector: Mapping[str, str],
    ) -> None:
        self._api, self._memory, self._scope, self._path = api, memory, scope, path
        self._read, self._selector = read, selector
        self._said = ""

    def run(self) -> None:
        """Lists and watches, for ever."""
        version, wait = "", _FIRST_WAIT_S
        while True:
            began = time.monotonic()
            try:
                version = self.follow(version or self.list())
            except (Refused, OSError, http.client.HTTPException, ValueError, RecursionError) as error:
                self._say(str(error) if isinstance(error, Refused) else type(error).__name__)
                version = ""
            wait = _FIRST_WAIT_S if time.monotonic() - began > _SETTLED_S else min(2 * wait, _LONGEST_WAIT_S)
            time.sleep(wait * random.uniform(0.5, 1))  # noqa: S311 (nodes must not ask in step)

    def list(self) -> str:
        """Reads all there is, a page at a time.

        Returns:
            The version to watch from.
        """
        objects: dict[tuple[str, str], Any] = {}
        # Version 0 is what the API server has in memory, so that a fleet that starts does not load etcd.
        more: dict[str, str] = {"resourceVersion": "0"}
        while True:
            query = {**self._selector, "limit": _PAGE, **more}
            connection, response = self._api.get(self._path, query, silent_s=_ANSWERS_WITHIN_S)
            try:
                page = _parsed(response.read(_LARGEST))
            finally:
                connection.close()
            items, metadata = page.get("items"), _object(page, "metadata")
            version, token = _text(metadata.get("resourceVersion")), _text(metadata.get("continue"))
            if not isinstance(items, list) or not version:
                raise Refused("no list")
            for item in items:
                value = self._read(item) if isinstance(item, dict) else None
                if value is not None:
                    objects[key_of(item)] = value
            if not token:
                self._memory.replace(self._scope, objects)
                self._say("")
                return version
            more = {"continue": token}

    def follow(self, version: str) -> str:
        """Reads events until the watch ends, as each does after a while.

        Returns:
            The version to watch from next.
        """
        query = {
            **self._selector,
            "watch": "true",
            "allowWatchBookmarks": "true",
            "timeoutSeconds": _WATCH_S,
            "resourceVersion": version,
        }
        connection, response = self._api.get(self._path, query, silent_s=_SILENT_S)
        try:
            self._memory.heard(self._scope)
            for event in _events(response):
                version = self._taken(event) or version
                self._memory.heard(self._scope)
        except TimeoutError:
            pass  # silence: from the same version on, by a new connection
        finally:
            connection.close()
        return version

    def _taken(self, event: Mapping[str, Any]) -> str:
        kind, value = event.get("type"), _object(event, "object")
        if kind == "ERROR":
            raise (Gone if value.get("code") == 410 else Refused)("the watch ended with an error")
        if kind in ("ADDED", "MODIFIED", "DELETED"):
            self._memory.change(self._scope, key_of(value), self._read(value) if kind != "DELETED" else None)
        return _text(_object(value, "metadata").get("resourceVersion"))

    def _say(self, wrong: str) -> None:
        """Into Squid's cache.log, only when something has changed; never what a server wrote."""
        if wrong != self._said:
            self._said = wrong
            sys.stderr.write(f"podmeta: {self._scope}: {wrong or 'watching again'}\n")
            sys.stderr.flush()


def _events(response: http.client.HTTPResponse) -> Iterator[dict[str, Any]]:
    while line := response.readline(_LARGEST):
        if line.strip():
            yield _parsed(line)


def _parsed(data: bytes) -> dict[str, Any]:
    value = json.loads(data)
    if not isinstance(value, dict):
        raise Refused("no object")
    return value


def _object(value: Mapping[str, Any], *keys: str) -> Mapping[str, Any]:
    for key in keys:
        found = value.get(key)
        value = found if isinstance(found, dict) else {}
    return value


def _text(value: object) -> str:
    return str(value) if isinstance(value, (str, int)) and not isinstance(value, bool) else ""


def spelled(facts: Mapping[str, str]) -> str:
    r"""Facts as Squid's helper protocol has them, so that no value can break its answer or its log.

    Squid's log has an escape for quotes, backslashes and line ends only, so other control characters must not
    reach it, nor what is no UTF-8.

    Example:
        >>> spelled({"pod": "a-b", "workflow": 'x" pod=y\n\x01\ud800', "job": ""})
        'pod=a-b workflow=x%22%20pod%3Dy%EF%BF%BD%EF%BF%BD%3F'
    """
    words = (
        (name, quote(_UNPRINTABLE.sub("\ufffd", value[:_LONGEST_VALUE]).encode("utf-8", "replace")))
        for name, value in facts.items()
    )
    return " ".join(f"{name}={word}" for name, word in words if word)


def serve(questions: BinaryIO, answers: BinaryIO, describe: Callable[[str], Mapping[str, str]]) -> None:
    r"""Answers until Squid closes its end.

    Example:
        >>> import io
        >>> answers = io.BytesIO()
        >>> known = {"10.4.2.7": {"pod": "a"}, "": {}}
        >>> serve(io.BytesIO(b"7 10.4.2.7 -\n8 - -\n"), answers, known.__getitem__)
        >>> answers.getvalue()
        b'7 OK pod=a\n8 OK\n'
    """
    while line := questions.readline(_LONGEST_LINE):
        words = line.split()
        channel = words.pop(0).decode("ascii") if words and words[0].isdigit() else ""
        client = address(unquote(words[0].decode("ascii", "replace"))) if words else ""
        answer = " ".join(filter(None, [channel, "OK", spelled(describe(client))]))
        try:
            answers.write(answer.encode("ascii") + b"\n")
            answers.flush()
        except BrokenPipeError:
            return


def probe(port: int) -> bool:
    """Whether Squid answers here: it asks its helper, then denies a connection to nowhere."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            connection.sendall(b"CONNECT 0.0.0.0:443 HTTP/1.1\r\nHost: 0.0.0.0:443\r\n\r\n")
            return connection.recv(12) == b"HTTP/1.1 403"
    except OSError:
        return False


def watches(api: Api, memory: Memory, *, namespaces: list[str], node: str) -> list[Watch]:
    """What has to be watched: the pods of a node, and the runners of their namespaces."""
    found = []
    for namespace in namespaces:
        here = f"namespaces/{quote(namespace, safe='')}"
        selector = {"fieldSelector": f"spec.nodeName={node}"} if node else {}
        pods = {"scope": f"pods in {namespace}", "path": f"/api/v1/{here}/pods"}
        jobs = {
            "scope": f"jobs in {namespace}",
            "path": f"/apis/actions.github.com/v1alpha1/{here}/ephemeralrunners",
        }
        found.append(Watch(api, memory, **pods, read=pod_of, selector=selector))
        found.append(Watch(api, memory, **jobs, read=job_of, selector={}))
    return found


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    host, port = (os.environ.get(f"KUBERNETES_SERVICE_{name}", "") for name in ("HOST", "PORT"))
    inside = f"https://{f'[{host}]' if ':' in host else host}:{port or 443}"
    parser.add_argument("namespaces", nargs="*", metavar="NAMESPACE", help="where runners are")
    parser.add_argument("--api", default=os.environ.get("PODMETA_API", inside), help="URL of the API server")
    parser.add_argument(
        "--credentials", type=Path, default=_CREDENTIALS, help="a folder with token and ca.crt"
    )
    parser.add_argument(
        "--node", default=os.environ.get("NODE_NAME", ""), help="only pods on it ($NODE_NAME)"
    )
    parser.add_argument("--probe", type=int, metavar="PORT", help="ask Squid on this port, and end")
    chosen = parser.parse_args()
    if chosen.probe:
        sys.exit(0 if probe(chosen.probe) else 1)
    memory = Memory()
    api = Api(chosen.api, chosen.credentials)
    for watch in watches(api, memory, namespaces=chosen.namespaces, node=chosen.node):
        threading.Thread(target=watch.run, daemon=True).start()
    serve(sys.stdin.buffer, sys.stdout.buffer, memory.describe)


if __name__ == "__main__":
    main()
