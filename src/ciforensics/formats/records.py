"""Lines and blocks become records, and fields are read out of JSON; see `ciforensics.contract`."""

from __future__ import annotations

import json
import re
import threading
from typing import TYPE_CHECKING, Any, BinaryIO

import duckdb
import polars as pl

from ciforensics.contract import RECORDS, Block

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

MAX_JOINED = 20
"""A record spans at most so many lines; what follows an unclosed one must not be eaten."""
STEP = 16 << 20
"""Bytes that are read at a time of what is no record."""


class Stream:
    """A polars frame as DuckDB scans it: by the Arrow C stream, so that nobody needs pyarrow."""

    def __init__(self, frame: pl.DataFrame) -> None:
        self._frame = frame

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self._frame.__arrow_c_stream__(requested_schema)


def json_objects(lines: pl.DataFrame, final: bool) -> tuple[pl.DataFrame, int]:
    r"""JSON lines whose writer let raw newlines into values: an unclosed `{` goes on on the next line.

    A line continues the one before it when that one does not end with `}` and it does not itself start with
    `{`. At most `MAX_JOINED` lines are joined; lines before the first `{` stand alone.

    Example:
        >>> text = ['{"a":1}', '{"a":"x', 'y"}']
        >>> lines = pl.DataFrame({"line_no": [1, 2, 3], "n_lines": 1, "text": text})
        >>> json_objects(lines, True)[0].select("line_no", "n_lines", "text").rows()
        [(1, 1, '{"a":1}'), (2, 2, '{"a":"x\ny"}')]
    """
    if lines.is_empty():
        return lines, 0
    stripped = lines["text"].str.strip_chars()
    opens, closes = stripped.str.starts_with("{"), stripped.str.ends_with("}")
    starts = opens | closes.shift(1, fill_value=True)
    if not starts.all():
        groups = pl.DataFrame({"opens": opens, "start": starts}).with_columns(group=pl.col("start").cum_sum())
        starts = groups.select(
            pl.col("start")
            | ~pl.col("opens").first().over("group")
            | (pl.int_range(pl.len()).over("group") >= MAX_JOINED)
        ).to_series()
    held = 0
    if not final and not closes[-1]:
        last = starts.arg_true()[-1]
        if opens[last] and len(lines) - last < MAX_JOINED:
            held = len(lines) - last
    kept = len(lines) - held
    return join(lines[:kept], starts[:kept]), held


def join(lines: pl.DataFrame, starts: pl.Series, *, separator: str = "\n") -> pl.DataFrame:
    """Lines to records: a record starts wherever `starts` is true."""
    if starts.all():
        return lines
    return (
        lines.with_columns(group=starts.cum_sum())
        .group_by("group", maintain_order=True)
        .agg(pl.col("line_no").first(), pl.col("n_lines").sum(), pl.col("text").str.join(separator))
        .drop("group")
    )


def block_of(
    texts: Sequence[str], *, first: int, end: int, blank: int = 0, provisional: bool = False
) -> Block:
    """A block of records that are numbered from `first` on.

    Example:
        >>> block_of(["{}", "{}"], first=7, end=5, blank=1).records.rows()
        [(7, 1, '{}'), (8, 1, '{}')]
    """
    records = pl.DataFrame(
        {"line_no": range(first, first + len(texts)), "n_lines": [1] * len(texts), "text": texts},
        schema=RECORDS,
    )
    return Block(records, end, blank, provisional)


def read_remainder(stream: BinaryIO, begun: int, *, text: str, first: int, end: int) -> Iterator[Block]:
    """Reads what follows the last whole record, however long: one record, which the next ingest reads anew.

    Args:
        stream: the rest of the file.
        begun: bytes of the remainder that were read already.
        text: what to say of it. Never the bytes themselves: they are full of other people's secrets.
        first: the record's number.
        end: where the remainder starts.
    """
    end += begun
    yield block_of([text], first=first, end=end, provisional=True)
    while data := stream.read(STEP):
        end += len(data)
        yield block_of([], first=first + 1, end=end, provisional=True)


