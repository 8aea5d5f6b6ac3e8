"""The many names that JSON logs give to the fields of an HTTP request."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from ciforensics.errors import Unreadable

if TYPE_CHECKING:
    from collections.abc import Mapping

Paths = dict[str, list[str]]

# Names compare by letters and digits alone: `user_agent`, `User-Agent` and `userAgent` are one entry.
ALIASES: Mapping[str, tuple[str, ...]] = {
    "ts": (
        "timestampstart",
        "starteddatetime",
        "starttime",
        "startedat",
        "timestamp",
        "ts",
        "time",
        "datetime",
        "date",
        "eventtime",
        "createdat",
        "now",
        "at",
        "timestampend",
        "endtime",
        "endedat",
        "loggedat",
    ),
    "method": ("method", "requestmethod", "httpmethod", "verb", "httprequestmethod"),
    "url": ("url", "prettyurl", "urlfull", "fullurl", "requesturl", "httpurl", "uri", "requesturi"),
    "scheme": ("scheme", "httpscheme", "urlscheme"),
    "host": ("host", "prettyhost", "requesthost", "httphost", "hostname", "serveraddress"),
    "path": ("path", "pathinfo", "urlpath", "httptarget", "requestpath"),
    "query": ("query", "querystring", "urlquery"),
    "status": (
        "status",
        "statuscode",
        "httpstatuscode",
        "httpresponsestatuscode",
        "httpstatus",
        "responsestatus",
        "responsestatuscode",
        "responsecode",
        "code",
    ),
    "user_agent": (
        "originaluseragent",
        "useragent",
        "useragentoriginal",
        "httpuseragent",
        "httpua",
        "ua",
        "agent",
    ),
    "response_bytes": (
        "contentlength",
        "responsecontentlength",
        "httpresponsecontentlength",
        "responsebytes",
        "responsesize",
        "httpresponsebodysize",
        "bodybytessent",
        "bytes",
        "size",
    ),
    "request_bytes": ("requestbytes", "requestsize", "requestcontentlength", "httprequestbodysize"),
    "client_ip": (
        "clientip",
        "clientaddress",
        "httpclientip",
        "remoteaddr",
        "remoteaddress",
        "srcip",
        "sourceip",
        "peerip",
        "ip",
        "realip",
    ),
    "client_port": ("clientport", "remoteport", "srcport", "sourceport", "peerport"),
    "duration_ms": ("durationms", "elapsedms", "latencyms", "tookms", "timems", "responsetimems"),
    "duration_s": ("durations", "durationsec", "durationseconds", "elapseds", "elapsedseconds"),
    "authenticated": (
        "authenticated",
        "isauthenticated",
        "hasauth",
        "hasauthorization",
        "hasauthheader",
        "hascredentials",
        "authorization",
        "authorizationheader",
        "authheader",
    ),
    "authorization": ("authorization", "authorizationheader", "authheader"),
    "request_id": ("requestid", "xgithubrequestid", "githubrequestid", "ghrequestid"),
    "actor": (),
}
SPELLED = {
    **{name: name for name in ("method", "url", "status", "user_agent", "request_bytes", "client_ip")},
    **{name: name for name in ("client_port", "duration_ms", "authenticated", "authorization", "request_id")},
    "response_bytes": "content_length",
}
"""Where a key is looked for even if the head of the file does not have it."""
KINDS = {"timestampend": "end", "endtime": "end", "endedat": "end", "loggedat": "logged"}

_SQUID = re.compile(r"(?:TCP|UDP|NONE|HIER)_[A-Z_]+")
_FOREIGN = {"authority", "bytesup", "bytesdown", "action", "documentid"}


def find(
    objects: list[dict[str, Any]], mapping: Mapping[str, str], *, forced: bool
) -> tuple[Paths, str] | None:
    """Where the fields of a request are in objects like these.

    Args:
        objects: some of them.
        mapping: our names to theirs, as the user said.
        forced: the user said that these are requests.

    Returns:
        For each field the JSON paths to try, and what the time marks; None if these are no HTTP requests.

    Raises:
        Unreadable: they are not, and the user said so.

    Example:
        >>> seen = {"Time": 1, "http.method": "GET", "url": "https://x/", "statusCode": 200, "ua": "git/2"}
        >>> paths, kind = find([seen], {}, forced=False)
        >>> paths["ts"], paths["status"], kind
        (['$."Time"'], ['$."statusCode"', '$."status"'], 'start')
    """
    keys: dict[str, list[str]] = {}
    for key in dict.fromkeys(key for value in objects for key in value):
        keys.setdefault(re.sub(r"[\W_]", "", key.lower()), []).append(key)
    known = {name for name in ALIASES if name in mapping or any(alias in keys for alias in ALIASES[name])}
    lacks = [name for name in ("ts", "method", "status") if name not in known]
    if "url" not in known and not {"host", "path"} <= known:
        lacks.append("url")
    if lacks and forced:
        seen = ", ".join(key for several in keys.values() for key in several) or "none"
        raise Unreadable(
            f"No log of mitmproxy: it lacks {', '.join(lacks)} among its JSON keys ({seen}).",
            hint=f"say which key it is, e.g. --map {lacks[0]}=KEY.",
        )
    values = (value for entry in objects for value in entry.values() if isinstance(value, str))
    foreign = bool(_FOREIGN & set(keys)) or any(map(_SQUID.match, values))
    if not forced and (lacks or foreign or not {"user_agent", "response_bytes"} & known):
        return None
    paths: Paths = {}
    for name, aliases in ALIASES.items():
        spelled = [key for alias in aliases for key in keys.get(alias, [])]
        tried = [mapping.get(name), *spelled, SPELLED.get(name)]
        if written := [path for key in dict.fromkeys(tried) if key for path in _paths(key)]:
            paths[name] = written
    first = next((alias for alias in ALIASES["ts"] if alias in keys), "")
    return paths, KINDS.get(first, "start")


def _paths(key: str) -> list[str]:
    """A key as JSON path; with dots in it also as keys within keys."""
    nested = [".".join(_quoted(part) for part in key.split("."))] if "." in key else []
    return [f"$.{path}" for path in (_quoted(key), *nested)]


def _quoted(key: str) -> str:
    return '"{}"'.format(key.replace("\\", "\\\\").replace('"', '\\"'))
