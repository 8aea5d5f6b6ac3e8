"""Logs one JSON line for each HTTP request that passes through mitmproxy, without any credential in it.

Run it in the proxy, with mitmproxy 11 or later:

    mitmdump -q -s addon.py --set ciforensics_log=/var/log/mitmproxy/requests.jsonl

The log may be rotated by rename, with or without a SIGHUP, or by copy and truncate. When it cannot be
written, requests pass all the same; mitmproxy's own log says when that began, and at its end how many lines
are missing. Bodies are counted and passed on as they come, never kept: a dump beside the log (`-w`) has none.

Or turn a recorded dump into the same lines, one for each flow in it whatever it holds:

    mitmdump -q -n -s addon.py --set ciforensics_convert=true < flows.mitm > flows.jsonl

A line has `timestamp` (when the request started), `method`, `url`, `status` (null: no answer), `user_agent`,
`content_length` (bytes of the answer's body), `request_bytes`, `client_ip`, `client_port`, `duration_ms` (to
the last byte of the answer), `authenticated`, `credential` (the kind of credential in the Authorization
header, never its value), `request_id` (the server's) and `error`. A tunnel that came to nothing, because the
client does not trust the proxy's certificate or because there is nobody at its end, is a line with the method
CONNECT. A converted line also has `flow` (its number), `flow_type` and `redacted` (secrets left out of it).
"""

from __future__ import annotations

import asyncio
import errno
import io
import json
import logging
import os
import re
import signal
import sys
import time
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MARK = "***"
REQUEST_BYTES, RESPONSE_BYTES = "ciforensics_request_bytes", "ciforensics_response_bytes"
SCHEMES = ("basic", "bearer", "digest", "negotiate", "ntlm", "token")
SECRET_HEADERS = ("authorization", "proxy-authorization", "cookie")
_NAMES = r"token|secret|pass(?:wd|word|phrase)?|pwd|signature|credentials?|cookie|auth(?:orization)?|jwt"
_KEYS = r"(?:api|access|private)[_.-]?key"
_PARAMETER = rf"(?i)(?<=[?&;])((?:[\w.%-]*(?:{_NAMES}|{_KEYS})\d*|sig|code|pat)=)"
# GitHub's and Docker Hub's tokens, JWTs, and base64 of `x-access-token:…`
_SHAPES = (
    r"(?i)(?:gh[pousr]|github_pat|dckr_pat)(?:_|%5F)\w{6,}"
    r"|\beyJ[\w-]{5,}(?:\.[\w-]*)+|eC1hY2Nlc3MtdG9rZW46[\w+/=%-]*"
)
_SECRETS = (
    (re.compile(r"(?<=://)[^/?#\s]*@"), ""),
    (re.compile(rf"{_PARAMETER}(?!{re.escape(MARK)}(?:[&;#]|$))[^&;#\s]+"), rf"\g<1>{MARK}"),
    (re.compile(_SHAPES), MARK),
)
_log = logging.getLogger(__name__)


def without_secrets(text: str) -> tuple[str, int]:
    """Takes user info, tokens in query strings and tokens by their shape out of a URL or a user agent.

    Example:
        >>> without_secrets("https://me:pw@host/x?page=2&access_token=abc")
        ('https://host/x?page=2&access_token=***', 2)
    """
    count = 0
    for pattern, put in _SECRETS:
        text, n = pattern.subn(put, text)
        count += n
    return text, count


