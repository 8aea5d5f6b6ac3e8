"""Runs of a report: what is kept of each, what changed from one to the next, and who is woken up by it."""

from __future__ import annotations

import json
import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import ciforensics as ci
from ciforensics.errors import CiforensicsError
from ciforensics.report import Report, history, summary, thresholds, write_report
from ciforensics.show.findings import DEFINITIONS, SCHEMA, Finding

if TYPE_CHECKING:
    from collections.abc import Callable

HEADER = "request_time,method,url,status,user_agent\n"


def _notebook(folder: Path, name: str, *sources: str, slug: str = "") -> None:
    cells: list[dict[str, object]] = [
        {"id": f"c{n}", "cell_type": "markdown", "metadata": {}, "source": s}
        if s.startswith("# ")
        else {"id": f"c{n}", "cell_type": "code", "metadata": {"tags": ["parameters"] * ("case:" in s)},
              "source": s, "outputs": [], "execution_count": None}
        for n, s in enumerate(sources)
    ]  # fmt: skip
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    folder.mkdir(parents=True, exist_ok=True)
    metadata = {"kernelspec": kernel, **({"ciforensics": {"slug": slug}} if slug else {})}
    book = {"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}
    (folder / f"{name}.ipynb").write_text(json.dumps(book), "utf-8")


def _finding(value: float | None, *, subject: str | None = None, **given: object) -> Finding:
    made = Finding(
        "offender", "03-who", "Who?", subject, value, "requests", None, None, "", "info", f"{subject}"
    )
    return replace(made, **given)  # type: ignore[arg-type]


def _run(*findings: Finding, error: str = "", **given: object) -> history.Run:
    told = {"question": "Who?", "headline": "", "error": error}
    made = history.Run("a", {"since": ""}, {"name": "case.duckdb"}, {}, {"03-who": told}, findings)
    return replace(made, **given)  # type: ignore[arg-type]


# What is new, gone, or has moved.


def test_a_subject_that_was_not_there_is_new_and_one_that_is_no_longer_there_is_gone() -> None:
    before, now = _run(_finding(5, subject="acme/a")), _run(_finding(7, subject="acme/b"))
    assert [(c.kind, c.subject) for c in history.changes(now, [before])] == [
        ("new", "acme/b"),
        ("gone", "acme/a"),
    ]


@pytest.mark.parametrize(
    ("was", "now", "moved"),
    [
        ((100, 90, 110), (108, 95, 120), False),
        (
            (100, 90, 110),
            (112, 99, 125),
            False,
        ),  # beyond the old interval, but the new one holds the old value
        ((100, 90, 110), (130, 115, 145), True),
        ((100, None, None), (109, None, None), False),
        ((100, None, None), (111, None, None), True),
        ((0, None, None), (1, None, None), True),
        ((None, None, None), (1, None, None), True),
        ((None, None, None), (None, None, None), False),
    ],
)
def test_a_number_moved_when_each_value_lies_beyond_the_other_s_interval(
    was: tuple[float, ...], now: tuple[float, ...], *, moved: bool
) -> None:
    runs = [_run(_finding(v, subject="acme/a", low=low, high=high)) for v, low, high in (was, now)]
    assert bool(history.changes(runs[1], runs[:1])) is moved


def test_an_exact_share_moved_by_more_than_a_point() -> None:
    def share(value: float) -> history.Run:
        return _run(_finding(value, id="unattributed_share", unit="share"))

    assert history.changes(share(0.209), [share(0.20)]) == []
    assert [c.text for c in history.changes(share(0.22), [share(0.20)])] == [
        "401s that no known build explains: 20.0 % → 22.0 %"
    ]


def test_only_runs_that_asked_the_same_are_compared() -> None:
    other = _run(_finding(5, subject="acme/a"), asked={"since": "7d"})
    assert history.changes(_run(_finding(7, subject="acme/b")), [other]) == []


def test_a_run_is_compared_with_the_last_in_which_the_notebook_did_not_fail() -> None:
    good, failed = _run(_finding(5, subject="acme/a")), _run(error="it failed")
    assert history.changes(_run(_finding(5, subject="acme/a")), [good, failed]) == []
    assert history.changes(failed, [good]) == [], "a notebook that failed says nothing of what is gone"


# Whole reports.


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Report]:
    """Makes a report of so many 401s a day and offenders; each call is one more run."""
    case = tmp_path / "case.duckdb"

    def run(
        n: int = 3, offenders: str = "acme/a", file: str = "03-who", slug: str = "", **options: object
    ) -> Report:
        lines = [
            f"2026-03-{day:02}T10:00:{s:02}Z,GET,https://github.com/acme/x,401,git/2.39.5\n"
            for day in (16, 17)
            for s in range(n)
        ]
        (tmp_path / f"log-{n}.csv").write_text(HEADER + "".join(lines), "utf-8")
        ci.ingest([tmp_path / f"log-{n}.csv"], case=case)
        whom = [(f"{name} <b>", 10) for name in offenders.split()]
        _notebook(
            tmp_path / "n",
            file,
            "# Who?",
            'case: str = ""  # a case file\nrepos: str = ""  # only these',
            "import ciforensics as ci\ncon = ci.connect(case)",
            'n = con.sql("SELECT count(*) AS n FROM requests")',
            'ci.say_headline("{n} requests", n)',
            'ci.say_finding("unauthorized", "{n} got a 401.", n, value="n")',
            f'rows = con.sql("FROM (VALUES {", ".join(map(str, whom))}) t(name, requests)")\n'
            'ci.show_findings("offender", rows, subject="name", value="requests")',
            "repos",
            slug=slug,
        )
        return write_report(case, out=tmp_path / "out", notebooks=tmp_path / "n", **options)  # type: ignore[arg-type]

    return run


