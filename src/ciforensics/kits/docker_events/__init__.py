"""Follows `docker events` while a job runs: hooks start it, each event becomes a JSON line and a counter."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from ciforensics.kits.kinds import AbsolutePath, Flag, Host, ImageReference, Label, Port, Text, choice
from ciforensics.kits.kit import File, Kit, Only, Settings, key

_COUNTED = Only("metrics", ("host-ip", "service"))


class DockerEvents(Settings):
    """The keys of the kit."""

    folder: AbsolutePath = key("Where docker-events.jsonl is written", "/var/log/ciforensics")
    docker: Text = key("The docker client; behind the wrapper kit the real one", "docker")
    python: Text = key("Python 3.9 or later on the runner", "python3")
    metrics: Annotated[str, choice("host-ip", "service", "off")] = key(
        "Where the DogStatsD agent is, unless DD_DOGSTATSD_URL or DD_AGENT_HOST say so on the runner: on "
        "the node, or behind a DNS name; off: no counters",
        "host-ip",
    )
    service: Host | None = key("The agent's DNS name", only=Only("metrics", ("service",)))
    port: Port | None = key("The agent's UDP port, unless DD_DOGSTATSD_PORT says so", "8125", only=_COUNTED)
    run_id_tag: Flag | None = key(
        "Tag counters with run_id: new time series with every run", "no", only=_COUNTED
    )
    scale_set: Label = key("The AutoscalingRunnerSet that gets the hooks", "arc-runners")
    namespace: Label = key("Its namespace", "arc-runners")
    tail_image: ImageReference = key("An image with tail, for the sidecar that shows the log", "busybox:1.37")


KIT = Kit(
    summary="what the docker daemon did during a job, as JSON lines and DogStatsD counters",
    folder=Path(__file__).parent,
    settings=DockerEvents,
    files={
        "README.md": File(),
        "action.yml": File(),
        "job-completed.sh": File(executable=True),
        "job-started.sh": File(executable=True),
        "runner-scale-set.yaml": File(),
        "stream_events.py": File(),
    },
    source="docker_events",
)
