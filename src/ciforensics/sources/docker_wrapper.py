r"""The docker wrapper's log: a shell script in front of `docker` writes who called it, one JSON line a call.

    {"ts":"2026-11-24T03:04:13Z","repo":"acme/web","workflow":"CI","job":"build","run_id":"9018059362","cmd":"build"}

Its writer's vices (measured under dash, the /bin/sh of Debian and Ubuntu):

- `echo` escapes nothing. A workflow called `Nightly "full" suite` makes a line that is no JSON; `\n` in
  a name becomes a real newline that breaks the record in two, `\c` ends the output, newline and all, so
  that the next record is glued on. Such records are put together again and marked `salvaged`;
  backslashes in them stay as they are in the log, which cannot tell whether they were escapes.
- `cmd` is only the first argument. Where nothing more is in the log, `docker buildx build` is `buildx`
  and `docker --context x build` is `--context`; nobody can know the rest, so `command` says just that.
  With `args`, or with the whole line in `cmd`, it is the real subcommand: `build`.
- `ts` is when the command started, in whole seconds. Calls of the runner itself have no repo, no run.

Salvage reads a broken record in one way or not at all: `","key":` ends one value and begins the next,
each key once, and the keys are those of a valid line in the file's head, in the same order. (A head
without a valid line: known keys, the notes' six at least.) A value that itself holds `","job":"` has
two readings, a record that was cut off has none: both are rejected. So is valid JSON that names a key
of ours twice.
"""

from __future__ import annotations

import json
import re
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

import polars as pl

from ciforensics.contract import RECORDS, REJECTED, Head, Parsed, Reader, ReadOptions, Source
from ciforensics.errors import Unreadable
from ciforensics.formats import docker, records, times

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

Keys = dict[str, tuple[str, ...]]
Shapes = frozenset[tuple[str, ...]]

_KEYS: Keys = {
    "ts": ("ts", "timestamp", "@timestamp", "time", "datetime", "started_at", "start_time"),
    **docker.CI_KEYS,
    "run_attempt": ("run_attempt", "attempt", "runAttempt", "github_run_attempt", "GITHUB_RUN_ATTEMPT"),
    "orchestration_id": ("orchestration_id", "actions_orchestration_id", "ACTIONS_ORCHESTRATION_ID"),
    "runner": ("runner", "runner_name", "RUNNER_NAME"),
    "command": ("cmd", "command"),
    "subcommand": ("subcommand",),
    "args": ("args", "argv", "arguments", "command_line"),
    "image": ("image", "image_ref", "image_name"),
    "exit_code": ("exit_code", "exitCode", "exitcode", "exit_status", "rc"),
    "duration_ms": ("duration_ms", "durationMs", "elapsed_ms"),
}
_CI = ("ci_repo", "workflow", "job", "run_id")
_ORDERS = ("command", "subcommand", "args")
_ELSE = frozenset(
    {"cut", "pid", "ppid", "uid", "user", "cwd", "node", "run_number", "actor", "sha", "ref", "event_name"}
)
"""Keys that fill no column, but that a broken line may have without being strange."""

_FIRST = re.compile(r'\s*\{\s*"([^"\\]{1,64})"(?=\s*:)')
_NEXT = re.compile(
    r'(?P<close>"|:\s*(?:-?\d[\d.eE+-]*|true|false|null|\[[^\[\]]*\]))\s*(?:,|\}\s*\{)\s*'
    r'"(?P<key>[^"\\]{1,64})"(?=\s*:)'
)
_MOST_KEYS = 64
_TWICE = "two readings: the key {} is there twice"