def test_each_run_has_a_folder_of_its_own_and_earlier_ones_stay_as_they_are(
    make: Callable[..., Report],
) -> None:
    first = make()
    kept = {path: path.read_bytes() for path in first.folder.rglob("*.*")}
    second = make(offenders="acme/a acme/b")
    assert first.folder != second.folder
    assert {path: path.read_bytes() for path in kept} == kept
    assert second.folder.name in second.index.read_text("utf-8")
    assert f'href="runs/{first.folder.name}/index.html"' in second.index.read_text("utf-8")
    assert f'href="../{first.folder.name}/index.html"' in (second.folder / "index.html").read_text("utf-8")


def test_the_index_says_what_changed_and_draws_the_trend(make: Callable[..., Report]) -> None:
    assert "Since the last run" not in make().index.read_text("utf-8")
    page = make(n=30, offenders="acme/b").index.read_text("utf-8")
    assert "<strong>new</strong> acme/b &lt;b&gt; (401s that a workflow sends): 10 401s a day" in page
    assert "<strong>gone</strong> acme/a &lt;b&gt;" in page
    assert "<strong>moved</strong> requests that were answered 401: 6 requests → 66 requests" in page
    assert (
        'aria-label="over 2 runs: first 6 requests, least 6 requests, most 66 requests, now 66 requests"'
        in page
    )
    assert "Nothing is new" in make(n=30, offenders="acme/b").index.read_text("utf-8")


def test_the_index_draws_the_trend_of_what_is_about_a_subject_too(make: Callable[..., Report]) -> None:
    make(offenders="acme/a acme/b")
    page = make(offenders="acme/a acme/b acme/c acme/d acme/e acme/f").index.read_text("utf-8")
    assert "<span>acme/a &lt;b&gt; (401s that a workflow sends): 10 401s a day</span>\n<svg" in page
    assert "<span>acme/c &lt;b&gt; (401s that a workflow sends): 10 401s a day</span>\n</li>" in page
    assert "<span>acme/f" not in page, "the page of the notebook has them all"


def test_two_reports_at_once_are_made_one_after_the_other(
    make: Callable[..., Report], tmp_path: Path
) -> None:
    case = make(offenders="acme/a").run.case["name"]
    said: list[str] = []
    with ThreadPoolExecutor() as pool:
        both = [
            pool.submit(
                write_report,
                tmp_path / case,
                out=tmp_path / "out",
                notebooks=tmp_path / "n",
                progress=said.append,
            )
            for _ in range(2)
        ]
        first, second = sorted((each.result() for each in both), key=lambda made: made.run.id)
    assert len(list((tmp_path / "out" / "runs").iterdir())) == 3
    assert sum("waiting for it to end" in line for line in said) == 1
    assert f"runs/{second.run.id}/" in second.index.read_text("utf-8")
    assert f'runs/{first.run.id}/index.html">{first.run.id}</a>' in second.index.read_text("utf-8")


def test_another_case_in_the_same_folder_is_not_compared(make: Callable[..., Report], tmp_path: Path) -> None:
    make(offenders="acme/a")
    shutil.copyfile(tmp_path / "case.duckdb", tmp_path / "other.duckdb")
    other = write_report(tmp_path / "other.duckdb", out=tmp_path / "out", notebooks=tmp_path / "n")
    assert "Since the last run" not in other.index.read_text("utf-8")


