"""Logs one JSON line for each HTTP request that passes through mitmproxy, without any credential in it.

Run it in the proxy, with mitmproxy 11 or later; the log may be rotated by rename or by copy and truncate:

    mitmdump -q -s mitmproxy_addon.py --set ciforensics_log=/var/log/mitmproxy/requests.jsonl

or turn a recorded dump into the same lines, one for each flow in it whatever it holds:

    mitmdump -q -n -s mitmproxy_addon.py --set ciforensics_convert=true < flows.mitm > flows.jsonl

A line has `timestamp` (when the request started), `method`, `url`, `status` (null: no answer), `user_agent`,
`content_length` (bytes of the answer's body), `request_bytes`, `client_ip`, `client_port`, `duration_ms` (to
the last byte of the answer), `authenticated`, `credential` (the kind of credential, never its value),
`request_id` (the server's) and `error`. A converted line also has `flow` (its number in the dump),
`flow_type`, and `redacted`: how many secrets the flow held that the line does not.
"""

from __future__ import annotations

import io
import json
import logging
import re
import sys
from datetime import datetime, timezone
from logging.handlers import WatchedFileHandler
from typing import Any, BinaryIO

MARK = "***"
SCHEMES = ("basic", "bearer", "digest", "negotiate", "ntlm", "token")
SECRET_HEADERS = ("authorization", "proxy-authorization", "cookie")
_SECRETS = (
    (re.compile(r"(?<=://)[^/?#@\s]*@"), ""),
    (
        re.compile(
            r"(?i)(?<=[?&;])((?:[\w.-]*(?:token|secret|password|passwd|signature|credential|api_?key|auth)|sig|jwt|code)=)"
            rf"(?!{re.escape(MARK)}(?:[&;#]|$))[^&;#\s]+"
        ),
        rf"\g<1>{MARK}",
    ),
    (re.compile(r"\b(?:gh[pousr]_[A-Za-z0-9]{16,}|github_pat_\w{16,}|eyJ[\w-]{8,}\.[\w-]+\.[\w-]*)"), MARK),
)


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
    url, in_url = without_secrets(request.pretty_url)
    agent, in_agent = without_secrets(request.headers.get("user-agent", ""))
    authorization = request.headers.get("authorization", "").strip()
    scheme = authorization.split(" ")[0].lower()
    dropped = sum(len(request.headers.get_all(name)) for name in SECRET_HEADERS)
    end = response.timestamp_end if response else flow.error.timestamp if flow.error else None
    peer = flow.client_conn.peername or (None, None)
    line = {
        "timestamp": _when(request.timestamp_start),
        "method": request.method,
        "url": url,
        "status": response.status_code if response else None,
        "user_agent": agent or None,
        "content_length": _body_bytes(response) if response else None,
        "request_bytes": _body_bytes(request),
        "client_ip": peer[0].removeprefix("::ffff:") if peer[0] else None,
        "client_port": peer[1],
        "duration_ms": round(1000 * (end - request.timestamp_start), 3) if end else None,
        "authenticated": bool(authorization),
        "credential": (scheme if scheme in SCHEMES else "other") if authorization else None,
        "request_id": response.headers.get("x-github-request-id") if response else None,
        "error": flow.error.msg if flow.error else None,
    }
    return line, in_url + in_agent + dropped


def _when(timestamp: float) -> str:
    utc = timezone.utc  # noqa: UP017 (mitmproxy 11 also runs on Python 3.10)
    return datetime.fromtimestamp(timestamp, utc).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _body_bytes(message: Any) -> int | None:
    if message.raw_content is not None:
        return len(message.raw_content)
    declared = message.headers.get("content-length", "")  # a streamed body was not kept
    return int(declared) if declared.isascii() and declared.isdigit() else None


def dumped(stream: BinaryIO) -> Any:
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

    try:
        (flow,) = FlowReader(io.BytesIO(data)).stream()
        if not isinstance(flow, http.HTTPFlow):
            return {"flow_type": flow.type}
        line, dropped = described(flow)
    # What a damaged flow raises in mitmproxy depends on where the damage is.
    except (
        exceptions.FlowReadException,
        ArithmeticError,
        AssertionError,
        AttributeError,
        LookupError,
        OSError,
        RuntimeError,
        TypeError,
        ValueError,
    ) as error:
        return {"unreadable": str(error) or type(error).__name__}
    return {"flow_type": "http", **line, "redacted": dropped}


class RequestLog:
    """The addon: each flow gets either an answer or an error, and then its line."""

    def __init__(self) -> None:
        self._log = logging.Logger("ciforensics")  # noqa: LOG001 (apart from mitmproxy's own log)
        self._last = ""

    def load(self, loader: Any) -> None:
        """Declares the options."""
        loader.add_option("ciforensics_log", str, "-", "Append a JSON line for each request here; -: stdout.")
        off = False
        loader.add_option(
            "ciforensics_convert", bool, off, "Turn the dump on stdin into JSON lines, and end."
        )

    def configure(self, updated: set[str]) -> None:
        """Opens the log."""
        if "ciforensics_log" in updated:
            from mitmproxy import ctx  # noqa: PLC0415

            path = ctx.options.ciforensics_log
            handler = (
                logging.StreamHandler(sys.stdout)
                if path == "-"
                else WatchedFileHandler(path, encoding="utf-8")
            )
            self._log.handlers = [handler]

    def running(self) -> None:
        """Converts, where that is what was asked for."""
        from mitmproxy import ctx  # noqa: PLC0415

        if ctx.options.ciforensics_convert:
            for nth, data in enumerate(dumped(sys.stdin.buffer), start=1):
                self._log.info("%s", json.dumps({"flow": nth, **converted(data)}))
            ctx.master.shutdown()

    def response(self, flow: Any) -> None:
        """A request was answered."""
        self._last = flow.id
        self._log.info("%s", json.dumps(described(flow)[0]))

    def error(self, flow: Any) -> None:
        """A request failed. `mitmdump -r` reports an answer that broke off as both, one after the other."""
        if flow.id != self._last:
            self.response(flow)


addons = [RequestLog()]
