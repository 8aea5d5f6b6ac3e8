"""JSON documents one after the other, as an API's pages and a watch print them, read one element at a time.

Between documents there may be nothing, blanks or newlines; they may be pretty-printed, one a line, or in an
array. Where a document lists what it is about, under `jobs`, `workflow_runs` or `items`, each element is read
on its own, so that a page of any size takes the memory of one element.

What opens, closes and surrounds such a list belongs to no record. It is told by its own text, without knowing
what it is in: so a file that grew is read on from behind any element.
"""

from __future__ import annotations

import io
import json
import re
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, BinaryIO

import polars as pl

from ciforensics.contract import RECORDS, REJECTED, Head, Parsed, Reader
from ciforensics.formats import times
from ciforensics.formats.har import MAX_ELEMENT, STEP, JsonText, dumps, loads
from ciforensics.formats.records import block_of, json_fields, read_remainder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from zoneinfo import ZoneInfo

    from ciforensics.contract import Block

    Facts = Callable[[Any], Iterable[Any]]
    """What to keep of an element: a record for each value, e.g. for each address of a pod."""

AHEAD = 64 << 10
"""Characters within which a document opens its list: a page's counts, a list's metadata."""

_STRING = r'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_FLAT = rf'\{{(?:[^{{}}\[\]"]|{_STRING})*+\}}'
# A member is whole only when something follows it: `"total_count": 24` may be the beginning of 240.
_MEMBER = rf"{_STRING}\s*:\s*(?:{_STRING}|{_FLAT}|[\w.+-]++)\s*(?=[,}}])"
_OPENING = rf'\{{\s*(?:{_MEMBER},\s*)*+"(?:jobs|workflow_runs|items)"\s*:\s*\['
_BETWEEN = re.compile(rf"[\s\ufeff,\[\]}}]+|{_OPENING}|{_MEMBER}", re.DOTALL)
_AT_END = re.compile(r"\s*+\Z")
# A document begins its line; what is nested in a pretty-printed one does not.
_NEXT_DOCUMENT = re.compile(r"\n(?=[{\[])")


def read_documents(stream: BinaryIO, first: int, *, facts: Facts, per_block: int = 5000) -> Iterator[Block]:
    r"""The elements of concatenated JSON documents, as blocks of records.

    What cannot be read is one record, up to the next line that begins a document. At the end of the file it
    may still be being written, and is provisional.

    Args:
        stream: at the start of the file, or behind an element.
        first: number of the next record.
        facts: what to keep of an element.
        per_block: a block ends after so many records, or after 16 MiB.

    Example:
        >>> import io
        >>> pages = b'{"total_count": 2, "jobs": [{"id": 1}, {"id": 2}]}{"total_count": 0, "jobs": []} {"id'
        >>> blocks = read_documents(io.BytesIO(pages), 1, facts=lambda job: [job])
        >>> [(one.records["text"].to_list(), one.end, one.provisional) for one in blocks]
        [(['{"id":1}', '{"id":2}'], 81, False), (['record 3: Unterminated string starting at'], 85, True)]
    """
    source = JsonText(stream)
    texts: list[str] = []
    blank = start = 0
    wrong = ""
    while not wrong:
        blank += _pass_between(source)
        if not source.next():
            break
        value, wrong, damaged = _element(source)
        if not wrong:
            texts += [dumps(fact) for fact in facts(value)]
        elif damaged and _pass_damage(source):
            texts.append(f"record {first + len(texts)}: {wrong}")
            wrong = ""
        if len(texts) >= per_block or source.done - start >= 16 * STEP:
            yield block_of(texts, first=first, end=source.done, blank=blank)
            first, texts, blank, start = first + len(texts), [], 0, source.done
    if source.done > start:
        yield block_of(texts, first=first, end=source.done, blank=blank)
    if wrong:
        first += len(texts)
        text = f"record {first}: {wrong}"
        yield from read_remainder(stream, source.seen - source.done, text=text, first=first, end=source.done)


def read_values(data: bytes, *, at_most: int = 50) -> list[Any]:
    """The first elements of documents, as far as they are whole.

    Example:
        >>> read_values(b'{"kind": "List", "items": [{"kind": "Pod"}, {"ki')
        [{'kind': 'Pod'}]
    """
    source = JsonText(io.BytesIO(data))
    parsed_values: list[Any] = []
    while len(parsed_values) < at_most:
        _pass_between(source)
        value, wrong, _ = _element(source)
        if wrong:
            break
        parsed_values.append(value)
    return parsed_values


def opens_list(data: bytes, key: str) -> bool:
    """Whether the first document lists something under this key, be it nothing.

    Example:
        >>> opens_list(b'[{"total_count": 0, "jobs": []}]', "jobs")
        True
    """
    text = data[:AHEAD].decode("utf-8-sig", "replace").lstrip(" \t\r\n[")
    opening = re.match(_OPENING, text, re.DOTALL)
    return opening is not None and re.search(rf'"{key}"\s*:\s*\[$', opening[0]) is not None


def make_reader(
    head: Head,
    *,
    lists: Sequence[str],
    knows: Callable[[list[Any]], bool],
    facts: Facts,
    parse: Callable[[pl.DataFrame], Parsed],
) -> Reader | None:
    """How to read a file that begins with elements that a source knows, or with an empty list of them.

    Args:
        head: of the file.
        lists: what the source's documents list their elements under.
        knows: whether these first elements are the source's.
        facts: what to keep of an element.
        parse: records, each a fact, to rows.
    """
    begun = read_values(head.data)
    if knows(begun) or (not begun and any(opens_list(head.data, key) for key in lists)):
        return Reader("json", parse, blocks=partial(read_documents, facts=facts))
    begun = [value for line in head.lines[:50] for value in read_values(line.encode())]
    if knows(begun):  # in an envelope, or behind a line that is something else
        return Reader("json lines", partial(_parse_lines, facts, parse))
    return None


def parse_records(
    records: pl.DataFrame, *, table: str, columns: Sequence[str], span: tuple[str, str], timezone: ZoneInfo
) -> Parsed:
    """Facts to rows of a table.

    Args:
        records: each an object of `columns`, or of `skip` or `wrong`: why it is no row.
        table: what the rows are for.
        columns: of the table, all that a fact may have.
        span: the columns with the time of the start, which each row has, and of the end.
        timezone: the zone of times that name none.
    """
    facts = json_fields(records, {name: [f"$.{name}"] for name in (*columns, "skip", "wrong")})
    start, end = (times.parse(facts[name], timezone)["ts"].rename(name) for name in span)
    unread = start.is_null() | (end.is_null() & facts[span[1]].is_not_null())
    facts = facts.with_columns(
        start,
        end,
        reason=pl.when(~pl.col("is_object"))
        .then(pl.lit("broken JSON"))
        .when(pl.col("skip").is_null())
        .then(pl.coalesce("wrong", pl.when(unread).then(pl.lit("no time that can be read")))),
    )
    rows = facts.filter(pl.col("reason").is_null() & pl.col("skip").is_null())
    skipped = facts["skip"].drop_nulls().value_counts().sort("skip")
    return Parsed(
        {table: rows.select("line_no", *columns)},
        facts.filter(pl.col("reason").is_not_null()).select(*REJECTED),
        skipped=dict(skipped.iter_rows()),
    )


def as_text(value: Any) -> str | None:
    """A value as text; null and the empty text are none, nor is what holds other values.

    Example:
        >>> [as_text(value) for value in (9018059362, " CI ", "", None, {})]
        ['9018059362', 'CI', None, None, None]
    """
    if isinstance(value, str):
        return value.strip() or None
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else None


def _parse_lines(facts: Facts, parse: Callable[[pl.DataFrame], Parsed], lines: pl.DataFrame) -> Parsed:
    """Lines, each of a document or several, parsed as the records that `documents` makes of them."""
    rows = [
        (line_no, n_lines, fact)
        for line_no, n_lines, line in lines.select(*RECORDS).iter_rows()
        for fact in _of_line(line, facts)
    ]
    result = parse(pl.DataFrame(rows, schema=RECORDS, orient="row"))
    return replace(result, extra=len(rows) - len(lines))


def _of_line(line: str, facts: Facts) -> list[str]:
    blocks = read_documents(io.BytesIO(line.encode()), 1, facts=facts)
    return [fact for one in blocks for fact in one.records["text"]] or [dumps({"skip": "an empty list"})]


def _pass_between(source: JsonText) -> int:
    """Takes what belongs to no record: how many bytes. The text then goes on with an element, or is wrong."""
    taken = 0
    while True:
        while len(source.text) - source.at < AHEAD and source.more():
            pass
        match = _BETWEEN.match(source.text, source.at)
        if match is None:
            return taken
        taken += source.take(match.end())


def _element(source: JsonText) -> tuple[Any, str, bool]:
    """Takes the object that starts here; else says what is wrong, and whether more text would not mend it."""
    if source.next() != "{":
        return None, "no JSON object", True
    size = AHEAD
    while True:
        piece = source.text[source.at : source.at + size]  # an error counts the lines of all that it is given
        try:
            value, end = loads(piece)
        except json.JSONDecodeError as error:
            cut = error.msg.startswith("Unterminated") or _AT_END.match(piece, error.pos + 16) is not None
            if not cut or size > MAX_ELEMENT or (len(piece) < size and not source.more()):
                return None, error.msg, not cut
            size *= 2
        except ValueError as error:
            return None, str(error), True
        else:
            source.take(source.at + end)
            return value, "", False


def _pass_damage(source: JsonText) -> bool:
    """Takes what is up to the next line that begins a document; False: there is none."""
    while not (match := _NEXT_DOCUMENT.search(source.text, source.at)):
        if len(source.text) - source.at > MAX_ELEMENT or not source.more():
            return False
    source.take(match.end())
    return True
