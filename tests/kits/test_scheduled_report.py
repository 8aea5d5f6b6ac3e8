"""The files that run the report fit what reads them, whatever the settings; tests/live runs them."""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]
import pytest
import yaml

from ciforensics.errors import CiforensicsError
from ciforensics.kits.export import export_kit

IMAGE = "registry.example.com/ciforensics:0.2.0"
KUBERNETES = ("1.31", kubernetes_validate.latest_version())


def exported(to: Path, /, **settings: str) -> dict[str, str]:
    """The files of the kit, by their names."""
    written = export_kit("scheduled-report", to / "kit", settings=settings)
    return {path.relative_to(to / "kit").as_posix(): path.read_text() for path in written}


def cron_job(folder: Path, **settings: str) -> dict[str, dict[str, Any]]:
    files = exported(folder, by="kubernetes", image=IMAGE, **settings)
    return {each["kind"]: each for each in yaml.safe_load_all(files["kubernetes/cronjob.yaml"])}


def pod(objects: dict[str, dict[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = objects["CronJob"]["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    return found


@pytest.mark.parametrize(
    ("by", "more", "files"),
    [
        ("systemd", {}, {"service", "timer"}),
        ("cron", {}, {"", "sh"}),
        ("kubernetes", {"image": IMAGE}, {"yaml"}),
        ("github", {"package": "p", "fetch": "true"}, {"yml"}),
        ("container", {}, {""}),
    ],
)
def test_only_what_one_way_needs_is_written(
    by: str, more: dict[str, str], files: set[str], tmp_path: Path
) -> None:
    written = set(exported(tmp_path, by=by, **more)) - {"README.md"}
    assert {name.partition("/")[0] for name in written} == {by}
    assert {Path(name).suffix.lstrip(".") for name in written} == files


@pytest.mark.parametrize("version", KUBERNETES)
@pytest.mark.parametrize("settings", [{}, {"since": "7d", "fail_on": "changed,too_old>5", "cpu": "500m"}])
def test_the_cron_job_fits_the_schemas_of_kubernetes(
    settings: dict[str, str], version: str, tmp_path: Path
) -> None:
    objects = cron_job(tmp_path, **settings)
    assert set(objects) == {"PersistentVolumeClaim", "NetworkPolicy", "CronJob"}
    for each in objects.values():
        kubernetes_validate.validate(each, version, strict=True)


def test_the_job_has_no_rights_and_is_not_tried_again_when_it_would_end_the_same(tmp_path: Path) -> None:
    objects = cron_job(tmp_path)
    spec = objects["CronJob"]["spec"]
    assert spec["concurrencyPolicy"] == "Forbid"
    rules = spec["jobTemplate"]["spec"]["podFailurePolicy"]["rules"]
    assert [rule["action"] for rule in rules] == ["Ignore", "FailJob"]
    assert rules[1]["onExitCodes"]["values"] == [1, 2, 3]
    (container,) = pod(objects)["containers"]
    assert rules[1]["onExitCodes"]["containerName"] == container["name"]
    assert pod(objects)["restartPolicy"] == "Never"  # a podFailurePolicy takes no other
    assert pod(objects)["securityContext"]["runAsNonRoot"] is True
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert {each["name"] for each in container["volumeMounts"]} == {
        each["name"] for each in pod(objects)["volumes"]
    }


@pytest.mark.parametrize("by", ["systemd", "cron", "kubernetes", "github"])
def test_times_and_thresholds_are_passed_on(by: str, tmp_path: Path) -> None:
    needed = {"kubernetes": {"image": IMAGE}, "github": {"package": "p", "fetch": "true"}}.get(by, {})
    files = exported(tmp_path, by=by, since="7d", fail_on="warning, offender>100", **needed)
    text = "".join(text for name, text in files.items() if name != "README.md")
    words = re.sub(r"""["'\\]|^ *- """, "", text, flags=re.MULTILINE).split()
    given = list(itertools.pairwise(words))
    for pair in (("--since", "7d"), ("--fail-on", "warning"), ("--fail-on", "offender>100")):
        assert pair in given


def test_a_unit_file_takes_a_value_as_it_is(tmp_path: Path) -> None:
    files = exported(tmp_path, by="systemd", logs='/a "b" \\c %h $HOME', folder="/d %i")
    (start,) = re.findall(r"ExecStart=.*", files["systemd/ciforensics-report.service"])
    assert r'report "/a \"b\" \\c %%h $$HOME" ' in start
    assert 'ReadWritePaths="/d %%i"\n' in files["systemd/ciforensics-report.service"]


def test_cron_sees_nothing_of_its_own_in_the_settings(tmp_path: Path) -> None:
    files = exported(tmp_path, by="cron", logs="/100% 'it'", mailto="ops@example.com")
    crontab = files["cron/ciforensics-report"]
    assert crontab.endswith("\n15 3 * * * ciforensics /usr/local/bin/ciforensics-report\n")
    assert "%" not in crontab


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, "cannot know by"),
        ({"by": "kubernetes"}, "cannot know image"),
        ({"by": "github"}, "cannot know package .*, fetch "),
        ({"by": "cron", "calendar": "daily"}, "no effect with by=cron"),
        ({"by": "cron", "schedule": "@daily"}, "is not five fields of cron"),
        ({"by": "cron", "schedule": "1 2 * * * root reboot"}, "is not five fields of cron"),
        ({"by": "cron", "user": "root reboot"}, "is not a user's name"),
        ({"by": "systemd", "fail_on": "warning;x"}, "is not what --fail-on takes"),
        ({"by": "systemd", "since": "7d --out x"}, "is not all, or a time"),
        ({"by": "systemd", "logs": "/var/tmp/a"}, "a /tmp and a /var/tmp of its own"),  # noqa: S108
        ({"by": "cron", "logs": "/a", "folder": "/a/b"}, "folder lies in logs"),
    ],
)
def test_what_cannot_work_is_refused(settings: dict[str, str], said: str, tmp_path: Path) -> None:
    with pytest.raises(CiforensicsError, match=said):
        exported(tmp_path, **settings)
