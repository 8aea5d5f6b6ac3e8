r"""Kubernetes about runner pods: what `kubectl get pods -o json` prints, and `-w` goes on printing.

    {"apiVersion": "v1", "kind": "List", "items": [{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "arc-runner-set-cf397-runner-13", "namespace": "arc-runners", "creationTimestamp": "2026-11-24T03:03:13Z", "labels": {"app.kubernetes.io/component": "runner"}}, "spec": {"nodeName": "gke-ci-1"}, "status": {"phase": "Running", "podIP": "192.168.77.13", "startTime": "2026-11-24T03:03:18Z"}}]}

A pod's hold on each of its addresses is a row. Read as well: PodList of the raw API, single pods, pods one
after the other, watch events (`--output-watch-events`), and the objects of the Actions Runner Controller that
say which job a runner pod took: EphemeralRunner, and Runner of its older generation. These are rows without an
address: `FROM pod_holds` puts both together. Other kinds are skipped.

Its writer's vices:

- When a pod got its address is nowhere: `startTime` is when its node took it on, some seconds before.
- A pod that has ended keeps its address in its status; the address is free and soon another pod's. Such a pod
  holds it until its last container finished. One that was deleted says so only in the watch event, with the
  `deletionTimestamp`, which is the end of its grace period; a plain `-w` prints the pod once more.
- Times are whole seconds, cut off.
- A pod on its node's own network has the node's address, which others use too: skipped.
- The same pod is in every snapshot and in each event: a row each time.
- `jobWorkflowRef` names the file of the workflow, not the workflow; of a called workflow the called file.
  `workflowRunId` is 0 while no job has come. Both are filled in when the job starts, and that can be lost.
- A job in a container of its own (the hooks' Kubernetes mode) runs in a pod of its own, with its own address;
  its label `runner-pod` names the runner.
- Environment variables, the runner's registration secret among them, are all in the spec: never looked at.
"""  # noqa: E501

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING, Any

from ciforensics.contract import Head, Reader, ReadOptions, Source
from ciforensics.errors import Unreadable
from ciforensics.formats import json_documents
from ciforensics.formats.json_documents import as_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_KINDS = ("Pod", "EphemeralRunner", "Runner")
_CHANGES = ("ADDED", "MODIFIED", "DELETED")
_WORKFLOW_FILE = re.compile(r"^[^/\s]+/[^/\s]+/(\.github/workflows/[^@]+)@")


def recognise(head: Head, options: ReadOptions) -> Reader | None:
    """Half of the first objects or more are Kubernetes', pods or runners among them; or a list is empty."""
    parse = partial(
        json_documents.parse_records,
        table="pods",
        columns=tuple(SOURCE.fills["pods"]),
        span=("from_ts", "to_ts"),
        timezone=options.timezone,
    )
    lists = ("items",) if b'"apiVersion"' in head.data else ()
    reader = json_documents.make_reader(head, lists=lists, knows=_are_pods, facts=_facts, parse=parse)
    if reader is None and options.forced and head.data.strip():
        raise Unreadable(
            "No pods: no object at the head is a Pod, an EphemeralRunner or a Runner.",
            hint="save them with `kubectl get pods,ephemeralrunners -A -o json > pods.json`.",
        )
    return reader


def _are_pods(values: list[Any]) -> bool:
    kinds = [_kind(_object(value, "object") or value) for value in values]
    known = sum(kind != "" for kind in kinds)
    return any(kind in _KINDS for kind in kinds) and 2 * known >= len(kinds)


def _kind(value: Mapping[str, Any]) -> str:
    """What an object of Kubernetes is; "" for any other. The raw API leaves it out of lists."""
    metadata, kind = value.get("metadata"), value.get("kind")
    if not isinstance(metadata, dict):
        return ""
    if isinstance(kind, str) and "apiVersion" in value:
        return kind
    return "Pod" if "containers" in _object(value, "spec") and "status" in value else ""


def _facts(value: Any) -> list[dict[str, Any]]:
    """What is to be known of an object, in the names of table `pods`: a fact for each address."""
    change = value.get("type")
    if isinstance(value.get("object"), dict) and isinstance(change, str):
        if change not in _CHANGES:
            return [{"skip": "a watch's bookmark or error"}]
        value = value["object"]
    kind, metadata = _kind(value), _object(value, "metadata")
    if not kind:
        return [{"wrong": "no object of Kubernetes"}]
    if kind not in _KINDS:
        return [
            {"skip": f"another kind ({kind})" if re.fullmatch(r"[A-Za-z]{1,40}", kind) else "another kind"}
        ]
    name = as_text(metadata.get("name"))
    shared = {"namespace": as_text(metadata.get("namespace")), "pod": name}
    deleted = as_text(metadata.get("deletionTimestamp")) if change == "DELETED" else None
    facts = _pod(value, shared, deleted) if kind == "Pod" else _runner(value, shared | {"to_ts": deleted})
    return [fact | {"wrong": None if name else "no name"} for fact in facts]


