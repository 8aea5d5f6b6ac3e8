"""A report that runs itself: the command behind a timer, in a cluster, in a workflow, in a container."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from ciforensics.kits.kit import (
    IMAGE,
    LABEL,
    PATH,
    QUANTITY,
    TEXT,
    File,
    Key,
    Kind,
    Kit,
    choice,
    text_like,
    whole_number,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ciforensics.kits.kit import Only, Value


def _by(*ways: str) -> Only:
    return ("by", ways)


def _conditions(text: str) -> tuple[str, ...]:
    found = tuple(each.strip() for each in text.split(",") if each.strip())
    for each in found:
        if not re.fullmatch(r"warning|changed|[a-z]\w*[<>]=?-?\d+(\.\d+)?%?", each, re.ASCII):
            raise ValueError(each)
    return found


def _check(values: Mapping[str, Value | None]) -> None:
    logs, folder = values["logs"], values["folder"]
    if logs is None or folder is None:
        return
    if values["by"] == "systemd" and {"tmp", "var/tmp"} & _roots(str(logs), str(folder)):
        raise ValueError("The service has a /tmp and a /var/tmp of its own: logs and folder cannot be there.")
    if PurePosixPath(str(folder)).is_relative_to(str(logs)):
        raise ValueError("folder lies in logs: each run would read the reports of those before.")


def _roots(*paths: str) -> set[str]:
    parts = [PurePosixPath(path).parts for path in paths]
    return {each[1] for each in parts} | {"/".join(each[1:3]) for each in parts}


_HOST = _by("systemd", "cron")

KIT = Kit(
    name="scheduled-report",
    summary="the report, every night: by systemd, cron, Kubernetes or GitHub Actions; and a container image",
    folder=Path(__file__).parent,
    keys=(
        Key("by", "What runs it", choice("systemd", "cron", "kubernetes", "github", "container")),
        Key("logs", "The folder of logs that it reads", PATH, "/var/log/ciforensics", only=_HOST),
        Key("folder", "Where the case and the reports are kept", PATH, "/var/lib/ciforensics", only=_HOST),
        Key(
            "program",
            "Where ciforensics is installed",
            text_like(
                "an absolute path of letters, digits and ._+-", "/usr/bin/ciforensics", r"(/[\w.+-]+)+"
            ),
            "/opt/ciforensics/bin/ciforensics",
            only=_HOST,
        ),
        Key(
            "user",
            "Who runs it",
            text_like("a user's name", "ciforensics", r"[a-z_][a-z0-9_-]{0,30}"),
            "ciforensics",
            only=_HOST,
        ),
        Key(
            "calendar",
            "When it runs; `systemd-analyze calendar` explains it",
            text_like("a calendar expression of systemd", "Mon..Fri 03:15", r"[\w*:,./~+ -]+"),
            "*-*-* 03:15:00",
            only=_by("systemd"),
        ),
        Key(
            "alert",
            "A shell command for a run that failed or passed fail_on; $1 is a file with its summary",
            TEXT,
            'logger --priority user.err --tag ciforensics-report --file "$1"',
            only=_by("systemd"),
        ),
        Key(
            "schedule",
            "When it runs; in Kubernetes and GitHub in UTC",
            text_like("five fields of cron", "15 3 * * *", r"[\w*/,-]+( [\w*/,-]+){4}"),
            "15 3 * * *",
            only=_by("cron", "kubernetes", "github"),
        ),
        Key(
            "mailto",
            "Who gets mail when a run failed or passed fail_on",
            text_like("a mail address or a user", "ops@example.com", r"[\w.+@-]+"),
            "root",
            only=_by("cron"),
        ),
        Key(
            "since",
            "How far back the notebooks look, e.g. 7d",
            text_like("all, or a time as --since takes it", "7d", r"all|\d[\w:.+-]*"),
            "all",
            only=_by("systemd", "cron", "kubernetes", "github"),
        ),
        Key(
            "fail_on",
            "Which findings make a run fail, with commas between; empty: none",
            Kind("what --fail-on takes, with commas between", "warning,unauthorized_share>5%", _conditions),
            "warning",
            only=_by("systemd", "cron", "kubernetes", "github"),
        ),
        Key("image", "The image, made with by=container", IMAGE, only=_by("kubernetes")),
        Key("namespace", "Where the CronJob is", LABEL, "ciforensics", only=_by("kubernetes")),
        Key(
            "logs_claim",
            "The PersistentVolumeClaim with the logs, there already",
            LABEL,
            "ciforensics-logs",
            only=_by("kubernetes"),
        ),
        Key("storage", "Room for the case and the reports", QUANTITY, "20Gi", only=_by("kubernetes")),
        Key("cpu", "CPU that it asks for", QUANTITY, "1", only=_by("kubernetes")),
        Key("memory", "Memory that it has", QUANTITY, "4Gi", only=_by("kubernetes")),
        Key("package", "What pip installs ciforensics from", TEXT, only=_by("github")),
        Key("fetch", "A shell command that brings the logs into the folder logs", TEXT, only=_by("github")),
        Key(
            "runs_on",
            "The label of the runner",
            text_like("a label of letters, digits and ._-", "ubuntu-latest", r"[\w.-]+"),
            "ubuntu-latest",
            only=_by("github"),
        ),
        Key(
            "keep_days", "How long a report can be downloaded", whole_number(1, 400), "30", only=_by("github")
        ),
        Key(
            "base",
            "The image that it is built on, with Python 3.11 or later and its venv",
            IMAGE,
            "docker.io/library/python:3.13-slim-trixie",
            only=_by("container"),
        ),
    ),
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
    check=_check,
)
