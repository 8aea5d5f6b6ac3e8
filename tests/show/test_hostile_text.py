"""What came from a log stays text: on the terminal, in a spreadsheet, in SQL, in a browser."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

import ciforensics as ci
from program import Page, run, start, without_our_script

if TYPE_CHECKING:
    from pathlib import Path

SCRIPTS = [
    "<script>document.title='taken'</script>",
    "</script></td></table><script>document.title='taken'</script>",
    "<img src=x onerror=document.title='taken'>",
    "<svg/onload=document.title='taken'>",
    '" onmouseover="document.title=1" x="',
    "{{ 7 * 7 }}{% raw %}",
]
MARKDOWN = ["**bold**", "[a](javascript:alert(1))", "![spy](http://spy.invalid/x.png)", "# heading", "`code`"]
TERMINAL = [
    "\x1b[31mred\x1b[0m",
    "\x1b]0;title\x07",
    "[bold red]x[/]",
    "[link=http://spy.invalid]x[/link]",
    "a\u202eb",
]
FORMULAS = ['=HYPERLINK("http://spy.invalid","x")', "+1", "@x", "-2+3", "\t=1", "\r=1"]
BROKEN = ["line\r=1+1", "line\n=1+1", "a,=1", "a;=1", 'a"=1']
SQL = ["'; DROP TABLE files; --", '"; DROP TABLE files; --', "x') UNION SELECT 1 --", "$$", "%s {x} ?"]
HOSTILE = [*SCRIPTS, *MARKDOWN, *TERMINAL, *FORMULAS, *BROKEN, *SQL]


def write_logs(folder: Path) -> None:
    folder.mkdir()
    second = "2026-11-24T03:{:02}:{:02}Z"
    calls, requests, events = [], io.StringIO(), []
    rows = csv.writer(requests)
    rows.writerow(["timestamp", "method", "url", "status", "user_agent", "content_length"])
    for nth, text in enumerate(HOSTILE):
        ts = second.format(4 + nth, 13)
        calls.append(
            {
                "ts": ts,
                "repo": text,
                "workflow": text,
                "job": text,
                "run_id": "9",
                "cmd": "build",
                "args": text,
            }
        )
        events.append(
            {
                "Type": "container",
                "Action": "die",
                "Actor": {
                    "ID": "4d1f",
                    "Attributes": {"name": text, "image": text, text: text, "exitCode": "1"},
                },
                "timeNano": 1795489512169656392 + nth,
                "workflow": text,
                "repo": text,
            }
        )
        url = f"https://github.com/acme/{text}.git/info/refs?service=git-upload-pack"
        for status in (401, 401):
            rows.writerow([second.format(4 + nth, 14), "GET", url, status, text, 21])
    (folder / "calls.jsonl").write_text("".join(json.dumps(call) + "\n" for call in calls), "utf-8")
    (folder / "events.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events), "utf-8")
    (folder / "export.csv").write_text(requests.getvalue(), "utf-8", newline="")
    name = "<script>x<\u2215script> [bold red]x[%] \x1b[31m '; DROP TABLE files; --.log"
    (folder / name).write_text(
        json.dumps(calls[0]) + "\nbroken \x1b[31m <script>document.title='taken'\n", "utf-8"
    )
    (folder / "unknown [red]x[%] \x1b[31m").write_text("Nothing of ours.\n", "utf-8")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `logs`, `case.duckdb` and the report in `out`."""
    folder = tmp_path_factory.mktemp("hostile")
    write_logs(folder / "logs")
    ci.ingest([folder / "logs"], case=folder / "case.duckdb")
    done = run("report", "--out", "out", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder


def test_the_case_holds_every_text_to_the_letter(made: Path) -> None:
    with ci.connect(made / "case.duckdb") as con:
        found = {text for (text,) in con.sql("SELECT workflow FROM invocations").fetchall()}
        agents = {text for (text,) in con.sql("SELECT user_agent FROM requests").fetchall()}
    assert set(HOSTILE) <= found
    assert set(HOSTILE) <= agents


# On the terminal.


def test_what_ingest_and_sql_print_steers_no_terminal(made: Path) -> None:
    said = [
        start("ingest", "logs", "--case", "new.duckdb", cwd=made),
        run("ingest", "logs", "--case", "new.duckdb", "--json", cwd=made),
        run("sql", "SELECT workflow, args FROM invocations", cwd=made),
        run("sql", "SELECT workflow FROM invocations", "--json", cwd=made),
        run("sql", "FROM files", cwd=made),
        run("sql", "FROM rejected", cwd=made),
        run("sql", "SELECT max(workflow)::INT FROM invocations", cwd=made),
        run("sql", 'SELECT workflow AS "\x1b[31mname" FROM invocations', cwd=made),
    ]
    for done in said:
        both = done.stdout + done.stderr
        assert both.strip()
        assert "\x1b" not in both
        assert "\x07" not in both
        assert "\u202e" not in both
    assert r"unknown [red]x[%] \x1b[31m" in said[0].stderr
    assert "[bold red]x[/]" in said[2].stdout
    assert r"\x1b[31mred\x1b[0m" in said[2].stdout
    assert "[link=http://spy.invalid]x[/link]" in said[2].stdout


def test_a_colour_terminal_gets_no_colour_of_a_logs_making(made: Path) -> None:
    query = "SELECT workflow FROM invocations"
    done = start("sql", query, cwd=made, FORCE_COLOR="1", COLUMNS="200")
    assert "\x1b[31m" not in done.stdout
    assert "\x1b]8" not in done.stdout
    assert r"\x1b[31mred" in done.stdout
    assert "[bold red]x[/]" in done.stdout


# In a spreadsheet.


def test_no_cell_of_the_csv_is_a_formula(made: Path) -> None:
    query = "SELECT DISTINCT workflow, -1 AS number, '=name' AS \"=name\" FROM invocations"
    done = run("sql", query, "--csv", cwd=made)
    rows = list(csv.reader(io.StringIO(done.stdout, newline="")))
    assert rows[0] == ["workflow", "number", "'=name"]
    cells = {row[0] for row in rows[1:]}
    assert {f"'{text}" for text in FORMULAS} <= cells
    assert {*SCRIPTS, *BROKEN} <= cells
    assert {row[1] for row in rows[1:]} == {"-1"}


# In SQL.


@pytest.mark.parametrize("text", SQL)
def test_names_and_options_are_never_run_as_sql(made: Path, text: str) -> None:
    with ci.connect(made / "case.duckdb") as con:
        before = con.sql("SELECT count(*) FROM files").fetchall()
    assert run("ingest", "logs", "--map", f"ts={text}", "--case", "new.duckdb", cwd=made).returncode in {0, 1}
    assert run("ingest", "logs", "--map", f"{text}=ts", "--case", "new.duckdb", cwd=made).returncode in {1, 2}
    assert run("ingest", "logs", "--source", text, cwd=made).returncode == 1
    assert run("ingest", "logs", "--timezone", text, cwd=made).returncode == 1
    with ci.connect(made / "case.duckdb") as con:
        assert con.sql("SELECT count(*) FROM files").fetchall() == before


def test_a_case_may_have_any_name_and_a_parameter_any_value(made: Path) -> None:
    case = "it's; DROP TABLE files; --.duckdb"
    done = run("ingest", "logs", "--case", case, cwd=made)
    assert done.returncode == 0, done.stderr
    assert (
        run("sql", "SELECT count(*) FROM files", "--case", case, "--csv", cwd=made).stdout
        == '"count_star()"\n4\n'
    )
    value = '\'; DROP TABLE files; --"""\nimport os; os.abort()  # \'); os.abort()'
    done = run(
        "report",
        "--out",
        "param",
        "--case",
        case,
        "--only",
        "unauthorized",
        "-p",
        f"observer={value}",
        cwd=made,
    )
    assert done.returncode in {0, 1}, done.stderr
    assert "lost its Python" not in done.stderr
    assert "Parser Error" not in done.stderr
    assert (
        run("sql", "SELECT count(*) FROM files", "--case", case, "--csv", cwd=made).stdout
        == '"count_star()"\n4\n'
    )


# In a browser.

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
in_a_browser = pytest.mark.skipif(
    CHROMIUM is None and os.environ.get("CI") != "true", reason="there is no Chromium to read the report with"
)


def _harmless(page: str) -> Page:
    read = Page()
    read.feed(page)
    assert not {"script", "iframe", "object", "form", "svg", "embed"} & read.tags
    assert not [name for name in read.attributes if name.startswith("on") or name in {"srcset", "style"}]
    assert not [link for link in read.links if "javascript:" in link or "spy.invalid" in link]
    assert "\x1b" not in page
    assert "\u202e" not in page
    return read


def _pages(made: Path) -> list[Path]:
    return sorted((made / "out").rglob("*.html"))


def test_the_pages_have_no_tag_link_or_attribute_of_a_logs_making(made: Path) -> None:
    pages = [without_our_script(path.read_text("utf-8")) for path in _pages(made)]
    shown = "".join(_harmless(page).text for page in pages)
    assert "<script>document.title='taken'</script>" in shown
    assert "**bold**" in shown
    assert r"\x1b[31mred\x1b[0m" in shown


@in_a_browser
def test_a_browser_shows_them_as_text_and_runs_nothing(made: Path, tmp_path: Path) -> None:
    assert CHROMIUM, "CI needs a Chromium"
    flags = [
        "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-quic",
        "--no-first-run", "--disable-component-update", "--disable-sync", "--enable-logging=stderr", "--v=0",
        "--disable-dev-shm-usage", "--hide-scrollbars", f"--user-data-dir={tmp_path}", "--dump-dom",
    ]  # fmt: skip
    shown = ""
    for path in _pages(made):
        command = [CHROMIUM, *flags, path.as_uri()]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
        assert [line for line in done.stderr.splitlines() if "CONSOLE" in line] == [], path.name
        read = _harmless(without_our_script(done.stdout))
        assert "<title>taken" not in done.stdout
        shown += read.text
    assert "<script>document.title='taken'</script>" in shown
    assert "![spy](http://spy.invalid/x.png)" in shown


def test_the_notebooks_that_ran_show_html_only_of_our_own_making(made: Path) -> None:
    for path in sorted((made / "out").rglob("*.ipynb")):
        notebook = json.loads(path.read_text("utf-8"))
        for cell in notebook["cells"]:
            for output in cell.get("outputs", []):
                shown = output.get("data", {}).get("text/html", "")
                read = _harmless("".join(shown).replace(' style="text-align:', ' class="'))
                assert not read.tags & {"a", "img"}
