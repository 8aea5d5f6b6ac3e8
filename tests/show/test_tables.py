"""Tables, sentences and headlines, as a terminal, a notebook and a report show them."""
# ruff: noqa: RUF001 (NULL is shown as an en dash)

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from html.parser import HTMLParser

import duckdb
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ciforensics.wording import MARK, cut, say, say_headline, visible
from ciforensics.wording.tables import show_table


class _Cells(HTMLParser):
    """Tags and texts of a table's HTML, as a browser takes them apart."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.texts: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, _attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_numbers_line_up_and_carry_separators_and_null_is_a_dash() -> None:
    data = duckdb.default_connection().sql(
        "FROM (VALUES ('github.com', 12345, 0.5), ('ghcr.io', NULL, 12.25)) t(host, requests, seconds)"
    )
    assert repr(show_table(data, caption="Hosts")) == (
        "Hosts\n"
        "host        requests  seconds\n"
        "-----------------------------\n"
        "github.com    12,345     0.50\n"
        "ghcr.io            –    12.25\n"
        "(2 rows)"
    )


def test_a_long_answer_shows_its_first_rows_and_says_how_many_there_are() -> None:
    shown = show_table(
        duckdb.default_connection().sql("SELECT i FROM range(1234) t(i) ORDER BY i DESC"), rows=2
    )
    assert shown.rows == (("1,233",), ("1,232",))
    assert shown.foot == "2 of 1,234 rows"
    assert "2 of 1,234 rows" in shown._repr_html_()


def test_a_polars_frame_is_shown_like_the_same_relation() -> None:
    frame = pl.DataFrame({"repo": ["acme/shop", None], "n": [1, 22]})
    relation = duckdb.default_connection().sql("FROM (VALUES ('acme/shop', 1), (NULL, 22)) t(repo, n)")
    assert show_table(frame) == show_table(relation)


def test_an_answer_without_rows_keeps_its_header() -> None:
    shown = show_table(
        duckdb.default_connection().sql("SELECT 1 AS a, 'x' AS b WHERE false"), caption="Nothing"
    )
    assert repr(shown) == "Nothing\na  b\n----\n(no rows)"
    assert "<tbody>" in shown._repr_html_()


@pytest.mark.parametrize(
    ("expression", "text"),
    [
        ("sum(x)::HUGEINT", "10,000"),
        ("1.50::DECIMAL(9,2)", "1.5"),
        ("0.00001::DOUBLE", "1e-05"),
        ("'nan'::DOUBLE", "nan"),
        ("true", "yes"),
        ("DATE '2026-11-24'", "2026-11-24"),
        ("TIMESTAMP '2026-11-24 03:00:00'", "2026-11-24 03:00"),
        ("TIMESTAMP '2026-11-24 03:00:07'", "2026-11-24 03:00:07"),
        ("TIMESTAMP '2026-11-24 03:00:07.25'", "2026-11-24 03:00:07.250"),
        ("TIMESTAMP '2026-11-24 03:00:07.000001'", "2026-11-24 03:00:07.000001"),
        ("INTERVAL 90 MINUTE", "1:30:00"),
        ("['git', 'npm']", "git, npm"),
        ("{'a': 1}", '{"a": 1}'),
        ("'007'", "007"),
    ],
)
def test_every_type_that_duckdb_returns_can_be_shown(expression: str, text: str) -> None:
    assert show_table(
        duckdb.default_connection().sql(f"SELECT {expression} AS v FROM (VALUES (10000)) t(x) GROUP BY ALL")
    ).rows == ((text,),)


def test_whole_numbers_that_name_something_carry_no_separators() -> None:
    shown = show_table(
        duckdb.default_connection().sql(
            "SELECT 50123 AS client_port, 10001 AS line_no, 1234567 AS file_id, 401 AS status, 10001 AS n"
        )
    )
    assert shown.rows == (("50123", "10001", "1234567", "401", "10,001"),)


def test_shares_are_percentages_where_asked_for() -> None:
    assert show_table(pl.DataFrame({"rate": [0.5, None, 1.0]}), percent=["rate"]).rows == (
        ("50.0 %",),
        ("–",),
        ("100.0 %",),
    )


def test_times_with_a_zone_are_shown_in_utc() -> None:
    berlin = timezone(timedelta(hours=1))
    shown = say(
        "From {a} to {b}.",
        a=datetime(2026, 11, 24, 4, tzinfo=berlin),
        b=datetime(2026, 11, 24, 4, tzinfo=UTC),
    )
    assert shown.text == "From 2026-11-24 03:00 to 2026-11-24 04:00."
    assert (
        show_table(duckdb.default_connection().sql("SELECT TIMESTAMP '2026-11-24 03:00:00' AS ts")).foot
        == "1 row, times in UTC"
    )


def test_what_came_from_a_log_stays_text() -> None:
    hostile = "</td></tr></table><script>alert(1)</script>\x1b[2J\u202egpj\u2066"
    shown = show_table(pl.DataFrame({"user_agent<b>": [hostile]}), caption="<i>x</i>", width=200)
    parsed = _Cells(shown._repr_html_())
    assert set(parsed.tags) == {"table", "caption", "thead", "tbody", "tfoot", "tr", "th", "td"}
    assert r"</td></tr></table><script>alert(1)</script>\x1b[2J\u202egpj\u2066" in parsed.texts
    assert "\x1b" not in repr(shown)


@given(st.text(), st.text(max_size=5))
def test_no_text_gets_out_of_its_cell(text: str, name: str) -> None:
    shown = (
        show_table(pl.DataFrame({name: [text]}, strict=False)) if text.isprintable() else say("{x}", x=text)
    )
    assert len(repr(shown).splitlines()) == (4 if text.isprintable() else 1 if text else 0)
    assert set(_Cells(shown._repr_html_()).tags) <= {
        "table",
        "thead",
        "tbody",
        "tfoot",
        "tr",
        "th",
        "td",
        "p",
    }


@given(st.text(), st.integers(min_value=3, max_value=50))
def test_a_cut_text_keeps_both_ends_and_the_asked_width(text: str, width: int) -> None:
    short = cut(text, width)
    assert len(short) == min(len(text), width)
    assert short[0:1] == text[0:1]
    assert short[-1:] == text[-1:]


def test_newlines_can_be_kept_where_they_are_wanted() -> None:
    assert visible("a\nb\tc\r") == r"a\nb\tc\r"
    assert visible("a\nb\tc\r", keep="\n\t") == "a\nb\tc\\r"


def test_wide_characters_take_two_columns_in_plain_text() -> None:
    lines = repr(show_table(pl.DataFrame({"job": ["构建", "ab"], "n": [1, 2]}))).splitlines()
    assert lines[2:4] == ["构建  1", "ab    2"]


def test_a_sentence_takes_its_numbers_from_one_row() -> None:
    row = duckdb.default_connection().sql(
        "SELECT 1234 AS n, 0.5 AS part, NULL AS missing, 'x' AS text, 2.5::DECIMAL(9,2) AS d"
    )
    assert repr(say("{n} {part:%} {missing} {text} {d} {n:d}", row)) == "1,234 50.0 % – x 2.5 1234"


def test_a_sentence_from_no_row_has_dashes_and_from_many_rows_is_refused() -> None:
    assert (
        repr(say("{n} requests", duckdb.default_connection().sql("SELECT 1 AS n WHERE false")))
        == "– requests"
    )
    with pytest.raises(ValueError, match="one row, not from 3"):
        say("{i}", duckdb.default_connection().sql("SELECT i FROM range(3) t(i)"))


def test_a_value_cannot_bring_its_own_placeholders_or_tags() -> None:
    said = say_headline("{repo} asks most.", repo="{evil}<img src=x onerror=alert(1)>")
    assert repr(said) == "{evil}<img src=x onerror=alert(1)> asks most."
    assert _Cells(said._repr_html_()).tags == ["p", "strong"]


def test_outputs_are_marked_so_that_a_report_knows_them() -> None:
    assert show_table(pl.DataFrame({"a": [1]}))._repr_mimebundle_() == ({}, {MARK: "table"})
    assert say("x")._repr_mimebundle_() == ({}, {MARK: "sentence"})
    assert say_headline("x")._repr_mimebundle_() == ({}, {MARK: "headline"})


def test_decimals_and_floats_are_written_alike() -> None:
    assert show_table(pl.DataFrame({"ms": [Decimal("1.10"), Decimal("20.00")]})).rows == (("1.1",), ("20.0",))
