"""The part of the Kubernetes API that is listed and watched, on loopback; it can be slow, wrong or dead."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from docker_daemon import free_port


def pod(name: str, address: str, *, created: str = "2026-11-24T03:00:00Z", **status: Any) -> dict[str, Any]:
    """A running pod of a runner on node ci-1."""
    return {
        "kind": "Pod",
        "metadata": {"namespace": "arc-runners", "name": name, "creationTimestamp": created},
        "spec": {"nodeName": "ci-1"},
        "status": {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}], **status},
    }


def runner(name: str, run_id: int, *, workflow: str = "ci.yml", job: str = "build") -> dict[str, Any]:
    """An EphemeralRunner that took a job."""
    return {
        "kind": "EphemeralRunner",
        "metadata": {"namespace": "arc-runners", "name": name},
        "status": {
            "jobRepositoryName": "octo/app",
            "jobWorkflowRef": f"octo/app/.github/workflows/{workflow}@refs/heads/main",
            "jobDisplayName": job,
            "workflowRunId": run_id,
        },
    }


class KubernetesDouble:
    """Lists with pages, watches in chunks, forgets old versions.

    Attributes:
        wrong: "" as it should be; "hang" answers never, "garbage" with no JSON, else an HTTP status.
        asked: path and query of each request.
    """

    def __init__(self) -> None:
        self.port = free_port()
        self.wrong = ""
        self.asked: list[tuple[str, dict[str, str]]] = []
        self._objects: dict[tuple[str, str], dict[str, Any]] = {}
        self._log: list[tuple[int, str, dict[str, Any]]] = []
        self._version = 10
        self._forgotten = 0
        self._changed = threading.Condition()
        self._server: ThreadingHTTPServer | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def put(self, value: dict[str, Any]) -> None:
        """An object is there, or has changed."""
        key = value["kind"], value["metadata"]["name"]
        self._tell("MODIFIED" if key in self._objects else "ADDED", key, value)

    def delete(self, kind: str, name: str) -> None:
        self._tell("DELETED", (kind, name), self._objects[kind, name])

    def forget(self) -> None:
        """Every version so far is too old to go on from; watches end."""
        with self._changed:
            self._version += 1
            self._forgotten = self._version
            self._changed.notify_all()

    def _tell(self, change: str, key: tuple[str, str], value: dict[str, Any]) -> None:
        with self._changed:
            self._version += 1
            value = {**value, "metadata": {**value["metadata"], "resourceVersion": str(self._version)}}
            if change == "DELETED":
                del self._objects[key]
            else:
                self._objects[key] = value
            self._log.append((self._version, change, value))
            self._changed.notify_all()

    def __enter__(self) -> Self:
        double = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                double._answer(self)

            def log_message(self, *_: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_: object) -> None:
                pass  # clients go away in the middle

        self._server = Server(("127.0.0.1", self.port), Handler)
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        server, self._server = self._server, None
        with self._changed:
            self._changed.notify_all()
        if server:
            server.shutdown()
            server.server_close()

    def _answer(self, handler: BaseHTTPRequestHandler) -> None:
        url = urlsplit(handler.path)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        self.asked.append((url.path, query))
        handler.close_connection = True
        with self._changed:
            while self.wrong == "hang" and self._server:
                self._changed.wait(0.05)
        if self.wrong == "garbage":
            _send(handler, 200, b'{"kind": "PodList", "items": [{"metadata"')
        elif self.wrong.isdigit():
            _send(handler, int(self.wrong), b"{}")
        else:
            kind = "Pod" if url.path.endswith("/pods") else "EphemeralRunner"
            (self._watch if query.get("watch") else self._list)(handler, kind, query)

    def _list(self, handler: BaseHTTPRequestHandler, kind: str, query: dict[str, str]) -> None:
        with self._changed:
            found = [value for (each, _), value in sorted(self._objects.items()) if each == kind]
            start = int(query.get("continue", 0))
            end = start + min(int(query["limit"]), 2)  # a page is never as long as asked for
            metadata = {"resourceVersion": str(self._version)}
        if end < len(found):
            metadata["continue"] = str(end)
        _send(handler, 200, json.dumps({"metadata": metadata, "items": found[start:end]}).encode())

    def _watch(self, handler: BaseHTTPRequestHandler, kind: str, query: dict[str, str]) -> None:
        version = int(query["resourceVersion"])
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        server = self._server
        while server and server is self._server and not self.wrong:
            with self._changed:
                news = [each for each in self._log if each[0] > version]
                gone = version < self._forgotten
                version = max(version, self._version)
                if not (news or gone):
                    self._changed.wait(0.05)
            if gone:
                _chunk(handler, {"type": "ERROR", "object": {"kind": "Status", "code": 410}})
                break
            for _, change, value in news:
                if value["kind"] == kind:
                    _chunk(handler, {"type": change, "object": value})
            if news:
                mark = {"kind": kind, "metadata": {"resourceVersion": str(version)}}
                _chunk(handler, {"type": "BOOKMARK", "object": mark})
        handler.wfile.write(b"0\r\n\r\n")


def _chunk(handler: BaseHTTPRequestHandler, event: dict[str, Any]) -> None:
    line = json.dumps(event).encode() + b"\n"
    handler.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
    handler.wfile.flush()


def _send(handler: BaseHTTPRequestHandler, status: int, body: bytes) -> None:
    handler.send_response(status)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)
