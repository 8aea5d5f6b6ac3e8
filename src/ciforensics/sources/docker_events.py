r"""What `docker events --format '{{json .}}'` prints: a JSON line for each thing that a docker daemon did.

    {"Type":"image","Action":"pull","Actor":{"ID":"golang:1.24","Attributes":{"name":"golang"}},"timeNano":1795489512169656392}

A streamer may add whose runner it was: workflow, repo, job, run_id and pod, beside
the event's own keys or as `{"event":{…},"tags":{…}}`. Read as well: engines before 1.22 (`status`, `id`,
`from`, `time`, no more), engine 29 (without the first three), Podman's dialect (`Status`, `ID`, `Name`,
`Image`), and JSON text sequences (a 0x1E before each event).

Its writer's vices:

- A pull that fails leaves no event, nor does a BuildKit build for what it pulls; slow readers lose events.
- `exec_create: sh -c …` holds the whole command line in the action. The action is cut at the colon; the
  rest goes into the attributes as `execCommand`, that of `health_status: healthy` as `healthStatus`.
- Container labels are copied over the event's own attributes, so a label called `exitCode` hides the real
  one: what is not a number is no exit code here, and stays in the attributes.
- For a pull the image is the actor's id, and `name` has no tag; for tag, untag and delete the id is the
  image's, and `name` is a reference or, once more, that id: all there is of a digest then.
- `timeNano` has 19 digits, more than a double holds: it is read as an integer, to the microsecond.
"""

from __future__ import annotations

import json
import re
from functools import partial
from typing import TYPE_CHECKING

import polars as pl

from ciforensics.contract import REJECTED, Head, Parsed, Reader, ReadOptions, Source
from ciforensics.errors import Unreadable
from ciforensics.formats import docker, records, times

if TYPE_CHECKING:
    from collections.abc import Mapping
    from zoneinfo import ZoneInfo

_EVENT: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "nano": (("timeNano",),),
    "time": (("time",), ("Time",)),
    "type": (("Type",),),
    "did": (("Action",), ("status",), ("Status",)),
    "object_id": (("Actor", "ID"), ("id",), ("ID",)),
    "called": (("Actor", "Attributes", "name"), ("Name",)),
    "of_image": (("Actor", "Attributes", "image"), ("from",), ("Image",)),
    "exited": (("Actor", "Attributes", "exitCode"), ("ContainerExitCode",)),
    "attributes": (("Actor", "Attributes"), ("Attributes",)),
}
_OLD = frozenset({"status", "id", "from", "time", "timeNano"})
_IMAGE_ACTIONS = ("pull", "push", "tag", "untag", "delete", "import", "load", "save")
_EXITS = ("die", "exec_die", "died", "exec_died")
"""Podman says `died`."""

# A nested object follows a colon, a comma or a bracket; one that follows anything else was glued on.
_START = re.compile(r'(?:\}\s*|\x1e\s*|[^:\[,\s\x1e])(?P<start>\{\s*"[\w.@-]{1,64}"\s*:)')


def recognise(head: Head, options: ReadOptions) -> Reader | None:
    """Half of the JSON objects or more have a docker event's keys: today's, an old engine's or Podman's."""
    lines = pl.DataFrame({"text": head.lines}, schema={"text": pl.String}).select(
        line_no=pl.int_range(1, pl.len() + 1), n_lines=pl.lit(1, pl.Int64), text="text"
    )
    objects = [
        value for text in docker.unglue(_bare(lines), _START)["text"] if (value := _object(text)) is not None
    ]
    events = sum(_is_event(each) for each in objects)
    if not options.forced and (not events or 2 * events < len(objects)):
        return None
    if not events and head.lines:
        raise Unreadable(
            f"No docker events: none of the first {len(head.lines)} lines has Type, Action and time.",
            hint="write the events with `docker events --format '{{json .}}'`.",
        )
    tags = {
        name: (options.mapping[name], *keys) if name in options.mapping else keys
        for name, keys in docker.CI_KEYS.items()
    }
    return Reader("json lines", partial(_parse, tags, options.timezone))


