"""The notebooks that come with ciforensics: what they are called, and what they say of one another."""

from __future__ import annotations

import ast
import re
import shutil
from pathlib import Path

import ciforensics as ci
from ciforensics.case import sample_case
from ciforensics.report import write_report
from ciforensics.report.plan import make_plan
from ciforensics.show.findings import DEFINITIONS

FOLDER = Path(__file__).parents[2] / "notebooks"
TASKS = make_plan(FOLDER, only=(), parameters={}, case="case.duckdb")
SLUGS = [task.slug for task in TASKS]
PROSE = {
    task.slug: "\n".join(cell.source for cell in task.notebook.cells if cell.cell_type == "markdown")
    for task in TASKS
}

TITLES = {slug: prose.partition("\n")[0].removeprefix("# ") for slug, prose in PROSE.items()}


def test_each_has_a_name_that_no_number_is_in() -> None:
    assert len(SLUGS) >= 7
    assert [slug for slug in SLUGS if not re.fullmatch("[a-z_]+", slug)] == []


def test_findings_and_answerable_know_them_by_their_names_and_titles() -> None:
    assert {each.notebook for each in DEFINITIONS.values()} == set(SLUGS)
    with ci.connect() as con:
        rows = con.sql("SELECT notebook, question FROM answerable").fetchall()
    # A notebook's first question is its title.
    assert dict(reversed(rows)) == {slug: title for slug, title in TITLES.items() if slug != "case"}


def test_they_point_to_one_another_by_the_question_whatever_its_number() -> None:
    pointed = {slug: re.findall(r"(?<!\*)\*([A-Z][^*\n]*\?)\*", prose) for slug, prose in PROSE.items()}
    assert sum(map(len, pointed.values())) > 8
    for slug, names in pointed.items():
        assert set(names) <= set(TITLES.values()) - {TITLES[slug]}, slug
    for slug, prose in PROSE.items():
        assert not re.search(r"\d\d-[a-z]|[Nn]otebook \d|next notebook", prose), slug


def test_renumbered_they_still_lead_to_one_another(tmp_path: Path) -> None:
    pages = {}
    for place, task in enumerate(reversed(TASKS)):
        pages[task.slug] = f"{place:02}-{task.page.partition('-')[2]}"
        shutil.copyfile(FOLDER / f"{task.page}.ipynb", tmp_path / f"{pages[task.slug]}.ipynb")
    made = write_report(
        sample_case(), out=tmp_path / "out", notebooks=tmp_path, only=["case", "docker", "traffic"]
    )
    assert list(made.run.notebooks) == ["traffic", "docker", "case"]
    traffic = (made.folder / "notebooks" / f"{pages['traffic']}.html").read_text("utf-8")
    assert f'<a href="{pages["case"]}.html">What is in this case?</a>' in traffic
    assert {each.notebook for each in made.run.findings} == {"traffic", "docker", "case"}


def test_their_code_only_tells_what_the_library_does() -> None:
    nodes = [
        (task.slug, node)
        for task in TASKS
        for cell in task.notebook.cells
        if cell.cell_type == "code"
        for node in ast.walk(ast.parse(cell.source))
    ]
    own = ast.FunctionDef | ast.ClassDef | ast.Try
    assert [(slug, type(node).__name__) for slug, node in nodes if isinstance(node, own)] == []
    assert [slug for slug, node in nodes if isinstance(node, ast.Name) and node.id == "print"] == []
    texts = [(slug, node.value) for slug, node in nodes if isinstance(node, ast.Constant)]
    lines = [(slug, len(str(text).strip().splitlines()), text) for slug, text in texts]
    assert [(slug, text) for slug, count, text in lines if count > 10] == [], "SQL over ten lines"


def test_their_code_fits_a_page() -> None:
    code = [
        (task.slug, line)
        for task in TASKS
        for cell in task.notebook.cells
        if cell.cell_type == "code"
        for line in cell.source.splitlines()
    ]
    assert len(code) > 300
    assert [(slug, line) for slug, line in code if len(line) > 110] == []
