"""What a job's tests start beside it: databases and the like, by a library that speaks to the daemon itself.

No docker command is behind them, so only docker's events know of these pulls and containers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ciforensics.fleet.model import Build, Event

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator

_SIGNALS = {"0": ("15",), "143": ("15",), "137": ("15", "9")}
"""How docker stops what ends with this exit code; one that does not listen is killed ten seconds later."""


def service_events(build: Build, rng: random.Random) -> Iterator[Event]:
    """A pull for each image, as the daemon of such a job is new; then one to three containers of it."""
    at = build.until - 42
    for image in build.workflow.services:
        if rng.random() < 0.15:  # these tests have no use for it
            continue
        at += rng.uniform(0.5, 2)
        name = image.partition("@")[0].rpartition(":")[0] or image.partition("@")[0]
        yield Event(at, "image", "pull", image, {"name": name}, build)
        for _ in range(rng.choice((1, 1, 1, 2, 3))):
            at += rng.uniform(0.2, 0.8)
            yield from _container(build, image, at, rng)


def _container(build: Build, image: str, at: float, rng: random.Random) -> Iterator[Event]:
    box = f"{rng.getrandbits(256):064x}"
    name = f"{rng.choice(('brave', 'calm', 'keen', 'wry'))}_{rng.choice(('bose', 'curie', 'noether'))}"
    of_box = {"image": image, "name": name}
    code = rng.choice(("0", "0", "0", "143", "137"))
    stopped = at + rng.lognormvariate(2.2, 0.6)
    died = stopped + (10 if code == "137" else 0) + rng.uniform(0.05, 0.4)
    exits = {"exitCode": code}
    if build.pool.engine == "29":
        exits["execDuration"] = str(int(died - at))
    yield Event(at, "container", "create", box, of_box, build)
    yield Event(at + 0.2, "container", "start", box, of_box, build)
    for nth, signal in enumerate(_SIGNALS[code]):
        yield Event(stopped + 10 * nth, "container", "kill", box, of_box | {"signal": signal}, build)
    yield Event(died, "container", "die", box, of_box | exits, build)
    yield Event(died + 0.1, "container", "destroy", box, of_box, build)
