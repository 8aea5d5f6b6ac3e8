#!/usr/bin/env python3
"""Squid's external ACL helper: which pod, and which CI job in it, has this source address?

    external_acl_type podmeta concurrency=100 ttl=0 negative_ttl=0 %>a /usr/bin/python3 /etc/squid/podmeta.py

Squid asks `7 10.0.0.5 -`; the answer is `7 OK pod="ci-x2k4p" namespace="runners" …` with what is known of
`pod namespace node repo workflow job run_id`, or `7 OK`. Never `ERR` or `BH`: after a `BH` Squid asks once
more and then denies the request, and a proxy must not stop CI.

An answer never waits for the network. A thread for each resource watches the Kubernetes API and keeps what
it says in memory, where the main thread reads. While the API is slow, down or refuses, answers carry less,
and the watch tries again, at growing distances, until it is back.

Addresses are reused, so wrong metadata is worse than none:

- a pod that is finished or deleted has given its address back; of two pods the one that started later has it;
- pods on the host's network share the node's address and never match;
- when a watch of pods has brought no news for `--forget-after` seconds, its pods are no longer believed. What
  is known of a runner stays true: an EphemeralRunner takes one job, and its name does not come back.

The job comes from the ARC EphemeralRunner that has the pod's name. Its status is filled in when the job
starts, so it is looked up for each request (hence `ttl=0`). In ARC's Kubernetes mode the job has a pod of its
own, which names its runner in the label `runner-pod`.
"""

from __future__ import annotations

import argparse
import ipaddress
import json
import os
import random
import re
import ssl
import sys
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar
from urllib.parse import quote, unquote, urlencode, urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

PAGE = 100  # objects in one answer to a list: while one is parsed, Squid waits
LONGEST_LINE = 1 << 24  # bytes; etcd holds no object above 1.5 MB
LONGEST_VALUE = 200  # characters
FIRST_DELAY_S, LAST_DELAY_S = 0.2, 30.0
QUIET_S = 300  # between two lines on stderr about the same watch: Squid puts them into its cache.log
# Control characters, line separators, reversals of direction, lone surrogates.
UNFIT = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]+")
ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


class Unusable(Exception):  # noqa: N818 - it is no error of ours
    """The API answered, but with nothing that can be built on."""


# What a connection can end in. ValueError: a port that is no number, a token that cannot be a header.
TROUBLE = (Unusable, OSError, HTTPException, ValueError)


def at(document: Any, *path: str) -> Any:
    """What a JSON document holds at a path.

    >>> at({"status": {"phase": "Running"}}, "status", "phase"), at({"status": []}, "status", "phase")
    ('Running', None)
    """
    for name in path:
        document = document.get(name) if isinstance(document, dict) else None
    return document


def clean(value: Any) -> str:
    r"""Text for a log: valid UTF-8, on one line, not long; empty when there is none.

    >>> clean("build\n\ud800(3.11)"), clean(17), clean(None)
    ('build (3.11)', '', '')
    """
    return UNFIT.sub(" ", value[:LONGEST_VALUE]).strip() if isinstance(value, str) else ""


def address(value: Any) -> str:
    """The one way in which an address is written here; empty when it is none.

    >>> address("::ffff:10.0.0.5"), address("FD00::0:5"), address("-")
    ('10.0.0.5', 'fd00::5', '')
    """
    try:
        parsed = ipaddress.ip_address(value if isinstance(value, str) else "")
    except ValueError:
        return ""
    return str(getattr(parsed, "ipv4_mapped", None) or parsed)


@dataclass(frozen=True)
class Pod:
    """A pod, the addresses that it holds, and since when."""

    uid: str
    namespace: str
    name: str
    node: str
    runners: tuple[str, ...]
    since: str
    addresses: frozenset[str]

    @classmethod
    def read(cls, item: Any) -> Pod:
        """A pod as the API describes it: one that is finished or has the node's addresses holds none."""
        status, name = at(item, "status"), clean(at(item, "metadata", "name"))
        listed = at(status, "podIPs")
        given = [at(one, "ip") for one in (listed if isinstance(listed, list) else [])]
        without = at(item, "spec", "hostNetwork") is True or at(status, "phase") in ("Succeeded", "Failed")
        return cls(
            uid=clean(at(item, "metadata", "uid")),
            namespace=clean(at(item, "metadata", "namespace")),
            name=name,
            node=clean(at(item, "spec", "nodeName")),
            runners=(clean(at(item, "metadata", "labels", "runner-pod")), name),
            # Text that sorts. A pod gets its address when it starts: created, it may wait for a node.
            since=clean(at(status, "startTime")) or clean(at(item, "metadata", "creationTimestamp")),
            addresses=frozenset(map(address, [*given, at(status, "podIP")]) if not without else ()) - {""},
        )


