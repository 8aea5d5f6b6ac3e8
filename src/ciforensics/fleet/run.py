"""Lets a made-up fleet run: parameters in, every build, request, tunnel and docker event out.

Nothing here knows a log's format, and every chance is taken here: `logs` only puts into a log's words what
this module says happened. So all logs of one fleet agree, and the truth is known.
"""

from __future__ import annotations

import random
import uuid
import zlib
from collections import defaultdict
from dataclasses import replace
from heapq import heappop, heappush
from typing import TYPE_CHECKING

from ciforensics.fleet.model import (
    CACHE_SIGMA,
    CACHES,
    FLAT,
    HOUR,
    SIGMA,
    Build,
    Client,
    Errand,
    Event,
    Fleet,
    Invocation,
    Outcome,
    Parameters,
    Request,
    Tunnel,
)
from ciforensics.fleet.services import service_events

if TYPE_CHECKING:
    from collections.abc import Iterator

Step = tuple[str, str, int, int, bool]
"""Method, url, status, bytes of the answer's body, whether a credential was sent."""

AFTER_S = 60.0
"""From a build's last request to its job's end, at least: the image is tagged, run and pushed in between."""


def simulate(parameters: Parameters) -> Fleet:
    """Lets a fleet run.

    Example:
        >>> from datetime import UTC, datetime
        >>> from ciforensics.fleet.model import Pool, Workflow
        >>> fetch = Errand("git", "acme/lib")
        >>> web = Workflow("acme/web", "CI", "image", 6, Client("git/2.39.5"), (fetch,), ("arc",))
        >>> pools = (Pool("arc", (("node-a", 42),)),)
        >>> fleet = simulate(Parameters(1, datetime(2026, 3, 17, 6, tzinfo=UTC), 1, (web,), pools))
        >>> {request.outcome for request in fleet.requests if request.status == 401}
        {'challenge'}
    """
    rng = random.Random(parameters.seed)  # noqa: S311 (reproducible on purpose)
    end = parameters.hours * HOUR
    drawn = _builds(parameters, rng)
    asked = [list(_build_requests(parameters, build, rng)) for build in drawn]
    builds = _housed(drawn, asked)
    requests = [
        replace(request, build=build) for build, own in zip(builds, asked, strict=True) for request in own
    ]
    for background in parameters.background:
        first, last = (hour * HOUR for hour in background.between)
        for at in _arrivals(background.per_hour, parameters, rng):
            if first <= at < last:
                requests += _requests(background.errand, Client(""), at, None, rng)
    requests.sort(key=lambda request: request.at)
    requests = [request for request in requests if 0 <= request.at < end]
    tunnels = [*_tunnels(requests, builds, rng), *_probes(parameters, rng)]
    invocations = [invocation for build in builds for invocation in _invocations(build, rng)]
    with_engine = [build for build in builds if build.pool.engine]
    events = [event for build in with_engine for event in _events(build, rng)]
    events += [event for build in with_engine if build.pulled for event in service_events(build, rng)]
    return Fleet(
        parameters,
        builds,
        requests,
        sorted((tunnel for tunnel in tunnels if tunnel.until < end), key=lambda tunnel: tunnel.until),
        sorted((one for one in invocations if 0 <= one.at < end), key=lambda one: one.at),
        sorted((event for event in events if 0 <= event.at < end), key=lambda event: event.at),
    )


def unauthorized(errand: Errand, git: Client) -> list[Request]:
    """The 401s of an errand, as if it began at 0."""
    requests = _requests(errand, git, 0.0, None, random.Random(0))  # noqa: S311
    return [request for request in requests if request.status == 401]


def _arrivals(per_hour: float, parameters: Parameters, rng: random.Random) -> Iterator[float]:
    """A Poisson process that follows the fleet's rhythm, by thinning."""
    end, peak, at = parameters.hours * HOUR, max(parameters.rhythm), 0.0
    while (at := at + rng.expovariate(per_hour * peak / HOUR)) < end:
        if rng.random() * peak < parameters.rhythm[int(at / end * len(parameters.rhythm))]:
            yield at


def _builds(parameters: Parameters, rng: random.Random) -> list[Build]:
    pools = {pool.name: pool for pool in parameters.pools}
    starts = sorted(
        (at, nth)
        for nth, workflow in enumerate(parameters.workflows)
        for at in _arrivals(workflow.per_hour, parameters, rng)
    )
    builds = []
    run_id = 23_104_500_000
    for at, nth in starts:
        workflow = parameters.workflows[nth]
        pool = pools[rng.choice(workflow.pools)]
        node, _ = rng.choice(pool.nodes)
        until = at + rng.uniform(100, 260)
        run_id += rng.randrange(200, 9_000)
        builds.append(
            Build(
                workflow,
                workflow.git_at(at / HOUR),
                run_id=str(run_id),
                orchestration_id=f"{uuid.UUID(int=rng.getrandbits(128), version=4)}.{workflow.job}.__default",
                pool=pool,
                node=node,
                pod=f"{pool.name}-{_of(node, 0xFFFFF):05x}-runner-{rng.getrandbits(20):05x}",
                ip="",
                at=at,
                until=until,
                wrapped=pool.wrapper is not None and rng.random() < parameters.coverage,
                pulled=rng.random() >= workflow.pull_fails,
            )
        )
    return builds