def recognise(head: Head, options: ReadOptions) -> Reader | None:
    """Half of the objects or more name a time, a docker command and two keys of a CI run."""
    keys = {
        name: (options.mapping[name], *known) if name in options.mapping else known
        for name, known in _KEYS.items()
    }
    lines = pl.DataFrame({"text": head.lines}, schema={"text": pl.String}).with_columns(
        line_no=pl.int_range(1, pl.len() + 1), n_lines=pl.lit(1, pl.Int64)
    )
    joined, _ = records.json_objects(lines.select(*RECORDS), True)
    texts = docker.unglue(joined, _start(keys, frozenset()))["text"].to_list()
    valid = [_valid_keys(text) for text in texts]
    named = [_broken_keys(text) if whole is None else whole for text, whole in zip(texts, valid, strict=True)]
    objects = [names for names in named if names is not None]
    fitting = {names for names in objects if _fits(names, keys, forced=options.forced)}
    known = sum(names in fitting for names in objects)
    if not options.forced and (not known or 2 * known < len(objects)):
        return None
    if not known and texts:
        seen = ", ".join(sorted({key for names in objects for key in names})) or "none"
        raise Unreadable(
            f"No docker wrapper log: none of its first {len(texts)} records has a time and a docker command."
            f" Keys seen: {seen}. Wanted: ts, repo, workflow, job, run_id, cmd or the like.",
            hint="name the log's own keys with --map, e.g. `--map ts=When --map command=What`.",
        )
    shapes = frozenset(names for names in valid if names in fitting and len(set(names)) == len(names))
    return Reader("json lines", partial(_parse, keys, shapes, options.timezone), records.json_objects)


def _fits(names: tuple[str, ...], keys: Keys, *, forced: bool) -> bool:
    columns = {name for name, aliases in keys.items() if not set(aliases).isdisjoint(names)}
    return (
        "ts" in columns
        and not columns.isdisjoint(_ORDERS)
        and (forced or len(columns.intersection(_CI)) >= 2)
    )


def _valid_keys(text: str) -> tuple[str, ...] | None:
    try:
        pairs = json.loads(text, object_pairs_hook=tuple)
    except (ValueError, RecursionError):
        return None
    return tuple(key for key, _ in pairs) if isinstance(pairs, tuple) else None


def _broken_keys(text: str) -> tuple[str, ...] | None:
    first = _FIRST.match(text)
    if first is None:
        return None
    return first[1], *(mark["key"] for mark in islice(_NEXT.finditer(text, first.end()), _MOST_KEYS))


def _start(keys: Keys, shapes: Shapes) -> re.Pattern[str]:
    firsts = {shape[0] for shape in shapes} or set(keys["ts"])
    return re.compile(r'(?P<start>\{\s*"(?:' + "|".join(map(re.escape, sorted(firsts))) + r')"\s*:\s*["\d])')


def _parse(keys: Keys, shapes: Shapes, timezone: ZoneInfo, batch: pl.DataFrame) -> Parsed:
    good, broken = _read(batch, keys)
    pieces = docker.unglue(broken, _start(keys, shapes))
    parted, scraps = _read(pieces, keys)
    put = [_put_together(text, keys, shapes) for text in scraps["text"]]
    tried = scraps.rename({"text": "original"}).hstack(
        pl.DataFrame(put, schema={"text": pl.String, "reason": pl.String}, orient="row")
    )
    mended, beyond = _read(tried, keys)
    salvaged = pl.concat([parted, mended, beyond], how="diagonal")
    read = pl.concat(
        [good.with_columns(salvaged=False), salvaged.with_columns(salvaged=True)], how="diagonal"
    ).sort("line_no", maintain_order=True)
    judged = read.hstack(times.parse(read["ts"], timezone).rename({"ts": "when"})).with_columns(
        reason=pl.coalesce(
            "reason",
            pl.when(pl.all_horizontal(pl.col(*_ORDERS).is_null())).then(pl.lit("names no docker command")),
            pl.when(pl.col("when").is_null()).then(pl.lit("no readable time")),
        )
    )
    fine = judged["reason"].is_null()
    return Parsed(
        {"invocations": _rows(judged.filter(fine))},
        judged.filter(~fine).with_columns(text=pl.coalesce("original", "text")).select(*REJECTED),
        extra=len(pieces) - len(broken),
    )


def _rows(read: pl.DataFrame) -> pl.DataFrame:
    text = {name: docker.null_if_blank(pl.col(name)) for name in _KEYS}
    read = read.with_columns(
        docker.join_arguments(read["command"]), docker.join_arguments(read["args"])
    ).with_columns(**text)
    command, args = pl.col("command"), pl.col("args")
    named = pl.coalesce("command", "subcommand")
    whole = named.is_null() | (args == named) | args.str.starts_with(named + " ")
    line = (
        pl.when(args.is_null())
        .then(pl.coalesce("subcommand", "command"))
        .when(whole)
        .then(args)
        .otherwise(named + " " + args)
    )
    commands = docker.find_subcommands(read.select(line.alias("line"))["line"])
    return read.select(
        "line_no",
        pl.col("when").alias("ts"),
        "ts_resolution_ms",
        *_CI,
        pl.col("run_attempt", "exit_code").cast(pl.Int64, strict=False),
        "orchestration_id",
        "runner",
        "pod",
        commands.alias("command"),
        pl.coalesce(args, pl.when(command.str.contains(r"\s")).then(command)).alias("args"),
        "image",
        pl.col("duration_ms").cast(pl.Float64, strict=False),
        "salvaged",
    )


