"""A report from a notebook made here: run, written, and read in a real browser."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from ciforensics.case import store
from ciforensics.errors import CiforensicsError
from ciforensics.report import write_report
from program import Page, without_our_script

SCRIPT = "</script></td><script>alert(1)</script><img src=x onerror=alert(2)>"
TOKEN = "ghp_" + "x" * 36


def _write(folder: Path, name: str, *cells: str) -> None:
    """A notebook: Markdown cells begin with `#`, the `parameters` cell with `case: str`, the rest is code."""
    made: list[dict[str, object]] = []
    for number, source in enumerate(cells):
        cell: dict[str, object] = {"id": f"cell-{number}", "source": source, "metadata": {}}
        if source.startswith("#"):
            cell |= {"cell_type": "markdown"}
        else:
            cell |= {"cell_type": "code", "outputs": [], "execution_count": None}
        if source.startswith("case: str"):
            cell["metadata"] = {"tags": ["parameters"]}
        made.append(cell)
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    folder.mkdir(parents=True, exist_ok=True)
    notebook = {"cells": made, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}
    (folder / f"{name}.ipynb").write_text(json.dumps(notebook), "utf-8")


CASE = 'case: str = ""  # a case file'
PARAMETERS = f"""{CASE}
window_s: float = 2.0  # seconds
run: str = ""  # a run id
bots: bool = True  # them too"""
OPEN = "import duckdb\nimport ciforensics as ci\ncon = duckdb.connect(case, read_only=True)"


def _notebooks(folder: Path) -> Path:
    _write(
        folder,
        "01-where-do-they-come-from",
        f"# Where do the `401`s come from?\n\nNext is [who sent them](02-who-sent-them.ipynb). {SCRIPT}\n\n"
        "[bad](javascript:alert(3)) ![spy](https://example.invalid/spy.png)\n\n"
        "| a | b |\n|---|--:|\n| x | 1 |\n",
        PARAMETERS,
        OPEN,
        'row = con.sql("SELECT count(*) AS n, min(host) AS host FROM hosts")\n'
        'ci.say_headline("{n} requests, most for {host}.", row)',
        'ci.show_table(con.sql("FROM hosts ORDER BY n"), caption="All of them")',
        'hosts = con.sql("FROM hosts")\n'
        'ci.charts.ranked(hosts, label="host", value="n", title="Which host?", x_title="requests")',
        "(window_s, run, bots)",
        f'print("\\x1b[31mred\\x1b[0m {SCRIPT}")',
        'import sys\nprint("to stderr", file=sys.stderr)',
        f"from IPython.display import HTML\nHTML({SCRIPT!r})",
        f'from IPython.display import Markdown\nMarkdown("**bold** {SCRIPT}")',
    )
    _write(folder, "02-who-sent-them", "# Who sent them?", CASE, "len(case)")
    return folder


@pytest.fixture(scope="module")
def case_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("logs") / "case.duckdb"
    with store.writing(path) as case:
        case.con.execute("CREATE TABLE hosts (host VARCHAR, n BIGINT)")
        case.con.execute("INSERT INTO hosts VALUES ('github.com', 1234), (?, 5)", [f"evil {SCRIPT}"])
    return path


