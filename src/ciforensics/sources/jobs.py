r"""GitHub's API about CI jobs: what `gh api --paginate /repos/OWNER/REPO/actions/runs/ID/jobs` prints.

    {"total_count": 1, "jobs": [{"run_id": 9018059362, "workflow_name": "CI", "run_attempt": 1, "html_url": "https://github.com/acme/web/actions/runs/9018059362/job/403", "status": "completed", "conclusion": "success", "started_at": "2026-11-24T03:04:13Z", "completed_at": "2026-11-24T03:04:15Z", "name": "build", "runner_name": "arc-runner-set-cf397-runner-13"}]}

Read as well: `/actions/runs` (a workflow run is a row without a job), pages one after the other or in an array
(`--slurp`), bare jobs and runs in an array or one a line, what `gh run list --json` and `gh run view --json`
print, and the payloads of the webhooks workflow_job and workflow_run.

Its writer's vices:

- `name` is the job's display name: `build (1.21)` where the docker wrapper's log has the job's id, `build`.
  Matrix legs differ in it; a called workflow's jobs are `caller / called`.
- Times are whole seconds, cut off: a job that completed at :15 ran into the second that follows.
- A job that is queued has a `started_at`, the time when it was queued; so has one that was skipped. Neither
  ran, so neither is a row: skipped, by reason, as is what was cancelled before a runner took it.
- "Not yet" is null, the empty text, or the year 1, depending on the program that asked.
- A run's `updated_at` is its end only when it is completed, and later when someone touches it. Of a run that
  was run again, only the last attempt's start and end are there.
- A job seen several times, while it ran and after it, is a row each time.
- An error of the API stands among the pages as `{"message": …}`: rejected, with that message.
- `gh run view --json jobs` has no runner, and the jobs' workflow is only on the run around them.
"""  # noqa: E501

from __future__ import annotations

import re
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import polars as pl

from ciforensics.contract import Head, Parsed, Reader, ReadOptions, Source
from ciforensics.errors import Unreadable
from ciforensics.formats import json_documents
from ciforensics.formats.json_documents import as_text

if TYPE_CHECKING:
    from collections.abc import Mapping
    from zoneinfo import ZoneInfo

_WEBHOOKS = ("workflow_job", "workflow_run")
_NOT_STARTED = frozenset({"queued", "requested", "waiting", "pending"})
_NEVER_RAN = frozenset({"skipped", "action_required", "startup_failure"})

_RUN_URL = re.compile(
    r"https?://[^/]+/(?:api/v3/)?(?:repos/)?(?P<repo>[^/]+/[^/]+)/actions/(?:runs/(?P<run>\d+))?"
)
_JOB_URL = re.compile(r"/actions/(?:runs/\d+/jobs?|jobs)/\d+")


def recognise(head: Head, options: ReadOptions) -> Reader | None:
    """Half of the first objects or more are jobs, workflow runs or webhook payloads; or a page is empty."""
    reader = json_documents.make_reader(
        head,
        lists=("jobs", "workflow_runs"),
        knows=_are_jobs,
        facts=_facts,
        parse=partial(_parse, timezone=options.timezone),
    )
    if reader is None and options.forced and head.data.strip():
        raise Unreadable(
            "No jobs of GitHub's API: no object at the head has a run_id, a name and a time, or is a run.",
            hint="save them with `gh api --paginate /repos/OWNER/REPO/actions/runs/ID/jobs > jobs.json`.",
        )
    return reader


def _are_jobs(values: list[Any]) -> bool:
    known = sum(_told(value) is not None for value in values)
    return known > 0 and 2 * known >= len(values)


def _told(value: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]] | None:
    """Whether an object is about a `job` or a `run`, and the part of it that is; None: about neither."""
    for name in _WEBHOOKS:
        if isinstance(value.get(name), dict) and "action" in value:
            return name.removeprefix("workflow_"), value[name]
    keys = value.keys()
    if {"run_id", "name"} <= keys and keys & {"started_at", "runner_name", "run_url"}:
        return "job", value
    if {"databaseId", "name", "startedAt"} <= keys and _JOB_URL.search(as_text(value.get("url")) or ""):
        return "job", value
    if {"id", "run_number", "workflow_id"} <= keys or {"databaseId", "workflowName"} <= keys:
        return "run", value
    return None