def _read(batch: pl.DataFrame, keys: Keys) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The JSON objects with their fields, and a `reason` where a key is there twice; then the others."""
    kinds, known = docker.object_keys(batch["text"])
    present = {key for kind in known.values() for key in kind}
    ours = {alias for aliases in keys.values() for alias in aliases}
    twice = {
        text: _TWICE.format(key)
        for text, kind in known.items()
        for key in kind
        if key in ours and kind.count(key) > 1
    }
    reason = kinds.replace_strict(twice, default=None, return_dtype=pl.String).alias("reason")
    paths = {
        name: [docker.point_at(key) for key in aliases if key in present] for name, aliases in keys.items()
    }
    fields = records.json_fields(
        batch.with_columns(reason).filter(kinds.is_not_null()),
        {name: some for name, some in paths.items() if some},
    )
    missing = [pl.lit(None, pl.String).alias(name) for name, some in paths.items() if not some]
    return fields.with_columns(missing), batch.filter(kinds.is_null())


def _put_together(text: str, keys: Keys, shapes: Shapes) -> tuple[str | None, str | None]:
    """The one way to read a broken record, as JSON, or why there is none."""
    first = _FIRST.match(text)
    if first is None:
        return None, "no record of the wrapper"
    names, values, end = [first[1]], [], first.end()
    for mark in islice(_NEXT.finditer(text, end), _MOST_KEYS):
        values.append(text[end : mark.end("close")])
        names.append(mark["key"])
        end = mark.end("key") + 1
    body = text.rstrip()
    if not body.endswith("}"):
        return None, "cut off before its end"
    values.append(body[end:-1])
    doubled = next((name for name in names if names.count(name) > 1), None)
    if doubled is not None:
        return None, _TWICE.format(doubled)
    shape = tuple(names)
    if shape not in shapes and (shapes or not _whole(shape, keys)):
        return None, "cut off before its last key, or other keys than the log's valid lines have"
    try:
        members = {name: _value(value) for name, value in zip(names, values, strict=True)}
    except (ValueError, RecursionError):
        return None, "a value does not end where the next key begins"
    return json.dumps(members), None


def _value(text: str) -> Any:
    """What stands between one key and the next: a colon, then text taken as it is, or other JSON."""
    value = text.strip().removeprefix(":").strip()
    return value[1:-1] if len(value) > 1 and value[0] == value[-1] == '"' else json.loads(value)


def _whole(shape: tuple[str, ...], keys: Keys) -> bool:
    ours = {alias for aliases in keys.values() for alias in aliases}
    return ours.union(_ELSE).issuperset(shape) and all(
        not set(keys[name]).isdisjoint(shape) for name in (*_CI, "ts", "command")
    )


_FILLS = {
    "ts": "ts: when the command started, whole seconds in the notes' wrapper",
    "ts_resolution_ms": "how finely ts is written",
    "ci_repo": "repo: GITHUB_REPOSITORY; empty for calls of the runner itself",
    "workflow": "workflow: GITHUB_WORKFLOW",
    "job": "job: GITHUB_JOB",
    "run_id": "run_id: GITHUB_RUN_ID",
    "run_attempt": "run_attempt, attempt: GITHUB_RUN_ATTEMPT",
    "orchestration_id": "orchestration_id: ACTIONS_ORCHESTRATION_ID",
    "runner": "runner, runner_name: RUNNER_NAME",
    "pod": "pod, hostname: HOSTNAME",
    "command": "cmd and args; cmd alone is only the first argument, e.g. buildx or --context",
    "args": "args, or cmd where it is a whole line; a JSON array is joined to a line",
    "image": "image",
    "exit_code": "exit_code",
    "duration_ms": "duration_ms",
    "salvaged": "the record was no JSON, or was glued to another",
}
SOURCE = Source(name="docker_wrapper", fills={"invocations": _FILLS}, recognise=recognise, doc=__doc__ or "")