@pytest.fixture(scope="module")
def made(case_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made {x}")
    said: list[str] = []
    result = write_report(
        case_file,
        out=folder / "out",
        notebooks=_notebooks(folder / "notebooks"),
        parameters={"run": "007", "window_s": "5", "bots": "no"},
        progress=said.append,
    )
    assert result.index == folder / "out" / "index.html"
    assert "02-who-sent-them …" in said
    assert len(said) == 4 + 3, "two lines for each notebook, one for each parameter that only one has"
    assert result.folder.parent == folder / "out" / "runs"
    return result.folder


def _page(made: Path, name: str = "01-where-do-they-come-from") -> str:
    return (made / "notebooks" / f"{name}.html").read_text("utf-8")


def test_neither_the_program_nor_a_kernel_of_a_report_builds_grammars_that_they_do_not_use(
    case_file: Path, tmp_path: Path
) -> None:
    charts = "import sys, ciforensics.report, ciforensics.show.charts\nprint({'lark'} & sys.modules.keys())"
    main = "import sys\nfrom ciforensics import cli\ntry:\n    cli.main()\nexcept SystemExit:\n    pass\n"
    done = subprocess.run(
        [sys.executable, "-c", main + charts, "--help"], capture_output=True, text=True, check=True
    )
    assert done.stdout.endswith("set()\n")
    _write(tmp_path / "notebooks", "01-grammars", "# Are there grammars?", CASE, charts)
    made = write_report(case_file, out=tmp_path / "out", notebooks=tmp_path / "notebooks").folder
    assert "set()" in _page(made, "01-grammars")


def test_the_index_has_each_question_with_its_headline_and_leads_to_its_page(made: Path) -> None:
    index = (made / "index.html").read_text("utf-8")
    assert '<a href="notebooks/01-where-do-they-come-from.html">Where do the 401s come from?</a>' in index
    assert "2 requests, most for evil &lt;/script&gt;" in index
    assert '<a href="notebooks/02-who-sent-them.html">Who sent them?</a>' in index


def test_there_is_nothing_beside_the_report_its_findings_and_its_notebooks(made: Path) -> None:
    names = sorted(str(path.relative_to(made)) for path in made.rglob("*"))
    assert names == [
        "findings.json",
        "index.html",
        "notebooks",
        "notebooks/01-where-do-they-come-from.html",
        "notebooks/01-where-do-they-come-from.ipynb",
        "notebooks/02-who-sent-them.html",
        "notebooks/02-who-sent-them.ipynb",
        "run.json",
    ]
    assert sorted(path.name for path in made.parents[1].iterdir()) == [".lock", "index.html", "runs"]


def test_parameters_reach_the_notebook_in_the_type_of_their_annotation(made: Path) -> None:
    assert "(5.0, &#39;007&#39;, False)" in _page(made)


def test_neither_pages_nor_notebooks_name_a_folder_or_a_time_of_this_machine(
    made: Path, case_file: Path
) -> None:
    for path in made.rglob("notebooks/*"):
        text = path.read_text("utf-8")
        for folder in (made, case_file.parent, Path.cwd(), Path(sys.prefix)):
            assert str(folder) not in text
        assert not re.search(r"\d{4}-\d\d-\d\dT\d\d:", text)
    notebook = json.loads((made / "notebooks" / "01-where-do-they-come-from.ipynb").read_text("utf-8"))
    assert notebook["metadata"]["papermill"]["parameters"]["case"] == "case.duckdb"


def test_the_same_case_makes_the_same_report_byte_for_byte(
    made: Path, case_file: Path, tmp_path: Path
) -> None:
    given = {"run": "007", "window_s": "5", "bots": "no"}
    source = made.parents[2] / "notebooks"
    again = write_report(case_file, out=tmp_path / "out", notebooks=source, parameters=given).folder
    for path in made.rglob("notebooks/*"):
        assert path.read_bytes() == (again / path.relative_to(made)).read_bytes(), path.name


def test_a_picture_is_inside_the_page_with_its_alternative_text(made: Path) -> None:
    image = re.search(r'<img src="data:image/png;base64,[^"]+" alt="([^"]*)" width="\d+">', _page(made))
    assert image
    assert image[1].startswith("Which host? 1,239 requests: github.com 1,234 (99.6 %), evil &lt;/script&gt;")


def test_a_page_asks_for_nothing_and_runs_no_script_but_ours(made: Path) -> None:
    for path in made.rglob("*.html"):
        text = without_our_script(path.read_text("utf-8"))
        assert "default-src &#39;none&#39;" not in text
        assert re.search(
            r"<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; img-src data:;", text
        )
        assert not re.search(r"<(script|iframe|object|embed|base|form)\b", text)
        assert not re.search(r"<[a-z][^>]*\s(src|srcset|action|style|on\w+)=[\"'](?!data:image/png)", text)
        assert re.findall(r"<link [^>]+>", text) == ['<link rel="icon" href="data:,">']
        assert not re.search(r'href="(javascript|data:text)', text)


def test_links_between_notebooks_lead_to_their_pages(made: Path) -> None:
    assert '<a href="02-who-sent-them.html">who sent them</a>' in _page(made)
    assert '<a href="02-who-sent-them.html">Who sent them? →</a>' in _page(made)


# In a browser.

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
in_a_browser = pytest.mark.skipif(
    CHROMIUM is None and os.environ.get("CI") != "true", reason="there is no Chromium to read the report with"
)


def _browse(page: Path, profile: Path, *options: str) -> subprocess.CompletedProcess[str]:
    assert CHROMIUM, "CI needs a Chromium"
    flags = [
        "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-quic",
        "--no-first-run", "--disable-component-update", "--disable-sync", "--enable-logging=stderr", "--v=0",
        "--disable-dev-shm-usage", "--hide-scrollbars",
    ]  # fmt: skip
    command = [CHROMIUM, *flags, f"--user-data-dir={profile}", *options, page.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)


def _complaints(stderr: str) -> list[str]:
    return [line for line in stderr.splitlines() if "CONSOLE" in line]


@in_a_browser
@pytest.mark.parametrize("page", ["index.html", "notebooks/01-where-do-they-come-from.html"])
def test_a_browser_shows_the_page_without_a_complaint(made: Path, tmp_path: Path, page: str) -> None:
    assert _complaints(_browse(made / page, tmp_path, "--dump-dom").stderr) == []


@in_a_browser
def test_the_check_for_complaints_would_see_one(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text("<script>console.error('look')</script>", "utf-8")
    assert len(_complaints(_browse(page, tmp_path / "profile", "--dump-dom").stderr)) == 1


@in_a_browser
def test_what_came_from_a_log_is_text_in_the_browser_too(made: Path, tmp_path: Path) -> None:
    dom = _browse(made / "notebooks/01-where-do-they-come-from.html", tmp_path, "--dump-dom").stdout
    read = Page()
    read.feed(without_our_script(dom))
    assert not {"script", "iframe", "object", "form"} & read.tags
    assert not {name for name in read.attributes if name.startswith("on") or name == "srcset"}
    assert not [
        link
        for link in read.links
        if not link.startswith(("../", "data:,", "data:image/png;", "0", "#", "https:"))
    ]
    assert dom.count("&lt;script&gt;alert(1)") >= 4
    assert r"\x1b[31mred" in dom


@in_a_browser
@pytest.mark.parametrize("page", ["index.html", "notebooks/01-where-do-they-come-from.html"])
def test_on_a_telephone_nothing_has_to_be_scrolled_sideways(made: Path, tmp_path: Path, page: str) -> None:
    frame = tmp_path / "frame.html"
    frame.write_text(
        f"""<iframe src="{(made / page).as_uri()}" width="390" height="800" style="border:0"></iframe><p></p>
        <script>
        onload = () => {{
          const root = document.querySelector("iframe").contentDocument.documentElement;
          document.querySelector("p").textContent = `wide ${{root.scrollWidth}} of ${{root.clientWidth}}`;
        }}</script>""",
        "utf-8",
    )
    dom = _browse(frame, tmp_path / "profile", "--allow-file-access-from-files", "--dump-dom").stdout
    assert "wide 390 of 390" in dom


# What goes wrong.


def test_a_misspelt_parameter_is_refused_before_anything_runs(case_file: Path, tmp_path: Path) -> None:
    folder = _notebooks(tmp_path / "notebooks")
    with pytest.raises(CiforensicsError, match="window_S") as caught:
        write_report(case_file, out=tmp_path / "out", notebooks=folder, parameters={"window_S": "2"})
    assert caught.value.hint == "did you mean window_s?"
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("name", "value"), [("window_s", "soon"), ("bots", "perhaps")])
def test_a_value_of_the_wrong_type_is_refused(case_file: Path, tmp_path: Path, name: str, value: str) -> None:
    with pytest.raises(CiforensicsError, match=f"{name} takes (float|bool), not '{value}'"):
        write_report(
            case_file, out=tmp_path / "out", notebooks=_notebooks(tmp_path / "n"), parameters={name: value}
        )


def test_the_case_is_not_a_parameter_that_one_gives(case_file: Path, tmp_path: Path) -> None:
    with pytest.raises(CiforensicsError, match="parameter case"):
        write_report(
            case_file, out=tmp_path / "out", notebooks=_notebooks(tmp_path / "n"), parameters={"case": "x"}
        )


def test_only_the_named_notebooks_run_and_a_wrong_name_lists_the_right_ones(
    case_file: Path, tmp_path: Path
) -> None:
    folder = _notebooks(tmp_path / "notebooks")
    made = write_report(case_file, out=tmp_path / "out", notebooks=folder, only=["02-who-sent-them"]).folder
    assert [path.name for path in sorted(made.glob("notebooks/*.html"))] == ["02-who-sent-them.html"]
    with pytest.raises(CiforensicsError, match="called 7") as caught:
        write_report(case_file, out=tmp_path / "out", notebooks=folder, only=["7"])
    assert "01-where-do-they-come-from, 02-who-sent-them" in caught.value.hint


def test_a_missing_case_is_said(tmp_path: Path) -> None:
    with pytest.raises(CiforensicsError, match="No case at"):
        write_report(tmp_path / "none.duckdb", out=tmp_path / "out")


def test_a_failed_notebook_says_its_cell_and_does_not_stop_the_others(
    case_file: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "notebooks"
    _write(folder, "01-a", "# A?", CASE, "'before'", "raise ValueError('\\x1b[31mno <b>')", "'never'")
    _write(folder, "02-b", "# B?", CASE, "'others run'")
    before = case_file.read_bytes()
    made = write_report(case_file, out=tmp_path / "out", notebooks=folder)
    assert list(made.errors) == ["01-a"]
    assert "Notebook 01-a failed in cell 4: ValueError: no <b>" in str(made.errors["01-a"])
    page = _page(made.folder, "01-a")
    assert '<p class="error">Notebook 01-a failed in cell 4: ValueError: no &lt;b&gt;' in page
    assert "&#39;before&#39;" in page
    assert "&#39;never&#39;</pre>" not in page
    assert "Notebook 01-a failed" in made.index.read_text("utf-8")
    assert "&#39;others run&#39;" in _page(made.folder, "02-b")
    assert case_file.read_bytes() == before


def test_a_traceback_stays_in_the_notebook_without_the_folders_of_this_machine(
    case_file: Path, tmp_path: Path
) -> None:
    _write(tmp_path / "n", "01-a", "# A?", "import json\njson.loads('x')")
    made = write_report(case_file, out=tmp_path / "out", notebooks=tmp_path / "n")
    notebook = (made.folder / "notebooks" / "01-a.ipynb").read_text("utf-8")
    assert "…/decoder.py" in notebook
    assert sys.base_prefix not in notebook
    assert "papermill-error" not in notebook
    assert "An Exception was encountered" not in notebook


def test_an_error_of_ours_in_a_notebook_keeps_its_hint(case_file: Path, tmp_path: Path) -> None:
    _write(
        tmp_path / "n",
        "01-a",
        "import ciforensics as ci",
        "raise ci.CiforensicsError('No.', hint='take 17.')",
    )
    made = write_report(case_file, out=tmp_path / "out", notebooks=tmp_path / "n")
    assert made.errors["01-a"].hint == "take 17."


def test_a_notebook_whose_python_dies_is_said(case_file: Path, tmp_path: Path) -> None:
    _write(tmp_path / "n", "01-a", "# A?", "import os\nos._exit(1)")
    made = write_report(case_file, out=tmp_path / "out", notebooks=tmp_path / "n")
    assert "01-a lost its Python" in str(made.errors["01-a"])
    assert "01-a lost its Python" in _page(made.folder, "01-a")


def test_ctrl_c_ends_a_report_at_once_and_leaves_nothing_running(case_file: Path, tmp_path: Path) -> None:
    started = tmp_path / "started"
    note = f"import os, pathlib, time\npathlib.Path({str(started)!r}).write_text(str(os.getpid()))"
    _write(tmp_path / "n", "01-slow", note, "time.sleep(600)")
    _write(tmp_path / "quick", "01-quick", "# Quick?", "1 + 1")
    write_report(case_file, out=tmp_path / "out", notebooks=tmp_path / "quick")
    earlier = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*.*") if path.is_file()}
    script = """if True:
        import signal, sys
        from ciforensics.report import write_report
        signal.signal(signal.SIGINT, signal.default_int_handler)
        write_report(sys.argv[1], out=sys.argv[2], notebooks=sys.argv[3])"""
    command = [sys.executable, "-c", script, str(case_file), str(tmp_path / "out"), str(tmp_path / "n")]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as running:
        while not (started.exists() and started.read_text("utf-8")):
            assert running.poll() is None
            time.sleep(0.05)
        running.send_signal(signal.SIGINT)
        _, stderr = running.communicate(timeout=30)
    assert stderr.rstrip().endswith("KeyboardInterrupt")
    assert {path: path.read_bytes() for path in (tmp_path / "out").rglob("*.*") if path.is_file()} == earlier
    with pytest.raises(ProcessLookupError):
        os.kill(int(started.read_text("utf-8")), 0)


@pytest.mark.parametrize("name", ["index.html", "runs/mine/notes.txt"])
def test_a_folder_that_is_not_a_reports_is_not_overwritten(
    case_file: Path, tmp_path: Path, name: str
) -> None:
    mine = tmp_path / "out" / name
    mine.parent.mkdir(parents=True)
    mine.write_text("mine", "utf-8")
    with pytest.raises(CiforensicsError, match="no report made"):
        write_report(case_file, out=tmp_path / "out", notebooks=_notebooks(tmp_path / "n"))
    assert mine.read_text("utf-8") == "mine"


def test_a_case_that_is_swapped_meanwhile_does_not_change_the_report(tmp_path: Path) -> None:
    case, seen = tmp_path / "case.duckdb", tmp_path / "seen"
    for path, state in ((case, "old"), (tmp_path / "new.duckdb", "new")):
        with store.writing(path) as made:
            made.con.execute("CREATE TABLE t AS SELECT ? AS state", [state])
    wait = f"import pathlib, time, duckdb\nwhile not pathlib.Path({str(seen)!r}).exists(): time.sleep(0.05)"
    _write(
        tmp_path / "n",
        "01-a",
        'case: str = ""',
        wait,
        "duckdb.connect(case, read_only=True).sql('FROM t').fetchall()",
    )

    def swap(_: str) -> None:
        if not seen.exists():
            (tmp_path / "new.duckdb").replace(case)
            seen.touch()

    result = write_report(case, out=tmp_path / "out", notebooks=tmp_path / "n", progress=swap)
    assert "(&#39;old&#39;,)" in _page(result.folder, "01-a")


def test_modules_that_lie_about_are_not_imported(
    case_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "colorsys.py").write_text("raise SystemExit('taken over')", "utf-8")
    monkeypatch.chdir(tmp_path)
    _write(tmp_path / "n", "01-a", "import colorsys\ncolorsys.__name__")
    made = write_report(case_file, out=tmp_path / "out", notebooks=tmp_path / "n")
    assert "&#39;colorsys&#39;" in _page(made.folder, "01-a")
    assert threading.active_count() < 20