def _facts(value: Any) -> list[dict[str, Any]]:
    """What is to be known of an object, in the names of table `jobs`."""
    told = _told(value)
    if told is None:
        return [_neither(value)]
    kind, about = told
    links = [as_text(about.get(key)) for key in ("run_url", "html_url", "url", "jobs_url")]
    places = [place for link in links if link and (place := _RUN_URL.match(link))]
    said = _full_name(about) or _full_name(value)
    fact = {
        "started_at": _time(about, "started_at", "startedAt"),
        "completed_at": _time(about, "completed_at", "completedAt"),
        "ci_repo": said or next((place["repo"] for place in places), None),
        "workflow": _first(about, "workflow_name", "workflowName"),
        "job": _first(about, "name"),
        "run_id": _first(about, "run_id") or next((place["run"] for place in places if place["run"]), None),
        "run_attempt": _first(about, "run_attempt", "attempt"),
        "runner": _first(about, "runner_name"),
        "conclusion": _first(about, "conclusion"),
    }
    if kind == "run":
        over = about.get("status") == "completed"
        fact |= {
            "started_at": _time(about, "run_started_at", "startedAt", "created_at", "createdAt"),
            "completed_at": _time(about, "updated_at", "updatedAt") if over else None,
            "workflow": _first(about, "workflowName", "name", "path"),
            "job": None,
            "run_id": _first(about, "id", "databaseId"),
            "runner": None,
        }
    return [fact | {"skip": _skip(about, fact, kind), "wrong": _wrong(fact)}]


def _neither(value: Mapping[str, Any]) -> dict[str, Any]:
    if isinstance(value.get("action"), str) or "hook_id" in value:
        return {"skip": "another event of a webhook"}
    message = as_text(value.get("message"))
    return {"wrong": f"an error of the API: {message[:200]}" if message else "no job and no workflow run"}


def _skip(about: Mapping[str, Any], fact: Mapping[str, Any], kind: str) -> str | None:
    """Why a job or run never ran, in words; None: it did."""
    status = about.get("status")
    if isinstance(status, str) and status in _NOT_STARTED:
        return f"a {kind} that has not started ({status})"
    if fact["conclusion"] in _NEVER_RAN:
        return f"a {kind} that never ran ({fact['conclusion']})"
    if fact["conclusion"] == "cancelled" and "runner_name" in about and not fact["runner"]:
        return "a job that was cancelled before a runner took it"
    return None


def _wrong(fact: Mapping[str, Any]) -> str | None:
    return None if fact["run_id"] else "no run id"


def _full_name(value: Mapping[str, Any]) -> str | None:
    repository = value.get("repository")
    return as_text(repository.get("full_name")) if isinstance(repository, dict) else None


def _first(value: Mapping[str, Any], *keys: str) -> str | None:
    return next((said for key in keys if (said := as_text(value.get(key)))), None)


def _time(value: Mapping[str, Any], *keys: str) -> str | None:
    """The first that is a time: Go writes the year 1 for none."""
    said = (as_text(value.get(key)) for key in keys)
    return next((time for time in said if time and not time.startswith("0001-")), None)


def _parse(records: pl.DataFrame, *, timezone: ZoneInfo) -> Parsed:
    jobs_read = json_documents.parse_records(
        records,
        table="jobs",
        columns=tuple(SOURCE.fills["jobs"]),
        span=("started_at", "completed_at"),
        timezone=timezone,
    )
    attempt = pl.col("run_attempt").cast(pl.Int64, strict=False)
    return replace(jobs_read, rows={"jobs": jobs_read.rows["jobs"].with_columns(attempt)})


_FILLS = {
    "started_at": "started_at; of a run run_started_at",
    "completed_at": "completed_at, NULL while it runs; of a completed run updated_at",
    "ci_repo": "repository.full_name, else owner/name in run_url, html_url or url, as written there",
    "workflow": "workflow_name; of a run its name, or its path where it has none",
    "job": "name: the display name, matrix legs differ; NULL for a run",
    "run_id": "run_id; of a run its id",
    "run_attempt": "run_attempt",
    "runner": "runner_name: on ARC the pod's name; NULL for a run",
    "conclusion": "conclusion, NULL while it runs",
}
SOURCE = Source(name="jobs", fills={"jobs": _FILLS}, recognise=recognise, doc=__doc__ or "")
