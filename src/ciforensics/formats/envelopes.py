r"""Envelopes: what a log collector wrapped around each line, peeled off before any source sees it.

| envelope | who wraps | what a line looks like |
|---|---|---|
| `cri` | containerd and CRI-O, so Kubernetes nodes | `2026-11-24T03:04:13.1Z stdout F <line>` |
| `docker` | docker's json-file driver | `{"log":"<line>\n","stream":"stdout","time":"…"}` |
| `cloud-logging` | Google Cloud Logging and its exports | `{"insertId":…,"jsonPayload":{…}}` |
| `bigquery` | rows of a Pub/Sub subscription to BigQuery | `{"subscription_name":…,"data":"<line>"}` |

`gcloud logging read --format=json` prints its entries as one array over many lines: see `array_lines`.

A line that is in no envelope although the others are stays as it is, so that it ends in `rejected` and not
on the floor.
"""

from __future__ import annotations

import io
import json
import re
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import polars as pl

from ciforensics.formats import har, records

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ciforensics.contract import Assemble, Parsed, Reader

_CRI = re.compile(
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d) (?:stdout|stderr) [FP](?:\s|$)"
)
_CRI_GROUPS = (
    r"^\d{4}-\d\d-\d\dT[0-9:.]+(?:Z|[+-]\d\d:\d\d) (?:stdout|stderr) (?<flag>[FP])(?: (?<inner>(?s:.*)))?$"
)


@dataclass(frozen=True)
class Envelope:
    """One kind of envelope.

    Attributes:
        name: shown in `files.format`.
        wraps: whether a line is in it.
        peel: lines to the lines inside; what was torn in two by the collector is joined.
    """

    name: str
    wraps: Callable[[str], bool]
    peel: Assemble


def _joined(peeled: pl.DataFrame, goes_on: pl.Series, final: bool) -> tuple[pl.DataFrame, int]:
    """Joins torn lines: where `goes_on`, the next line belongs to this one, without a newline between."""
    held = 0
    if not final and goes_on.tail(1).any():
        whole = goes_on.not_().arg_true()
        held = len(goes_on) - (int(whole[-1]) + 1 if len(whole) else 0)
    kept = len(peeled) - held
    starts = goes_on.shift(1, fill_value=False).not_()[:kept]
    joined = records.join(peeled[:kept], starts, separator="")
    return joined, held


def _peel_cri(lines: pl.DataFrame, final: bool) -> tuple[pl.DataFrame, int]:
    parts = lines.with_columns(pl.col("text").str.extract_groups(_CRI_GROUPS).struct.unnest())
    peeled = parts.select(
        "line_no",
        "n_lines",
        text=pl.when(pl.col("flag").is_null()).then("text").otherwise(pl.col("inner").fill_null("")),
    )
    return _joined(peeled, (parts["flag"] == "P").fill_null(value=False), final)


def _peel_docker(lines: pl.DataFrame, final: bool) -> tuple[pl.DataFrame, int]:
    parts = records.json_fields(lines, {"log": ["$.log"]})
    log = pl.col("log")
    peeled = parts.select(
        "line_no", "n_lines", text=pl.coalesce(log.str.strip_suffix("\n").str.strip_suffix("\r"), "text")
    )
    return _joined(peeled, parts.select((~log.str.ends_with("\n")).fill_null(value=False)).to_series(), final)


def _peel_json(paths: Sequence[str]) -> Assemble:
    def peel(lines: pl.DataFrame, final: bool) -> tuple[pl.DataFrame, int]:  # noqa: ARG001 (as every Assemble)
        parts = records.json_fields(lines, {"inner": paths})
        return parts.select("line_no", "n_lines", text=pl.coalesce("inner", "text")), 0

    return peel


def _object_with(*keys: str) -> Callable[[str], bool]:
    def wraps(line: str) -> bool:
        return line.startswith("{") and all(f'"{key}"' in line for key in keys)

    return wraps


def _is_log_entry(line: str) -> bool:
    return (
        line.startswith("{")
        and ('"jsonPayload"' in line or '"textPayload"' in line)
        and any(key in line for key in ('"insertId"', '"logName"', '"receiveTimestamp"'))
    )


ENVELOPES: Mapping[str, Envelope] = {
    envelope.name: envelope
    for envelope in (
        Envelope("cri", lambda line: _CRI.match(line) is not None, _peel_cri),
        Envelope("docker", _object_with("log", "stream", "time"), _peel_docker),
        Envelope(
            "cloud-logging",
            _is_log_entry,
            # Fluent Bit puts a line that it did not parse under `log` or `message` of the payload.
            _peel_json(["$.textPayload", "$.jsonPayload.log", "$.jsonPayload.message", "$.jsonPayload"]),
        ),
        Envelope("bigquery", _object_with("subscription_name", "data"), _peel_json(["$.data"])),
    )
}


def detect(lines: Sequence[str]) -> Envelope | None:
    """The envelope that most of these lines are in.

    Example:
        >>> detect(["2026-11-24T03:04:13.5Z stdout F {}"]).name
        'cri'
        >>> detect(['{"ts": 1}']) is None
        True
    """
    for envelope in ENVELOPES.values():
        if sum(map(envelope.wraps, lines)) * 2 > len(lines):
            return envelope
    return None


def _payload(entry: Any) -> Any:
    """What a log entry carries, where `_peel_json` looks for it too."""
    payload = entry.get("textPayload", entry.get("jsonPayload")) if isinstance(entry, dict) else None
    if isinstance(payload, dict):
        payload = payload.get("log", payload.get("message", payload))
    return entry if payload is None else payload


def _text(payload: str) -> str:
    """A record that is a JSON string is the line in it."""
    return json.loads(payload) if payload.startswith('"') else payload


def array_lines(head: bytes) -> list[str]:
    r"""The first lines within an array of log entries; none when a file does not begin with such an array.

    Example:
        >>> array_lines(b'[\n  {"insertId": "x", "textPayload": "hello"},\n  {"inse')
        ['hello']
    """
    if not head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"["):
        return []
    block = next(har.read_elements(io.BytesIO(head), 1, reduce=lambda entry: entry, per_block=100), None)
    entries = block.records["text"].to_list() if block else []
    entries = [text for text in entries if text.startswith("{")]
    if not entries or not all(map(_is_log_entry, entries)):
        return []
    return [_text(har.dumps(_payload(json.loads(text)))) for text in entries]


def array_reader(reader: Reader) -> Reader:
    """Reads from an array of log entries what `reader` reads from lines."""

    def parse(records: pl.DataFrame) -> Parsed:
        text = pl.col("text").map_elements(_text, return_dtype=pl.String)
        return reader.parse(
            records.with_columns(pl.when(pl.col("text").str.starts_with('"')).then(text).otherwise("text"))
        )

    return replace(
        reader, format="json array", parse=parse, blocks=partial(har.read_elements, reduce=_payload)
    )


def assembler(envelope: Envelope | None, assemble: Assemble) -> Assemble:
    """Peels first, then assembles; what either holds back is held back in lines of the file."""
    if envelope is None:
        return assemble

    def both(lines: pl.DataFrame, final: bool) -> tuple[pl.DataFrame, int]:
        peeled, torn = envelope.peel(lines, final)
        assembled, open_lines = assemble(peeled, final)
        held = int(peeled["n_lines"][len(peeled) - open_lines :].sum()) if open_lines else 0
        return assembled, torn + held

    return both
