"""What an answer says of itself on a terminal and in a notebook, and what it is asked of."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

import ciforensics as ci
from ciforensics.analysis.links.basis import EXACT, Basis
from ciforensics.case import sample_case
from ciforensics.views import questions

if TYPE_CHECKING:
    from collections.abc import Callable

    from cases import Build

ASKED: dict[str, Callable[..., Any]] = {
    "attribute": ci.attribute,
    "find_links": ci.find_links,
    "find_offsets": ci.find_offsets,
    "find_partners": ci.find_partners,
    "measure_progress": ci.measure_progress,
}
SAID = {
    "attribute": "Of 640 401s, 19.8 % are named by a shared key",
    "find_links": "A key names the run of 127 of 640 401s.",
    "find_partners": "of 616 it is sure which",
    "measure_progress": "13 workflows: 6 stock; 2 golden",
}
CSV = "timestamp,method,url,status,user_agent,content_length\n" + "".join(
    f"2026-11-24T03:00:{second:02}Z,GET,https://github.com/acme/lib.git/info/refs,401,git/2,22\n"
    for second in range(5, 50, 5)
)
WRAPPER = "".join(
    f'{{"ts":"2026-11-24T03:00:{second:02}Z","repo":"acme/web","workflow":"<script>x</script>\\u202e",'
    f'"run_id":"{second}","cmd":"build"}}\n'
    for second in range(0, 40, 5)
)


@pytest.mark.parametrize("name", ASKED)
def test_a_question_takes_the_path_of_a_case_as_well_as_a_connection(name: str) -> None:
    ask = ASKED[name]
    with ci.connect() as con:
        assert repr(ask(sample_case())) == repr(ask(str(sample_case()))) == repr(ask(con))
        assert con.sql("SELECT 1").fetchall() == [(1,)], "who opens a connection closes it, nobody else"


@pytest.mark.parametrize("name", SAID)
def test_an_answer_says_in_a_few_lines_what_it_is(name: str) -> None:
    answer = ASKED[name]("")
    assert SAID[name] in repr(answer)
    assert repr(answer).count("\n") < 5
    assert answer._repr_html_().count("<p ") == repr(answer).count("\n") + 1


def test_a_name_from_a_log_is_harmless_in_what_an_answer_says(case: Build) -> None:
    attribution = ci.attribute(case(**{"github.csv": CSV, "wrapper.jsonl": WRAPPER}))
    assert r"First is acme/web · <script>x</script>\u202e with" in repr(attribution)
    assert "&lt;script&gt;" in attribution._repr_html_()
    assert "<script>" not in attribution._repr_html_()


def test_an_answer_about_nothing_says_so(case: Build) -> None:
    nothing = case(**{"wrapper.jsonl": WRAPPER})
    assert repr(ci.attribute(nothing)).startswith("There is no 401 to attribute.")
    assert "nothing to link" in repr(ci.find_links(nothing))
    assert "no row has a partner" in repr(ci.find_partners(nothing))


def test_the_view_names_keys_as_answers_do() -> None:
    (view,) = (question.text for question in questions() if question.name == "exact_keys")
    (named,) = re.findall(r"CASE ([^;]*?) END AS basis", view)
    assert set(re.findall(r"'(.+?)'", named)) == set(EXACT) - {Basis.SAME_REQUEST}
