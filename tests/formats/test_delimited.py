from __future__ import annotations

import csv
import io
from typing import Literal

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ciforensics.contract import RECORDS
from ciforensics.formats import records
from ciforensics.formats.delimited import NULLS, Layout, split

SIX = Layout(",", 6, frozenset({4}))
ROW = "2026-11-24T03:04:13Z,GET,https://github.com/a/b,401,git/2.39.5,0"


def lines(*texts: str, first: int = 1) -> pl.DataFrame:
    rows = [(number, 1, text) for number, text in enumerate(texts, first)]
    return pl.DataFrame(rows, schema=RECORDS, orient="row")


def user_agents(*texts: str) -> list[str | None]:
    fields, rejected = SIX.fields(lines(*texts))
    assert len(fields) + len(rejected) == len(texts)
    return fields["4"].to_list()


def with_agent(text: str) -> str:
    return f"2026-11-24T03:04:13Z,GET,https://github.com/a/b,401,{text},0"


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("git/2.39.5", "git/2.39.5"),
        ('"git/2.39.5 (Apple Git-154)"', "git/2.39.5 (Apple Git-154)"),
        ('"pip/23.2.1 {""ci"":null,""cpu"":""x86_64""}"', 'pip/23.2.1 {"ci":null,"cpu":"x86_64"}'),
        ('"say ""hi, there"""', 'say "hi, there"'),
        ('a "b" c', 'a "b" c'),
        ("a\u2028b\x00\x1ec", "a\u2028b\x00\x1ec"),
        ("", None),
        ('""', None),
        ("-", None),
        ("nil", None),
        ('"NULL"', None),
    ],
)
def test_a_well_formed_field_is_read_as_every_csv_reader_does(written: str, meant: str | None) -> None:
    assert user_agents(with_agent(written), ROW) == [meant, "git/2.39.5"]


PIP = (
    'pip/23.2.1 {"ci":null,"cpu":"x86_64","distro":{"id":"jammy","libc":{"lib":"glibc","version":"2.35"},'
    '"name":"Ubuntu"},"implementation":{"name":"CPython","version":"3.11.4"}}'
)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (PIP, PIP),
        (f'"{PIP}"', PIP),
        ('"' + PIP.replace('"', '\\"') + '"', PIP),
        ("Mozilla/5.0 (KHTML, like Gecko) Chrome/120", "Mozilla/5.0 (KHTML, like Gecko) Chrome/120"),
        ('git/2"39', 'git/2"39'),
        ('"git/2.39.5', '"git/2.39.5'),
    ],
)
def test_a_user_agent_that_was_not_quoted_is_salvaged(written: str, meant: str) -> None:
    assert user_agents(ROW, with_agent(written), ROW) == ["git/2.39.5", meant, "git/2.39.5"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("2026-11-24T03:04:13Z,GET,https://github.com/a/b,401", "4 fields, 6 expected"),
        (with_agent("a,b"), "7 fields, 6 expected"),
        (ROW + ROW, "11 fields, 6 expected"),
        (with_agent("git/2 (x")[:-2] + with_agent("git/2 (y)"), "10 fields, 6 expected"),
        (with_agent('pip/23 {"ci":nu') + with_agent('pip/23 {"ci":null,"a":1}'), "12 fields, 6 expected"),
        ('2026-11-24T03:04:13Z,GET,"https://github.com/a/b,401,git/2.39.5,0', "a quote out of place"),
        ("no table at all", "1 fields, 6 expected"),
    ],
)
def test_what_has_no_one_reading_is_rejected_with_what_was_expected(text: str, reason: str) -> None:
    fields, rejected = SIX.fields(lines(ROW, text, ROW))
    assert fields["line_no"].to_list() == [1, 3]
    assert rejected.rows() == [(2, 1, reason, text)]


def test_empty_columns_that_a_spreadsheet_added_are_dropped() -> None:
    assert user_agents(ROW + ",,,", with_agent('"a ""b"""') + ",,,") == ["git/2.39.5", 'a "b"']


