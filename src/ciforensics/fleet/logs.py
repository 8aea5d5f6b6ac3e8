"""A made-up fleet in the words of each log, as the real programs write them, and its truth.

Each function takes a fleet and gives the lines of one log. Nothing is left to chance here.
"""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from ciforensics.fleet.model import HOUR

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from ciforensics.fleet.model import (
        Build,
        Event,
        Fleet,
        Invocation,
        Request,
        Tunnel,
    )

WAY_S = 0.04
"""Half a round trip to the forge."""

_CET = timezone(timedelta(hours=1))


def github_csv(fleet: Fleet) -> str:
    """GitHub's support CSV: every request of every runner, without a word about who sent it."""
    header = ("timestamp", "method", "url", "status", "user_agent", "content_length")
    rows = (
        (
            _z(fleet, at_forge(fleet, one)),
            one.method,
            one.url,
            one.status,
            one.user_agent,
            _forge_bytes(one),
        )
        for one in fleet.requests
    )
    return _csv(header, rows)


def github_csv_of_another_export(fleet: Fleet, until_hour: float) -> str:
    """The first hours once more, as somebody's spreadsheet saved them: `;`, CRLF, local time, other names."""
    header = ("Time", "Status Code", "HTTP Method", "HTTP URL", "Response Size", "User Agent")
    rows = (
        (
            _moment(fleet, at_forge(fleet, one)).astimezone(_CET).isoformat(timespec="seconds"),
            one.status,
            one.method,
            one.url,
            _forge_bytes(one),
            one.user_agent,
        )
        for one in fleet.requests
        if one.at < until_hour * HOUR
    )
    return _csv(header, rows, delimiter=";", lineterminator="\r\n")


def truth(fleet: Fleet) -> str:
    """For each data row of `github_csv`, from 0, which job sent it; nobody where no wrapper could say so."""
    header = (
        "data_row",
        *(f"sent_by_{key}" for key in ("repo", "workflow", "job", "run")),
        "sender",
        "outcome",
    )
    rows = []
    for nth, one in enumerate(fleet.requests):
        sender = "background" if one.build is None else "build" if one.build.wrapped else "no wrapper"
        job = _job(one.build).values() if one.build and one.build.wrapped else ("",) * 4
        rows.append((nth, *job, sender, one.outcome))
    return _csv(header, rows, delimiter=";")


def mitmproxy(fleet: Fleet) -> list[str]:
    """A logging addon's JSON lines, for the pods behind mitmproxy, but for the hours in which it was down."""
    down, up = (hour * HOUR for hour in fleet.parameters.gap)
    return [
        json.dumps(
            {
                "timestamp": _z(fleet, one.at),
                "method": one.method,
                "url": one.url,
                "status": one.status,
                "user_agent": one.user_agent,
                "content_length": one.body,
                "client_ip": one.build.ip,
                "client_port": one.port,
                "authorization": "***" if one.authenticated else None,
                "duration_ms": round(one.duration * 1000, 1),
            }
        )
        for one in fleet.requests
        if one.build and one.build.pool.proxy == "mitmproxy" and not down <= one.at < up
    ]


def squid(fleet: Fleet) -> list[str]:
    """Squid's `connect_bytes` logformat: numbers as strings, whole seconds at the tunnel's end.

    Where the helper knows the job, the format has method and status too, which the notes' lacks.
    """
    return [_squid_line(fleet, tunnel) for tunnel in fleet.tunnels]


def _squid_line(fleet: Fleet, tunnel: Tunnel) -> str:
    meta, ended = "-", ""  # what Squid prints for no answer: not JSON
    if tunnel.build and tunnel.build.pool.helper == "job":
        ended = f'"method":"CONNECT","status":"{tunnel.status}","result":"{tunnel.result}",'
    if tunnel.build and tunnel.known:
        build = tunnel.build
        said = {"pod": build.pod, "namespace": "arc-runners", "node": build.node}
        meta = _compact(said | (_job(build) if build.pool.helper == "job" else {}))
    at = int(_moment(fleet, tunnel.until).timestamp())
    return (
        f'{{"ts":"{at}","client_ip":"{tunnel.ip}","authority":"{tunnel.authority}",'
        f'"bytes_up":"{tunnel.up}","bytes_down":"{tunnel.down}",{ended}"podmeta":{meta}}}'
    )


def docker_wrapper(fleet: Fleet, from_hour: float = 0.0, to_hour: float = float("inf")) -> list[str]:
    """The docker wrapper's JSON lines, of all runners that have one."""
    return [
        _rich_line(fleet, one) if one.build.pool.wrapper == "rich" else _plain_line(fleet, one)
        for one in fleet.invocations
        if one.build.wrapped and from_hour * HOUR <= one.at < to_hour * HOUR
    ]


def _plain_line(fleet: Fleet, one: Invocation) -> str:
    """As `echo` under dash writes it: only the first word of the command, and nothing escaped."""
    workflow = one.build.workflow
    return (
        f'{{"ts":"{_z(fleet, one.at)}","repo":"{workflow.repo}",'
        f'"workflow":"{workflow.name}","job":"{workflow.job}",'
        f'"run_id":"{one.build.run_id}","cmd":"{one.argv[0]}"}}'
    )