def test_a_run_of_the_first_version_which_knew_notebooks_by_number_is_compared(
    make: Callable[..., Report],
) -> None:
    page = "03-which-workflow-sent-them"
    old = make(offenders="acme/a", file=page, slug="attribution").folder
    run, findings = (json.loads((old / f"{name}.json").read_text("utf-8")) for name in ("run", "findings"))
    run |= {"schema_version": 1, "notebooks": {page: run["notebooks"]["attribution"]}}
    old_findings = [{**each, "notebook": "03"} for each in findings["findings"]]
    findings |= {"schema_version": 1, "findings": old_findings}
    (old / "run.json").write_text(json.dumps(run), "utf-8")
    (old / "findings.json").write_text(json.dumps(findings), "utf-8")
    made = make(offenders="acme/b", file=page, slug="attribution")
    assert [(change.kind, change.subject) for change in made.changes] == [
        ("new", "acme/b <b>"),
        ("gone", "acme/a <b>"),
    ]
    told = json.loads((made.folder / "findings.json").read_text("utf-8"))
    assert (told["schema_version"], told["compared_with"]) == (2, old.name)
    assert {each["notebook"] for each in told["findings"]} == {"attribution"}


def test_a_notebook_keeps_its_name_when_its_file_is_renumbered(
    make: Callable[..., Report], tmp_path: Path
) -> None:
    _notebook(tmp_path / "n", "04-why", "# Why?\n\nFirst: *Who?* And *Why not?*", slug="why")
    make(offenders="acme/a", slug="attribution")
    (tmp_path / "n" / "03-who.ipynb").unlink()
    made = make(offenders="acme/b", file="10-who", slug="attribution", only=["attribution", "why"])
    assert [(change.kind, change.subject) for change in made.changes] == [
        ("new", "acme/b <b>"),
        ("gone", "acme/a <b>"),
    ]
    assert list(made.run.notebooks) == ["why", "attribution"], "in the order of the files"
    limit = thresholds.read_threshold("offender>9")
    assert len(thresholds.passing([limit], made.run.findings, ())) == 1
    page = (made.folder / "notebooks" / "04-why.html").read_text("utf-8")
    assert '<a href="10-who.html">Who?</a> And <em>Why not?</em>' in page
    assert 'notebooks/10-who.html">Who?</a>' in made.index.read_text("utf-8")


def test_two_notebooks_of_one_name_are_refused(make: Callable[..., Report], tmp_path: Path) -> None:
    _notebook(tmp_path / "n", "01-copy", "# Who?", slug="attribution")
    with pytest.raises(CiforensicsError, match="01-copy and 03-who both are the notebook attribution"):
        make(slug="attribution")


def test_what_a_killed_report_left_is_cleared_away(make: Callable[..., Report], tmp_path: Path) -> None:
    (tmp_path / "out" / ".report-killed" / "room").mkdir(parents=True)
    make()
    assert not list((tmp_path / "out").glob(".report-*"))


def test_findings_json_holds_what_the_schema_says(make: Callable[..., Report]) -> None:
    told = json.loads((make().folder / "findings.json").read_text("utf-8"))
    assert all(list(found) == list(SCHEMA) for found in told["findings"])
    assert told["findings"][0] == {
        "id": "unauthorized",
        "notebook": "03-who",
        "question": "Who?",
        "subject": None,
        "value": 6.0,
        "unit": "requests",
        "low": None,
        "high": None,
        "evidence": "",
        "severity": "info",
        "text": "6 got a 401.",
    }
    assert told["compared_with"] is None


def test_the_fields_and_ids_of_findings_are_documented() -> None:
    page = (Path(__file__).parents[2] / "docs" / "reports.md").read_text("utf-8")
    for name, meaning in SCHEMA.items():
        assert f"| `{name}` | {meaning} |" in page
    for each in DEFINITIONS.values():
        above = "" if each.warns_above is None else each.warns_above
        assert f"| `{each.id}` | `{each.notebook}` | {each.meaning} | {each.unit} | {above} |" in page
    assert len(re.findall(r"^\| `\w+` \| `\w+` \|", page, re.MULTILINE)) == len(DEFINITIONS)


def test_run_json_says_what_was_asked_of_which_files_by_which_versions(make: Callable[..., Report]) -> None:
    told = json.loads((make().folder / "run.json").read_text("utf-8"))
    assert [file["file"] for file in told["case"]["files"]] == ["log-3.csv"]
    assert told["versions"]["ciforensics"] == ci.__version__
    assert told["notebooks"]["03-who"] == {"question": "Who?", "headline": "6 requests", "error": ""}


