"""The kit `mitmproxy`: manifests that are valid, confined and for a lab; an addon that keeps no secret."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import kubernetes_validate  # type: ignore[import-untyped]
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

import ciforensics as ci
from ciforensics.errors import CiforensicsError
from ciforensics.formats.mitmproxy_addon import without_secrets
from ciforensics.kits import export as kits

if TYPE_CHECKING:
    from pathlib import Path

TOKEN = "gh" + "s_" + "F4KE" * 9
SETTINGS = {
    "namespace": "ci-lab",
    "runner_namespace": "lab-runners",
    "port": "3128",
    "node": "example.com/pool=ci.lab_1",
    "runners": "actions-ephemeral-runner=True",
    "memory": "1Gi",
}


@pytest.fixture
def kit(tmp_path: Path) -> Path:
    kits.export_kit("mitmproxy", tmp_path / "kit", settings=SETTINGS)
    return tmp_path / "kit"


def documents(path: Path) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(path.read_text()))


def of_kind(kit: Path, kind: str) -> dict[str, Any]:
    (found,) = (
        each
        for path in kit.glob("*.yaml")
        for each in documents(path)
        if path.name != "kustomization.yaml" and each.get("kind") == kind
    )
    return found


def runner_pod(kit: Path) -> dict[str, Any]:
    """A runner as ARC's chart makes it of the values."""
    (values,) = documents(kit / "runner-values.yaml")
    template = values["template"]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "runner"}, **template}


def containers(pod: dict[str, Any]) -> list[dict[str, Any]]:
    return [*pod.get("initContainers", []), *pod["containers"]]


@pytest.mark.parametrize("key", ["namespace", "runner_namespace"])
@pytest.mark.parametrize(
    "name", ["arc-runners", "labour", "collab", "prod-labs", "default", "Lab", "lab_1", "-lab", "lab.x", ""]
)
def test_nothing_is_written_for_a_namespace_that_is_not_named_as_a_lab(
    key: str, name: str, tmp_path: Path
) -> None:
    with pytest.raises(CiforensicsError, match=r"the word lab .* holds every credential") as caught:
        kits.export_kit("mitmproxy", tmp_path / "kit", settings=SETTINGS | {key: name})
    assert f"{key}={name!r}" in str(caught.value)
    assert not (tmp_path / "kit").exists()


@pytest.mark.parametrize("name", ["lab", "ci-lab", "lab-2", "team-a-lab-runners"])
def test_a_lab_is_rendered(name: str, tmp_path: Path) -> None:
    kits.export_kit("mitmproxy", tmp_path / "kit", settings=SETTINGS | {"namespace": name})
    assert of_kind(tmp_path / "kit", "DaemonSet")["metadata"]["namespace"] == name


@pytest.mark.parametrize("label", ["a", "a=b=c", "=b", "a/b/c=d", "a=b c", "-a=b", "a=" + "b" * 64])
def test_what_is_no_label_is_refused(label: str, tmp_path: Path) -> None:
    with pytest.raises(CiforensicsError, match="is not a label of Kubernetes, key=value"):
        kits.export_kit("mitmproxy", tmp_path / "kit", settings=SETTINGS | {"node": label})


def test_the_manifests_are_valid_by_the_schemas_of_kubernetes(kit: Path) -> None:
    version = kubernetes_validate.latest_version()
    own = [*documents(kit / "proxy.yaml"), *documents(kit / "network-policy.yaml"), runner_pod(kit)]
    for document in own:
        kubernetes_validate.validate(document, version, strict=True)
    assert [each["kind"] for each in own] == ["Service", "DaemonSet", "NetworkPolicy", "Pod"]
    assert {each["metadata"].get("namespace") for each in own} == {"ci-lab", None}


CERTIFICATE = {
    *("secretName", "commonName", "subject", "isCA", "usages", "duration", "privateKey", "issuerRef"),
}
"""Of https://cert-manager.io/docs/reference/api-docs/ what these use. They are not validated by a schema: no
package has cert-manager's, so this is all that is checked of their form."""