def _object(text: str) -> dict[str, object] | None:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _is_event(entry: Mapping[str, object]) -> bool:
    inner = entry.get("event")
    event = inner if isinstance(inner, dict) else entry
    timed = any(isinstance(event.get(key), int | str) for key in ("timeNano", "time", "Time"))
    texts = {key for key, value in event.items() if isinstance(value, str)}
    if not timed:
        return False
    if isinstance(event.get("Actor"), dict):
        return texts >= {"Type", "Action"}
    tags = {key for keys in docker.CI_KEYS.values() for key in keys}
    old = texts >= {"status", "id"} and event.keys() <= _OLD | tags | {"run_attempt"}
    return old or (texts >= {"Type", "Status"} and not texts.isdisjoint({"ID", "Name"}))


def _bare(batch: pl.DataFrame) -> pl.DataFrame:
    """Without the record separators of a JSON text sequence."""
    return batch.with_columns(pl.col("text").str.strip_chars("\x1e \t\r\n"))


def _parse(tags: Mapping[str, tuple[str, ...]], timezone: ZoneInfo, batch: pl.DataFrame) -> Parsed:
    good, broken = _read(_bare(batch), tags)
    pieces = docker.unglue(broken, _START)
    parted, scraps = _read(_bare(pieces), tags)
    read = pl.concat([good, parted], how="diagonal").sort("line_no", maintain_order=True)
    nano = read.select(pl.when(pl.col("nano").str.contains(r"^[1-9]\d{17,18}$")).then("nano"))["nano"]
    read = read.with_columns(
        ts=pl.coalesce(times.parse(nano, timezone)["ts"], times.parse(read["time"], timezone)["ts"]),
        did=docker.null_if_blank(pl.col("did")),
    ).with_columns(
        reason=pl.when(pl.col("did").is_null())
        .then(pl.lit("names no action of docker's"))
        .when(pl.col("ts").is_null())
        .then(pl.lit("no readable time"))
    )
    unread = scraps.with_columns(reason=pl.lit("no JSON object"))
    fine = read["reason"].is_null()
    rejected = pl.concat([read.filter(~fine).select(*REJECTED), unread.select(*REJECTED)])
    return Parsed(
        {"docker_events": _rows(read.filter(fine))},
        rejected.sort("line_no", maintain_order=True),
        extra=len(pieces) - len(broken),
    )


