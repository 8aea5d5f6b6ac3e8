"""The streamed reading of HAR files and JSON arrays."""

from __future__ import annotations

import io
import itertools
import json
import zlib
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ciforensics.errors import Unreadable
from ciforensics.formats import har

if TYPE_CHECKING:
    import re

    from ciforensics.contract import Block


def same(value: Any) -> Any:
    return value


def read(
    data: bytes, first: int = 1, *, opening: re.Pattern[str] = har.ARRAY_OPENING, per_block: int = 5000
) -> list[Block]:
    return list(har.read_elements(io.BytesIO(data), first, reduce=same, opening=opening, per_block=per_block))


def texts(blocks: list[Block]) -> list[str]:
    return [text for block in blocks for text in block.records["text"]]


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
ELEMENTS = st.lists(st.dictionaries(st.text(max_size=5), VALUES, max_size=3), max_size=8)
DOCUMENTS = st.builds(
    lambda values, indent, ascii_: json.dumps(values, indent=indent, ensure_ascii=ascii_).encode(
        "utf-8", "surrogatepass"
    ),
    ELEMENTS,
    st.none() | st.integers(0, 3),
    st.booleans(),
)


@settings(deadline=None)
@given(DOCUMENTS, st.integers(1, 3))
def test_every_byte_of_an_array_is_an_element_or_blank(data: bytes, per_block: int) -> None:
    blocks = read(data, per_block=per_block)
    assert blocks[-1].end == len(data)
    assert [block.provisional for block in blocks] == [False] * len(blocks)
    assert len(texts(blocks)) == len(json.loads(data.decode("utf-8", "surrogatepass")))
    assert sum(block.blank for block in blocks) <= len(data) - 2 * len(texts(blocks))


@settings(deadline=None)
@given(DOCUMENTS, st.sampled_from([har.ARRAY_OPENING, har.HAR_OPENING]), st.data())
def test_an_array_read_while_it_grows_gives_what_one_reading_gives(
    data: bytes, opening: re.Pattern[str], cuts: st.DataObject
) -> None:
    if opening is har.HAR_OPENING:
        data = b'{"log": {"version": "1.2",\n"entries": ' + data + b"\n} }\n"
    cut = cuts.draw(st.integers(0, len(data)))
    before = [block for block in read(data[:cut], opening=opening) if not block.provisional]
    settled = before[-1].end if before else 0
    after = read(data[settled:], first=len(texts(before)) + 1, opening=opening)
    assert texts(before) + texts(after) == texts(read(data, opening=opening))
    assert settled + (after[-1].end if after else 0) == len(data)


@settings(deadline=None)
@given(DOCUMENTS, st.data())
def test_damage_anywhere_leaves_no_byte_out(data: bytes, damage: st.DataObject) -> None:
    at = damage.draw(st.integers(0, len(data)))
    broken = data[:at] + damage.draw(st.binary(min_size=1, max_size=4)) + data[at:]
    blocks = read(broken)
    assert blocks[-1].end == len(broken)
    numbers = [number for block in blocks for number in block.records["line_no"]]
    assert numbers == list(range(1, len(numbers) + 1))


def test_a_cut_har_keeps_the_entries_before_the_cut() -> None:
    whole = json.dumps(
        {"log": {"version": "1.2", "entries": [{"n": 1}, {"n": 2}, {"n": 3}]}}, indent=4
    ).encode()
    blocks = read(whole[: whole.index(b"3")], opening=har.HAR_OPENING)
    assert texts(blocks) == ['{"n":1}', '{"n":2}', "entry 3: Expecting value"]
    assert [block.provisional for block in blocks] == [False, True]


def test_an_entries_key_that_is_only_quoted_does_not_open_the_array() -> None:
    data = json.dumps({"log": {"comment": '"entries": [', "entries": [{"n": 1}]}}).encode()
    assert texts(read(data, opening=har.HAR_OPENING)) == ['{"n":1}']


def test_an_entry_far_larger_than_a_step_is_one_record_and_what_follows_is_read_too() -> None:
    entry = {"response": {"content": {"text": "é" * (3 * har.STEP)}}}
    data = json.dumps([entry, {"n": 2}], ensure_ascii=False).encode()
    blocks = read(data)
    assert len(blocks[0].records["text"][0]) > 3 * har.STEP
    assert texts(blocks)[-1] == '{"n":2}'
    assert blocks[-1].end == len(data)


def test_what_a_second_document_in_the_same_file_holds_is_not_lost_without_a_word() -> None:
    blocks = read(b'[{"n": 1}]\n[{"n": 2}]')
    assert texts(blocks) == ['{"n":1}', "entry 2: more than one document"]
    assert blocks[-1].end == 21


def test_nesting_without_end_and_endless_numbers_are_refused_not_a_crash() -> None:
    assert texts(read(b"[" * 100_000)) == ["entry 1: nested too deeply"]
    assert json.loads(texts(read(b'[{"n": ' + b"9" * 10_000 + b"}]"))[0]) == {"n": float("inf")}


def test_a_damaged_file_of_any_size_is_passed_over_in_steps() -> None:
    blocks = read(b'[{"n": 1}, oops ' + b"x" * (40 << 20))
    assert [len(block.records) for block in blocks] == [1, 1, 0, 0, 0]
    assert max(after.end - before.end for before, after in itertools.pairwise(blocks)) <= 17 << 20


def packed(data: bytes, first: int = 1) -> list[Block]:
    return list(har.read_inflated(io.BufferedReader(io.BytesIO(data)), first, reduce=same))


def test_a_packed_har_is_one_block_of_all_its_entries() -> None:
    data = zlib.compress(b'{"log": {"entries": [{"n": 1}, {"n": 2}]}}')
    (block,) = packed(data)
    assert block.records["text"].to_list() == ['{"n":1}', '{"n":2}']
    assert (block.end, block.provisional) == (len(data), False)


def test_a_packed_har_that_breaks_off_says_so_in_a_record_of_its_own() -> None:
    plain = json.dumps({"log": {"entries": [{"n": n} for n in range(9)]}}).encode()
    data = zlib.compress(plain, 0)[:90]
    (block,) = packed(data)
    assert block.records["text"][0] == '{"n":0}'
    assert not block.records["text"][-1].startswith("{")
    assert (block.end, block.provisional) == (90, True)


def test_a_packed_har_that_swells_without_measure_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(har, "MAX_INFLATED", 1 << 20)
    with pytest.raises(Unreadable, match=r"unpack it and ingest the \.har"):
        packed(zlib.compress(b'{"log": {"entries": [' + b" " * (8 << 20) + b"]}}"))