def test_the_certificates_are_a_chain_from_a_self_signed_root(kit: Path) -> None:
    self_signed, root, issuer, ca = documents(kit / "certificates.yaml")
    for each in (self_signed, root, issuer, ca):
        assert set(each) == {"apiVersion", "kind", "metadata", "spec"}
        assert each["apiVersion"] == "cert-manager.io/v1"
        assert each["metadata"]["namespace"] == "ci-lab"
    assert [each["kind"] for each in (self_signed, root, issuer, ca)] == ["Issuer", "Certificate"] * 2
    assert self_signed["spec"] == {"selfSigned": {}}
    assert issuer["spec"] == {"ca": {"secretName": root["spec"]["secretName"]}}
    for certificate, signer in ((root, self_signed), (ca, issuer)):
        spec = certificate["spec"]
        assert set(spec) <= CERTIFICATE
        assert (spec["isCA"], spec["privateKey"]["algorithm"]) == (True, "RSA")
        assert "cert sign" in spec["usages"]
        assert len(spec["commonName"]) <= 64  # RFC 5280, ub-common-name
        name = signer["metadata"]["name"]
        assert spec["issuerRef"] == {"name": name, "kind": "Issuer", "group": "cert-manager.io"}
    pod = of_kind(kit, "DaemonSet")["spec"]["template"]["spec"]
    (mounted,) = (each["secret"]["secretName"] for each in pod["volumes"] if "secret" in each)
    assert mounted == ca["spec"]["secretName"] != root["spec"]["secretName"]


def test_every_manifest_is_listed_for_kustomize_with_the_addon(kit: Path) -> None:
    (listed,) = documents(kit / "kustomization.yaml")
    manifests = {path.name for path in kit.glob("*.yaml")} - {"kustomization.yaml", "runner-values.yaml"}
    assert set(listed["resources"]) == manifests
    (generated,) = listed["configMapGenerator"]
    assert all((kit / name).is_file() for name in generated["files"])
    volumes = of_kind(kit, "DaemonSet")["spec"]["template"]["spec"]["volumes"]
    assert generated["name"] in [each["configMap"]["name"] for each in volumes if "configMap" in each]


