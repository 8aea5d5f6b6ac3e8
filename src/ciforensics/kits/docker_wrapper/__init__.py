"""A shell script in front of `docker` that logs who called it, and what puts it there."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ciforensics.kits.kit import (
    BIGQUERY_NAME,
    FLAG,
    GOOGLE_NAME,
    GOOGLE_PROJECT,
    PATH,
    File,
    Key,
    Kit,
    choice,
    whole_number,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ciforensics.kits.kit import Value

_CLOUD = ("sink", ("cloud-logging", "pubsub"))
_PUBSUB = ("sink", ("pubsub",))

_SYSTEM = ("/bin", "/sbin", "/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin")


def _check(values: Mapping[str, Value | None]) -> None:
    docker, wrapper, log = (str(values[name]) for name in ("docker", "wrapper", "log"))
    if docker == wrapper:
        raise ValueError(f"docker and wrapper are both {docker}: one stands in front of the other.")
    if values["deploy"] == "image":
        return
    folder = wrapper.rpartition("/")[0]
    if folder in ("", *_SYSTEM) or docker.rpartition("/")[0] != folder:
        raise ValueError(
            f"With deploy=init-container, docker ({docker}) and wrapper ({wrapper}) go into one new folder, "
            "for instance /opt/ciforensics."
        )
    if values["log"] and not log.startswith(f"{folder}/"):
        raise ValueError(
            f"With deploy=init-container, log ({log}) goes into {folder}: a job can write there."
        )


KIT = Kit(
    name="docker-wrapper",
    summary="each call of docker on a runner: repo, workflow, job, run, command, arguments, image",
    folder=Path(__file__).parent,
    keys=(
        Key("docker", "Where install.sh moves the real docker binary", PATH, "/usr/bin/docker.original"),
        Key("wrapper", "Where docker is called, and the wrapper is put", PATH, "/usr/bin/docker"),
        Key("deploy", "How the wrapper gets to runners", choice("image", "init-container"), "image"),
        Key("wait", "Wait for docker instead of becoming it, to log exit code and duration", FLAG, "no"),
        Key("sink", "Where the lines go", choice("file", "cloud-logging", "pubsub"), "file"),
        Key("log", "The log file", PATH, "/var/log/docker-wrapper.jsonl", only=("sink", ("file",))),
        Key("project", "The Google Cloud project", GOOGLE_PROJECT, only=_CLOUD),
        Key("limit_s", "After how many seconds gcloud is ended", whole_number(1, 600), "20", only=_CLOUD),
        Key("log_name", "The log's name", GOOGLE_NAME, "docker-wrapper", only=("sink", ("cloud-logging",))),
        Key("topic", "The Pub/Sub topic", GOOGLE_NAME, "docker-wrapper", only=_PUBSUB),
        Key("dataset", "The BigQuery dataset, which exists", BIGQUERY_NAME, "ciforensics", only=_PUBSUB),
        Key("table", "The BigQuery table, which is made", BIGQUERY_NAME, "docker_wrapper", only=_PUBSUB),
    ),
    files={
        "README.md": File(),
        "docker-wrapper.sh": File(executable=True),
        "install.sh": File(executable=True, only=("deploy", ("image",))),
        "init-container.yaml": File(only=("deploy", ("init-container",))),
        "fluent-bit.conf": File(only=("sink", ("file",))),
        "main.tf": File(only=_PUBSUB),
        "table-schema.json": File(only=_PUBSUB),
    },
    source="docker_wrapper",
    check=_check,
)