class Pods:
    """Who has which address: written by one watch, read by the main thread."""

    def __init__(self) -> None:
        self._pods: dict[str, Pod] = {}
        self._holders: dict[str, Pod] = {}

    def put(self, item: Any, *, gone: bool = False) -> None:
        """Takes in what a list or an event says of a pod."""
        pod = Pod.read(item)
        before = self._pods.pop(pod.uid, None)
        if not gone:
            self._pods[pod.uid] = pod
        keeps = frozenset() if gone else pod.addresses
        for ip in keeps:
            holder = self._holders.get(ip, pod)
            if holder.uid == pod.uid or holder.since <= pod.since:
                self._holders[ip] = pod
        for ip in (before.addresses if before else frozenset()) - keeps:
            if self._holders.get(ip, pod).uid == pod.uid:
                self._holders.pop(ip, None)

    def get(self, ip: str) -> Pod | None:
        """The pod that has an address."""
        return self._holders.get(ip)


def job(item: Any) -> dict[str, str]:
    """What an EphemeralRunner says of the job that it runs; nothing before the job starts.

    >>> job({"status": {"workflowRunId": 42, "jobRepositoryName": "octo/app",
    ...                 "jobWorkflowRef": "octo/app/.github/workflows/ci.yml@refs/heads/main"}})
    {'repo': 'octo/app', 'workflow': '.github/workflows/ci.yml', 'run_id': '42'}

    A reusable workflow lies in another repository, and that is said:

    >>> job({"status": {"jobRepositoryName": "octo/app",
    ...                 "jobWorkflowRef": "octo/ci/.github/workflows/go.yml@v1"}})
    {'repo': 'octo/app', 'workflow': 'octo/ci/.github/workflows/go.yml'}
    """
    status = at(item, "status")
    repo = clean(at(status, "jobRepositoryName"))
    reference = at(status, "jobWorkflowRef")
    workflow = clean(reference.partition("@")[0] if isinstance(reference, str) else "")
    run = at(status, "workflowRunId")
    known = {
        "repo": repo,
        "workflow": workflow[len(repo) + 1 :] if repo and workflow.startswith(f"{repo}/") else workflow,
        "job": clean(at(status, "jobDisplayName")),
        "run_id": str(run) if type(run) is int and 0 < run < 1 << 63 else "",
    }
    return {key: value for key, value in known.items() if value}


class Runners:
    """Which job each EphemeralRunner has: written by one watch, read by the main thread."""

    def __init__(self) -> None:
        self._jobs: dict[tuple[str, str], dict[str, str]] = {}

    def put(self, item: Any, *, gone: bool = False) -> None:
        """Takes in what a list or an event says of a runner."""
        name = clean(at(item, "metadata", "namespace")), clean(at(item, "metadata", "name"))
        if gone:
            self._jobs.pop(name, None)
        else:
            self._jobs[name] = job(item)

    def get(self, namespace: str, name: str) -> dict[str, str]:
        """The job of a runner."""
        return self._jobs.get((namespace, name), {})


@dataclass(frozen=True)
class Api:
    """The Kubernetes API, and how long to wait for it."""

    url: str
    account: Path
    timeout_s: float
    watch_s: int

    @contextmanager
    def get(self, path: str, query: dict[str, str], *, silence_s: float) -> Iterator[HTTPResponse]:
        """One request on a connection of its own; `silence_s` is how long the answer may pause."""
        url = urlsplit(self.url)
        host, port = url.hostname or "", url.port
        if url.scheme == "https":
            authority = self.account / "ca.crt"
            context = ssl.create_default_context(cafile=str(authority) if authority.exists() else None)
            line: HTTPConnection = HTTPSConnection(host, port, timeout=self.timeout_s, context=context)
        else:
            line = HTTPConnection(host, port, timeout=self.timeout_s)
        headers = {"Accept": "application/json", "User-Agent": "podmeta"}
        with suppress(FileNotFoundError):  # read each time: the kubelet writes a new token every hour or so
            headers["Authorization"] = f"Bearer {(self.account / 'token').read_text().strip()}"
        try:
            line.connect()
            socket = line.sock  # the connection forgets it when the server wants to close
            line.request("GET", f"{path}?{urlencode(query)}", headers=headers)
            with line.getresponse() as answer:
                socket.settimeout(silence_s)
                if answer.status != 200:
                    raise Unusable(f"HTTP {answer.status}")
                yield answer
        finally:
            line.close()


