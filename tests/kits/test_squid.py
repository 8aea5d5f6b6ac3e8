"""The Squid kit's manifests fit Kubernetes' schemas and each other, whatever its keys are."""

from __future__ import annotations

import ipaddress
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from ciforensics.errors import CiforensicsError
from ciforensics.kits import squid
from ciforensics.kits.export import export_kit
from docker_daemon import wait_until
from kubernetes_double import KubernetesDouble

KUBERNETES = ("1.25.0", "1.37.0")  # the oldest and the newest that the package knows
NEEDED = {"image": "registry.example.com/ci/squid:5.7"}
EVERYTHING = NEEDED | {
    "namespace": "egress",
    "runner_namespace": "team-a",
    "port": "8080",
    "allow_private": "10.1.0.0/16",
    "no_proxy": 'quote " and back\\slash, : #',
    "refuse_plain_http": "yes",
    "log": "/var/log/egress/tunnels.jsonl",
    "folder": "/opt/proxy",
    "shutdown": "90",
    "cpu": "1",
    "memory": "1Gi",
    "memory_limit": "2Gi",
}


@pytest.fixture(params=[NEEDED, EVERYTHING], ids=["defaults", "everything"])
def kit(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    export_kit("squid", tmp_path / "kit", settings=request.param)
    return tmp_path / "kit"


@pytest.fixture
def default(tmp_path: Path) -> Path:
    export_kit("squid", tmp_path / "kit", settings=NEEDED)
    return tmp_path / "kit"


def manifests(kit: Path) -> dict[str, dict[str, Any]]:
    """Every object that `kubectl apply -k` makes from a file, by its kind."""
    kustomization = yaml.safe_load((kit / "kustomization.yaml").read_text())
    found = [
        each for name in kustomization["resources"] for each in yaml.safe_load_all((kit / name).read_text())
    ]
    kinds = {each["kind"]: each for each in found}
    assert len(kinds) == len(found)
    return kinds


def pod(kit: Path) -> dict[str, Any]:
    spec: dict[str, Any] = manifests(kit)["DaemonSet"]["spec"]["template"]["spec"]
    return spec


def container(kit: Path) -> dict[str, Any]:
    (only,) = pod(kit)["containers"]
    found: dict[str, Any] = only
    return found


@pytest.mark.parametrize("version", KUBERNETES)
def test_manifests_fit_the_schemas_of_kubernetes(kit: Path, version: str) -> None:
    objects = manifests(kit)
    assert set(objects) == {
        "ServiceAccount", "Role", "RoleBinding", "DaemonSet", "Service", "NetworkPolicy",
    }  # fmt: skip
    for each in objects.values():
        kubernetes_validate.validate(each, version, strict=True)


def test_a_wrong_manifest_would_be_noticed(default: Path) -> None:
    wrong = manifests(default)["DaemonSet"]
    wrong["spec"]["template"]["spec"]["containers"][0]["readOnlyRootFileSystem"] = True
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, KUBERNETES[-1], strict=True)


