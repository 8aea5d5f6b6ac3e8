"""What a fleet's Squid sees beside GitHub, so that the story of its bytes can be told.

The tunnels that `run` made to the registry mirror stay, or become pulls from where the images really came. It
has a random stream of its own: no other log of the fleet changes.
"""

from __future__ import annotations

import random
from dataclasses import replace
from typing import TYPE_CHECKING

from ciforensics.fleet.model import HOUR, Fleet, Tunnel

if TYPE_CHECKING:
    from collections.abc import Iterator

MIRROR = "mirror.acme.example:443"
DOCKER_HUB: tuple[str, ...] = (
    "auth.docker.io:443",
    "registry-1.docker.io:443",
    "production.cloudflare.docker.com:443",
)
GITHUB: tuple[str, ...] = ("ghcr.io:443", "pkg-containers.githubusercontent.com:443")

MIRRORED_FROM = 3 * HOUR
"""When the daemons and builders got the registry mirror: 09:00."""
PILOTS = ("acme/ledger", "acme/gateway")
"""They went through the mirror before."""
OWN_BASE = "acme/mobile"
"""Its base image is on ghcr.io, which no mirror of Docker Hub serves."""
PAST_IT = 0.06
"""Share of the pulls that go to Docker Hub after all: the mirror was slow, and dockerd went on without it."""

ODD = (
    ("acme/ml-models", "203.0.113.77:8443", 2, 5_400_000, 61_000),
    ("acme/agent", "[2001:db8:7::15]:443", 1, 2_300, 48_000),
    ("acme/docs", "paste.example.net:443", 1, 310_000, 5_200),
    ("acme/web", "nexus.acme.example:8081", 9, 1_900, 740_000),
)
"""Who opens tunnels to where nobody would expect it: repository, authority, how many, bytes up and down."""
LATE = "paste.example.net:443"
DENIED = "telemetry.vendor.example:443"
"""Squid's rules allow no telemetry; the builds ask all the same."""


def with_egress(fleet: Fleet) -> Fleet:
    """The fleet, with registries past the mirror, odd destinations and denied tunnels in its Squid's log."""
    rng = random.Random(f"egress {fleet.parameters.seed}")  # noqa: S311 (reproducible on purpose)
    end = fleet.parameters.hours * HOUR
    tunnels = [now for tunnel in fleet.tunnels for now in _pulled(tunnel, rng)]
    tunnels += [*_odd(fleet, rng), *_denied(fleet, rng)]
    tunnels = [tunnel for tunnel in tunnels if tunnel.until < end]
    return replace(fleet, tunnels=sorted(tunnels, key=lambda tunnel: tunnel.until))


def _pulled(tunnel: Tunnel, rng: random.Random) -> Iterator[Tunnel]:
    """A pull through the mirror is one tunnel; past it, the layers come from another host than the names."""
    if tunnel.authority != MIRROR or tunnel.build is None:
        yield tunnel
        return
    repo = tunnel.build.workflow.repo
    falls_through = rng.random() < PAST_IT
    if repo == OWN_BASE:
        hosts = GITHUB
    elif repo not in PILOTS and (tunnel.until < MIRRORED_FROM or falls_through):
        hosts = DOCKER_HUB
    else:
        yield tunnel
        return
    *names, layers = hosts
    for nth, name in enumerate(names, start=1):
        up, down = rng.randrange(1_300, 2_900), rng.randrange(4_800, 19_000)
        yield replace(
            tunnel, until=tunnel.until - rng.uniform(0.5, 2.0) / nth, authority=name, up=up, down=down
        )
    yield replace(tunnel, authority=layers)


def _odd(fleet: Fleet, rng: random.Random) -> Iterator[Tunnel]:
    for repo, authority, times, up, down in ODD:
        builds = [
            build for build in fleet.builds if build.pool.proxy == "squid" and build.workflow.repo == repo
        ]
        chosen = builds[-1:] if authority == LATE else rng.sample(builds, min(times, len(builds)))
        for build in chosen:
            until = build.at + rng.uniform(10, 40)
            share = rng.uniform(0.8, 1.2)
            sent, got = int(up * share), int(down * share)
            yield Tunnel(until, build.ip, authority, sent, got, known=True, build=build)


def _denied(fleet: Fleet, rng: random.Random) -> Iterator[Tunnel]:
    """Squid answers with its own error page. Only arc-next's logformat says so (see `logs`)."""
    for build in fleet.builds:
        if build.pool.helper == "job" and build.workflow.repo == "acme/payments" and rng.random() < 0.6:
            until = build.at + rng.uniform(2, 9)
            yield Tunnel(
                until, build.ip, DENIED, 104, 3_446, known=True, build=build, result="TCP_DENIED", status=403
            )
