"""Follows `docker events` while a CI job runs: each event becomes a JSON line and a DogStatsD counter.

One file that needs nothing but Python 3.9 or later, so it can be copied to any runner:

    python3 stream_events.py --log /var/log/ciforensics/docker-events.jsonl --with-pid $PPID --detach

A line is the event as docker prints it, secrets masked, and beside its keys `repo`, `workflow`, `job`,
`run_id`, `run_attempt`, `orchestration_id`, `runner` and `pod`, as far as the environment has them. The
counter is `docker.events:1|c|#event_type:…,action:…,workflow:…,repo:…`; `docker.events.dropped` counts what
could not be read or written. Nothing is ever said on stdout or stderr, and no error of these ends it.

When `docker events` ends, for whatever reason, it is started again and asked for what was missed; when this
program was killed, its next start goes on from the last line of its log.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import fcntl
import hashlib
import json
import os
import random
import re
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

TAGS = {
    "repo": "GITHUB_REPOSITORY",
    "workflow": "GITHUB_WORKFLOW",
    "job": "GITHUB_JOB",
    "run_id": "GITHUB_RUN_ID",
    "run_attempt": "GITHUB_RUN_ATTEMPT",
    "orchestration_id": "ACTIONS_ORCHESTRATION_ID",
    "runner": "RUNNER_NAME",
    "pod": "HOSTNAME",
}
"""Key beside the event's own, and the variable that it comes from."""

MARK = "***"
_LONGEST = 8192  # characters of one value: a label can hold anything
_KEPT = 1024  # events known again when they come twice; the daemon itself remembers 256
_TAIL = 1 << 20  # bytes of the log that are read to go on from
_OVERLAP_NS = 10**9  # daemons stamp an event before they queue it, so neighbours may swap
_SOONEST_S, _LATEST_S = 0.1, 5.0  # between two tries to reach the daemon
_LAST_WORDS_S = 2.0  # for what the daemon still knows when the job ends
_STOP_S = 5.0  # for a streamer that was asked to end
_RESOLVE_S = 60.0
_FULL = 200 * 10**6  # bytes of a log that get no more lines before it is rotated: the disk is the job's

# ---- secrets

_SECRET = re.compile(
    r"token|secret|passw|passphrase|pwd|cookie|credential|authorization|(?<![a-z])(?:auth|pass)(?![a-z])"
    r"|(?:api|access|private)[_.-]?key",
    re.IGNORECASE,
)
_SHAPED = re.compile(
    r"\b(?:gh[pousr]_\w{16,}|(?:github|dckr)_pat_[\w-]{16,}|eyJ[\w-]{8,}\.[\w-]+\.[\w-]*)"
    r"|(?<=://)[^/?#@\s\"']+(?=@)|(?i:(?<=bearer )|(?<=basic ))[^\s\"']{8,}"
    r"|(?:(?<=-u )|(?<=--user[ =]))[^\s\d:][^\s:]*:\S+"
)
# KEY=value, "key": "value", Header: value, --key value; a bare colon is an image's tag. One try a word.
_NAME = re.compile(r"""(?<![\w.-])([\w.-]+)(=|\\?["']\s*:\s*|:[ \t]+|[ \t]+)""")
_VALUE = re.compile(r"""\\?"[^"]*"?|'[^']*'?|[^\s"'&;,]+""")


def masked(text: str) -> str:
    """Masks tokens by their shape, user info in URLs, and values behind names such as TOKEN or PASSWORD.

    Example:
        >>> masked("exec_start: x https://me:pw@host -e NPM_TOKEN=abc --password 'a b' ghp_0123456789abcdef")
        'exec_start: x https://***@host -e NPM_TOKEN=*** --password *** ***'
        >>> masked("docker.io/acme/token-service:1.2")
        'docker.io/acme/token-service:1.2'
    """
    text = _SHAPED.sub(MARK, text[:_LONGEST])
    parts, done = [], 0
    for named in _NAME.finditer(text):
        name, between = named.groups()
        flagged = name.startswith("-") or not between.isspace()
        value = _VALUE.match(text, named.end())
        if value and named.start() >= done and flagged and _SECRET.search(name):
            parts += [text[done : value.start()], MARK]
            done = value.end()
    return "".join([*parts, text[done:]])