def _rich_line(fleet: Fleet, one: Invocation) -> str:
    build = one.build
    return _compact(
        {"ts": _z(fleet, one.at)}
        | _job(build)
        | {
            "run_attempt": "1",
            "orchestration_id": build.orchestration_id,
            "runner": build.pod,
            "pod": build.pod,
        }
        | {"cmd": one.argv[0], "args": " ".join(one.argv[1:])}
    )


def docker_events(fleet: Fleet) -> list[str]:
    """`docker events --format '{{json .}}'` of all hosts that stream them, most with the job added."""
    return [_event_line(fleet, event) for event in fleet.events]


def _event_line(fleet: Fleet, event: Event) -> str:
    pool, nanos = event.build.pool, round(event.at * 1_000_000_000)
    nanos += int(fleet.parameters.start.timestamp()) * 1_000_000_000
    line: dict[str, Any] = {}
    if pool.engine != "29" and event.type in ("container", "image"):  # engine 29 dropped the legacy fields
        line = {"status": event.action, "id": event.actor}
        if event.type == "container":
            line["from"] = event.attributes["image"]
    attributes = dict(sorted(event.attributes.items()))
    line |= {
        "Type": event.type,
        "Action": event.action,
        "Actor": {"ID": event.actor, "Attributes": attributes},
    }
    if pool.engine != "17.03":
        line["scope"] = "local"
    line |= {"time": nanos // 1_000_000_000, "timeNano": nanos}
    if not pool.tagged:
        return _compact(line)
    # The streamer is a Python script: it reads the event, adds to it and dumps it again.
    return json.dumps(line | _job(event.build) | {"pod": event.build.pod})


def jobs(fleet: Fleet, pools: Collection[str] | None = None) -> list[str]:
    """Jobs as GitHub's API gives them, one a line: of the runners that have the wrapper, or of some pools."""
    return [_compact(_api_job(fleet, build)) for build in fleet.builds if _listed(build, pools)]


def _api_job(fleet: Fleet, build: Build) -> dict[str, Any]:
    workflow, run = build.workflow, int(build.run_id)
    base = f"https://api.github.com/repos/{workflow.repo}/actions"
    return {
        "id": 2 * run + 1,
        "run_id": run,
        "run_attempt": 1,
        "run_url": f"{base}/runs/{run}",
        "url": f"{base}/jobs/{2 * run + 1}",
        "workflow_name": workflow.name,
        "name": workflow.job,
        "head_branch": "main",
        "status": "completed",
        "conclusion": "success" if build.pulled else "failure",
        "created_at": _z(fleet, build.at - 45),
        "started_at": _z(fleet, build.at - 25),
        "completed_at": _z(fleet, build.until + 10),
        "labels": [build.pool.name],
        "runner_name": build.pod,
    }


def pods(fleet: Fleet, pools: Collection[str] | None = None) -> str:
    """`kubectl get pods -o json` before the ended pods of `jobs` were swept away, a pod a line."""
    items = ",\n".join(_compact(_pod(fleet, build)) for build in fleet.builds if _listed(build, pools))
    return f'{{"apiVersion":"v1","kind":"List","metadata":{{"resourceVersion":""}},"items":[\n{items}\n]}}\n'


def _pod(fleet: Fleet, build: Build) -> dict[str, Any]:
    """A pod outlives its job by little, and its address is free for 90 s before the next pod gets it."""
    ended = {"exitCode": 0, "reason": "Completed", "finishedAt": _z(fleet, build.until + 12)}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": build.pod,
            "namespace": "arc-runners",
            "creationTimestamp": _z(fleet, build.at - 35),
            "labels": {
                "actions.github.com/scale-set-name": build.pool.name,
                "actions-ephemeral-runner": "True",
            },
        },
        "spec": {"nodeName": build.node},
        "status": {
            "phase": "Succeeded",
            "podIP": build.ip,
            "startTime": _z(fleet, build.at - 33),
            "containerStatuses": [{"name": "runner", "state": {"terminated": ended}}],
        },
    }


def _listed(build: Build, pools: Collection[str] | None) -> bool:
    return build.wrapped if pools is None else build.pool.name in pools


def _job(build: Build) -> dict[str, str]:
    workflow = build.workflow
    return {"repo": workflow.repo, "workflow": workflow.name, "job": workflow.job, "run_id": build.run_id}


def at_forge(fleet: Fleet, request: Request) -> float:
    """When the forge's clock saw a request: half a round trip after it was sent."""
    return request.at + WAY_S + fleet.parameters.offset


def _forge_bytes(request: Request) -> int:
    """A forge counts the framing of chunked answers, a proxy does not: 158 and 147 bytes were measured."""
    chunked = request.status == 200 and "git-upload-pack" in request.url
    return request.body + (11 + 11 * (request.body // 8_192) if chunked else 0)


def _moment(fleet: Fleet, at: float) -> datetime:
    return fleet.parameters.start + timedelta(seconds=at)


def _z(fleet: Fleet, at: float) -> str:
    return _moment(fleet, at).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _compact(value: dict[str, Any]) -> str:
    return json.dumps(value, separators=(",", ":"))


def _csv(
    header: Iterable[str],
    rows: Iterable[Iterable[object]],
    *,
    delimiter: str = ",",
    lineterminator: str = "\n",
) -> str:
    out = io.StringIO()
    writer = csv.writer(out, delimiter=delimiter, lineterminator=lineterminator)
    writer.writerow(header)
    writer.writerows(rows)
    return out.getvalue()
