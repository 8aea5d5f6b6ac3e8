"""What `ciforensics golden scan PATH --json` writes: a JSON line for each image that a Dockerfile names.

    {"ts":"2026-11-24T03:04:13Z","ci_repo":"acme/web","dockerfile":"Dockerfile","line":2,"stage":"build","instruction":"FROM","platform":null,"reference":"golang:${GO}","image":"golang","image_tag":"1.24","image_digest":null,"registry":"docker.io","served_by":"cache","reason":"no golden version of this tag"}

Its writer's vices:

- `ts` is when the scan began, the same on all its lines; the Dockerfiles are as they were then, and `served_by`
  is what the catalogue of that day says.
- Build arguments have their defaults. A build that passes `--build-arg` or `--build-context` may start from
  another image; where there is no default, image and tag are NULL and `served_by` is unknown.
- A stage that is built on another one names no image, so it has no line; `scratch` has one.
- A Dockerfile that could not be read is a line with an `error`: rejected, with that reason.
"""  # noqa: E501

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING

import polars as pl

from ciforensics.contract import REJECTED, Head, Parsed, Reader, ReadOptions, Source
from ciforensics.errors import Unreadable
from ciforensics.formats import docker, records, times

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

_IMAGE = frozenset({"ts", "dockerfile", "line", "instruction", "reference", "served_by"})
_UNREAD = frozenset({"ts", "ci_repo", "dockerfile", "line", "error"})
_MEMBERS = ("golden", "cache", "bypassed", "unknown")


def recognise(head: Head, options: ReadOptions) -> Reader | None:
    """Half of the lines or more are images or errors of a scan."""
    ours = sum(_is_ours(line) for line in head.lines[:100])
    if ours and 2 * ours >= len(head.lines[:100]):
        return Reader("json lines", partial(_parse, options.timezone), assemble=records.json_objects)
    if options.forced and head.lines:
        raise Unreadable(
            "No scan of Dockerfiles: its lines have ts, dockerfile, line and served_by, or an error.",
            hint="write one with `ciforensics golden scan PATH --json`.",
        )
    return None


def _is_ours(line: str) -> bool:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return False
    return isinstance(value, dict) and (value.keys() >= _IMAGE or value.keys() == _UNREAD)


def _parse(timezone: ZoneInfo, batch: pl.DataFrame) -> Parsed:
    columns = tuple(SOURCE.fills["base_images"])
    read = records.json_fields(batch, {name: [f"$.{name}"] for name in (*columns, "error")})
    read = read.with_columns(
        docker.null_if_blank(pl.col(name for name in columns if name not in ("ts", "line"))),
        ts=times.parse(read["ts"], timezone)["ts"],
        line=pl.col("line").cast(pl.Int64, strict=False),
    ).with_columns(
        rejected=pl.when(~pl.col("is_object"))
        .then(pl.lit("no JSON object"))
        .when(pl.col("error").is_not_null())
        .then("error")
        .when(pl.col("ts").is_null())
        .then(pl.lit("no time that can be read"))
        .when(~pl.col("served_by").is_in(_MEMBERS).fill_null(value=False))
        .then(pl.lit("served_by is none of golden, cache, bypassed, unknown"))
    )
    fine = pl.col("rejected").is_null()
    return Parsed(
        {"base_images": read.filter(fine).select("line_no", *columns)},
        read.filter(~fine).with_columns(reason="rejected").select(*REJECTED),
    )


_FILLS = {
    "ts": "ts: when the scan began",
    "ci_repo": "ci_repo: --repo, else owner/name of git's remote origin, else the folders",
    "dockerfile": "dockerfile: its path from the top of the repository, else of the scanned folder",
    "line": "line",
    "stage": "stage",
    "instruction": "instruction",
    "reference": "reference, build arguments not put in",
    "image": "image, as docker's events name it; NULL where it is unknown",
    "image_tag": "image_tag; latest where neither tag nor digest is named",
    "image_digest": "image_digest: what pins it",
    "registry": "registry; NULL for scratch and the unknown",
    "platform": "platform, build arguments not put in",
    "served_by": "served_by, by the catalogue that the scan was given",
    "reason": "reason, NULL for golden",
}
SOURCE = Source(name="dockerfile_scan", fills={"base_images": _FILLS}, recognise=recognise, doc=__doc__ or "")