def _housed(builds: list[Build], asked: list[list[Request]]) -> list[Build]:
    """The builds, none over before it has asked for all that it needs, each with its pod's address."""
    held: defaultdict[str, list[tuple[float, int]]] = defaultdict(list)
    housed = []
    for build, own in zip(builds, asked, strict=True):
        until = max([build.until, *(request.at + request.duration + AFTER_S for request in own)])
        # An address is given out again a while after its pod is gone.
        free = held[build.node]
        again = bool(free) and free[0][0] < build.at - 90
        address = heappop(free)[1] if again else len(free)
        heappush(free, (until, address))
        net = dict(build.pool.nodes)[build.node]
        ip = f"10.{net}.{address // 200}.{address % 200 + 10}"
        housed.append(replace(build, until=until, ip=ip))
    return housed


def _delay(median: float, shape: str, rng: random.Random) -> float:
    if shape == "flat":
        return rng.uniform(0, FLAT * median)
    if shape == "bimodal":
        return median * rng.choice(CACHES) * rng.lognormvariate(0, CACHE_SIGMA)
    return median * rng.lognormvariate(0, SIGMA)


def _build_requests(parameters: Parameters, build: Build, rng: random.Random) -> Iterator[Request]:
    for errand in build.workflow.errands:
        if rng.random() >= errand.chance or not (build.pulled or errand.delay < 0):
            continue
        delay = errand.delay if errand.delay < 0 else _delay(errand.delay, parameters.delays, rng)
        yield from _requests(errand, build.git, build.at + delay + rng.random(), build, rng)


def _requests(
    errand: Errand, git: Client, at: float, build: Build | None, rng: random.Random
) -> Iterator[Request]:
    client = errand.client or git
    agent = client.user_agent
    if build and build.pool.orchestrated and "github-actions" in agent:
        agent += f" actions_orchestration_id/{build.orchestration_id}"
    steps = list(_steps(errand, client, rng))
    ports: dict[str, int] = {}
    for nth, (method, url, status, body, authenticated) in enumerate(steps):
        got_past = any(later[:2] == (method, url) and later[2] != 401 for later in steps[nth + 1 :])
        outcome: Outcome = "" if status != 401 else "challenge" if got_past else "refused"
        duration = rng.uniform(0.04, 0.12) if status >= 300 else rng.uniform(0.08, 0.5)
        port = ports.setdefault(url.split("/")[2], rng.randrange(32_768, 61_000))
        yield Request(at, method, url, status, agent, body, authenticated, duration, port, outcome, build)
        at += duration + rng.uniform(0.01, 0.08)


