"""Follows `docker events` while a job runs: hooks start it, each event becomes a JSON line and a counter."""

from __future__ import annotations

from pathlib import Path

from ciforensics.kits.kit import (
    FLAG,
    HOST,
    IMAGE,
    LABEL,
    PATH,
    PORT,
    TEXT,
    File,
    Key,
    Kit,
    choice,
)

_COUNTED = ("metrics", ("host-ip", "service"))

KIT = Kit(
    name="docker-events",
    summary="what the docker daemon did during a job, as JSON lines and DogStatsD counters",
    folder=Path(__file__).parent,
    keys=(
        Key(
            "folder",
            "Where docker-events.jsonl is written",
            PATH,
            "/var/log/ciforensics",
        ),
        Key("docker", "The docker client; behind the wrapper kit the real one", TEXT, "docker"),
        Key("python", "Python 3.9 or later on the runner", TEXT, "python3"),
        Key(
            "metrics",
            "Where the DogStatsD agent is, unless DD_DOGSTATSD_URL or DD_AGENT_HOST say so on the runner: on "
            "the node, or behind a DNS name; off: no counters",
            choice("host-ip", "service", "off"),
            "host-ip",
        ),
        Key("service", "The agent's DNS name", HOST, only=("metrics", ("service",))),
        Key("port", "The agent's UDP port, unless DD_DOGSTATSD_PORT says so", PORT, "8125", only=_COUNTED),
        Key(
            "run_id_tag",
            "Tag counters with run_id: new time series with every run",
            FLAG,
            "no",
            only=_COUNTED,
        ),
        Key("scale_set", "The AutoscalingRunnerSet that gets the hooks", LABEL, "arc-runners"),
        Key("namespace", "Its namespace", LABEL, "arc-runners"),
        Key("tail_image", "An image with tail, for the sidecar that shows the log", IMAGE, "busybox:1.37"),
    ),
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