def without_secrets(value: Any) -> Any:
    """An event, or a part of it, with its secrets masked.

    Example:
        >>> without_secrets({"Actor": {"Attributes": {"exitCode": "3", "com.acme.api-key": "abc"}}})
        {'Actor': {'Attributes': {'exitCode': '3', 'com.acme.api-key': '***'}}}
    """
    if isinstance(value, dict):
        return {
            key: MARK if isinstance(part, str) and _SECRET.search(key) else without_secrets(part)
            for key, part in value.items()
        }
    if isinstance(value, list):
        return [without_secrets(part) for part in value]
    return masked(value) if isinstance(value, str) else value


# ---- the log


def ci_tags(environ: Mapping[str, str]) -> dict[str, str]:
    """Whose job this is, as far as the environment says.

    Example:
        >>> ci_tags({"GITHUB_REPOSITORY": "acme/web", "GITHUB_WORKFLOW": 'Nightly "full"', "HOSTNAME": ""})
        {'repo': 'acme/web', 'workflow': 'Nightly "full"'}
    """
    # A variable is bytes: what is no UTF-8 in them came as lone surrogates, which are no JSON.
    return {
        key: value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
        for key, variable in TAGS.items()
        if (value := environ.get(variable))
    }


def _line(event: Mapping[str, Any]) -> bytes:
    return json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace") + b"\n"


def _event(line: bytes) -> dict[str, Any] | None:
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return event if isinstance(event, dict) else None


def _identity(event: Mapping[str, Any]) -> bytes:
    return hashlib.blake2b(_line(event), digest_size=16).digest()


def _nanoseconds(event: Mapping[str, Any]) -> int:
    nano, seconds = event.get("timeNano"), event.get("time")
    return nano if isinstance(nano, int) else seconds * 10**9 if isinstance(seconds, int) else 0