def _pod(value: Mapping[str, Any], shared: Mapping[str, Any], deleted: str | None) -> list[dict[str, Any]]:
    metadata, spec, status = (_object(value, key) for key in ("metadata", "spec", "status"))
    labels = _object(metadata, "labels")
    listed = [each.get("ip") for each in _objects(status, "podIPs")]
    addresses = dict.fromkeys(filter(None, map(as_text, [status.get("podIP"), *listed])))
    if spec.get("hostNetwork") is True:
        return [{"skip": "a pod with its node's address (hostNetwork)"}]
    if not addresses:
        return [{"skip": "a pod without an address yet"}]
    is_runner = (
        labels.get("app.kubernetes.io/component") == "runner"
        or str(labels.get("actions-ephemeral-runner")).lower() == "true"
    )
    fact = {
        **shared,
        "from_ts": as_text(status.get("startTime")) or as_text(metadata.get("creationTimestamp")),
        "to_ts": _finished(status, deleted=deleted is not None) or deleted,
        "node": as_text(spec.get("nodeName")),
        "runner": as_text(labels.get("runner-pod")) or (shared["pod"] if is_runner else None),
    }
    return [fact | {"client_ip": address} for address in addresses]


def _finished(status: Mapping[str, Any], *, deleted: bool) -> str | None:
    """When the last container of a pod that has ended did."""
    if status.get("phase") not in {"Succeeded", "Failed"} and not deleted:
        return None
    containers = [*_objects(status, "containerStatuses"), *_objects(status, "initContainerStatuses")]
    ends = [as_text(_object(_object(each, "state"), "terminated").get("finishedAt")) for each in containers]
    if deleted and None in ends:
        return None  # the last that was seen of it is from before its containers ended
    return max(filter(None, ends), default=None)  # all in one spelling: UTC, whole seconds


def _runner(value: Mapping[str, Any], shared: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Which job a runner of the Actions Runner Controller took."""
    metadata, status = _object(value, "metadata"), _object(value, "status")
    ref = as_text(status.get("jobWorkflowRef"))
    file = _WORKFLOW_FILE.match(ref or "")
    fact = {
        **shared,
        "from_ts": as_text(metadata.get("creationTimestamp")),
        "runner": as_text(status.get("runnerName")) or shared["pod"],
        "ci_repo": as_text(status.get("jobRepositoryName")),
        "workflow": file[1] if file else ref,
        "job": as_text(status.get("jobDisplayName")),
        "run_id": as_text(status.get("workflowRunId")),
    }
    if old := _object(status, "workflow"):
        owner, repository = as_text(old.get("repositoryOwner")), as_text(old.get("repository"))
        whole = f"{owner}/{repository}" if owner and repository and "/" not in repository else repository
        named = {"ci_repo": whole, "workflow": as_text(old.get("name")), "job": as_text(old.get("job"))}
        fact |= {**named, "run_id": as_text(old.get("runID"))}
    if fact["run_id"] == "0":
        fact["run_id"] = None
    if not (fact["run_id"] or fact["ci_repo"]):
        return [{"skip": "a runner without a job yet"}]
    return [fact]


def _object(value: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    inner = value.get(key)
    return inner if isinstance(inner, dict) else {}


def _objects(value: Mapping[str, Any], key: str) -> Iterator[Mapping[str, Any]]:
    inner = value.get(key)
    return (each for each in inner if isinstance(each, dict)) if isinstance(inner, list) else iter(())


_JOB = "EphemeralRunner: {}; Runner: {}; NULL for a Pod"

_FILLS = {
    "from_ts": "status.startTime, else metadata.creationTimestamp",
    "to_ts": "when the last container of an ended pod finished, else the deletionTimestamp of a "
    "DELETED event; NULL: still held",
    "client_ip": "status.podIP and podIPs, a row each; NULL for an EphemeralRunner or Runner",
    "namespace": "metadata.namespace",
    "pod": "metadata.name, which a runner has in common with its pod",
    "node": "spec.nodeName",
    "runner": "the pod's name where its labels say that it is a runner; the label runner-pod; "
    "status.runnerName",
    "ci_repo": _JOB.format("status.jobRepositoryName", "status.workflow.repository"),
    "workflow": _JOB.format("the file in status.jobWorkflowRef", "status.workflow.name"),
    "job": _JOB.format("status.jobDisplayName", "status.workflow.job"),
    "run_id": _JOB.format("status.workflowRunId", "status.workflow.runID"),
}
SOURCE = Source(name="pods", fills={"pods": _FILLS}, recognise=recognise, doc=__doc__ or "")
