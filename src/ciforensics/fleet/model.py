"""What a made-up fleet is made from, and what happened in it."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from datetime import datetime

Outcome = Literal["", "challenge", "refused"]

HOUR = 3600

SIGMA = 0.6
"""Of log-normal delays."""

CACHES, CACHE_SIGMA = (0.25, 4.0), 0.3
"""Of bimodal delays: medians with a warm and a cold cache, relative to the errand's; sigma of each."""

FLAT = 6.0
"""Flat delays reach from nothing to so many medians."""


@dataclass(frozen=True)
class Client:
    """A program that asks GitHub.

    Attributes:
        user_agent: as it names itself.
        proactive: sends its credentials with the first request, so nobody has to ask for them.
        credentials: what it has to send.
    """

    user_agent: str
    proactive: bool = False
    credentials: Literal["good", "bad", "none"] = "good"


@dataclass(frozen=True)
class Errand:
    """One thing that is fetched from GitHub over one connection a host.

    Attributes:
        kind: which exchange it is; `archive` and `download` take `owner/name@tag`, `api` a path.
        target: what is asked for.
        client: who asks; None: the workflow's own git.
        chance: in which share of the builds.
        private: GitHub answers only to a credential.
        delay: median of the seconds after the build's start; negative: so long before it, as a checkout.
    """

    kind: Literal["git", "lfs", "api", "archive", "download"]
    target: str
    client: Client | None = None
    chance: float = 1.0
    private: bool = True
    delay: float = 25.0


@dataclass(frozen=True)
class Pool:
    """Runners of one kind, and what is deployed on them to watch.

    Attributes:
        name: of the scale set; pods carry it in front.
        nodes: node name and the second number of its pods' addresses, e.g. `42` for 10.42.0.0/16.
        proxy: which proxy its traffic goes through.
        helper: what Squid's helper says of a client: its pod, or its job too.
        wrapper: docker wrapper with the notes' six keys, with more, or none.
        engine: docker version whose events are streamed; None: nobody streams them.
        tagged: the streamer adds the job to each event.
        orchestrated: new enough actions to put their orchestration id into user agents.
    """

    name: str
    nodes: tuple[tuple[str, int], ...]
    proxy: Literal["mitmproxy", "squid"] | None = None
    helper: Literal["pod", "job"] = "pod"
    wrapper: Literal["plain", "rich"] | None = "plain"
    engine: Literal["17.03", "20.10", "29"] | None = None
    tagged: bool = True
    orchestrated: bool = False


@dataclass(frozen=True)
class Workflow:
    """One job of one workflow that builds an image, and what its builds do.

    Attributes:
        repo: owner/name whose workflow it is.
        name: of the workflow.
        job: its job id.
        per_hour: builds an hour.
        git: the git inside its build.
        errands: what a build fetches.
        pools: where its builds run, each with the same chance.
        migrates: from this hour on, its builds use this git.
        falls_back: from this hour on, they use the first git again.
        hosts: other hosts that a build visits.
        base: image that is pulled before the build; empty: the build pulls it itself.
        pull_fails: in which share of the builds that pull fails, which ends the job.
        oom: in which share of the runs the container runs out of memory.
        execs: command that is run in the container with docker exec.
        services: images that its tests start containers of, without the docker client.
    """

    repo: str
    name: str
    job: str
    per_hour: float
    git: Client
    errands: tuple[Errand, ...]
    pools: tuple[str, ...]
    migrates: tuple[float, Client] | None = None
    falls_back: float = math.inf
    hosts: tuple[str, ...] = ("mirror.acme.example:443",)
    base: str = ""
    pull_fails: float = 0.0
    oom: float = 0.0
    execs: str = ""
    services: tuple[str, ...] = ()

    def git_at(self, hour: float) -> Client:
        """The git that a build uses that starts so many hours after the fleet."""
        moved = self.migrates is not None and self.migrates[0] <= hour < self.falls_back
        return self.migrates[1] if moved and self.migrates else self.git


@dataclass(frozen=True)
class Background:
    """What no build sends, but the same address shows it: bots and cron jobs.

    Attributes:
        per_hour: requests an hour, while they last.
        errand: what is asked for.
        between: hours from and to which it is asked.
    """

    per_hour: float
    errand: Errand
    between: tuple[float, float] = (0.0, math.inf)


@dataclass(frozen=True)
class Parameters:
    """What makes a fleet.

    Attributes:
        seed: the same seed makes the same fleet.
        start: when it begins, UTC.
        hours: how long it runs.
        workflows: who builds.
        pools: where.
        background: who else asks GitHub.
        coverage: share of the runners that have their pool's wrapper.
        offset: seconds by which GitHub's clock is ahead.
        delays: shape of the time from a build's start to a request of it.
        rhythm: activity over the hours, relative to each `per_hour`, in equal parts.
        gap: hours from and to which mitmproxy was down.
    """

    seed: int
    start: datetime
    hours: float
    workflows: tuple[Workflow, ...]
    pools: tuple[Pool, ...]
    background: tuple[Background, ...] = ()
    coverage: float = 1.0
    offset: float = 0.0
    delays: Literal["lognormal", "bimodal", "flat"] = "lognormal"
    rhythm: tuple[float, ...] = (1.0,)
    gap: tuple[float, float] = (0.0, 0.0)


@dataclass(frozen=True, eq=False)
class Build:
    """One image build of one run, in one pod. Times are seconds after the fleet's start."""

    workflow: Workflow
    git: Client
    run_id: str
    orchestration_id: str
    pool: Pool
    node: str
    pod: str
    ip: str
    at: float
    until: float
    wrapped: bool
    pulled: bool

    @property
    def image(self) -> str:
        """What it builds."""
        return f"registry.acme.example/{self.workflow.repo.partition('/')[2]}:{self.orchestration_id[:7]}"


@dataclass(frozen=True)
class Request:
    """One request as it was sent, who sent it, and what its 401 means."""

    at: float
    method: str
    url: str
    status: int
    user_agent: str
    body: int
    authenticated: bool
    duration: float
    port: int
    outcome: Outcome
    build: Build | None


@dataclass(frozen=True)
class Tunnel:
    """One CONNECT (or plain GET, or probe) through Squid; `known`: the helper had an answer."""

    until: float
    ip: str
    authority: str
    up: int
    down: int
    known: bool
    build: Build | None
    result: str = "TCP_TUNNEL"
    status: int = 200


@dataclass(frozen=True)
class Invocation:
    """One docker command on a runner, and the words behind `docker`."""

    at: float
    argv: tuple[str, ...]
    build: Build


@dataclass(frozen=True)
class Event:
    """One event of the docker daemon that a build used."""

    at: float
    type: str
    action: str
    actor: str
    attributes: dict[str, str]
    build: Build


@dataclass(frozen=True)
class Fleet:
    """What happened, in order of time."""

    parameters: Parameters
    builds: list[Build]
    requests: list[Request]
    tunnels: list[Tunnel]
    invocations: list[Invocation]
    events: list[Event]

    def beside(self, other: Fleet) -> Fleet:
        """Both at once, on runners of their own: neither changes what happened in the other."""
        parts = (
            replace(self.parameters, workflows=self.parameters.workflows + other.parameters.workflows),
            sorted(self.builds + other.builds, key=lambda one: one.at),
            sorted(self.requests + other.requests, key=lambda one: one.at),
            sorted(self.tunnels + other.tunnels, key=lambda one: one.until),
            sorted(self.invocations + other.invocations, key=lambda one: one.at),
            sorted(self.events + other.events, key=lambda one: one.at),
        )
        return Fleet(*parts)
