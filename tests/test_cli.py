"""The command line, as the program that a user runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import nbformat
import papermill  # type: ignore[import-untyped]
import pytest
import typer.main

import ciforensics as ci
from ciforensics.cli import app
from ciforensics.report import working_copy
from ciforensics.shipped import shipped

PROGRAM = Path(sys.executable).with_name("ciforensics")
ROW = "2026-11-24T03:04:13Z,GET,https://github.com/acme/web.git,401,git/2.39.5,0\n"
CSV = "timestamp,method,url,status,user_agent,content_length\n" + ROW
CALL = '{"ts":"2026-11-24T03:04:13Z","repo":"a/b","workflow":"CI","job":"b","run_id":"1","cmd":"build"}\n'


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "COLUMNS": "200", "NO_COLOR": "1"}
    return subprocess.run(
        [PROGRAM, *arguments], cwd=folder, env=env, capture_output=True, text=True, timeout=120, check=False
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a case of two logs."""
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "a.log").write_text(CSV)
    (tmp_path / "logs" / "b.log").write_text(CALL)
    (tmp_path / "logs" / "poem.txt").write_text("shall I compare thee\n")
    ci.ingest([tmp_path / "logs"], case=tmp_path / "case.duckdb")
    return tmp_path


def test_an_ingest_names_what_it_read_and_what_it_passed_over(folder: Path) -> None:
    done = run(folder, "ingest", "logs", "--case", "new.duckdb")
    assert done.returncode == 0
    assert "github_csv (csv): 1 rows" in done.stderr
    assert "poem.txt  no source knows this file" in done.stderr
    assert "2 of 3 files, 2 rows, 0 rejected" in done.stderr


def test_json_is_one_line_a_file_on_standard_output_also_when_nothing_is_recognised(folder: Path) -> None:
    done = run(folder, "ingest", "logs", "--json")
    assert {json.loads(line)["status"] for line in done.stdout.splitlines()} == {"unchanged", "unknown"}
    (folder / "poems").mkdir()
    (folder / "logs" / "poem.txt").rename(folder / "poems" / "poem.txt")
    done = run(folder, "ingest", "poems", "--case", "new.duckdb", "--json")
    assert (done.returncode, [json.loads(line)["status"] for line in done.stdout.splitlines()]) == (
        1,
        ["unknown"],
    )
    assert "Nothing was recognised" in done.stderr
    assert "Hint: " in done.stderr
    assert not (folder / "new.duckdb").exists()


def test_an_unknown_header_is_told_once_with_both_lists_and_the_map_to_give(folder: Path) -> None:
    (folder / "odd.csv").write_text(CSV.replace("timestamp", "When"))
    done = run(folder, "ingest", "odd.csv", "--case", "new.duckdb")
    assert done.returncode == 1
    assert done.stderr.count("Columns found: When, method, url") == 1
    assert "ts (timestamp, ts," in done.stderr
    assert "--map ts=" in done.stderr
    assert run(folder, "ingest", "odd.csv", "--case", "new.duckdb", "--map", "ts=When").returncode == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ["ingest"],
        ["report"],
        ["nonsense"],
        ["sql", "FROM files", "--csv", "--json"],
        ["ingest", "logs", "--map", "x"],
    ],
)
def test_wrong_usage_is_exit_code_2(folder: Path, arguments: list[str]) -> None:
    assert run(folder, *arguments).returncode == 2


def test_sql_prints_a_table_csv_or_json(folder: Path) -> None:
    query = "SELECT status, url FROM requests"
    assert "https://github.com/acme/web.git" in run(folder, "sql", query).stdout
    assert run(folder, "sql", query, "--csv").stdout == "status,url\n401,https://github.com/acme/web.git\n"
    assert json.loads(run(folder, "sql", query, "--json").stdout) == {
        "status": 401,
        "url": "https://github.com/acme/web.git",
    }


@pytest.mark.parametrize(
    "query",
    [
        "FROM 'logs/a.log'",
        "COPY files TO 'stolen.csv'",
        "ATTACH 'other.duckdb'",
        "INSERT INTO files SELECT * FROM files",
        "DROP TABLE files",
        "SET enable_external_access = true",
        "SELEC 1",
        "",
    ],
)
def test_sql_that_writes_reaches_out_or_is_wrong_fails_with_a_hint(folder: Path, query: str) -> None:
    done = run(folder, "sql", query)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith("Hint: ")
    assert sorted(path.name for path in folder.iterdir()) == ["case.duckdb", "case.duckdb.lock", "logs"]


def test_sources_is_the_data_dictionary(folder: Path) -> None:
    shown = run(folder, "sources").stdout
    assert all(
        name in shown for name in ("github_csv", "mitmproxy", "squid", "docker_wrapper", "docker_events")
    )
    assert "http.response.status_code" in shown


def test_every_command_and_option_is_explained_and_the_readme_names_it() -> None:
    readme = Path(__file__).parents[1].joinpath("README.md").read_text()
    group = typer.main.get_command(app)
    for name, command in group.commands.items():  # type: ignore[attr-defined]
        assert command.help
        assert f"ciforensics {name}" in readme
        for parameter in command.params:
            assert parameter.help or parameter.name == "help", (name, parameter.name)
            longest = max(parameter.opts, key=len)
            assert not longest.startswith("--") or longest == "--help" or longest in readme, (name, longest)


def test_the_samples_become_a_report_in_one_command(tmp_path: Path) -> None:
    done = run(tmp_path, "report", str(shipped("samples")), "--out", "out")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(Path("out") / "index.html")
    pages = sorted(path.name for path in (tmp_path / "out" / "notebooks").iterdir())
    assert [page for page in pages if page.endswith(".html")] == [
        f"{path.stem}.html" for path in sorted(shipped("notebooks").glob("*.ipynb"))
    ]
    assert len(pages) == 8
    again = run(tmp_path, "report", "--out", "out", "--only", "03")
    assert again.returncode == 0, again.stderr


def test_an_unknown_parameter_is_refused_before_anything_runs(folder: Path) -> None:
    done = run(folder, "report", "--out", "out", "-p", "build_windows_s=3")
    assert done.returncode == 1
    assert "build_window_s" in done.stderr
    assert not (folder / "out" / "index.html").exists()


def test_a_working_copy_has_the_case_filled_in_and_keeps_what_was_changed(folder: Path) -> None:
    first, *_ = working_copy(folder / "case.duckdb", folder / "lab")
    notebook = nbformat.read(first, as_version=4)  # type: ignore[no-untyped-call]
    assert any(str(folder / "case.duckdb") in cell.source for cell in notebook.cells)
    first.write_text("mine")
    working_copy(folder / "case.duckdb", folder / "lab")
    assert first.read_text() == "mine"


@pytest.mark.filterwarnings("ignore")  # papermill's and Jupyter's own
def test_a_notebook_runs_with_plain_papermill(folder: Path) -> None:
    notebook = shipped("notebooks") / "03-how-far-is-the-migration.ipynb"
    done = papermill.execute_notebook(
        str(notebook), str(folder / "out.ipynb"), {"case": "case.duckdb"}, cwd=str(folder), progress_bar=False
    )
    assert any("git requests" in str(cell.get("outputs")) for cell in done.cells)