def parsed(text: bytes) -> Any:
    """JSON, or `Unusable`: half a line, a login page, a thousand brackets."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise Unusable("not JSON") from None


def lines(answer: HTTPResponse) -> Iterator[bytes]:
    """The lines of an answer as they come. `readline` would take a connection that broke for the end."""
    rest = b""
    while piece := answer.read1(1 << 16):
        *whole, rest = (rest + piece).split(b"\n")
        if len(rest) > LONGEST_LINE:
            break
        yield from whole
    if rest:
        raise Unusable("half a line")


Store = TypeVar("Store", Pods, Runners)


class Watch(threading.Thread, Generic[Store]):
    """Lists one kind of object, then follows its changes, for ever; `held` is what the API last said."""

    def __init__(self, api: Api, path: str, held: Store, *, fields: str = "") -> None:
        super().__init__(name=path, daemon=True)
        self.held: Store = held
        self.heard_at = -float("inf")
        self._api, self._path = api, path
        self._chosen = {"fieldSelector": fields} if fields else {}
        self._version = ""  # where to go on; empty: with a list
        self._delay_s = FIRST_DELAY_S
        self._said_at = -float("inf")

    def run(self) -> None:
        """Goes on whatever the API does: after a mere broken connection where it was, else with a list."""
        while True:
            try:
                if not self._version:
                    self._list()
                self._follow()
            except TROUBLE as error:
                if isinstance(error, Unusable):
                    self._version = ""
                self._say(error)
                self._delay_s = min(2 * self._delay_s, LAST_DELAY_S)
            # Each waits its own while: when the API is back, not every node's helper may call at once.
            time.sleep(self._delay_s * random.uniform(0.5, 1))  # noqa: S311

    def _list(self) -> None:
        """Reads all objects, a page at a time, and only then forgets what was held before."""
        held: Store = type(self.held)()
        query = {"limit": str(PAGE), **self._chosen}
        while True:
            with self._api.get(self._path, query, silence_s=self._api.timeout_s) as answer:
                page = parsed(answer.read())
            items, version = at(page, "items"), at(page, "metadata", "resourceVersion")
            if not isinstance(items, list) or not isinstance(version, str) or not version:
                raise Unusable("not a list")
            for item in items:
                held.put(item)
            more = at(page, "metadata", "continue")
            if not isinstance(more, str) or not more:
                break
            query["continue"] = more
        self.held, self._version, self.heard_at = held, version, time.monotonic()

    def _follow(self) -> None:
        """Takes in changes until the API ends the watch."""
        query = {
            "watch": "1",
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(self._api.watch_s),
            "resourceVersion": self._version,
            **self._chosen,
        }
        heard = False
        # A connection whose other end has vanished looks like a quiet one; but a quiet one ends on time.
        with self._api.get(self._path, query, silence_s=self._api.watch_s + self._api.timeout_s) as answer:
            for line in lines(answer):
                self._take(parsed(line))
                heard, self.heard_at, self._delay_s = True, time.monotonic(), FIRST_DELAY_S
        if not heard:  # the API sends a bookmark before it ends a watch
            raise Unusable("a watch ended without a word")

    def _take(self, event: Any) -> None:
        """Takes in one event of a watch."""
        kind, item = at(event, "type"), at(event, "object")
        version = at(item, "metadata", "resourceVersion")
        if kind == "ERROR":  # 410: what it should go on from is no longer known
            raise Unusable(f"error {at(item, 'code')}" if type(at(item, "code")) is int else "an error")
        if not isinstance(version, str) or not version:
            raise Unusable("not an event")
        if kind in ("ADDED", "MODIFIED", "DELETED"):
            self.held.put(item, gone=kind == "DELETED")
        self._version = version

    def _say(self, error: Exception) -> None:
        """One line now and then; never the error's own text: a header that cannot be sent would be in it."""
        if time.monotonic() - self._said_at >= QUIET_S:
            self._said_at = time.monotonic()
            told = str(error) if isinstance(error, Unusable) else getattr(error, "strerror", None)
            say(f"{self._path}: {told or type(error).__name__}; trying again")


