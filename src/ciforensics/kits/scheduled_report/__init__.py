"""A report that runs itself: the command behind a timer, in a cluster, in a workflow, in a container."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from typing import Annotated, Self

from pydantic import model_validator

from ciforensics.kits.kinds import (
    AbsolutePath,
    ImageReference,
    Label,
    Quantity,
    SettingKind,
    Text,
    choice,
    text_like,
    whole_number,
)
from ciforensics.kits.kit import File, Kit, Only, Settings, key


def _by(*ways: str) -> Only:
    return Only("by", ways)


def _conditions(text: str) -> tuple[str, ...]:
    conditions = tuple(each.strip() for each in text.split(",") if each.strip())
    for each in conditions:
        if not re.fullmatch(r"warning|changed|[a-z]\w*[<>]=?-?\d+(\.\d+)?%?", each, re.ASCII):
            raise ValueError(each)
    return conditions


def _roots(*paths: str) -> set[str]:
    parts = [PurePosixPath(path).parts for path in paths]
    return {each[1] for each in parts} | {"/".join(each[1:3]) for each in parts}


_HOST = _by("systemd", "cron")
_FROM_A_PLACE = _by("systemd", "cron", "kubernetes", "github")

_Way = Annotated[str, choice("systemd", "cron", "kubernetes", "github", "container")]
_Program = Annotated[
    str,
    text_like("an absolute path of letters, digits and ._+-", "/usr/bin/ciforensics", r"(/[\w.+-]+)+"),
]
_User = Annotated[str, text_like("a user's name", "ciforensics", r"[a-z_][a-z0-9_-]{0,30}")]
_Calendar = Annotated[str, text_like("a calendar expression of systemd", "Mon..Fri 03:15", r"[\w*:,./~+ -]+")]
_Schedule = Annotated[str, text_like("five fields of cron", "15 3 * * *", r"[\w*/,-]+( [\w*/,-]+){4}")]
_Mail = Annotated[str, text_like("a mail address or a user", "ops@example.com", r"[\w.+@-]+")]
_Since = Annotated[str, text_like("all, or a time as --since takes it", "7d", r"all|\d[\w:.+-]*")]
_FailOn = Annotated[
    tuple[str, ...],
    SettingKind("what --fail-on takes, with commas between", "warning,unauthorized_share>5%", _conditions),
]
_RunnerLabel = Annotated[str, text_like("a label of letters, digits and ._-", "ubuntu-latest", r"[\w.-]+")]


class ScheduledReport(Settings):
    """The keys of the kit."""

    by: _Way = key("What runs it")
    logs: AbsolutePath | None = key("The folder of logs that it reads", "/var/log/ciforensics", only=_HOST)
    folder: AbsolutePath | None = key(
        "Where the case and the reports are kept", "/var/lib/ciforensics", only=_HOST
    )
    program: _Program | None = key(
        "Where ciforensics is installed", "/opt/ciforensics/bin/ciforensics", only=_HOST
    )
    user: _User | None = key("Who runs it", "ciforensics", only=_HOST)
    calendar: _Calendar | None = key(
        "When it runs; `systemd-analyze calendar` explains it", "*-*-* 03:15:00", only=_by("systemd")
    )
    alert: Text | None = key(
        "A shell command for a run that failed or passed fail_on; $1 is a file with its summary",
        'logger --priority user.err --tag ciforensics-report --file "$1"',
        only=_by("systemd"),
    )
    schedule: _Schedule | None = key(
        "When it runs; in Kubernetes and GitHub in UTC",
        "15 3 * * *",
        only=_by("cron", "kubernetes", "github"),
    )
    mailto: _Mail | None = key("Who gets mail when a run failed or passed fail_on", "root", only=_by("cron"))
    since: _Since | None = key("How far back the notebooks look, e.g. 7d", "all", only=_FROM_A_PLACE)
    fail_on: _FailOn | None = key(
        "Which findings make a run fail, with commas between; empty: none", "warning", only=_FROM_A_PLACE
    )
    image: ImageReference | None = key("The image, made with by=container", only=_by("kubernetes"))
    namespace: Label | None = key("Where the CronJob is", "ciforensics", only=_by("kubernetes"))
    logs_claim: Label | None = key(
        "The PersistentVolumeClaim with the logs, there already", "ciforensics-logs", only=_by("kubernetes")
    )
    storage: Quantity | None = key("Room for the case and the reports", "20Gi", only=_by("kubernetes"))
    cpu: Quantity | None = key("CPU that it asks for", "1", only=_by("kubernetes"))
    memory: Quantity | None = key("Memory that it has", "4Gi", only=_by("kubernetes"))
    package: Text | None = key("What pip installs ciforensics from", only=_by("github"))
    fetch: Text | None = key("A shell command that brings the logs into the folder logs", only=_by("github"))
    runs_on: _RunnerLabel | None = key("The label of the runner", "ubuntu-latest", only=_by("github"))
    keep_days: Annotated[int, whole_number(1, 400)] | None = key(
        "How long a report can be downloaded", "30", only=_by("github")
    )
    base: ImageReference | None = key(
        "The image that it is built on, with Python 3.11 or later and its venv",
        "docker.io/library/python:3.13-slim-trixie",
        only=_by("container"),
    )

    @model_validator(mode="after")
    def _folders_fit(self) -> Self:
        logs, folder = self.logs, self.folder
        if logs is None or folder is None:
            return self
        if self.by == "systemd" and {"tmp", "var/tmp"} & _roots(logs, folder):
            raise ValueError(
                "The service has a /tmp and a /var/tmp of its own: logs and folder cannot be there."
            )
        if PurePosixPath(folder).is_relative_to(logs):
            raise ValueError("folder lies in logs: each run would read the reports of those before.")
        return self


KIT = Kit(
    summary="the report, every night: by systemd, cron, Kubernetes or GitHub Actions; and a container image",
    folder=Path(__file__).parent,
    settings=ScheduledReport,
    files={
        "README.md": File(),
        "systemd/ciforensics-report.service": File(only=_by("systemd")),
        "systemd/ciforensics-report.timer": File(only=_by("systemd")),
        "systemd/ciforensics-report-alert.service": File(only=_by("systemd")),
        "cron/ciforensics-report": File(only=_by("cron")),
        "cron/ciforensics-report.sh": File(executable=True, only=_by("cron")),
        "kubernetes/cronjob.yaml": File(only=_by("kubernetes")),
        "github/ciforensics-report.yml": File(only=_by("github")),
        "container/Containerfile": File(only=_by("container")),
    },
    source=None,
)