def described(flow: Any) -> tuple[dict[str, Any], int]:
    """What is to be known of an HTTP flow, and how many secrets were left out of it."""
    request, response = flow.request, flow.response
    authorization = request.headers.get("authorization", "").strip()
    scheme = authorization.split(" ")[0].lower()
    end = response.timestamp_end if response else None
    end = end or (flow.error.timestamp if flow.error else None)
    line: dict[str, Any] = {
        "timestamp": _when(request.timestamp_start),
        "method": request.method,
        "url": request.pretty_url,
        "status": response.status_code if response else None,
        "user_agent": request.headers.get("user-agent") or None,
        "content_length": _body_bytes(response, flow.metadata.get(RESPONSE_BYTES)) if response else None,
        "request_bytes": _body_bytes(request, flow.metadata.get(REQUEST_BYTES)),
        **_peer(flow.client_conn),
        "duration_ms": round(1000 * (end - request.timestamp_start), 3) if end else None,
        "authenticated": bool(authorization),
        "credential": (scheme if scheme in SCHEMES else "other") if authorization else None,
        "request_id": response.headers.get("x-github-request-id") if response else None,
        "error": flow.error.msg if flow.error else None,
    }
    dropped = sum(len(request.headers.get_all(name)) for name in SECRET_HEADERS)
    for name, value in line.items():
        if isinstance(value, str):  # hostile as any of it may be
            line[name], count = without_secrets(value)
            dropped += count
    return line, dropped


def _peer(client: Any) -> dict[str, Any]:
    ip, port, *_ = client.peername or (None, None)
    return {"client_ip": ip.removeprefix("::ffff:") if ip else None, "client_port": port}


def _when(timestamp: float) -> str:
    utc = timezone.utc  # noqa: UP017 (mitmproxy 11 also runs on Python 3.10)
    return datetime.fromtimestamp(timestamp, utc).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _count(flow: Any, name: str) -> Callable[[bytes], bytes]:
    """What mitmproxy calls with each piece of a body that is passed on; a dump keeps a flow's metadata."""

    def passed(data: bytes) -> bytes:
        flow.metadata[name] = flow.metadata.get(name, 0) + len(data)
        return data

    return passed


def _body_bytes(message: Any, counted: Any) -> int | None:
    if isinstance(counted, int):
        return counted
    if message.raw_content is not None:
        return len(message.raw_content)
    declared = message.headers.get("content-length", "")  # streamed, and nobody counted
    return int(declared) if declared.isascii() and declared.isdigit() else None


def dumped(stream: BinaryIO) -> Iterator[bytes]:
    """The flows of a dump, each as its own bytes: a flow that cannot be read must not cost the others."""
    while prefix := stream.read(1):
        while not prefix.endswith(b":") and (digit := stream.read(1)):
            prefix += digit
        yield prefix + stream.read(int(prefix[:-1]) + 1)


def converted(data: bytes) -> dict[str, Any]:
    """One flow of a dump as a line."""
    # Outside mitmproxy's own Python there is no such package.
    from mitmproxy import exceptions, http  # type: ignore[import-not-found]  # noqa: PLC0415
    from mitmproxy.io import FlowReader  # type: ignore[import-not-found]  # noqa: PLC0415

    damaged = (ArithmeticError, AttributeError, LookupError, OSError, RuntimeError, TypeError, ValueError)
    try:
        (flow,) = FlowReader(io.BytesIO(data)).stream()
        if not isinstance(flow, http.HTTPFlow):
            return {"flow_type": flow.type}
        line, dropped = described(flow)
    # What a damaged flow raises in mitmproxy depends on where the damage is.
    except (exceptions.FlowReadException, AssertionError, *damaged) as error:
        return {"unreadable": str(error) or type(error).__name__}
    return {"flow_type": "http", **line, "redacted": dropped}