def _steps(errand: Errand, client: Client, rng: random.Random) -> Iterator[Step]:
    """What client and forge say to each other."""
    good = client.credentials == "good"
    repo, _, tag = errand.target.partition("@")
    base = f"https://github.com/{repo}"
    size = int((2_000 + _of(repo, 60_000)) * rng.lognormvariate(0, 0.2))
    match errand.kind:
        case "git":
            yield from _asked(errand, client, "GET", f"{base}.git/info/refs?service=git-upload-pack", 356)
            if good or not errand.private:
                for body in (180 + _of(repo, 900), size):  # the refs, then the pack
                    yield "POST", f"{base}.git/git-upload-pack", 200, body, errand.private
        case "lfs":
            yield from _asked(errand, client, "POST", f"{base}.git/info/lfs/objects/batch", 1_180)
        case "api":
            # A bad token is 401 on this host, and none is 404: the forge does not ask for one.
            refused = (401, 90) if client.credentials == "bad" else (404, 107)
            status, body = (200, size // 9) if good or not errand.private else refused
            yield "GET", f"https://api.github.com/{repo}", status, body, client.credentials != "none"
        case "archive":
            yield "GET", f"{base}/archive/refs/tags/{tag}.tar.gz", 302, 0, good
            yield "GET", f"https://codeload.github.com/{repo}/tar.gz/refs/tags/{tag}", 200, size, good
        case "download":
            name = f"{repo.split('/')[1]}-linux-amd64.tar.gz"
            yield "GET", f"{base}/releases/download/{tag}/{name}", 302, 0, False


def _asked(errand: Errand, client: Client, method: str, url: str, body: int) -> Iterator[Step]:
    """A private repository's first answers: git and LFS send no credential before they were asked for one.

    A proactive git without credentials sends nothing at all (measured with git 2.47.3).
    """
    if errand.private and not client.proactive:
        yield method, url, 401, 22, False
    if errand.private and client.credentials == "bad":
        yield method, url, 401, 22, True
    if client.credentials == "good" or not errand.private:
        yield method, url, 200, body, errand.private


def _of(name: str, limit: int) -> int:
    """A number that stays the same for a name."""
    return zlib.crc32(name.encode()) % limit


def _tunnels(requests: list[Request], builds: list[Build], rng: random.Random) -> Iterator[Tunnel]:
    """Each connection of a build behind Squid, and the hosts beside GitHub that it visits."""
    connections: dict[tuple[Build, int, str], list[Request]] = {}
    for request in requests:
        if request.build and request.build.pool.proxy == "squid":
            key = (request.build, request.port, request.url.split("/")[2])
            connections.setdefault(key, []).append(request)
    for (build, _, host), several in connections.items():
        until = several[-1].at + several[-1].duration + rng.uniform(0.02, 0.6)
        # With the CONNECT header and the 39 bytes of "200 Connection established", TLS around both ways.
        up = 91 + 1_150 + sum(310 + (180 if one.authenticated else 0) for one in several)
        down = 39 + 3_900 + sum(one.body + 620 for one in several)
        yield Tunnel(until, build.ip, f"{host}:443", up, down, known=_helped(rng), build=build)
    for build in builds:
        if build.pool.proxy == "squid" and build.pulled:
            for host in build.workflow.hosts:
                up, down = rng.randrange(1_400, 9_000), rng.randrange(9_000, 4_000_000)
                until = build.at + rng.uniform(8, 90)
                yield Tunnel(until, build.ip, host, up, down, known=_helped(rng), build=build)


def _helped(rng: random.Random) -> bool:
    """Now and then the helper has not heard of a new pod yet."""
    return rng.random() >= 0.01


def _probes(parameters: Parameters, rng: random.Random) -> Iterator[Tunnel]:
    """Health checks that open Squid's port and say nothing."""
    for at in _arrivals(1.5, parameters, rng):
        yield Tunnel(at, "10.0.0.2", "error:transaction-end-before-headers", 0, 0, known=False, build=None)


def _invocations(build: Build, rng: random.Random) -> Iterator[Invocation]:
    workflow = build.workflow
    if rng.random() < 0.4:
        yield Invocation(build.at - 9, ("login", "registry.acme.example"), build)
    if workflow.base:
        yield Invocation(build.at - 6, ("pull", workflow.base), build)
    if not build.pulled:
        yield Invocation(build.at + 5, ("pull", workflow.base), build)  # tried again, then the job gives up
        return
    command = ("buildx", "build") if build.pool.wrapper == "rich" else ("build",)
    yield Invocation(build.at, (*command, "--tag", build.image, "."), build)
    if build.pool.engine:
        yield Invocation(build.until - 45, ("run", "--detach", build.image), build)
    if build.pool.engine and workflow.execs:
        yield Invocation(build.until - 40, ("exec", "test", *workflow.execs.split()[:1]), build)
    if rng.random() < 0.5:
        yield Invocation(build.until - 8, ("push", build.image), build)


def _events(build: Build, rng: random.Random) -> Iterator[Event]:
    """What the daemon says of a build: nothing of a pull that failed, nor of those of a BuildKit build."""
    workflow, at = build.workflow, build.until - 50
    if not build.pulled:
        return
    if workflow.base:
        yield Event(
            build.at - 1.5, "image", "pull", workflow.base, {"name": workflow.base.rpartition(":")[0]}, build
        )
    digest, box, net = (f"{rng.getrandbits(256):064x}" for _ in range(3))
    name = rng.choice(("brave_hopper", "calm_noether", "keen_turing", "wry_lovelace"))
    of_box = {"image": build.image, "name": name}
    of_net = {"container": box, "name": "bridge", "type": "bridge"}
    killed = rng.random() < workflow.oom
    exits = {"exitCode": "137" if killed else rng.choice(("0", "0", "0", "0", "1"))}
    ran = rng.uniform(8, 25)
    if build.pool.engine == "29":
        exits["execDuration"] = str(int(ran))  # since v25
    yield Event(at, "image", "tag", f"sha256:{digest}", {"name": build.image}, build)
    at += 5 + rng.random()
    yield Event(at, "container", "create", box, of_box, build)
    yield Event(at + 0.011, "network", "connect", net, of_net, build)
    yield Event(at + 0.3, "container", "start", box, of_box, build)
    if workflow.execs:
        ids = of_box | {"execID": f"{rng.getrandbits(256):064x}"}
        yield Event(at + 5, "container", f"exec_create: {workflow.execs}", box, ids, build)
        yield Event(at + 5.02, "container", f"exec_start: {workflow.execs}", box, ids, build)
        yield Event(at + 6.4, "container", "exec_die", box, ids | {"exitCode": "0"}, build)
    if killed:
        yield Event(at + ran - 0.02, "container", "oom", box, of_box, build)
    yield Event(at + ran, "container", "die", box, of_box | exits, build)
    yield Event(at + ran + 0.02, "network", "disconnect", net, of_net, build)
    yield Event(at + ran + 0.2, "container", "destroy", box, of_box, build)
    yield Event(at + ran + 2, "image", "untag", f"sha256:{digest}", {"name": f"sha256:{digest}"}, build)
