"""Questions can be found: by room, and each with all that one needs to ask it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import ciforensics as ci
from ciforensics import views

if TYPE_CHECKING:
    import duckdb


def test_every_question_is_listed_by_room_with_what_can_be_chosen() -> None:
    listed = repr(ci.questions()).splitlines()
    assert [line for line in listed if not line.startswith(" ")] == sorted(
        {question.room for question in views.questions()}
    )
    at = next(n for n, line in enumerate(listed) if line.split()[0] == "pull_outcomes")
    assert listed[at].endswith("  Which pulls failed or hung?")
    assert listed[at + 1].strip() == "p_pull_within_s := 600 seconds, p_repos := NULL"
    assert sum(f"  {question.name} " in line for line in listed for question in views.questions()) == len(
        views.questions()
    )


def test_a_notebook_shows_the_list_as_a_table() -> None:
    assert '<td style="text-align:left">unauthorized_by_host</td>' in ci.questions()._repr_html_()


def test_one_question_says_what_counts_what_can_be_chosen_and_what_comes_out() -> None:
    entry = ci.questions()["mirror_change"]
    text = repr(entry)
    assert text.startswith(
        "When did Docker's traffic change between the registry mirror and the registries past"
    )
    assert text.endswith('\nciforensics sql "FROM mirror_change(p_mirror := NULL, p_changed_at := NULL)"')
    rows = [line.split() for line in text.splitlines()]
    assert ["p_changed_at", "TIMESTAMP", "NULL", "when", "the", "mirror"] in [row[:6] for row in rows]
    assert [name for name, *_ in entry.columns] == ["changed_at", "found_by", "step"]
    assert all(meaning for *_, meaning in entry.columns)
    assert "<p>One row. `p_changed_at` if given" in entry._repr_html_()


def test_a_macro_that_gives_a_value_says_how_a_condition_takes_it() -> None:
    text = repr(ci.questions()["is_git"])
    assert "p_service " in text
    assert views.meaning("requests", "service") in text
    assert text.endswith("\n... WHERE is_git(p_service)")


@pytest.mark.parametrize(
    "question", [each for each in views.questions() if each.kind == "MACRO"], ids=lambda each: each.name
)
def test_macros_that_give_a_value_are_among_the_rules_and_their_arguments_mean_something(
    question: views.Question,
) -> None:
    assert question.room == "rules"
    assert question.arguments
    assert all(question.meanings)


def test_a_misspelt_question_says_which_was_meant() -> None:
    with pytest.raises(ci.CiforensicsError, match="did you mean unauthorized"):
        ci.questions()["unauthorised"]


@pytest.mark.parametrize("question", views.questions(), ids=lambda question: question.name)
def test_the_line_to_paste_asks_the_same_as_the_view(
    con: duckdb.DuckDBPyConnection, question: views.Question
) -> None:
    if question.kind != "MACRO":
        assert con.sql(question.sql).columns == con.sql(f"FROM {question.name}").columns
