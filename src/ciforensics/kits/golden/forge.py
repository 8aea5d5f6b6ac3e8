"""A forge on loopback that asks for credentials and remembers what it was asked.

It stands in for every https host at once: git reaches it as a proxy, so that the URL, which git's
configuration is matched against, stays the real one, and no name is looked up. Any git can be pointed at a
proxy (`http.curloptResolve` would need 2.37, and an older git that ignores it would ask the real forge).
"""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self

import trustme

if TYPE_CHECKING:
    from email.message import Message
    from io import BufferedIOBase
    from types import TracebackType

_IDLE_S = 20


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A request that the forge was sent, and its answer's status.

    Attributes:
        method: GET or POST.
        path: with its query.
        user_agent: as sent, empty if none.
        authenticated: whether a credential was sent; never which.
        status: what was answered.
    """

    method: str
    path: str
    user_agent: str
    authenticated: bool
    status: int


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What the forge answers who may see a repository."""

    status: int
    headers: Mapping[str, str]
    body: bytes


Repository = Callable[[str, str, Mapping[str, str], bytes], Answer]
"""Method, path with query, headers and body of a request, to its answer."""


def empty_repository(method: str, path: str, headers: Mapping[str, str], body: bytes) -> Answer:  # noqa: ARG001
    r"""A repository without a branch: `git ls-remote` is content with it (gitprotocol-http(5), version 0).

    Example:
        >>> empty_repository("GET", "/a/b/info/refs?service=git-upload-pack", {}, b"").body
        b'001e# service=git-upload-pack\n00000000'
    """
    kind = "application/x-git-upload-pack-advertisement"
    return Answer(status=200, headers={"Content-Type": kind}, body=b"001e# service=git-upload-pack\n00000000")


def read_body(headers: Message, stream: BufferedIOBase) -> bytes:
    r"""The body of a request; git sends larger ones in chunks (RFC 9112, 7.1).

    Args:
        headers: of the request.
        stream: what comes behind them.

    Example:
        >>> import io
        >>> from email.message import Message
        >>> chunked = Message()
        >>> chunked["Transfer-Encoding"] = "chunked"
        >>> read_body(chunked, io.BytesIO(b"3\r\nabc\r\n0\r\n\r\n"))
        b'abc'
    """
    if headers.get("Transfer-Encoding", "").lower() != "chunked":
        return stream.read(int(headers.get("Content-Length", 0)))
    chunks = []
    while size := int(stream.readline().split(b";")[0], 16):
        chunks.append(stream.read(size))
        stream.readline()
    stream.readline()
    return b"".join(chunks)


class Forge:
    """Serves from `with` to its end, on a port of its own.

    Args:
        repository: answers a request that is let in.
        public: whether a request without a credential is let in.

    Attributes:
        asked: the requests so far.
        url: the proxy through which it is reached.
    """

    def __init__(self, *, repository: Repository = empty_repository, public: bool = False) -> None:
        self.asked: list[Asked] = []
        self.authority = trustme.CA()
        self._server = _Server(self, repository, public=public)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, forge: Forge, repository: Repository, *, public: bool) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.forge, self.repository, self.public = forge, repository, public

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A git that hangs up is nothing to tell about."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = _IDLE_S
    server: _Server

    def do_CONNECT(self) -> None:
        """Ends the tunnel here: what comes through it is TLS for the host that was asked for."""
        host, _, _ = self.path.rpartition(":")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.server.forge.authority.issue_cert(host.strip("[]")).configure_cert(context)
        self.send_response(200)
        self.end_headers()
        self.close_connection = False  # an HTTP/1.0 client may say CONNECT, too
        self.request = context.wrap_socket(self.connection, server_side=True)
        self.setup()

    def finish(self) -> None:
        """Closes what `do_CONNECT` put in the place of the server's own socket."""
        super().finish()
        self.connection.close()

    def do_GET(self) -> None:
        """Lets in who brings a credential."""
        body = read_body(self.headers, self.rfile)
        authenticated = bool((self.headers.get("Authorization") or "").strip())
        if authenticated or self.server.public:
            answer = self.server.repository(self.command, self.path, dict(self.headers.items()), body)
        else:
            challenge = {"WWW-Authenticate": 'Basic realm="forge"'}
            answer = Answer(status=401, headers=challenge, body=b"")
        self.server.forge.asked.append(
            Asked(
                method=self.command,
                path=self.path,
                user_agent=self.headers.get("User-Agent", ""),
                authenticated=authenticated,
                status=answer.status,
            )
        )
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        self.wfile.write(answer.body)

    do_POST = do_GET  # noqa: N815 (named by http.server)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Tells nobody: `asked` has it."""