class Log:
    """A file that lines are added to, one write a line; it may be renamed or removed at any time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._fd = -1

    def add(self, line: bytes) -> None:
        """Adds a line, whole.

        Raises:
            OSError: it could not; the file is as it was.
        """
        if not self._is_open():
            if self._fd >= 0:
                os.close(self._fd)
                self._fd = -1
            # O_NONBLOCK: a pipe that nobody reads must not hold up whoever reads the events.
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK | os.O_CLOEXEC
            self._fd = os.open(self.path, flags, 0o644)  # read by collectors
        if os.fstat(self._fd).st_size >= _FULL:
            raise OSError(f"{self.path} is full")
        written = os.write(self._fd, line)
        if written < len(line):  # the disk is full; half a line would swallow the next
            os.ftruncate(self._fd, os.fstat(self._fd).st_size - written)
            raise OSError(f"{self.path}: only {written} of {len(line)} bytes written")

    def tail(self) -> list[dict[str, Any]]:
        """Its last events."""
        try:
            with self.path.open("rb") as log:
                log.seek(-min(_TAIL, os.fstat(log.fileno()).st_size), os.SEEK_END)
                lines = log.read().split(b"\n")
        except OSError:
            return []
        return [event for line in lines if (event := _event(line)) is not None]

    def _is_open(self) -> bool:
        try:
            return self._fd >= 0 and os.path.samestat(self.path.stat(), os.fstat(self._fd))
        except OSError:
            return False


# ---- DogStatsD


def tag(key: str, value: str) -> str:
    """A tag that DogStatsD takes: plain ASCII and at most 200 characters, whatever the value holds.

    Example:
        >>> tag("workflow", 'Nightly "full", a|b')
        'workflow:Nightly_full_a_b'
    """
    return f"{key}:{re.sub(r'[^A-Za-z0-9_./-]+', '_', value)}"[:200]


def find_agent(environ: Mapping[str, str], *, url: str = "", service: str = "") -> str:
    """Where DogStatsD listens: `udp://host:port`, `unix:///path`, or empty when nothing says.

    The first of these that is there: `url`; DD_DOGSTATSD_URL; the host in DD_AGENT_HOST, then in HOST_IP
    (both usually from Kubernetes' downward API: `status.hostIP`); `service`, a DNS name. The port of the last
    three is DD_DOGSTATSD_PORT, else 8125. `off` as the url: nowhere.

    Example:
        >>> find_agent({"HOST_IP": "10.1.2.3"}, service="datadog.monitoring")
        'udp://10.1.2.3:8125'
        >>> find_agent({"DD_DOGSTATSD_PORT": "9125"}, service="datadog.monitoring")
        'udp://datadog.monitoring:9125'
    """
    if given := url or environ.get("DD_DOGSTATSD_URL", ""):
        return "" if given == "off" else given
    host = environ.get("DD_AGENT_HOST") or environ.get("HOST_IP") or service
    port = environ.get("DD_DOGSTATSD_PORT") or "8125"
    bracketed = f"[{host}]" if ":" in host else host
    return f"udp://{bracketed}:{port}" if host else ""


class Metrics:
    """Counters for a DogStatsD agent; what cannot be sent at once is lost, as UDP would lose it."""

    def __init__(self, agent: str, tags: Mapping[str, str]) -> None:
        self._tags = [tag(key, value) for key, value in tags.items()]
        self._to: tuple[socket.socket, Any] | None = None
        try:
            where = urlsplit(agent)
            host, port = where.hostname, where.port or 8125
        except ValueError:  # no such port
            return
        if where.scheme in ("unix", "unixgram"):
            self._send_to(socket.AF_UNIX, where.path)
        elif where.scheme == "udp" and host:
            try:
                self._resolve(host, port, socket.AI_NUMERICHOST)
            except OSError:
                self._keep_resolved(host, port)

    def count(self, name: str, **tags: str) -> None:
        """Adds one to a counter."""
        if self._to is None:
            return
        where, address = self._to
        all_tags = [*(tag(key, value) for key, value in tags.items() if value), *self._tags]
        with contextlib.suppress(OSError):
            where.sendto(f"{name}:1|c|#{','.join(all_tags)}".encode("ascii"), address)

    def close(self) -> None:
        """Nothing is sent any more."""
        if self._to:
            self._to[0].close()
            self._to = None

    def _keep_resolved(self, host: str, port: int) -> None:
        """In a thread of its own: getaddrinfo hangs for as long as it likes."""
        first = threading.Event()

        def resolve() -> None:
            while True:
                with contextlib.suppress(OSError, UnicodeError):
                    self._resolve(host, port, 0)
                first.set()
                time.sleep(_RESOLVE_S if self._to else 1.0)

        threading.Thread(target=resolve, daemon=True).start()
        first.wait(1.0)  # what happens meanwhile is asked for after it

    def _resolve(self, host: str, port: int, flags: int) -> None:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM, flags=flags)[0]
        if self._to is None or self._to[1] != address:
            self._send_to(family, address)

    def _send_to(self, family: int, address: Any) -> None:
        where = socket.socket(family, socket.SOCK_DGRAM)
        where.setblocking(False)
        self._to = (where, address)


# ---- the stream


def _dies_with_us() -> Callable[[], object] | None:
    """Runs in a child before docker: asks Linux to end it when this process is killed, see prctl(2)."""
    try:
        import ctypes  # noqa: PLC0415 (small Pythons come without)

        prctl = ctypes.CDLL(None).prctl
    except (ImportError, OSError, AttributeError):
        return None  # a child that is left over then ends by SIGPIPE at the next event
    return lambda: prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG


class Streamer:
    """Follows one daemon until the job ends.

    Args:
        docker: the client.
        log: gets a line for each event.
        metrics: gets a count for each event.
        tags: whose job it is.
        since: where to begin, in nanoseconds since 1970; a log of this job goes on where it ends.
        with_pid: the process whose end is the job's end; 0: only a signal is.
    """

    def __init__(
        self, *, docker: str, log: Log, metrics: Metrics, tags: Mapping[str, str], since: int, with_pid: int
    ) -> None:
        self._docker, self._log, self._metrics, self._tags = docker, log, metrics, tags
        self._with_pid = with_pid
        self._before_exec = _dies_with_us()
        self._stopped = False
        self._wake, wake = os.pipe()
        os.set_blocking(wake, False)
        signal.set_wakeup_fd(wake)  # ends a select that waits
        self._seen: collections.deque[bytes] = collections.deque(maxlen=_KEPT)
        ours = []
        for event in log.tail():
            theirs = {key: event.pop(key) for key in TAGS if key in event}
            self._seen.append(_identity(event))
            if theirs == tags:
                ours.append(_nanoseconds(event))
        self._since = min(ours, default=since)
        self._latest = max(ours, default=0)

    def run(self) -> None:
        """Until `stop`, or the end of the process that it goes with."""
        failures = 0
        while not self._ended():
            began = time.monotonic()
            self._follow()
            failures = 0 if time.monotonic() - began > _LATEST_S else failures + 1
            self._pause(min(_LATEST_S, _SOONEST_S * 2**failures) * random.uniform(0.5, 1))  # noqa: S311
        self._follow("--until", _seconds(time.time_ns()), limit_s=_LAST_WORDS_S)

    def stop(self, *_: object) -> None:
        """As a signal's handler: lets `run` come to its end."""
        self._stopped = True

    def _ended(self) -> bool:
        if self._with_pid and not self._stopped:
            try:
                os.kill(self._with_pid, 0)
            except ProcessLookupError:
                self._stopped = True
            except PermissionError:
                pass  # somebody else's, but there
        return self._stopped

    def _pause(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while not self._ended() and (left := end - time.monotonic()) > 0:
            select.select([self._wake], [], [], min(left, 1.0))

    def _follow(self, *until: str, limit_s: float | None = None) -> None:
        """Takes what one `docker events` prints until it ends, the job does, or the time limit is reached."""
        since = _seconds(max(self._since, self._latest - _OVERLAP_NS))
        try:
            child = subprocess.Popen(
                [self._docker, "events", "--since", since, *until, "--format", "{{json .}}"],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,  # docker may be a wrapper with a child of its own
                preexec_fn=self._before_exec,  # noqa: PLW1509 (a system call; the other thread only resolves)
            )
        except OSError:  # no docker here, or not yet
            return
        with child:
            try:
                for line in self._lines(child.stdout.fileno(), limit_s):  # type: ignore[union-attr]
                    self._take(line)
            finally:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(child.pid, signal.SIGKILL)

    def _lines(self, pipe: int, limit_s: float | None) -> Iterator[bytes]:
        end = None if limit_s is None else time.monotonic() + limit_s
        rest = b""
        while True:
            if end is None:
                ready = select.select([pipe, self._wake], [], [], 1.0)[0]
            else:
                ready = select.select([pipe], [], [], max(0.0, end - time.monotonic()))[0]
            if self._ended() if end is None else not ready:
                return
            if pipe in ready:
                chunk = os.read(pipe, 1 << 16)
                if not chunk:
                    return
                *lines, rest = (rest + chunk).split(b"\n")
                yield from lines

    def _take(self, line: bytes) -> None:
        try:
            event = without_secrets(_event(line))
        except RecursionError:  # nested a thousand deep: nothing of docker's
            event = None
        if event is None:
            self._metrics.count("docker.events.dropped")
            return
        identity = _identity(event)
        if identity in self._seen:
            return
        self._seen.append(identity)
        self._latest = max(self._latest, _nanoseconds(event))
        try:
            self._log.add(_line({**event, **self._tags}))
        except OSError:
            self._metrics.count("docker.events.dropped")
        action = str(event.get("Action") or event.get("status") or event.get("Status") or "")
        kind = str(event.get("Type") or "")
        self._metrics.count("docker.events", event_type=kind, action=action.partition(":")[0])


def _seconds(nanoseconds: int) -> str:
    """As docker takes a time."""
    return f"{nanoseconds // 10**9}.{nanoseconds % 10**9:09d}"


# ---- the program


def parser() -> argparse.ArgumentParser:
    """The options of the command line."""
    options = argparse.ArgumentParser(
        prog="stream-events",
        description="Follow `docker events`: tag each with the CI job, write JSON lines, count in DogStatsD.",
    )
    agent = (
        "udp://host:port, unix:///path or off; default: DD_DOGSTATSD_URL, DD_AGENT_HOST, HOST_IP, --service"
    )
    add = options.add_argument
    add("--log", type=Path, default="docker-events.jsonl", help="where the lines go; PATH.pid is its lock")
    add("--docker", default="docker", help="the client; DOCKER_HOST and the like say which daemon it asks")
    add(
        "--since", type=float, default=time.time(), help="where to begin, in seconds since 1970; default: now"
    )
    add("--metrics", default="", metavar="URL", help=agent)
    add("--service", default="", metavar="NAME", help="the agent's DNS name, where nothing else says it")
    add("--run-id-tag", action="store_true", help="tag counters with run_id: new time series with every run")
    add("--with-pid", type=int, default=0, metavar="PID", help="end when this process has ended")
    add("--detach", action="store_true", help="leave the caller's session and open files behind")
    add("--stop", action="store_true", help="end the streamer of this log, wait for its end, do nothing else")
    return options


def main(argv: list[str] | None = None) -> int:
    """Runs the streamer until the job ends; with `--stop`, ends the one that runs.

    Returns:
        0; 1 when another streamer writes this log, or the one to be ended did not end in time.
    """
    options = parser().parse_args(argv)
    path = options.log.absolute()
    pid_file = path.with_name(f"{path.name}.pid")
    if options.stop:
        return 0 if _stop_other(pid_file) else 1
    if options.detach:
        _detach()
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
    if not _is_alone(pid_file):
        return 1
    with contextlib.suppress(OSError):
        os.nice(10)
    tags = ci_tags(os.environ)
    counted = ("workflow", "repo", "run_id") if options.run_id_tag else ("workflow", "repo")
    agent = find_agent(os.environ, url=options.metrics, service=options.service)
    with contextlib.closing(Metrics(agent, {key: tags[key] for key in counted if key in tags})) as metrics:
        streamer = Streamer(
            docker=options.docker,
            log=Log(path),
            metrics=metrics,
            tags=tags,
            since=int(options.since * 10**9),
            with_pid=options.with_pid,
        )
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, streamer.stop)
        streamer.run()
    return 0


def _detach() -> None:
    with contextlib.suppress(OSError):  # it leads a group, so it is on its own already
        os.setsid()
    os.chdir("/")
    nothing = os.open(os.devnull, os.O_RDWR)
    for fd in range(3):
        os.dup2(nothing, fd)
    os.closerange(3, 1024)  # a runner waits for whoever holds the other end of its pipes


def _is_alone(pid_file: Path) -> bool:
    """Takes the pid file for as long as this process lives; without one there is nobody to ask."""
    try:
        fd = os.open(pid_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError:
        return True  # what cannot be logged can still be counted
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    with contextlib.suppress(OSError):
        os.ftruncate(fd, 0)
        os.write(fd, f"{os.getpid()}\n".encode("ascii"))
    return True


def _stop_other(pid_file: Path) -> bool:
    """Ends whoever holds the pid file. One that nobody holds names a process that is gone, or another's."""
    asked, end = 0, time.monotonic() + _STOP_S
    while time.monotonic() < end:
        try:
            with pid_file.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                return True
        except FileNotFoundError:
            return True
        except BlockingIOError:
            pass
        with contextlib.suppress(OSError, ValueError):
            pid = int(pid_file.read_bytes())
            if pid > 1 and pid != asked:
                os.kill(pid, signal.SIGTERM)
                asked = pid
        time.sleep(0.02)
    return False


if __name__ == "__main__":
    sys.exit(main())
