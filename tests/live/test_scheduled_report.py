"""The report as systemd, cron and a workflow's shell run it; a private systemd, and Debian's cron, really do."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

import ciforensics as ci
from ciforensics.capture.export import export
from docker_daemon import wait_until
from private_machine import ROOT, PrivateMachine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PROGRAM = Path(sys.prefix) / "bin" / "ciforensics"
# What shells, systemd and cron would each take for something of their own.
LOGS = """/srv/it's "the" $HOME 100% \\n ; logs"""
FOLDER = "/srv/re$ports & 50% more"
# Half of the requests are answered 401.
CSV = "Time,Repository,Status,User Agent,URL\n" + "".join(
    f"2026-03-17T08:{nth:02}:00Z,acme/web,{status},git/2.39.5,https://github.com/acme/web/info/refs?service=git-upload-pack\n"
    for nth in range(10)
    for status in (401, 200)
)
PASSED = "unauthorized_share>5%"
SETTINGS = {"logs": LOGS, "folder": FOLDER, "program": str(PROGRAM), "fail_on": PASSED}


def read(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def machine(
    needs: Callable[..., str],
    as_root: None,  # noqa: ARG001 (for mounts)
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[PrivateMachine]:
    """Both kits installed as their pages say, with logs to read; cron runs every minute."""
    needs("cron", package="cron")
    needs("systemctl", package="systemd")
    kits = tmp_path_factory.mktemp("kits")
    often = {"calendar": "*-*-* *:*:*", "alert": 'printf "%s " "$MONITOR_EXIT_STATUS" 100% | cat - "$1" >/srv/alert/said'}
    export("scheduled-report", kits / "systemd", settings={"by": "systemd", **SETTINGS, **often})
    settings = {"by": "cron", **SETTINGS, "folder": "/srv/by cron's", "schedule": "* * * * *", "mailto": "ops@example.com"}
    export("scheduled-report", kits / "cron", settings=settings)
    units, crontab = read(kits / "systemd" / "systemd"), read(kits / "cron" / "cron")
    # There is no journal; and the program of a test may be in /tmp.
    now = f"[Service]\nStandardOutput=file:/run/said\nStandardError=file:/run/said\nBindReadOnlyPaths={sys.prefix} {ROOT}\n"
    files = {
        **{f"/etc/systemd/test/{name}": text for name, text in units.items()},
        "/etc/systemd/test/ciforensics-report.service.d/test.conf": now,
        "/etc/systemd/test/ciforensics-report-alert.service.d/test.conf": "[Service]\nReadWritePaths=/srv/alert\n",
        "/etc/systemd/test/ciforensics-report.timer.d/test.conf": "[Timer]\nRandomizedDelaySec=0\nAccuracySec=1\n",
        "/etc/systemd/test/cron.service": "[Service]\nExecStart=/usr/sbin/cron -f\n",
        "/etc/cron.d/ciforensics-report": crontab["ciforensics-report"],
        "/usr/local/bin/ciforensics-report": crontab["ciforensics-report.sh"],
        "/usr/sbin/sendmail": "#!/bin/sh\nexec cat >>/srv/mail/box\n",
    }
    with PrivateMachine(files) as started:
        started.run("mkdir", LOGS, FOLDER, "/srv/by cron's", "/srv/alert", check=True)
        started.run("install", "-d", "-m", "777", "/srv/mail", check=True)
        (started.path(LOGS) / "github.csv").write_text(CSV)
        for folder in (FOLDER, "/srv/by cron's", "/srv/alert"):
            started.run("chown", f"{started.user}:{started.user}", folder, check=True)
        yield started


def test_a_timer_starts_the_service_whose_finding_makes_systemd_call_for_help(machine: PrivateMachine) -> None:
    verified = machine.run("systemd-analyze", "verify", "--man=no", *(
        f"/etc/systemd/test/ciforensics-report{kind}" for kind in (".service", ".timer", "-alert.service")
    ))  # fmt: skip
    assert (verified.returncode, verified.stderr) == (0, b"")
    machine.run("systemctl", "start", "ciforensics-report.timer", check=True)
    wait_until(lambda: activating(machine), what="the timer starts the service")
    machine.run("systemctl", "stop", "ciforensics-report.timer", check=True)
    wait_until(lambda: not activating(machine), what="the service ends")
    assert machine.shown("ciforensics-report", "Result", "ExecMainStatus") == {
        "Result": "exit-code",
        "ExecMainStatus": "3",
    }, machine.path("/run/said").read_text()
    wait_until((machine.path("/srv/alert") / "said").exists, what="the alert")
    said = (machine.path("/srv/alert") / "said").read_text()
    assert said.startswith("3 100% ")
    assert "10 of 20 requests" in said
    folder = machine.path(FOLDER)
    assert (folder / "report" / "index.html").exists()
    with ci.connect(folder / "case.duckdb") as con:
        assert con.sql("SELECT count(*) FROM requests").fetchone() == (20,)
    assert not stat.S_IMODE((folder / "case.duckdb").stat().st_mode) & stat.S_IRWXO


def activating(machine: PrivateMachine) -> bool:
    return machine.shown("ciforensics-report", "ActiveState")["ActiveState"] in {"activating", "deactivating"}


def test_the_service_has_no_more_rights_than_it_needs(machine: PrivateMachine) -> None:
    judged = machine.run(
        "systemd-analyze", "security", "--offline=yes", "--threshold=25",
        "/etc/systemd/test/ciforensics-report.service",
    )  # fmt: skip
    assert judged.returncode == 0, judged.stdout.decode()[-300:]
