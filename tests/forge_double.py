"""A forge on loopback: git http-backend behind HTTPS, for whoever brings a credential."""

from __future__ import annotations

import os
import ssl
import subprocess
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from pathlib import Path

_PATIENCE_S = 60
_QUIET = {
    "PATH": os.environ["PATH"],
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
    **{f"GIT_{who}_{what}": "a@b" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
}


@dataclass
class ForgeDouble:
    """Serves `acme/web.git`, one commit of `size` random bytes, from `with` to its end; answers are chunked.

    Attributes:
        folder: holds the repository and the certificate.
        asked: method, path with query, whether a credential came, and the answer's status.
        csv: the same as rows of a log in CSV, which has no credentials.
    """

    folder: Path
    size: int = 100_000
    asked: list[tuple[str, str, bool, int]] = field(default_factory=list)
    csv: list[str] = field(default_factory=lambda: ["timestamp,method,url,status,user_agent"])

    @property
    def certificate(self) -> Path:
        """For localhost and 127.0.0.1, signed by itself: what to trust."""
        return self.folder / "forge.pem"

    @property
    def url(self) -> str:
        """Of the forge, without a slash at its end."""
        return f"https://localhost:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._make_repository()
        self._make_certificate()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate)
        self._server = _Server(self, context)
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _make_repository(self) -> None:
        work = self.folder / "work"
        work.mkdir(parents=True)
        (work / "file").write_bytes(os.urandom(self.size))
        for command in ("init -q", "add .", "commit -qm first", "clone -q --bare . ../root/acme/web.git"):
            _run("git", *command.split(), cwd=work)

    def _make_certificate(self) -> None:
        new = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -keyout forge.pem -out certificate"
        names = "-subj /CN=localhost -addext subjectAltName=DNS:localhost,IP:127.0.0.1"
        _run(*new.split(), *names.split(), cwd=self.folder)
        with self.certificate.open("ab") as file:
            file.write((self.folder / "certificate").read_bytes())


def _run(*command: str, cwd: Path) -> None:
    subprocess.run(command, cwd=cwd, env=_QUIET, check=True, capture_output=True, timeout=_PATIENCE_S)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, forge: ForgeDouble, context: ssl.SSLContext) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.forge, self.context = forge, context

    def get_request(self) -> tuple[Any, Any]:
        """Leaves the handshake to the first read, in the connection's own thread."""
        request, address = super().get_request()
        secure = self.context.wrap_socket(request, server_side=True, do_handshake_on_connect=False)
        return secure, address

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is nothing to tell about."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = _PATIENCE_S
    server: _Server

    def do_GET(self) -> None:
        """Asks for a credential, takes any, and leaves the rest to git."""
        body = self._body()
        authenticated = "Authorization" in self.headers
        head, answer = (
            self._backend(body) if authenticated else ('WWW-Authenticate: Basic realm="forge"', b"")
        )
        headers = dict(line.split(": ", 1) for line in head.splitlines())
        status = int(headers.pop("Status", "200").split()[0]) if authenticated else 401
        forge = self.server.forge
        forge.asked.append((self.command, self.path, authenticated, status))
        when, agent = datetime.now(UTC).isoformat(), self.headers.get("User-Agent", "")
        forge.csv.append(f"{when},{self.command},{forge.url}{self.path},{status},{agent}")
        self.send_response(status)
        for name, value in {
            **headers,
            "X-GitHub-Request-Id": "A1:B2",
            "Transfer-Encoding": "chunked",
        }.items():
            self.send_header(name, value)
        self.end_headers()
        for at in range(0, len(answer), 1 << 16):
            piece = answer[at : at + (1 << 16)]
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        self.wfile.write(b"0\r\n\r\n")

    do_POST = do_GET  # noqa: N815 (named by http.server)

    def _backend(self, body: bytes) -> tuple[str, bytes]:
        """The Common Gateway Interface (RFC 3875), as git-http-backend(1) wants it."""
        path, _, query = self.path.partition("?")
        variables = {
            "GIT_PROJECT_ROOT": str(self.server.forge.folder / "root"),
            "GIT_HTTP_EXPORT_ALL": "1",
            "REMOTE_USER": "x",  # lets it receive a push
            "REQUEST_METHOD": self.command,
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
        }
        done = subprocess.run(
            ["git", "http-backend"],
            input=body,
            env=_QUIET | variables,
            capture_output=True,
            check=False,
            timeout=_PATIENCE_S,
        )
        head, _, answer = done.stdout.partition(b"\r\n\r\n")
        return head.decode(), answer

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        pieces = []
        while size := int(self.rfile.readline(), 16):
            pieces.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(pieces)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Tells nobody: `asked` has it."""
