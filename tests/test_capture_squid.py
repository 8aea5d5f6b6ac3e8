"""Squid's helper keeps to the protocol whatever it is told; what the kit writes is what Kubernetes takes."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import kubernetes_validate  # type: ignore[import-untyped]
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from ciforensics.capture import export as kits
from ciforensics.capture.squid import KIT
from ciforensics.capture.squid.podmeta import Memory, job_of, key_of, pod_of, serve, spelled
from ciforensics.errors import CiforensicsError
from kubernetes_double import pod, runner

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)
VALUES = kits.read_settings(KIT, {"image": "registry.example.com/squid:1"})


@given(st.text(st.characters()))
def test_no_value_breaks_an_answer(value: str) -> None:
    answer = spelled({"pod": value, "job": "x"})
    assert answer.isascii()
    assert answer.split()[-1] == "job=x"
    assert len(answer.split()) == (2 if value else 1)
    read = unquote(answer.split()[0].removeprefix("pod="), errors="strict")
    assert json.loads(json.dumps(read)) == read
    assert not any(ord(char) < 32 for char in read)


@given(st.binary(max_size=200))
def test_every_line_gets_one_answer(data: bytes) -> None:
    answers = io.BytesIO()
    serve(io.BytesIO(data), answers, lambda _: {"pod": "a"})
    lines = answers.getvalue().splitlines()
    assert len(lines) == len(io.BytesIO(data).readlines())
    assert all(line.endswith(b"OK pod=a") for line in lines)


@given(st.dictionaries(st.sampled_from(["metadata", "spec", "status"]), ANYTHING))
def test_any_object_of_the_api_is_read(value: dict[str, Any]) -> None:
    pod_of(value)
    job_of(value)
    key_of(value)


def test_the_newest_pod_that_runs_has_an_address_and_its_runner_the_job() -> None:
    clock = [0.0]
    memory = Memory(lambda: clock[0])
    several = [
        pod("old", "10.0.0.1"),
        pod("new", "10.0.0.1", created="2026-11-24T03:00:01Z"),
        pod("ended", "10.0.0.1", created="2026-11-24T03:00:02Z", phase="Failed"),
        pod("of-node", "10.0.0.1", created="2026-11-24T03:00:03Z") | {"spec": {"hostNetwork": True}},
    ]
    memory.replace("pods in arc-runners", {key_of(e): p for e in several if (p := pod_of(e))})
    memory.replace("jobs in arc-runners", {("arc-runners", "new"): job_of(runner("new", 7))})
    assert memory.describe("10.0.0.1") == {
        "namespace": "arc-runners", "pod": "new", "node": "ci-1", "repo": "octo/app",
        "workflow": ".github/workflows/ci.yml", "job": "build", "run_id": "7",
    }  # fmt: skip
    clock[0] = 121
    assert memory.describe("10.0.0.1") == {}


@pytest.mark.parametrize("name", ["rbac.yaml", "daemonset.yaml", "service.yaml"])
def test_kubernetes_takes_the_manifests(name: str) -> None:
    for manifest in yaml.safe_load_all(kits.rendered(KIT, name, VALUES)):
        kubernetes_validate.validate(manifest, kubernetes_validate.latest_version(), strict=True)


def test_runners_are_told_of_the_proxy() -> None:
    values = yaml.safe_load(kits.rendered(KIT, "runner/values.yaml", VALUES))
    (container,) = values["template"]["spec"]["containers"]
    told = {each["name"]: each["value"] for each in container["env"]}
    assert told["https_proxy"] == told["HTTPS_PROXY"] == "http://squid.ciforensics.svc.cluster.local:3128"
    assert "http_proxy" not in told
    daemon = json.loads(kits.rendered(KIT, "runner/daemon.json", VALUES))
    assert daemon["proxies"]["https-proxy"] == told["https_proxy"]
    listed = yaml.safe_load(kits.rendered(KIT, "kustomization.yaml", VALUES))
    assert all((Path(KIT.folder) / each).exists() for each in listed["resources"])


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("allow_private", "169.254.0.0/16"), ("allow_private", "0.0.0.0/0"), ("allow_private", "::/0"),
        ("allow_private", "fd00:ec2::/64"), ("runner_namespaces", "a,b c"), ("runner_namespaces", ""),
        ("helper", "/a b"), ("log", "/a\nhttp_access allow all"), ("drain", "0"),
    ],
)  # fmt: skip
def test_hostile_settings_are_refused(key: str, value: str) -> None:
    with pytest.raises(CiforensicsError):
        kits.rendered(KIT, "squid.conf", kits.read_settings(KIT, {"image": "a", key: value}))
