"""A small Kubernetes API on loopback: lists in pages, watches, and everything that an API does wrong."""

from __future__ import annotations

import json
import re
import socket
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import parse_qsl, unquote, urlsplit

from docker_daemon import free_port

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator

_ROUTE = re.compile(
    r"/(?:api/v1|apis/actions\.github\.com/v1alpha1)(?:/namespaces/([^/]+))?/(pods|ephemeralrunners)"
)


def pod(
    name: str, ip: str, *, namespace: str = "runners", since: str = "2026-11-24T03:00:00Z", **status: Any
) -> dict[str, Any]:
    """A running pod of node-1; `status` may hold `phase`, `podIPs`, …"""
    return {
        "metadata": {"name": name, "namespace": namespace, "uid": f"uid-{name}", "creationTimestamp": since},
        "spec": {"nodeName": "node-1"},
        "status": {"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}], "startTime": since, **status},
    }


def runner(name: str, *, namespace: str = "runners", **status: Any) -> dict[str, Any]:
    """An ARC EphemeralRunner; without `status` its job has not started."""
    return {"metadata": {"name": name, "namespace": namespace, "uid": f"uid-er-{name}"}, "status": status}


@dataclass(frozen=True)
class Request:
    """What was asked."""

    resource: str
    namespace: str | None
    query: dict[str, str]
    token: str | None

    @property
    def watches(self) -> bool:
        return "watch" in self.query


@dataclass
class KubernetesDouble:
    """The API.

    Attributes:
        behaviour: what requests get that come from now on: "well", "hang" (no answer), "garbage",
            or an HTTP status such as "403".
        page: the most objects in one answer to a list.
        unknown: resources that this cluster does not have: 404.
    """

    tls: ssl.SSLContext | None = None
    port: int = field(default_factory=free_port)
    behaviour: str = "well"
    page: int = 500
    unknown: frozenset[str] = frozenset()
    requests: list[Request] = field(default_factory=list)
    _objects: dict[tuple[str, str, str], dict[str, Any]] = field(default_factory=dict)
    _events: list[tuple[int, str, dict[str, Any]]] = field(default_factory=list)
    _version: int = 100
    _oldest: int = 0
    _silent_before: float = 0
    _changed: threading.Condition = field(default_factory=threading.Condition)
    connections: set[socket.socket] = field(default_factory=set)
    _server: ThreadingHTTPServer | None = None

    @property
    def url(self) -> str:
        return f"http{'s' if self.tls else ''}://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Listens, again on the same port."""
        double = self

        class Handler(_Handler):
            api = double

        self._server = _Server(("127.0.0.1", self.port), Handler)
        if self.tls:
            self._server.socket = self.tls.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        """Is gone: nobody listens on the port."""
        if self._server:
            self._server.shutdown()
            self._server.server_close()
        self.cut()

    def cut(self) -> None:
        """Breaks all connections, in the middle of what they were."""
        with self._changed:
            for line in self.connections.copy():  # threads come and go
                with suppress(OSError):
                    line.shutdown(socket.SHUT_RDWR)
            self.connections.clear()
            self._changed.notify_all()

    def behave(self, how: str) -> None:
        """From now on, for those who are connected too."""
        self.behaviour = how
        self.cut()

    def silence(self) -> None:
        """The watches that are open now hear nothing any more, not even that they end."""
        with self._changed:
            self._silent_before = time.monotonic()
            self._changed.notify_all()

    def put(self, resource: str, found: dict[str, Any]) -> None:
        """Creates or changes an object."""
        key = _key(resource, found)
        self._event(key, "MODIFIED" if key in self._objects else "ADDED", found)
        self._objects[key] = found

    def delete(self, resource: str, found: dict[str, Any]) -> None:
        """Deletes an object."""
        self._objects.pop(_key(resource, found))
        self._event(_key(resource, found), "DELETED", found)

    def lose(self, resource: str, found: dict[str, Any]) -> None:
        """An object is gone, and no watch will ever hear of it: only a list shows it."""
        self._objects.pop(_key(resource, found))

    def push(self, resource: str, event: dict[str, Any]) -> None:
        """Sends the open watches any event."""
        with self._changed:
            self._version += 1
            self._events.append((self._version, resource, event))
            self._changed.notify_all()

    def compact(self) -> None:
        """Forgets all changes up to now: who wants to go on from before gets 410 Gone."""
        self._version += 1
        self._oldest = self._version

    def lists(self, resource: str) -> list[Request]:
        return [one for one in list(self.requests) if one.resource == resource and not one.watches]

    def watches(self, resource: str) -> list[Request]:
        return [one for one in list(self.requests) if one.resource == resource and one.watches]

    def _event(self, key: tuple[str, str, str], kind: str, found: dict[str, Any]) -> None:
        with self._changed:
            self._version += 1
            found["metadata"]["resourceVersion"] = str(self._version)
            event = {"type": kind, "object": json.loads(json.dumps(found))}
            self._events.append((self._version, key[0], event))
            self._changed.notify_all()

    def chosen(self, request: Request) -> list[dict[str, Any]]:
        """The objects that a list holds."""
        found = [one for key, one in sorted(self._objects.items()) if key[0] == request.resource]
        return [one for one in found if _chosen(request, one)]

    def page_of(self, request: Request) -> dict[str, Any]:
        """One page of a list."""
        found, start = self.chosen(request), int(request.query.get("continue", "0"))
        stop = start + min(self.page, int(request.query["limit"]))
        more = {"continue": str(stop)} if stop < len(found) else {}
        return {"metadata": {"resourceVersion": str(self._version), **more}, "items": found[start:stop]}

    def events(self, request: Request) -> Iterator[dict[str, Any] | None]:
        """What a watch hears until its time is over; None when it may hear no more."""
        began, seen = time.monotonic(), int(request.query["resourceVersion"])
        end = began + int(request.query["timeoutSeconds"])
        if seen < self._oldest:
            gone = {"kind": "Status", "code": 410, "reason": "Expired"}
            yield {"type": "ERROR", "object": gone}
            return
        while time.monotonic() < end:
            news, seen = self._news(seen, began, end)
            if began < self._silent_before:
                yield None
                return
            for _, resource, event in news:
                if resource == request.resource and _chosen(request, event["object"]):
                    yield event
        if "allowWatchBookmarks" in request.query:
            yield {"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": str(seen)}}}

    def _news(self, seen: int, began: float, end: float) -> tuple[list[tuple[int, str, dict[str, Any]]], int]:
        """Waits for events after the version `seen`; those, and the version now."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._version > seen or began < self._silent_before, timeout=end - time.monotonic()
            )
            return [one for one in self._events if one[0] > seen], self._version

    def wait(self, over: Callable[[], bool]) -> None:
        with self._changed:
            self._changed.wait_for(over, timeout=60)


def _key(resource: str, found: dict[str, Any]) -> tuple[str, str, str]:
    return resource, found["metadata"]["namespace"], found["metadata"]["name"]


def _chosen(request: Request, found: dict[str, Any]) -> bool:
    """Whether an object is in the namespace and on the node; what is no object is for everyone."""
    if "namespace" not in (found.get("metadata", {}) if isinstance(found, dict) else {}):
        return True
    _, _, node = request.query.get("fieldSelector", "").partition("spec.nodeName=")
    return request.namespace in {None, found["metadata"]["namespace"]} and node in {
        "",
        found.get("spec", {}).get("nodeName"),
    }


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def handle_error(self, *_: object) -> None:
        """Clients come and go."""


class _Handler(BaseHTTPRequestHandler):
    api: KubernetesDouble
    protocol_version = "HTTP/1.1"

    def setup(self) -> None:
        super().setup()
        self.api.connections.add(self.connection)

    def finish(self) -> None:
        self.api.connections.discard(self.connection)
        super().finish()

    def log_message(self, *_: object) -> None:
        """Says nothing."""

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        route = _ROUTE.fullmatch(url.path)
        assert route, url.path
        namespace = unquote(route[1]) if route[1] else None
        request = Request(route[2], namespace, dict(parse_qsl(url.query)), self.headers["Authorization"])
        self.api.requests.append(request)
        self.close_connection = True
        match "404" if request.resource in self.api.unknown else self.api.behaviour:
            case "hang":
                self.api.wait(lambda: self.api.behaviour != "hang")
            case "garbage":
                self._answer(200, b'<html>"Please log in</html>\n{"type":')
            case "well" if request.watches:
                self._watch(request)
            case "well":
                self._answer(200, json.dumps(self.api.page_of(request)).encode())
            case status:
                self._answer(int(status), b'{"kind":"Status"}')

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _watch(self, request: Request) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for event in self.api.events(request):
            if event is None:
                self.api.wait(lambda: self.connection not in self.api.connections)
                return
            line = json.dumps(event).encode() + b"\n"
            self.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
        self.wfile.write(b"0\r\n\r\n")