def test_the_pod_has_no_privileges_and_nothing_to_write_to(kit: Path) -> None:
    assert pod(kit)["securityContext"] == {
        "runAsNonRoot": True,
        "runAsUser": 13,
        "runAsGroup": 13,
        "fsGroup": 13,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert container(kit)["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "privileged": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod(kit))
    assert set(container(kit)["resources"]["requests"]) == {"cpu", "memory"}
    assert set(container(kit)["resources"]["limits"]) == {"memory"}
    assert {name for volume in pod(kit)["volumes"] for name in volume if name != "name"} <= {
        "configMap",
        "emptyDir",
    }


def test_manifests_name_each_other(kit: Path) -> None:
    objects = manifests(kit)
    account, role, binding = (objects[kind] for kind in ("ServiceAccount", "Role", "RoleBinding"))
    daemons, service, policy = (objects[kind] for kind in ("DaemonSet", "Service", "NetworkPolicy"))
    (subject,) = binding["subjects"]
    assert subject == {
        "kind": "ServiceAccount",
        "name": account["metadata"]["name"],
        "namespace": account["metadata"]["namespace"],
    }
    assert binding["roleRef"]["name"] == role["metadata"]["name"]
    assert binding["metadata"]["namespace"] == role["metadata"]["namespace"]
    assert pod(kit)["serviceAccountName"] == account["metadata"]["name"]
    labels = daemons["spec"]["template"]["metadata"]["labels"]
    assert daemons["spec"]["selector"]["matchLabels"] == labels == service["spec"]["selector"]
    assert policy["spec"]["podSelector"]["matchLabels"] == labels
    assert len({each["metadata"]["namespace"] for each in (account, daemons, service, policy)}) == 1
    (generated,) = yaml.safe_load((kit / "kustomization.yaml").read_text())["configMapGenerator"]
    assert generated["namespace"] == daemons["metadata"]["namespace"]
    assert {"name": "config", "configMap": {"name": generated["name"]}} in pod(kit)["volumes"]
    assert all((kit / name).is_file() for name in generated["files"])


def test_connections_stay_on_their_node_and_come_from_runners_only(kit: Path) -> None:
    objects = manifests(kit)
    assert objects["Service"]["spec"]["internalTrafficPolicy"] == "Local"
    (rule,) = objects["NetworkPolicy"]["spec"]["ingress"]
    ((where,), (port,)) = rule["from"], rule["ports"]
    runners = objects["Role"]["metadata"]["namespace"]
    assert where == {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": runners}}}
    (asked,) = objects["Service"]["spec"]["ports"]
    (listens,) = container(kit)["ports"]
    assert asked["targetPort"] == port["port"] == listens["name"]
    assert f"\nhttp_port {listens['containerPort']} " in (kit / "squid.conf").read_text()
    assert asked["port"] == listens["containerPort"]


def test_files_are_mounted_where_they_are_looked_for(kit: Path) -> None:
    conf = (kit / "squid.conf").read_text()
    mounts = {each["name"]: each["mountPath"] for each in container(kit)["volumeMounts"]}
    assert container(kit)["command"][-2:] == ["-f", f"{mounts['config']}/squid.conf"]
    (helper,) = re.findall(r"/usr/bin/python3 (\S+)", conf)
    assert helper == f"{mounts['config']}/podmeta.py"
    (log,) = set(re.findall(r"access_log stdio:(\S+)", conf))
    assert log == "/dev/stdout" or str(Path(log).parent) == mounts["log"]


def test_the_pod_is_given_longer_to_end_than_its_tunnels(kit: Path) -> None:
    (tunnels,) = re.findall(r"shutdown_lifetime (\d+) seconds", (kit / "squid.conf").read_text())
    _, before = container(kit)["lifecycle"]["preStop"]["exec"]["command"]
    assert pod(kit)["terminationGracePeriodSeconds"] >= int(tunnels) + int(before) + 5


def test_runners_and_their_docker_daemon_use_the_service(kit: Path) -> None:
    service = manifests(kit)["Service"]
    where = f"{service['metadata']['name']}.{service['metadata']['namespace']}.svc"
    proxy = f"http://{where}:{service['spec']['ports'][0]['port']}"
    (runner,) = yaml.safe_load((kit / "runner/values.yaml").read_text())["template"]["spec"]["containers"]
    variables = {each["name"]: each["value"] for each in runner["env"]}
    docker = json.loads((kit / "runner/daemon.json").read_text())["proxies"]
    plain = [name for name in ("http_proxy", "HTTP_PROXY") if name in variables]
    assert variables["https_proxy"] == variables["HTTPS_PROXY"] == docker["https-proxy"] == proxy
    assert variables["no_proxy"] == variables["NO_PROXY"] == docker["no-proxy"]
    assert len(plain) == 2 * ("http-proxy" in docker)
    assert {variables[name] for name in plain} <= {proxy}
    git = {name: variables[name] for name in variables if name.startswith("GIT_")}
    assert git == {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "http.version",
        "GIT_CONFIG_VALUE_0": "HTTP/1.1",
    }
    pods = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "runner"}}
    spec = {"containers": [runner | {"image": "ghcr.io/actions/actions-runner"}]}
    kubernetes_validate.validate(pods | {"spec": spec}, KUBERNETES[-1], strict=True)


def test_plain_http_is_left_alone_unless_asked(default: Path) -> None:
    assert "http_proxy" not in (default / "runner/values.yaml").read_text().replace("https_proxy", "")
    assert "http-proxy" not in json.loads((default / "runner/daemon.json").read_text())["proxies"]


def test_only_an_image_cannot_be_known(tmp_path: Path) -> None:
    with pytest.raises(CiforensicsError, match="squid cannot know image"):
        export_kit("squid", tmp_path / "kit", settings={})


@pytest.mark.parametrize("log", ["/tunnels.jsonl", "/etc/ciforensics/tunnels.jsonl", "/var/log/a b.jsonl"])
def test_a_log_that_cannot_be_written_is_refused(tmp_path: Path, log: str) -> None:
    with pytest.raises(CiforensicsError):
        export_kit("squid", tmp_path / "kit", settings=NEEDED | {"log": log})


ADDRESSES = st.one_of(
    st.ip_addresses(), st.ip_addresses(network="10.0.0.0/8"), st.ip_addresses(network="fc00::/7")
)
NETWORKS = st.builds(
    lambda address, bits: ipaddress.ip_network((address, min(bits, address.max_prefixlen)), strict=False),
    ADDRESSES,
    st.integers(0, 128),
)


@given(st.lists(NETWORKS, max_size=4), ADDRESSES)
def test_what_is_allowed_is_no_longer_refused_and_nothing_else(allowed: list[Any], address: Any) -> None:
    def has(networks: tuple[str, ...]) -> bool:
        return any(address in ipaddress.ip_network(each) for each in networks)

    before, after = squid.still_inside(""), squid.still_inside(",".join(map(str, allowed)))
    assert has(after) == (has(before) and not any(address in network for network in allowed))


@pytest.mark.parametrize(
    "address",
    ["169.254.169.254", "fd00:ec2::254", "fe80::1", "127.0.0.1", "::1", "10.1.2.3", "172.31.0.1",
     "192.168.1.1", "100.64.0.1", "64:ff9b::a9fe:a9fe", "168.63.129.16", "0.1.2.3", "::"],
)  # fmt: skip
def test_metadata_services_loopback_and_private_networks_are_refused(default: Path, address: str) -> None:
    refused = re.findall(r"^acl inside dst (\S+)$", (default / "squid.conf").read_text(), re.MULTILINE)
    assert any(ipaddress.ip_address(address) in ipaddress.ip_network(each) for each in refused)


def test_the_service_account_may_do_exactly_what_the_helper_asks_for(default: Path) -> None:
    role = manifests(default)["Role"]
    (command,) = re.findall(r"/usr/bin/(python3 .+)$", (default / "squid.conf").read_text(), re.MULTILINE)
    _, _, *options = command.split()
    with KubernetesDouble() as api:
        helper = subprocess.Popen(
            [sys.executable, default / "podmeta.py", *options, "--api", api.url],
            stdin=subprocess.PIPE,
            env=os.environ | {"NODE_NAME": "node-1"},
        )
        try:
            wait_until(lambda: bool(api.watches("pods") and api.watches("ephemeralrunners")), what="watches")
        finally:
            helper.communicate(timeout=60)
        asked = {
            (each.namespace, each.resource, "watch" if each.watches else "list") for each in api.requests
        }
    assert asked == {
        (role["metadata"]["namespace"], resource, verb)
        for rule in role["rules"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    assert {resource: rule["apiGroups"] for rule in role["rules"] for resource in rule["resources"]} == {
        "pods": [""],
        "ephemeralrunners": ["actions.github.com"],
    }