@dataclass(frozen=True)
class Directory:
    """Whom an address belongs to, by all watches together."""

    pods: list[Watch[Pods]] = field(default_factory=list)
    runners: list[Watch[Runners]] = field(default_factory=list)
    forget_s: float = 300

    def find(self, ip: str) -> dict[str, str]:
        """What is known of an address."""
        believed = [watch.held for watch in self.pods if time.monotonic() - watch.heard_at < self.forget_s]
        holders = [pod for held in believed if (pod := held.get(ip))]
        if not holders:
            return {}
        pod = max(holders, key=lambda holder: holder.since)
        jobs = [watch.held.get(pod.namespace, name) for name in pod.runners for watch in self.runners]
        known = {"pod": pod.name, "namespace": pod.namespace, "node": pod.node}
        known.update(next(filter(None, jobs), {}))
        return {key: value for key, value in known.items() if value}


def reply(question: bytes, directory: Directory) -> bytes:
    r"""The answer to one line of Squid's, whatever is in it.

    >>> reply(b"7 10.0.0.5 -\n", Directory()), reply(b"10.0.0.5 -\n", Directory()), reply(b"\n", Directory())
    (b'7 OK\n', b'OK\n', b'OK\n')
    """
    fields = question.decode("utf-8", "replace").split()
    channel = [fields.pop(0)] if fields and re.fullmatch("[0-9]+", fields[0]) else []  # if concurrency=
    names = directory.find(address(unquote(fields[0]))) if fields else {}
    values = (f'{key}="{quoted(value)}"' for key, value in names.items())
    return (" ".join([*channel, "OK", *values]) + "\n").encode()


def quoted(value: str) -> str:
    r"""A value between the quotes of an answer: Squid takes a backslash off whatever follows it.

    >>> print(quoted('the "big" \\ build'))
    the \"big\" \\ build
    """
    return value.replace("\\", "\\\\").replace('"', '\\"')


def say(text: str) -> None:
    """A line on stderr, if it can be had: a full disk must not end a watch."""
    with suppress(OSError):
        sys.stderr.write(f"podmeta: {text}\n")
        sys.stderr.flush()


def watch_all(api: Api, *, node: str, namespaces: Iterable[str], forget_s: float) -> Directory:
    """Starts the watches of some namespaces, or of all."""
    directory = Directory(forget_s=forget_s)
    for folder in [f"namespaces/{quote(name, safe='')}/" for name in namespaces] or [""]:
        of_node = f"spec.nodeName={node}" if node else ""
        directory.pods.append(Watch(api, f"/api/v1/{folder}pods", Pods(), fields=of_node))
        runners = f"/apis/actions.github.com/v1alpha1/{folder}ephemeralrunners"  # know no node
        directory.runners.append(Watch(api, runners, Runners()))
        directory.pods[-1].start()
        directory.runners[-1].start()
    return directory


def in_cluster() -> str:
    """Where Kubernetes says to a pod that its API is; empty when it does not."""
    host, port = (os.environ.get(f"KUBERNETES_SERVICE_{part}", "") for part in ("HOST", "PORT"))
    return f"https://{f'[{host}]' if ':' in host else host}:{port or 443}" if host else ""


def arguments() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    tell = parser.add_argument
    tell(
        "--node",
        default=os.environ.get("NODE_NAME", ""),
        help="only pods of this node ($NODE_NAME; else all)",
    )
    tell("--namespace", action="append", default=[], help="only this namespace; may be repeated (else all)")
    tell("--api", default=in_cluster(), help="URL of the Kubernetes API (that of this cluster)")
    tell("--account", default=ACCOUNT, type=Path, help="folder with token and ca.crt (%(default)s)")
    tell("--watch", default=60, type=int, help="seconds that one watch lasts (%(default)s)")
    tell("--timeout", default=10, type=float, help="seconds to wait for the API (%(default)s)")
    tell("--forget-after", default=300, type=float, help="seconds without news until pods are not believed")
    return parser.parse_args()


def main() -> None:
    """Watches, and answers until Squid closes the pipe."""
    given, directory = arguments(), Directory()
    if given.api:
        api = Api(given.api, given.account, timeout_s=given.timeout, watch_s=given.watch)
        names = filter(None, given.namespace)
        directory = watch_all(api, node=given.node, namespaces=names, forget_s=given.forget_after)
    else:
        say("no KUBERNETES_SERVICE_HOST here and no --api: answers carry no metadata")
    with suppress(BrokenPipeError):
        for question in sys.stdin.buffer:
            sys.stdout.buffer.write(reply(question, directory))
            sys.stdout.buffer.flush()
    os._exit(0)  # the watches sit in reads, and a broken pipe cannot be flushed


if __name__ == "__main__":
    main()