_local = threading.local()


def scratch() -> duckdb.DuckDBPyConnection:
    """An in-memory DuckDB of this thread, for work on one batch."""
    con: duckdb.DuckDBPyConnection | None = getattr(_local, "con", None)
    if con is None:
        con = _local.con = duckdb.connect(config={"threads": 1, "enable_external_access": False})
    return con


def json_fields(records: pl.DataFrame, paths: Mapping[str, Iterable[str]]) -> pl.DataFrame:
    """Reads fields out of JSON text, one pass a record.

    Args:
        records: a frame with a column `text`.
        paths: for each new column the JSON paths to try in order, e.g. `$.ts` or `$."http.status"`.

    Returns:
        The frame in its order, with `is_object` (Boolean: the text is one valid JSON object) and a String
        column for each key of `paths`: the first path that is there and not null; nested values as JSON.

    Example:
        >>> frame = pl.DataFrame({"text": ['{"ts": 1, "a": {"b": "x"}}', "{oops"]})
        >>> json_fields(frame, {"ts": ["$.time", "$.ts"], "b": ["$.a.b"]}).drop("text").rows()
        [(True, '1', 'x'), (False, None, None)]
    """
    wanted, rest = _shape({path for several in paths.values() for path in several})
    # Written out, not bound: DuckDB reads constants once, and bound ones anew for each row (5 times slower).
    whole = f"json_transform(text, {_literal(json.dumps(wanted))})" if wanted else "true"
    others = f"json_extract_string(text, [{', '.join(map(_literal, rest))}])" if rest else "NULL"
    # Guarded, as json_transform fails on what is no JSON; TRY() around it costs 40 µs for each such record.
    picked = ", ".join(_pick(name, several, rest) for name, several in paths.items())
    query = f"""
        SELECT whole IS NOT NULL AS is_object, {picked}
        FROM (
            SELECT CASE WHEN ok THEN {whole} END AS whole, CASE WHEN ok THEN {others} END AS others
            FROM (SELECT text, json_valid(text) AND ltrim(text)[1] = '{{' AS ok FROM batch)
        )
    """
    con = scratch()
    con.register("batch", Stream(records.select("text")))
    fields = pl.DataFrame(con.sql(query))
    con.unregister("batch")
    kept = records.drop([name for name in fields.columns if name in records.columns])
    return kept.hstack(fields)


def _shape(paths: Iterable[str]) -> tuple[dict[str, Any], list[str]]:
    """The paths as the nested shape that json_transform reads, twice as fast as paths; and those it cannot.

    It knows keys, not places in arrays, and names of a STRUCT that differ in case only are the same to it.
    """
    shape: dict[str, Any] = {}
    rest = []
    for path in sorted(paths):
        *parents, last = _keys(path) or ("",)
        node: Any = shape
        for key in parents:
            node = node.setdefault(key, {}) if isinstance(node, dict) and _free(node, key) else None
        if last and isinstance(node, dict) and last not in node and _free(node, last):
            node[last] = "VARCHAR"
        else:
            rest.append(path)
    return shape, rest


def _free(node: Mapping[str, Any], key: str) -> bool:
    return key in node or all(key.lower() != other.lower() for other in node)


def _keys(path: str) -> tuple[str, ...] | None:
    """The keys of a path such as `$.a."b c"`; None for any other."""
    if not re.fullmatch(r'\$(?:\.(?:"[^"\\]+"|\w+))+', path):
        return None
    return tuple(quoted or plain for quoted, plain in re.findall(r'\.(?:"([^"]+)"|(\w+))', path))


def _pick(name: str, several: Iterable[str], rest: list[str]) -> str:
    places = [
        f"others[{rest.index(path) + 1}]"
        if path in rest
        else ".".join(["whole", *map(_name, _keys(path) or ())])
        for path in several
    ]
    return f"coalesce({', '.join(places)}, NULL) AS {_name(name)}"


def _name(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