class LineLog:
    """A file, or stdout as "-", that lines are appended to, one write each; it may be moved or full."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._file = sys.stdout.fileno() if path == "-" else -1
        self._dropped = 0

    def reopen(self) -> None:
        """Goes on in the file that has the log's name now."""
        if self._path != "-":
            opened = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
            self.close()
            self._file = opened

    def close(self) -> None:
        """Lets go of the file; the next line opens it again."""
        if self._path != "-" and self._file >= 0:
            os.close(self._file)
            self._file = -1

    def write(self, line: str) -> None:
        """Appends a line, or drops it: a proxy that cannot log must not fail its clients."""
        try:
            if self._path != "-" and self._moved():
                self.reopen()
            self._append(line.encode() + b"\n")
        except OSError as error:
            if not self._dropped:
                _log.error("%s: no requests are logged: %s", self._path, error.strerror)
            self._dropped += 1
        else:
            if self._dropped:
                _log.error("%s: written again, %d lines are missing", self._path, self._dropped)
            self._dropped = 0

    def _moved(self) -> bool:
        try:
            there = os.stat(self._path)  # noqa: PTH116 (for each line)
        except FileNotFoundError:
            return True
        return self._file < 0 or not os.path.samestat(there, os.fstat(self._file))

    def _append(self, data: bytes) -> None:
        written = os.write(self._file, data)
        if written < len(data):  # the disk is full: half a line would spoil the next one
            os.ftruncate(self._file, os.fstat(self._file).st_size - written)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class RequestLog:
    """The addon: each flow gets either an answer or an error, and then its line."""

    def __init__(self) -> None:
        self._log: LineLog | None = None
        self._last = ""

    def load(self, loader: Any) -> None:
        """Declares the options."""
        loader.add_option("ciforensics_log", str, "-", "Append a JSON line for each request here; -: stdout.")
        loader.add_option("ciforensics_convert", bool, default=False, help="Turn a dump on stdin into lines.")

    def configure(self, updated: set[str]) -> None:
        """Opens the log."""
        if "ciforensics_log" in updated:
            from mitmproxy import ctx  # noqa: PLC0415

            path = ctx.options.ciforensics_log
            self.done()
            self._log = LineLog(path)
            try:
                self._log.reopen()
            except OSError as error:
                if error.errno not in (errno.ENOSPC, errno.EDQUOT):  # a full disk is not to stop the proxy
                    # mitmdump does not start where something logs an error meanwhile
                    _log.error("ciforensics_log=%s cannot be opened: %s", path, error.strerror)
            # mitmproxy handles SIGINT and SIGTERM only: without this, a SIGHUP would end it.
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._log.close)

    def running(self) -> None:
        """Converts, where that is what was asked for."""
        from mitmproxy import ctx  # noqa: PLC0415

        if ctx.options.ciforensics_convert:
            for nth, data in enumerate(dumped(sys.stdin.buffer), start=1):
                sys.stdout.write(json.dumps({"flow": nth, **converted(data)}) + "\n")
            ctx.master.shutdown()

    def done(self) -> None:
        """Closes the log."""
        if self._log:
            self._log.close()

    def requestheaders(self, flow: Any) -> None:
        """Has the body streamed: memory stays bounded, and nothing waits for its end."""
        if not flow.response:  # made by another addon
            flow.request.stream = _count(flow, REQUEST_BYTES)

    def responseheaders(self, flow: Any) -> None:
        """As for the request."""
        flow.response.stream = _count(flow, RESPONSE_BYTES)

    def websocket_message(self, flow: Any) -> None:
        """Forgets what mitmproxy would keep until the connection ends."""
        flow.websocket.messages.clear()

    def tcp_message(self, flow: Any) -> None:
        """As for a websocket's."""
        flow.messages.clear()

    def response(self, flow: Any) -> None:
        """A request was answered."""
        self._last = flow.id
        if self._log:
            self._log.write(json.dumps(described(flow)[0]))

    def error(self, flow: Any) -> None:
        """A request failed. `mitmdump -r` reports an answer that broke off as both, one after the other."""
        if flow.id != self._last:
            self.response(flow)

    http_connect_error = response  # there is nobody at the end of a tunnel

    def tls_failed_client(self, data: Any) -> None:
        """Most often a client that does not trust the CA: its requests should not just be missing."""
        client, server = data.conn, data.context.server
        host, at = (server.address or (None, None))[:2]
        line = {
            "timestamp": _when(time.time()),
            "method": "CONNECT",
            "url": without_secrets(f"{client.sni or host}:{at}")[0],
            "status": None,
            **_peer(client),
            "error": without_secrets(client.error or "TLS handshake failed")[0],
        }
        if self._log:
            self._log.write(json.dumps(line))


addons = [RequestLog()]
