"""The program as a user runs it: what it prints, where, and with which exit code."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import subprocess
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nbformat
import pytest
import typer

import ciforensics as ci
from ciforensics import cli
from ciforensics.errors import CiforensicsError
from ciforensics.report import working_copy
from program import PROGRAM, run, start

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]

CSV = """\
timestamp,method,url,status,user_agent,content_length
2026-11-24T03:04:13Z,GET,https://github.com/acme/web.git/info/refs?service=git-upload-pack,401,git/2.39.5,21
2026-11-24T03:04:13Z,GET,https://github.com/acme/web.git/info/refs?service=git-upload-pack,200,git/2.39.5,156
"""
WRAPPER = (
    '{"ts":"2026-11-24T03:04:13Z","repo":"acme/web","workflow":"CI","job":"b","run_id":"9","cmd":"build"}\n'
)


def fails(*arguments: str | Path, cwd: Path) -> tuple[str, str]:
    """The line that says why, and the one that says what to do; nothing else may be said."""
    done = run(*arguments, cwd=cwd)
    assert (done.returncode, done.stdout) == (1, ""), done
    fact, hint = done.stderr.strip().splitlines()[-2:]
    assert hint.startswith("Hint: "), done.stderr
    assert "Traceback" not in done.stderr
    return fact, hint


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    """A folder that has `case.duckdb` made of `logs/`."""
    folder = tmp_path / "logs"
    folder.mkdir()
    (folder / "export.csv").write_text(CSV, "utf-8")
    (folder / "calls.txt").write_text(WRAPPER, "utf-8")
    (folder / "README").write_text("Nothing of ours.\n", "utf-8")
    ci.ingest([folder], case=tmp_path / "case.duckdb")
    return folder


def test_ingest_names_each_file_and_passes_over_what_nobody_knows(logs: Path) -> None:
    done = start("ingest", "logs", "--case", "new.duckdb", cwd=logs.parent)
    assert (done.returncode, done.stdout) == (0, "")
    lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    assert lines == [
        "unknown    logs/README  no source knows this file; passed over",
        "new        logs/calls.txt  docker_wrapper (json lines): 1 rows",
        "new        logs/export.csv  github_csv (csv): 2 rows",
        "new.duckdb: 2 of 3 files, 3 rows, 0 rejected",
    ]


def test_ingest_again_says_what_is_unchanged_and_what_has_grown(logs: Path) -> None:
    with (logs / "calls.txt").open("a") as file:
        file.write(WRAPPER)
    said = run("ingest", "logs", cwd=logs.parent).stderr
    assert "grown      logs/calls.txt  docker_wrapper (json lines): 2 rows" in said
    assert "unchanged  logs/export.csv" in said


def test_with_json_ingest_prints_an_object_a_file_and_nothing_else(logs: Path) -> None:
    done = run("ingest", "logs", "--case", "new.duckdb", "--json", cwd=logs.parent)
    reports = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(report["path"], report["status"], report["rows"]) for report in reports] == [
        ("logs/README", "unknown", 0),
        ("logs/calls.txt", "new", 1),
        ("logs/export.csv", "new", 2),
    ]
    assert done.stderr == ""


def test_when_nothing_was_recognised_ingest_fails_and_makes_no_case(tmp_path: Path) -> None:
    (tmp_path / "notes").write_text("Nothing of ours.\n", "utf-8")
    done = start("ingest", "notes", "--case", "new.duckdb", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    fact, hint = done.stderr.strip().splitlines()[-2:]
    assert fact == "Nothing was recognised among the 1 files of notes."
    assert hint.startswith("Hint: `ciforensics sources`")
    assert not (tmp_path / "new.duckdb").exists()


def test_a_path_that_is_not_there_is_said(tmp_path: Path) -> None:
    fact, _ = fails("ingest", "nowhere", cwd=tmp_path)
    assert fact == "There is no nowhere."


def test_a_header_that_does_not_fit_prints_both_lists_and_the_map_to_give(tmp_path: Path) -> None:
    (tmp_path / "export.csv").write_text(CSV.replace("timestamp", "When"), "utf-8")
    fact, hint = fails("ingest", "export.csv", "--source", "github_csv", cwd=tmp_path)
    assert "Columns found: When, method, url, status, user_agent, content_length." in fact
    assert "Columns needed" in fact
    assert "ts (timestamp, " in fact
    assert "`--map ts=NAME`" in hint
    done = run("ingest", "export.csv", "--map", "ts=When", cwd=tmp_path)
    assert done.returncode == 0
    assert "github_csv (csv): 2 rows" in done.stderr


def test_a_time_without_a_zone_is_read_in_the_one_that_is_given(tmp_path: Path) -> None:
    (tmp_path / "export.csv").write_text(CSV.replace("13Z", "13"), "utf-8")
    assert run("ingest", "export.csv", "--timezone", "Europe/Berlin", cwd=tmp_path).returncode == 0
    told = run("sql", "SELECT min(ts)::VARCHAR AS ts FROM requests", "--json", cwd=tmp_path).stdout
    assert json.loads(told) == {"ts": "2026-11-24 02:04:13"}


@pytest.mark.parametrize(
    ("options", "fact"),
    [
        (["--source", "nginx"], "There is no source 'nginx'."),
        (["--map", "tz=When"], "--map tz=…: there is no column 'tz'."),
        (["--timezone", "Berlin"], "There is no time zone 'Berlin'."),
    ],
)
def test_an_option_that_names_nothing_is_refused(logs: Path, options: list[str], fact: str) -> None:
    assert fails("ingest", "logs", *options, cwd=logs.parent)[0] == fact


@pytest.mark.parametrize(
    "arguments",
    [
        ["ingest"],
        ["ingest", "logs", "--map", "ts"],
        ["ingest", "logs", "--max-uncompressed", "many"],
        ["report", "logs"],
        ["report", "--out", "out", "-p", "window_s"],
        ["sql"],
        ["sql", "FROM files", "--csv", "--json"],
        ["sql", "FROM files", "--no-such-option"],
        ["no-such-command"],
    ],
)
def test_wrong_usage_is_exit_code_2(logs: Path, arguments: list[str]) -> None:
    done = run(*arguments, cwd=logs.parent)
    assert (done.returncode, done.stdout) == (2, "")
    assert "Traceback" not in done.stderr


# sql


def test_sql_prints_a_table_csv_or_json(logs: Path) -> None:
    query = "SELECT status, user_agent, NULL AS nothing FROM requests ORDER BY status"
    table = run("sql", query, cwd=logs.parent).stdout
    assert [word for word in ("status", "user_agent", "401", "git/2.39.5") if word not in table] == []
    as_csv = run("sql", query, "--csv", cwd=logs.parent).stdout
    assert list(csv.reader(io.StringIO(as_csv))) == [
        ["status", "user_agent", "nothing"],
        ["200", "git/2.39.5", ""],
        ["401", "git/2.39.5", ""],
    ]
    as_json = run("sql", query, "--json", cwd=logs.parent).stdout
    assert [json.loads(line) for line in as_json.splitlines()] == [
        {"status": 200, "user_agent": "git/2.39.5", "nothing": None},
        {"status": 401, "user_agent": "git/2.39.5", "nothing": None},
    ]


@pytest.mark.parametrize(
    "query",
    [
        "INSERT INTO files (file_id) VALUES (7)",
        "DELETE FROM rejected",
        "UPDATE store.requests SET status = 200",
        "DROP TABLE files",
        "CREATE TABLE evidence.mine (a INTEGER)",
        "SELECT 1; DROP TABLE files",
        "FROM 'logs/export.csv'",
        "FROM read_text('logs/export.csv')",
        "FROM glob('*')",
        "COPY files TO 'stolen.csv'",
        "EXPORT DATABASE 'stolen'",
        "ATTACH 'other.duckdb'",
        "INSTALL httpfs",
        "LOAD httpfs",
        "SET enable_external_access = true",
        "PRAGMA enable_external_access = true",
        "SELEC 1",
        "FROM no_such_table",
        "",
    ],
)
def test_sql_cannot_write_nor_reach_another_file(logs: Path, query: str) -> None:
    case = logs.parent / "case.duckdb"
    before = (case.read_bytes(), sorted(logs.parent.rglob("*")))
    fails("sql", query, cwd=logs.parent)
    assert (case.read_bytes(), sorted(logs.parent.rglob("*"))) == before


@pytest.mark.parametrize("arguments", [["sql", "FROM files"], ["report", "--out", "out"], ["lab"]])
def test_without_a_case_it_says_how_to_make_one(tmp_path: Path, arguments: list[str]) -> None:
    fact, hint = fails(*arguments, cwd=tmp_path)
    assert fact == "No case at case.duckdb."
    assert "`ciforensics ingest" in hint
    assert list(tmp_path.iterdir()) == []


# help


def options() -> Iterator[tuple[str, Any, Any]]:
    group: Any = typer.main.get_command(cli.app)  # typer brings a click of its own
    for name, command in group.commands.items():
        for parameter in command.params:
            yield name, command, parameter


def test_every_command_and_every_option_explains_itself() -> None:
    for name, command, parameter in options():
        assert command.help, name
        assert getattr(parameter, "help", None), f"{name} {parameter.name}"


def test_the_readme_mentions_every_command_and_every_option() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    for name, _, parameter in options():
        assert f"ciforensics {name}" in readme
        if parameter.param_type_name == "option":
            assert any(option in readme for option in parameter.opts), f"{name} {parameter.opts}"


def test_help_and_the_sources_are_printed(tmp_path: Path) -> None:
    said = run("--help", cwd=tmp_path).stdout
    assert all(command in said for command in ("ingest", "report", "sql", "sources", "lab"))
    assert "--timezone" in run("ingest", "--help", cwd=tmp_path).stdout
    told = run("sources", cwd=tmp_path)
    assert told.returncode == 0
    for name in ("github_csv", "mitmproxy", "squid", "docker_wrapper", "docker_events", "user_agent"):
        assert name in told.stdout


# report and lab


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--out", "file"], "Not a directory: file"),
        (["--out", "out", "--summary", "nowhere/x.md"], "No such file or directory: nowhere/x.md"),
    ],
)
def test_a_report_that_cannot_be_written_is_one_line(logs: Path, arguments: list[str], said: str) -> None:
    (logs.parent / "file").touch()
    done = run("report", "--only", "case", *arguments, cwd=logs.parent)
    assert (done.returncode, done.stdout) == (1, ""), done
    assert done.stderr.startswith(said)
    assert len(done.stderr.splitlines()) == 1


def test_a_report_from_logs_is_an_index_and_a_page_for_each_notebook(tmp_path: Path) -> None:
    done = start("report", ROOT / "data" / "samples", "--out", "out", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{Path('out') / 'index.html'}\n"
    names = sorted(path.stem for path in (ROOT / "notebooks").glob("*.ipynb"))
    assert len(names) >= 4
    assert sorted(path.stem for path in (tmp_path / "out").glob("runs/*/notebooks/*.html")) == names
    assert (tmp_path / "out/case.duckdb").exists()
    index = (tmp_path / "out/index.html").read_text("utf-8")
    for name in names:
        assert f"notebooks/{name}.html" in index
    for slug in ("case", "unauthorized", "links", "attribution", "migration", "docker", "traffic"):
        assert f"{slug} …" in done.stderr
    assert "github_csv (csv): 3,120 rows" in done.stderr


def test_only_the_notebook_that_was_asked_for_runs(logs: Path) -> None:
    done = run("report", "--out", "out", "--only", "case", cwd=logs.parent)
    assert done.returncode == 0, done.stderr
    pages = (logs.parent / "out").glob("runs/*/notebooks/*.html")
    assert [path.stem for path in pages] == ["00-what-is-in-this-case"]


@pytest.mark.parametrize(
    ("arguments", "fact", "hint"),
    [
        (["--only", "03"], "No notebook is called 03.", "write `--only attribution`."),
        (["--only", "00-what-is-in-this-case"], "No notebook is called", "write `--only case`."),
        (["--only", "atribution"], "No notebook is called atribution.", "did you mean attribution?"),
        (
            ["--only", "case", "-p", "window_s=600"],
            "No notebook that would run has a parameter window_s.",
            "(unauthorized), build_window_s (attribution and migration) or pull_within_s (docker).",
        ),
    ],
)
def test_what_has_another_name_now_is_refused_with_the_new_name(
    logs: Path, arguments: list[str], fact: str, hint: str
) -> None:
    said = fails("report", "--out", "out", *arguments, cwd=logs.parent)
    assert said[0].startswith(fact)
    assert said[1].endswith(hint)
    assert not (logs.parent / "out").exists()


def test_a_parameter_that_some_notebooks_lack_says_which_take_it(logs: Path) -> None:
    only = ("--only", "case", "--only", "unauthorized", "--only", "docker")
    done = run("report", "--out", "out", *only, "-p", "pull_within_s=60", cwd=logs.parent)
    assert done.returncode == 0, done.stderr
    assert "pull_within_s is a parameter of docker; the other notebooks have none of this name" in done.stderr


def test_a_finding_that_passes_fail_on_ends_with_3_and_the_report_is_there(logs: Path) -> None:
    given = ("report", "--out", "out", "--only", "case", "--summary", "summary.md")
    done = run(*given, "--fail-on", "rejected>=0", cwd=logs.parent)
    assert done.returncode == 3
    assert "Records that could not be read: 0 of" in done.stderr
    assert done.stdout == f"{Path('out') / 'index.html'}\n"
    assert run(*given, "--fail-on", "rejected>0", cwd=logs.parent).returncode == 0
    summary = (logs.parent / "summary.md").read_text("utf-8")
    assert summary.count("# What the logs say") == 2, "it is appended, as GitHub's step summaries are"
    assert summary.count("## Over a threshold") == 1


def test_a_report_with_pseudonyms_is_one_zip_and_who_is_who_stays_here(logs: Path) -> None:
    done = run(
        "report", "--out", "out", "--only", "case", "--only", "unauthorized", "--pseudonyms", cwd=logs.parent
    )
    assert done.returncode == 0, done.stderr
    (packed,) = (logs.parent / "out").iterdir()
    assert done.stdout == f"{packed.relative_to(logs.parent)}\n"
    with zipfile.ZipFile(packed) as files:
        names = files.namelist()
        text = "\n".join(files.read(name).decode() for name in names)
    assert names[0] == "index.html"
    assert "acme" not in text
    mapping = logs.parent / "case.duckdb.pseudonyms.csv"
    assert mapping.stat().st_mode & 0o077 == 0
    assert "acme" in mapping.read_text("utf-8")


def test_a_wrong_fail_on_is_refused_before_anything_runs(logs: Path) -> None:
    fact, hint = fails("report", "--out", "out", "--fail-on", "rejectd>0", cwd=logs.parent)
    assert fact == "No finding is called 'rejectd'."
    assert hint == "Hint: did you mean rejected?"
    assert not (logs.parent / "out").exists()


def test_a_misspelt_parameter_is_refused_before_anything_runs(logs: Path) -> None:
    fact, hint = fails("report", "--out", "out", "-p", "obsever=mitmproxy", cwd=logs.parent)
    assert fact == "No notebook that would run has a parameter obsever."
    assert hint == "Hint: did you mean observer?"
    assert not (logs.parent / "out").exists()


def test_plain_papermill_runs_a_notebook_from_another_folder(logs: Path) -> None:
    [notebook] = (ROOT / "notebooks").glob("*-what-is-in-this-case.ipynb")
    papermill = PROGRAM.with_name("papermill")
    given: list[str | Path] = [
        notebook,
        "out.ipynb",
        "-p",
        "case",
        "case.duckdb",
        "-k",
        "python3",
        "--no-progress-bar",
    ]
    done = subprocess.run(
        [papermill, *given], capture_output=True, text=True, check=False, cwd=logs.parent, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert "calls.txt" in (logs.parent / "out.ipynb").read_text("utf-8")


def test_a_working_copy_has_the_case_filled_in_and_spares_what_is_there(
    logs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(logs.parent)
    copies = working_copy("case.duckdb", "lab")
    assert [path.name for path in copies] == sorted(p.name for p in (ROOT / "notebooks").glob("*.ipynb"))
    for path in copies:
        cells = nbformat.read(path, as_version=4).cells  # type: ignore[no-untyped-call]
        code = [cell for cell in cells if cell.cell_type == "code"]
        assert any(str(tmp_path / "case.duckdb") in cell.source for cell in code)
        assert not any(cell.outputs or cell.execution_count for cell in code)
    copies[0].write_text("mine", "utf-8")
    copies[1].unlink()
    assert working_copy("case.duckdb", "lab") == copies
    assert copies[0].read_text("utf-8") == "mine"
    assert "parameters" in copies[1].read_text("utf-8")


def test_a_working_copy_needs_a_case(tmp_path: Path) -> None:
    with pytest.raises(CiforensicsError, match="No case at"):
        working_copy(tmp_path / "case.duckdb", tmp_path / "lab")
    assert not (tmp_path / "lab").exists()


def test_a_reader_that_closes_the_pipe_ends_the_program_quietly(logs: Path) -> None:
    shell = shutil.which("sh")
    assert shell
    query = "SELECT range FROM range(200000)"
    done = subprocess.run(
        [shell, "-c", f'"{PROGRAM}" sql "{query}" --csv | head -n 1'],
        capture_output=True,
        text=True,
        check=False,
        cwd=logs.parent,
        env=dict(os.environ),
        timeout=60,
    )
    assert (done.stdout, done.stderr) == ('"range"\n', "")
