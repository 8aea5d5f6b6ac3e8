"""The kit `mitmproxy`: every HTTPS request of the runners of a lab, with its answer."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

from ciforensics.formats.flows import ADDON
from ciforensics.kits.kinds import Host, ImageReference, Quantity, SettingKind, Text, text_like, whole_number
from ciforensics.kits.kit import File, Kit, Settings, key


def _label(text: str) -> tuple[str, ...]:
    """A prefix is a DNS name, the name and the value are words of at most 63."""
    word = r"[A-Za-z0-9](?:[\w.-]{0,61}[A-Za-z0-9])?"
    prefix = r"(?:[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?/)?"
    parts = re.fullmatch(rf"({prefix}{word})=((?:{word})?)", text, re.ASCII)
    if not parts:
        raise ValueError(text)
    return parts.groups()


_Lab = Annotated[
    str,
    text_like(
        "a namespace with the word lab between the dashes of its name: this proxy holds every credential "
        "that passes through it",
        "ci-lab",
        r"(?=(?:.*-)?lab(?:-|$))[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?",
    ),
]
_Selector = Annotated[
    tuple[str, ...], SettingKind("a label of Kubernetes, key=value", "kubernetes.io/os=linux", _label)
]

_INSIDE = "localhost,127.0.0.1,.svc,.svc.cluster.local,10.0.0.0/8,172.16.0.0/12,192.168.0.0/16"


class Mitmproxy(Settings):
    """The keys of the kit."""

    namespace: _Lab = key("Where the proxy runs")
    runner_namespace: _Lab = key("Where the runners that use it run")
    host: Host = key("Whose TLS is opened, with all names below it; the rest passes unread", "github.com")
    image: ImageReference = key("mitmproxy 11 or later", "mitmproxy/mitmproxy:11.0.2")
    runner_image: ImageReference = key(
        "The runners' own image, whose trust store is copied", "ghcr.io/actions/actions-runner:latest"
    )
    port: Annotated[int, whole_number(1024, 65535)] = key("Where the proxy listens", "8080")
    node: _Selector = key("Label of the nodes that get a proxy", "kubernetes.io/os=linux")
    runners: _Selector = key("Label of the pods that may use it", "actions-ephemeral-runner=True")
    no_proxy: Text = key("What runners reach without it", _INSIDE)
    cpu: Quantity = key("CPU limit of a proxy; it never uses more than one", "1")
    memory: Quantity = key("Memory limit of a proxy", "512Mi")


KIT = Kit(
    summary="lab only: each HTTPS request of the runners with its status, by a proxy that opens their TLS",
    folder=Path(__file__).parent,
    settings=Mitmproxy,
    files={
        "README.md": File(),
        "addon.py": File(taken_from=ADDON),
        "kustomization.yaml": File(),
        "certificates.yaml": File(),
        "proxy.yaml": File(),
        "network-policy.yaml": File(),
        "runner-values.yaml": File(),
    },
    source="mitmproxy",
)
