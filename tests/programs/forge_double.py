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

import trustme

from ciforensics.kits.golden.forge import Answer, read_body
from forge import repositories

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
        """What to trust: the authority of the certificate, which is for localhost and 127.0.0.1."""
        return self.folder / "forge.pem"

    @property
    def url(self) -> str:
        """Of the forge, without a slash at its end."""
        return f"https://localhost:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._make_repository()
        authority, context = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.cert_pem.write_to_path(self.certificate)
        authority.issue_cert("localhost", "127.0.0.1").configure_cert(context)
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
        for command in ("init -q", "add .", "commit -qm first", "clone -q --bare . ../served/acme/web.git"):
            _run("git", *command.split(), cwd=work)


def _run(*command: str, cwd: Path) -> None:
    subprocess.run(command, cwd=cwd, env=_QUIET, check=True, capture_output=True, timeout=_PATIENCE_S)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, forge: ForgeDouble, context: ssl.SSLContext) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.forge, self.context = forge, context
        self.repository = repositories(forge.folder / "served")

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
        body = read_body(self.headers, self.rfile)
        authenticated = "Authorization" in self.headers
        if authenticated:
            answer = self.server.repository(self.command, self.path, dict(self.headers.items()), body)
        else:
            answer = Answer(status=401, headers={"WWW-Authenticate": 'Basic realm="forge"'}, body=b"")
        forge = self.server.forge
        forge.asked.append((self.command, self.path, authenticated, answer.status))
        when, agent = datetime.now(UTC).isoformat(), self.headers.get("User-Agent", "")
        forge.csv.append(f"{when},{self.command},{forge.url}{self.path},{answer.status},{agent}")
        self.send_response(answer.status)
        for name, value in {
            **answer.headers,
            "X-GitHub-Request-Id": "A1:B2",
            "Transfer-Encoding": "chunked",
        }.items():
            self.send_header(name, value)
        self.end_headers()
        for at in range(0, len(answer.body), 1 << 16):
            piece = answer.body[at : at + (1 << 16)]
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        self.wfile.write(b"0\r\n\r\n")

    do_POST = do_GET  # noqa: N815 (named by http.server)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Tells nobody: `asked` has it."""
