"""A shell script in front of `docker` that logs who called it, and what puts it there."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Self

from pydantic import model_validator

from ciforensics.kits.kinds import AbsolutePath, Flag, choice, text_like, whole_number
from ciforensics.kits.kit import File, Kit, Only, Settings, key

_FILE = Only("sink", ("file",))
_CLOUD = Only("sink", ("cloud-logging", "pubsub"))
_PUBSUB = Only("sink", ("pubsub",))

_SYSTEM = ("/bin", "/sbin", "/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin")

_Project = Annotated[str, text_like("a Google Cloud project id", "acme-ci", r"[a-z][a-z0-9-]{4,28}[a-z0-9]")]
_GoogleName = Annotated[
    str,
    text_like(
        "a name that Pub/Sub and Cloud Logging take (3 to 255 letters, digits and ._-, a letter first)",
        "docker-wrapper",
        r"[A-Za-z][\w.-]{2,254}",
    ),
]
_BigQueryName = Annotated[str, text_like("letters, digits and _", "docker_wrapper", r"\w{1,1024}")]


class DockerWrapper(Settings):
    """The keys of the kit."""

    docker: AbsolutePath = key("Where install.sh moves the real docker binary", "/usr/bin/docker.original")
    wrapper: AbsolutePath = key("Where docker is called, and the wrapper is put", "/usr/bin/docker")
    deploy: Annotated[str, choice("image", "init-container")] = key(
        "How the wrapper gets to runners", "image"
    )
    wait: Flag = key("Wait for docker instead of becoming it, to log exit code and duration", "no")
    sink: Annotated[str, choice("file", "cloud-logging", "pubsub")] = key("Where the lines go", "file")
    log: AbsolutePath | None = key("The log file", "/var/log/docker-wrapper.jsonl", only=_FILE)
    project: _Project | None = key("The Google Cloud project", only=_CLOUD)
    limit_s: Annotated[int, whole_number(1, 600)] | None = key(
        "After how many seconds gcloud is ended", "20", only=_CLOUD
    )
    log_name: _GoogleName | None = key(
        "The log's name", "docker-wrapper", only=Only("sink", ("cloud-logging",))
    )
    topic: _GoogleName | None = key("The Pub/Sub topic", "docker-wrapper", only=_PUBSUB)
    dataset: _BigQueryName | None = key("The BigQuery dataset, which exists", "ciforensics", only=_PUBSUB)
    table: _BigQueryName | None = key("The BigQuery table, which is made", "docker_wrapper", only=_PUBSUB)

    @model_validator(mode="after")
    def _paths_fit(self) -> Self:
        docker, wrapper, log = self.docker, self.wrapper, self.log
        if docker == wrapper:
            raise ValueError(f"docker and wrapper are both {docker}: one stands in front of the other.")
        if self.deploy == "image":
            return self
        folder = wrapper.rpartition("/")[0]
        if folder in ("", *_SYSTEM) or docker.rpartition("/")[0] != folder:
            raise ValueError(
                f"With deploy=init-container, docker ({docker}) and wrapper ({wrapper}) go into one new "
                "folder, for instance /opt/ciforensics."
            )
        if log and not log.startswith(f"{folder}/"):
            raise ValueError(
                f"With deploy=init-container, log ({log}) goes into {folder}: a job can write there."
            )
        return self


KIT = Kit(
    summary="each call of docker on a runner: repo, workflow, job, run, command, arguments, image",
    folder=Path(__file__).parent,
    settings=DockerWrapper,
    files={
        "README.md": File(),
        "docker-wrapper.sh": File(executable=True),
        "install.sh": File(executable=True, only=Only("deploy", ("image",))),
        "init-container.yaml": File(only=Only("deploy", ("init-container",))),
        "fluent-bit.conf": File(only=_FILE),
        "main.tf": File(only=_PUBSUB),
        "table-schema.json": File(only=_PUBSUB),
    },
    source="docker_wrapper",
)