def test_a_quoted_newline_makes_one_record_of_two_lines() -> None:
    records, held = SIX.assemble(lines(ROW, '2026,GET,u,401,"git', "", 'x ""y"" z",0', ROW), final=True)
    assert held == 0
    assert records.rows()[1] == (2, 3, '2026,GET,u,401,"git\n\nx ""y"" z",0')
    assert SIX.fields(records)[0]["4"].to_list() == ["git/2.39.5", 'git\n\nx "y" z', "git/2.39.5"]


def test_a_quote_that_never_closes_does_not_eat_what_follows() -> None:
    unclosed = with_agent('"git/2.39.5')
    texts = [unclosed, *[ROW] * 3, with_agent('git/2.39.5"'), ROW, unclosed]
    records, held = SIX.assemble(lines(*texts), final=True)
    assert (records["text"].to_list(), held) == (texts, 0)


def test_more_lines_than_a_record_can_span_are_not_joined() -> None:
    inside = ["x"] * records.MAX_JOINED
    texts = [with_agent('"a')[:-2], *inside, 'b",0']
    assert len(SIX.assemble(lines(*texts), final=True)[0]) == len(texts)
    assert len(SIX.assemble(lines(*texts[:-3], texts[-1]), final=True)[0]) == 1


def test_an_open_record_at_the_end_of_a_batch_is_held_back() -> None:
    texts = [ROW, '2026,GET,u,401,"a', "b"]
    records, held = SIX.assemble(lines(*texts), final=False)
    assert (records["text"].to_list(), held) == ([ROW], 2)
    assert SIX.assemble(lines(*texts), final=True)[1] == 0


def test_a_byte_order_mark_in_a_batch_is_the_same_wherever_the_batch_begins() -> None:
    bom = "\ufeff" + ROW
    alone = SIX.fields(lines(bom))[0]
    assert SIX.fields(lines(ROW, bom))[0]["0"][1] == alone["0"][0]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_only_the_fields_asked_for_are_given(delimiter: str) -> None:
    layout = Layout(delimiter, 3)
    batch = lines(
        delimiter.join("abc"), delimiter.join(["a", '"x""y"', "c"]), delimiter.join(['a"', "b", "c"])
    )
    fields, rejected = layout.fields(batch, [2, 1])
    assert fields.rows() == [(1, "b", "c"), (2, 'x"y', "c"), (3, "b", "c")]
    assert rejected.is_empty()


def test_a_line_that_is_not_well_formed_has_no_fields() -> None:
    assert split('a,"b"c,d', ",") is None
    assert split('a,"b', ",") is None


FIELD = st.text(st.sampled_from('ab,;\t" (){}\ufeff\u2028\x00é'), max_size=12)


@settings(deadline=None)
@given(
    st.lists(st.lists(FIELD, min_size=3, max_size=3), max_size=8),
    st.sampled_from(",;\t"),
    st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL]),
)
def test_what_pythons_csv_writes_is_what_is_read(
    rows: list[list[str]], delimiter: str, quoting: Literal[0, 1]
) -> None:
    out = io.StringIO()
    csv.writer(out, delimiter=delimiter, lineterminator="\n", quoting=quoting).writerows(rows)
    layout = Layout(delimiter, 3)
    batch = lines(*out.getvalue().split("\n")[:-1])
    assert layout.assemble(batch, final=True)[0].rows() == batch.rows()
    fields, rejected = layout.fields(batch)
    assert rejected.is_empty()
    assert fields.select("0", "1", "2").rows() == [
        tuple(None if field in NULLS else field for field in row) for row in rows
    ]


@settings(deadline=None)
@given(st.lists(st.text(st.sampled_from('a,"\n(){'), max_size=15), max_size=12), st.data())
def test_batches_cut_at_any_line_make_the_same_records(texts: list[str], data: st.DataObject) -> None:
    layout = Layout(",", 3, frozenset({1}))
    every = lines(*[line for text in texts for line in text.split("\n")])
    whole = layout.assemble(every, final=True)[0]
    cut = data.draw(st.integers(0, len(every)))
    early, held = layout.assemble(every[:cut], final=False)
    late = layout.assemble(every[cut - held :], final=True)[0]
    assert pl.concat([early, late]).rows() == whole.rows()
    fields, rejected = layout.fields(whole)
    assert sorted([*fields["line_no"], *rejected["line_no"]]) == whole["line_no"].to_list()
