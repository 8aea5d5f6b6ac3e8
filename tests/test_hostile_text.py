"""What came from a log stays text, wherever it is shown."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import ciforensics as ci
from ciforensics.report import report

PROGRAM = Path(sys.executable).with_name("ciforensics")
EVIL = [
    "<script>document.title='owned'</script>",
    "</script><img src=x onerror=alert(1)>",
    "[a](javascript:alert(1)) **bold** ![](http://192.0.2.1/x.png)",
    "[bold red]markup[/bold red]",
    "\x1b[31mred\x1b[0m\x1b]0;title\x07",
    "'; DROP TABLE files; --",
    "=HYPERLINK(1)",
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A case whose workflows, repositories, URLs and user agents are all hostile."""
    calls, requests = [], []
    for n, evil in enumerate(EVIL):
        when = f"2026-11-24T03:{n:02}:00Z"
        calls.append(
            {"ts": when, "repo": evil, "workflow": evil, "job": evil, "run_id": str(n), "cmd": "build"}
        )
        requests.append({"timestamp": when.replace(":00Z", ":30Z"), "method": "GET", "status": 401,
                         "url": f"https://github.com/acme/web.git/info/refs?q={evil}", "user_agent": evil,
                         "content_length": 0})  # fmt: skip
    logs = tmp_path / "logs"
    logs.mkdir()
    (logs / "a'; DROP TABLE files; --.log").write_text("".join(json.dumps(call) + "\n" for call in calls))
    (logs / "b[bold].log").write_text("".join(json.dumps(request) + "\n" for request in requests))
    (logs / "c<script>.log").write_text(
        json.dumps(calls[0])[:-40] + EVIL[0] + "\n" + json.dumps(calls[0]) + "\n"
    )
    ci.ingest([logs], case=tmp_path / "case.duckdb")
    return tmp_path


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [PROGRAM, *arguments], cwd=folder, env={**os.environ, "COLUMNS": "300", "FORCE_COLOR": "1"},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


def test_values_are_bound_and_never_run(folder: Path) -> None:
    with ci.connect(folder / "case.duckdb") as con:
        assert con.execute("SELECT count(*) FROM files").fetchone() == (3,)
        names = {name for (name,) in con.execute("SELECT workflow FROM invocations").fetchall()}
    assert set(EVIL) <= names


def test_the_terminal_gets_no_control_character_from_a_log_and_shows_markup_as_it_is(folder: Path) -> None:
    shown = run(folder, "sql", "SELECT workflow FROM invocations ORDER BY ALL").stdout
    assert "\x1b[31mred" not in shown
    assert "\x07" not in shown
    assert "[bold red]markup[/bold red]" in shown
    told = run(folder, "ingest", "logs", "--case", "again.duckdb").stderr
    assert "b[bold].log" in told


def test_a_spreadsheet_gets_no_formula(folder: Path) -> None:
    (folder / "f.log").write_text("")
    values = "('=1+1'), ('+1'), ('-2+3'), ('@x'), (chr(9) || '=1'), (chr(13) || '=1'), ('fine')"
    shown = run(folder, "sql", f"SELECT v FROM (VALUES {values}) t(v)", "--csv").stdout
    cells = [line.strip('"') for line in shown.split("\n")[1:-1]]
    assert all(cell.startswith("'") for cell in cells if "fine" not in cell and cell.strip('\r=1"'))
    assert run(folder, "sql", "SELECT -1 AS n", "--csv").stdout == "n\n-1\n"


def test_the_report_shows_it_all_as_text_and_runs_none_of_it(folder: Path) -> None:
    index = report(folder / "case.duckdb", out=folder / "out")
    pages = [index, *sorted((folder / "out" / "notebooks").glob("*.html"))]
    for page in pages:
        text = page.read_text()
        assert "<script" not in text
        assert "<img src=x" not in text
        assert 'href="javascript:' not in text
        assert "\x1b" not in text
        assert "Content-Security-Policy" in text
    assert any("&lt;script&gt;" in page.read_text() for page in pages)


def test_in_a_real_browser_no_script_of_a_log_runs(folder: Path, tmp_path: Path) -> None:
    chromium = shutil.which("chromium")
    if chromium is None:
        assert not os.environ.get("CI"), "CI installs chromium"
        pytest.skip("chromium is not installed")
    report(folder / "case.duckdb", out=folder / "out", only=["02"])
    page = folder / "out" / "notebooks" / "02-which-workflow-sent-them.html"
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
             "--disable-quic", "--no-first-run", "--disable-component-update", "--disable-sync"]  # fmt: skip
    done = subprocess.run(
        [chromium, *flags, f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", page.as_uri()],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert "<title>owned</title>" not in done.stdout
    assert "document.title='owned'" in done.stdout
    assert "CONSOLE" not in done.stderr