def _read(batch: pl.DataFrame, tags: Mapping[str, tuple[str, ...]]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The JSON objects with their fields; then the other records."""
    kinds, known = docker.object_keys(batch["text"])
    present = {key for kind in known.values() for key in kind}
    wanted = {
        **{name: [*(("event", *path) for path in paths), *paths] for name, paths in _EVENT.items()},
        **{
            name: [*((key,) for key in keys), *(("tags", key) for key in keys)] for name, keys in tags.items()
        },
    }
    paths = {
        name: [docker.point_at(*path) for path in several if path[0] in present]
        for name, several in wanted.items()
    }
    fields = records.json_fields(
        batch.filter(kinds.is_not_null()), {name: several for name, several in paths.items() if several}
    )
    missing = [pl.lit(None, pl.String).alias(name) for name, several in paths.items() if not several]
    return fields.with_columns(missing), batch.filter(kinds.is_null())


def _rows(read: pl.DataFrame) -> pl.DataFrame:
    detail = r"^(exec_\w+|health_status): ?((?s:.*))$"
    read = read.with_columns(
        docker.null_if_blank(pl.col("type", "object_id", "called", "of_image", *docker.CI_KEYS)),
        action=pl.coalesce(pl.col("did").str.extract(detail), "did"),
        detail=pl.col("did").str.extract(detail, 2),
    ).with_columns(
        type=pl.coalesce(
            "type",  # not there before 1.22, but each action is an image's or a container's
            pl.when(pl.col("action").is_in(_IMAGE_ACTIONS))
            .then(pl.lit("image"))
            .when(pl.col("of_image").is_not_null())
            .then(pl.lit("container")),
        )
    )
    is_id = pl.col("object_id").str.contains(r"^(?:sha256:)?[0-9a-f]{64}$")
    digest = pl.when(pl.col("object_id").str.starts_with("sha256:")).then("object_id")
    reference = (
        pl.when(pl.col("type") == "container")
        .then("of_image")
        .when(pl.col("type") == "image")
        .then(pl.when(is_id).then(pl.coalesce("called", digest)).otherwise("object_id"))
    )
    images = docker.image_parts(read.select(reference=reference)["reference"])
    name = (
        pl.when(pl.col("type") == "volume")
        .then(pl.coalesce("called", "object_id"))
        .when(~pl.col("type").is_in(["image", "daemon"]))
        .then("called")
    )
    exit_code = pl.when(pl.col("action").is_in(_EXITS)).then(pl.col("exited").cast(pl.Int64, strict=False))
    return read.select(
        "line_no",
        "ts",
        "type",
        "action",
        "object_id",
        name.alias("name"),
        *images,
        exit_code.alias("exit_code"),
        *docker.CI_KEYS,
        _attributes(read),
    )


def _attributes(read: pl.DataFrame) -> pl.Series:
    """The attributes as one JSON object, with what the action said behind its colon."""
    con = records.scratch()
    con.register("attributes_read", records.Stream(read.select("attributes").with_row_index("nth")))
    # A string that looks like an object is none: what goes into a JSON column must be JSON.
    query = con.sql(
        "SELECT attributes LIKE '{%' AND json_valid(attributes) AS object FROM attributes_read ORDER BY nth"
    )
    objects = pl.DataFrame(query)["object"]
    con.unregister("attributes_read")
    whole = pl.when(objects).then("attributes").otherwise(_json("attributes", pl.col("attributes")))
    command, health = _json("execCommand", pl.col("detail")), _json("healthStatus", pl.col("detail"))
    added = pl.when(pl.col("action") == "health_status").then(health).otherwise(command)
    parts = read.select(whole=whole, added=added)
    both = pl.col("added").str.head(-1) + "," + pl.col("whole").str.slice(1)
    return parts.select(
        attributes=pl.when(pl.col("added").is_null())
        .then("whole")
        .when(pl.col("whole").is_null() | (pl.col("whole") == "{}"))
        .then("added")
        .otherwise(both)
    )["attributes"]


def _json(key: str, value: pl.Expr) -> pl.Expr:
    return pl.when(value.is_not_null()).then(pl.struct(value.alias(key)).struct.json_encode())


_FILLS = {
    "ts": "timeNano, else time: when the daemon saw it",
    "type": "Type; before engine 1.22 what the action belongs to",
    "action": "Action or status up to the colon",
    "object_id": "Actor.ID or id: of the container, image, network; a pull's reference",
    "name": "Actor.Attributes.name, of an image event never; a volume's id",
    "image": "of a container its image attribute or from; of an image its id or name: the name in it",
    "image_tag": "the tag in it",
    "image_digest": "the digest in it, or the image's id where the log has no more",
    "exit_code": "Actor.Attributes.exitCode of die and exec_die, where it is a number",
    "ci_repo": "repo that a streamer added, beside the event or in tags",
    "workflow": "workflow that a streamer added",
    "job": "job that a streamer added",
    "run_id": "run_id that a streamer added",
    "pod": "pod, hostname that a streamer added",
    "attributes": "Actor.Attributes, with execCommand or healthStatus out of the action",
}
SOURCE = Source(name="docker_events", fills={"docker_events": _FILLS}, recognise=recognise, doc=__doc__ or "")