def test_a_run_whose_files_are_damaged_is_named_before_anything_runs(make: Callable[..., Report]) -> None:
    first = make()
    (first.folder / "findings.json").write_text("{", "utf-8")
    with pytest.raises(CiforensicsError, match=first.folder.name) as caught:
        make()
    assert "move that folder away" in caught.value.hint


# A range of time, and repositories.


def test_since_counts_back_from_the_end_of_the_evidence(make: Callable[..., Report]) -> None:
    made = make(since="1h")
    assert made.run.findings[0].value == 3
    page = (made.folder / "notebooks" / "03-who.html").read_text("utf-8")
    assert "Only what lies from 2026-03-17 09:00:02 UTC." in page
    assert make(until="2026-03-17").run.findings[0].value == 3
    assert make(since="2026-03-17T11:00:01+01:00").run.findings[0].value == 2
    assert make().run.findings[0].value == 6, "the case itself was not touched"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"since": "soon"}, "'soon' is no time"),
        ({"since": "2027-01-01"}, "The case has nothing from 2027-01-01"),
        ({"until": "2026-03-16"}, "The case has nothing until 2026-03-16"),
        ({"since": "2026-03-17", "until": "2026-03-16"}, "Nothing lies from"),
        ({"repos": ["acme/x"]}, "No log of this case names the CI repository acme/x"),
    ],
)
def test_what_is_asked_is_checked_before_anything_runs(
    make: Callable[..., Report], tmp_path: Path, options: dict[str, object], said: str
) -> None:
    with pytest.raises(CiforensicsError, match=said):
        make(**options)
    assert not (tmp_path / "out").exists()


# Thresholds.


@pytest.mark.parametrize(
    ("given", "passes"),
    [
        ("unauthorized>5", True), ("unauthorized > 6", False), ("unauthorized>=6", True),
        ("unauthorized<7", True), ("unauthorized<=5", False), ("refused>0", False), ("warning", False),
    ],
)  # fmt: skip
def test_a_threshold_is_passed_by_the_finding_that_it_names(given: str, *, passes: bool) -> None:
    found = _finding(6, id="unauthorized", subject=None)
    assert bool(thresholds.passing([thresholds.read_threshold(given)], [found], [])) is passes


def test_what_nobody_can_tell_passes_no_threshold() -> None:
    found = _finding(None, id="unauthorized")
    assert thresholds.passing([thresholds.read_threshold("unauthorized<5")], [found], []) == []


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("unauthorised>5", "did you mean unauthorized"),
        ("unauthorized", "give one such as 'unauthorized>100'"),
        ("unauthorized>many", "give one such as"),
        ("unauthorized>1.2.3", "give one such as"),
        ("", "there are warning, changed, rejected"),
        ("unauthorized_share>5", "give one such as 'unauthorized_share>5%' (share)"),
        ("unauthorized>5%", "give one such as 'unauthorized>100' (requests)"),
    ],
)
def test_a_wrong_threshold_is_refused_with_the_nearest_right_one(given: str, said: str) -> None:
    with pytest.raises(CiforensicsError) as caught:
        thresholds.read_threshold(given)
    assert said in caught.value.hint


def test_a_threshold_that_no_notebook_to_run_can_pass_is_refused() -> None:
    limits = [thresholds.read_threshold(each) for each in ("warning", "unauthorized>5")]
    thresholds.check_notebooks(limits, ())
    thresholds.check_notebooks(limits, ["case", "unauthorized"])
    with pytest.raises(CiforensicsError, match="a finding of notebook unauthorized, which would not run"):
        thresholds.check_notebooks(limits, ["case"])


# In Markdown.


def test_the_summary_is_text_whatever_the_logs_say(make: Callable[..., Report]) -> None:
    make()
    made = make(offenders="[x](javascript:alert(1))")
    text = summary.write_summary(made, ["<img src=x> | @all"])
    assert "**Who?** 6 requests" in text
    assert r"\<img src=x\> \| \@all" in text
    assert r"- new\: \[x\]\(javascript\:alert\(1\)\)" in text
    assert "](" not in text.replace(r"\]\(", "")


def test_the_summary_says_a_change_once_and_is_short(make: Callable[..., Report]) -> None:
    make(offenders="acme/a")
    made = make(offenders=" ".join(f"acme/b{n}" for n in range(30)))
    passing = thresholds.passing([thresholds.read_threshold("changed")], made.run.findings, made.changes)
    text = summary.write_summary(made, [*passing, "one more"])
    assert text.count("acme/b1 ") == 1
    assert "- and 11 more" in text
    assert "## Over a threshold\n\n- one more\n" in text
