"""`sql` says which name was meant; `questions` says which there are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

import ciforensics as ci
from ciforensics.case.store import writing
from ciforensics.cli import app

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def nothing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A case without evidence."""
    path = tmp_path_factory.mktemp("ask") / "case.duckdb"
    with writing(path):
        return path


@pytest.mark.parametrize(
    ("query", "hint"),
    [
        ("FROM case_overveiw", "did you mean case_overview?"),
        ("FROM unauthorised", "did you mean unauthorized?"),
        ("FROM unauthorised(p_observer := 'x')", "did you mean unauthorized?"),
        ("SELECT sorce FROM files", "did you mean source?"),
        ("SELECT f.sorce FROM files AS f", "did you mean source?"),
        ("SELECT is_gitt('lfs')", "did you mean is_git?"),
        ("FROM observer(p_obsrver := 'x')", 'ask it as "FROM observer(p_observer := NULL)".'),
        ("FROM builds()", 'ask it as "FROM builds".'),
        ("FROM build_links(p_x := 5)", 'ask it as "FROM build_links".'),
        ("FROM is_git('x')", 'ask it as "is_git(p_service)".'),
        ("FROM files()", 'ask it as "FROM files".'),
        (
            "FROM unauthorized(p_window_s := 5)",
            'p_window_s is p_answer_within_s now: ask it as "FROM unauthorized(',
        ),
        ("FROM nonsense", "`ciforensics sources` lists the tables, `ciforensics questions` the views"),
        ("SELEC", "`ciforensics sources` lists the tables, `ciforensics questions` the views"),
    ],
)
def test_a_misspelt_name_in_sql_gets_a_hint(nothing: Path, query: str, hint: str) -> None:
    done = CliRunner().invoke(app, ["sql", query, "--case", str(nothing)])
    assert isinstance(done.exception, ci.CiforensicsError)
    assert done.exception.hint.startswith(hint)


def test_questions_are_listed_and_one_is_told_in_full() -> None:
    assert "  unauthorized_by_host " in CliRunner().invoke(app, ["questions"]).output
    told = CliRunner().invoke(app, ["questions", "observer"]).output
    assert told.startswith("Whose requests are counted?\n")
    assert told.endswith('\nciforensics sql "FROM observer(p_observer := NULL)"\n')
