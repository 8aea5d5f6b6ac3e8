"""The streamed reading of JSON documents one after the other."""

from __future__ import annotations

import io
import itertools
import json
import tracemalloc
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ciforensics.formats import har, json_documents

if TYPE_CHECKING:
    from ciforensics.contract import Block

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
ELEMENTS = st.lists(
    st.dictionaries(st.text(max_size=5), VALUES, max_size=3).map(lambda value: {"id": 1, "": [], **value}),
    max_size=5,
)
PAGES = st.builds(
    lambda elements, key, before, after: {**before, key: elements, **after},
    ELEMENTS,
    st.sampled_from(["jobs", "workflow_runs", "items"]),
    st.sampled_from([{}, {"total_count": 24}, {"kind": "List", "metadata": {"resourceVersion": '"}]'}}]),
    st.sampled_from([{}, {"total_count": 24, "kind": "Li\\st"}, {"metadata": {}, "more": None}]),
)


@st.composite
def streams(draw: st.DrawFn) -> tuple[bytes, list[Any]]:
    """Documents as programs write them, and the elements in them."""
    documents: list[Any] = draw(
        st.lists(PAGES | ELEMENTS | ELEMENTS.map(lambda inner: {"z": [], "found": inner}))
    )
    indent = draw(st.none() | st.integers(1, 4))
    ascii_ = draw(st.booleans())
    between = draw(st.sampled_from(["", "\n", "\n\n", "\r\n", "\x1e", " "]))
    slurped = [documents] if draw(st.booleans()) else documents
    text = between.join(json.dumps(one, indent=indent, ensure_ascii=ascii_) for one in slurped)
    elements: list[Any] = []
    for document in documents:
        lists = [document[key] for key in ("jobs", "workflow_runs", "items") if key in document]
        elements += lists[0] if lists else document if isinstance(document, list) else [document]
    return text.encode("utf-8", "surrogatepass"), elements


def read(data: bytes, first: int = 1, *, per_block: int = 5000) -> list[Block]:
    facts = json_documents.read_documents(
        io.BytesIO(data), first, facts=lambda value: [value], per_block=per_block
    )
    return list(facts)


def texts(blocks: list[Block]) -> list[str]:
    return [text for block in blocks for text in block.records["text"]]


def assert_every_byte_counts(data: bytes, blocks: list[Block]) -> None:
    assert (blocks[-1].end if blocks else 0) == len(data)
    numbers = [number for block in blocks for number in block.records["line_no"]]
    assert numbers == list(range(1, len(numbers) + 1))
    sizes = [after - before for before, after in itertools.pairwise([0, *(block.end for block in blocks)])]
    assert all(0 <= block.blank <= size for block, size in zip(blocks, sizes, strict=True))


@settings(deadline=None)
@given(streams(), st.integers(1, 3))
def test_the_elements_of_all_documents_are_records_and_every_byte_counts(
    stream: tuple[bytes, list[Any]], per_block: int
) -> None:
    data, elements = stream
    blocks = read(data, per_block=per_block)
    assert texts(blocks) == [har.dumps(element) for element in elements]
    assert not any(block.provisional for block in blocks)
    assert_every_byte_counts(data, blocks)


@settings(deadline=None)
@given(streams(), st.data())
def test_documents_read_while_they_grow_give_what_one_reading_gives(
    stream: tuple[bytes, list[Any]], cuts: st.DataObject
) -> None:
    data, _ = stream
    cut = cuts.draw(st.integers(0, len(data)))
    before = [block for block in read(data[:cut]) if not block.provisional]
    settled = before[-1].end if before else 0
    after = read(data[settled:], first=len(texts(before)) + 1)
    assert texts(before) + texts(after) == texts(read(data))
    assert settled + (after[-1].end if after else 0) == len(data)


@settings(deadline=None)
@given(streams(), st.data())
def test_damage_anywhere_leaves_no_byte_out(stream: tuple[bytes, list[Any]], damage: st.DataObject) -> None:
    data, _ = stream
    at = damage.draw(st.integers(0, len(data)))
    piece = damage.draw(st.binary(min_size=1, max_size=4) | st.sampled_from([b'\n}{][,"', b"\n{", b'"x":[']))
    broken = data[:at] + piece + data[at + damage.draw(st.integers(0, 3)) :]
    assert_every_byte_counts(broken, read(broken))


@settings(deadline=None)
@given(streams(), streams(), st.data())
def test_a_document_that_breaks_off_costs_only_itself(
    broken: tuple[bytes, list[Any]], whole: tuple[bytes, list[Any]], cuts: st.DataObject
) -> None:
    start = broken[0][: cuts.draw(st.integers(0, len(broken[0])))]
    data = start + b"\noops" + b"\n" + whole[0] + b'\n{"last": 1}\n{"last": 2}\n'
    blocks = read(data)
    assert_every_byte_counts(data, blocks)
    assert texts(blocks)[-2:] == ['{"last":1}', '{"last":2}']


@pytest.mark.parametrize(
    ("data", "expected", "provisional"),
    [
        (b'{"jobs": [{"n": 1}', ['{"n":1}'], False),
        (b'{"jobs": [{"n": 1}, {"n": 2', ['{"n":1}', "record 2: Expecting ',' delimiter"], True),
        (b'{"jobs": [{"n": 1}], "total_count": 2', ['{"n":1}', "record 2: no JSON object"], True),
        (b'{"total_count": 0, "jobs": []}', [], False),
        (b'{"n": 1}\nWarning: old\n{"n": 2}', ['{"n":1}', "record 2: no JSON object", '{"n":2}'], False),
        (b'{"n": 1}{"n": 2}[{"n": 3}]', ['{"n":1}', '{"n":2}', '{"n":3}'], False),
        (b'\xef\xbb\xbf{"n": 1}', ['{"n":1}'], False),
        (b"null", ["record 1: no JSON object"], True),
    ],
)  # fmt: skip
def test_what_is_read_of_documents_that_are_whole_cut_or_mixed_with_other_text(
    data: bytes, expected: list[str], provisional: bool
) -> None:
    blocks = read(data)
    assert texts(blocks) == expected
    assert any(block.provisional for block in blocks) == provisional
    assert_every_byte_counts(data, blocks)


def test_a_list_of_any_length_takes_the_memory_of_a_part_of_it() -> None:
    element = json.dumps({"name": "x", "managedFields": ["y" * 15_000]}, indent=1).encode()
    data = b'{"apiVersion": "v1", "items": [' + b",\n".join([element] * 4000) + b'], "kind": "List"}'
    stream = io.BytesIO(data)
    tracemalloc.start()
    blocks = json_documents.read_documents(stream, 1, facts=lambda value: [value["name"]])
    rows = sum(len(block.records) for block in blocks)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert rows == 4000
    assert peak < len(data) / 4


def test_nesting_without_end_and_lines_without_sense_cost_no_more_than_their_length() -> None:
    assert texts(read(b'{"a":' * 100_000)) == ["record 1: nested too deeply"]
    assert read(b"[" * 100_000)[-1].blank == 100_000
    assert len(texts(read(b'{"a": "x" "\n' * 20_000 + b'{"n": 1}\n' * 9))) == 20_009
    members = b"{" + b'"a": 1, ' * 200_000 + b'"b": [1]}'
    assert len(texts(read(members))) == 1
