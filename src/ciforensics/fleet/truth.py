"""What really happened in a made-up fleet, and what it was drawn from: written apart from its evidence.

- `requests.csv`, a row for each 401 of the CSV: `file, line_no` where it is, `ci_repo, workflow, job, run_id`
  that sent it (empty where no build with a wrapper did), `sender` (build, no wrapper, background), `outcome`
  (challenge, refused), `asked` (place in the parameters' `asked`), `second` (of the CSV's, after the start).
- `builds.csv`, a row for each build with a wrapper: `ci_repo, workflow, job, run_id, second` (its own).
- `parameters.json`: rates and delays, all that the posterior under the true parameters needs.
"""

from __future__ import annotations

import csv
import io
import json
import math
from typing import TYPE_CHECKING, Any

from ciforensics.fleet import logs
from ciforensics.fleet.model import Client
from ciforensics.fleet.run import unauthorized

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ciforensics.fleet.model import Build, Errand, Fleet, Parameters

CSV = "github-support.csv"
JOB = ("ci_repo", "workflow", "job", "run_id")


def evidence_files(fleet: Fleet) -> dict[str, str]:
    """The logs of a fleet, each in one file; `evidence-jobs` holds what would make them exact."""
    return {
        f"evidence/{CSV}": logs.github_csv(fleet),
        "evidence/docker-wrapper.jsonl": _lines(logs.docker_wrapper(fleet)),
        "evidence/mitmproxy.jsonl": _lines(logs.mitmproxy(fleet)),
        "evidence/squid-connect.jsonl": _lines(logs.squid(fleet)),
        "evidence/docker-events.jsonl": _lines(logs.docker_events(fleet)),
        "evidence-jobs/jobs.jsonl": _lines(logs.jobs(fleet)),
        "evidence-jobs/pods.json": logs.pods(fleet),
    }


def truth_files(fleet: Fleet) -> dict[str, str]:
    """The truth of a fleet whose workflows keep their git and their rate all day."""
    told = parameters(fleet.parameters)
    asked = {(one["url"], one["user_agent"]): nth for nth, one in enumerate(told["asked"])}
    requests = (
        (
            CSV,
            line_no,
            *(_job(one.build) if one.build and one.build.wrapped else ("",) * 4),
            "background" if one.build is None else "build" if one.build.wrapped else "no wrapper",
            one.outcome,
            asked[one.url, one.user_agent],
            math.floor(logs.at_forge(fleet, one)),
        )
        for line_no, one in enumerate(fleet.requests, start=2)
        if one.status == 401
    )
    builds = ((*_job(one), math.floor(one.at)) for one in fleet.builds if one.wrapped and one.pulled)
    return {
        "truth/requests.csv": _csv(
            ("file", "line_no", *JOB, "sender", "outcome", "asked", "second"), requests
        ),
        "truth/builds.csv": _csv((*JOB, "second"), builds),
        "truth/parameters.json": json.dumps(told, indent=1) + "\n",
    }


def parameters(of: Parameters) -> dict[str, Any]:
    """What decides who sent a 401: rates an hour, and delays in seconds.

    A build's request follows its start by `median_s` times a log-normal factor of sigma 0.6 (`lognormal`), a
    quarter or four times that with sigma 0.3 (`bimodal`), or anything up to six times it (`flat`). Up to a
    second comes on top, and 40 ms of the way to GitHub. A clock's second is its floor.
    """
    pools = {pool.name: pool for pool in of.pools}
    merged: dict[tuple[object, ...], dict[str, Any]] = {}
    asked: dict[tuple[str, str], int] = {}
    for workflow in of.workflows:
        wrapped = (
            sum(pools[name].wrapper is not None for name in workflow.pools)
            / len(workflow.pools)
            * of.coverage
        )
        one = merged.setdefault(
            (workflow.repo, workflow.name, workflow.job, workflow.git, workflow.errands),
            {
                "ci_repo": workflow.repo,
                "workflow": workflow.name,
                "job": workflow.job,
                "builds_per_hour": 0.0,
                "builds_per_hour_without_wrapper": 0.0,
                "requests": [
                    sent | {"chance": errand.chance, "median_s": errand.delay}
                    for errand in workflow.errands
                    for sent in _sent(errand, workflow.git, asked)
                ],
            },
        )
        one["builds_per_hour"] += workflow.per_hour * wrapped
        one["builds_per_hour_without_wrapper"] += workflow.per_hour * (1 - wrapped)
    background = [
        sent
        | {"per_hour": other.per_hour, "between_hours": [other.between[0], min(other.between[1], of.hours)]}
        for other in of.background
        for sent in _sent(other.errand, Client(""), asked)
    ]
    return {
        "seed": of.seed,
        "start": of.start.isoformat(),
        "hours": of.hours,
        "offset": of.offset,
        "delays": of.delays,
        "asked": [{"url": url, "user_agent": user_agent} for url, user_agent in asked],
        "workflows": list(merged.values()),
        "background": background,
    }


def _sent(errand: Errand, git: Client, asked: dict[tuple[str, str], int]) -> list[dict[str, Any]]:
    return [
        {"asked": asked.setdefault((one.url, one.user_agent), len(asked)), "outcome": one.outcome}
        for one in unauthorized(errand, git)
    ]


def _job(build: Build) -> tuple[str, str, str, str]:
    workflow = build.workflow
    return workflow.repo, workflow.name, workflow.job, build.run_id


def _lines(lines: list[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def _csv(header: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return out.getvalue()