def test_the_proxy_is_confined(kit: Path) -> None:
    """As the Pod Security Standard `restricted` asks, and more."""
    pod = of_kind(kit, "DaemonSet")["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] > 0
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    assert not {"hostNetwork", "hostPID", "hostIPC", "serviceAccountName"} & set(pod)
    assert {kind for volume in pod["volumes"] for kind in volume} == {
        "name",
        "configMap",
        "emptyDir",
        "secret",
    }
    for container in containers(pod):
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert container["resources"]["limits"] == {"cpu": "1", "memory": "1Gi"}
        assert all("hostPort" not in port for port in container.get("ports", []))
    assert pod["nodeSelector"] == {"example.com/pool": "ci.lab_1"}


def test_only_runners_get_in_and_only_https_and_dns_get_out(kit: Path) -> None:
    policy = of_kind(kit, "NetworkPolicy")["spec"]
    labels = of_kind(kit, "DaemonSet")["spec"]["template"]["metadata"]["labels"]
    assert policy["podSelector"]["matchLabels"] == labels
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    (entry,) = policy["ingress"]
    (who,) = entry["from"]  # one entry: the namespace and the label, not either
    assert who["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": "lab-runners"}
    assert who["podSelector"]["matchLabels"] == {"actions-ephemeral-runner": "True"}
    assert entry["ports"] == [{"port": 3128, "protocol": "TCP"}]
    out = sorted((port["port"], port["protocol"]) for rule in policy["egress"] for port in rule["ports"])
    assert out == [(53, "TCP"), (53, "UDP"), (443, "TCP")]


def test_runners_go_to_the_proxy_on_their_node_and_trust_it_without_getting_a_key(kit: Path) -> None:
    service = of_kind(kit, "Service")
    assert service["spec"]["internalTrafficPolicy"] == "Local"
    template = of_kind(kit, "DaemonSet")["spec"]["template"]
    assert service["spec"]["selector"] == template["metadata"]["labels"]
    (proxy,) = template["spec"]["containers"]
    assert proxy["args"][proxy["args"].index("--listen-port") + 1] == "3128"
    pod = runner_pod(kit)["spec"]
    assert "secret" not in json.dumps(pod)
    init, runner = containers(pod)
    environment = {each["name"]: each["value"] for each in runner["env"]}
    where = f"http://{service['metadata']['name']}.ci-lab.svc:{service['spec']['ports'][0]['port']}"
    assert environment["HTTPS_PROXY"] == environment["https_proxy"] == where
    assert environment["NO_PROXY"] == environment["no_proxy"]
    mounted = {each["mountPath"] for each in runner["volumeMounts"]}
    for name in ("SSL_CERT_FILE", "GIT_SSL_CAINFO", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE"):
        assert environment[name] in mounted
    assert environment["NODE_EXTRA_CA_CERTS"] == "/mitmproxy-ca/ca.crt"
    assert init["image"] == runner["image"]  # whose trust store is copied


HIDDEN = (
    *(
        f"https://{info}@github.com/a/b"
        for info in (TOKEN, f"x-access-token:{TOKEN}", f"{TOKEN}:x-oauth-basic")
    ),
    *(
        f"https://github.com/a/b?page=2&{name}={TOKEN[4:]}&x=1"
        for name in (
            *("access_token", "token", "private_token", "client_secret", "password", "passwd", "pwd", "sig"),
            *("X-Amz-Signature", "X-Amz-Credential", "X-Amz-Security-Token", "X-Goog-Signature", "apikey"),
            *(
                "api_key",
                "api-key",
                "access_key",
                "private_key",
                "jwt",
                "pat",
                "auth",
                "oauth_token",
                "TOKEN",
            ),
            *("secret2", "passphrase", "pass", "authToken", "accessToken", "cookie", "authorization"),
            *("access%5Ftoken", "access%5ftoken"),
        )
    ),
    f"https://github.com/a/{TOKEN}/b",
    f"https://github.com/a/b?x=prefix_{TOKEN}",
    f"https://github.com/a/b?next=https%3A%2F%2Fx%3A{TOKEN}%40github.com",
    "https://github.com/a/b?x=" + "eC1hY2Nlc3MtdG9rZW46" + "RjRLRUY0S0U=",
    "https://github.com/a/b?x=" + "eyJ" + "hbGciOiJIUzI1NiJ9.eyJzdWIiOiJGNEtFIn0.F4KEF4KE",
)


def test_what_the_addon_leaves_of_a_url_holds_no_secret_that_an_ingest_would_find(tmp_path: Path) -> None:
    cleaned = [without_secrets(url) for url in HIDDEN]
    assert [url for url, (_, count) in zip(HIDDEN, cleaned, strict=True) if not count] == []
    assert [text for text, _ in cleaned if "F4KE" in text or "RjRLR" in text] == []
    assert [without_secrets(text) for text, _ in cleaned] == [(text, 0) for text, _ in cleaned]
    with (tmp_path / "log").open("w") as log:
        for text, _ in cleaned:
            line = {"timestamp": "2026-11-24T03:04:14Z", "method": "GET", "url": text, "status": 401}
            log.write(json.dumps({**line, "user_agent": "git/2.39.5", "content_length": 0}) + "\n")
    (report,) = ci.ingest([tmp_path / "log"], case=tmp_path / "case.duckdb")
    assert (report.rows, report.rejected, report.redacted) == (len(HIDDEN), 0, 0)


def test_a_password_ends_at_the_last_at() -> None:
    assert without_secrets("https://me:p@ss@host/a@b") == ("https://host/a@b", 1)


@given(before=st.text(), after=st.text())
def test_a_token_is_found_wherever_it_stands(before: str, after: str) -> None:
    cleaned, count = without_secrets(before + TOKEN + after)
    assert TOKEN not in cleaned
    assert count


@pytest.mark.parametrize(
    "text",
    [
        "https://github.com/acme/web.git/info/refs?service=git-upload-pack",
        "https://api.github.com/repos/a/b/commits?page=2&per_page=100&author=x&path=token.py",
        "git/2.39.5 (github-actions-checkout) actions_orchestration_id/89c72d20-71e7.build.__default",
        "GitHubActionsRunner-linux-x64/2.319.1 ClientId/1b2c RunnerId/7 CommitSHA/0123456789abcdef0123",
        'pip/23.2.1 {"ci":null,"cpu":"x86_64"}',
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert without_secrets(text) == (text, 0)
