"""The kit `mitmproxy`: every HTTPS request of the runners of a lab, with its answer."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from ciforensics.kits.kit import (
    HOST,
    IMAGE,
    LABEL,
    QUANTITY,
    TEXT,
    File,
    Key,
    Kind,
    Kit,
    whole_number,
)

if TYPE_CHECKING:
    from ciforensics.kits.kit import Value


def _lab(text: str) -> Value:
    if "lab" not in text.split("-"):
        raise ValueError(text)
    return LABEL.read(text)


def _label(text: str) -> tuple[str, ...]:
    """A prefix is a DNS name, the name and the value are words of at most 63."""
    word = r"[A-Za-z0-9](?:[\w.-]{0,61}[A-Za-z0-9])?"
    prefix = r"(?:[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?/)?"
    found = re.fullmatch(rf"({prefix}{word})=((?:{word})?)", text, re.ASCII)
    if not found:
        raise ValueError(text)
    return found.groups()


LAB = Kind(
    "a namespace with the word lab between the dashes of its name: this proxy holds every credential that "
    "passes through it",
    "ci-lab",
    _lab,
)
SELECTOR = Kind("a label of Kubernetes, key=value", "kubernetes.io/os=linux", _label)

_INSIDE = "localhost,127.0.0.1,.svc,.svc.cluster.local,10.0.0.0/8,172.16.0.0/12,192.168.0.0/16"

KIT = Kit(
    name="mitmproxy",
    summary="lab only: each HTTPS request of the runners with its status, by a proxy that opens their TLS",
    folder=Path(__file__).parent,
    keys=(
        Key("namespace", "Where the proxy runs", LAB),
        Key("runner_namespace", "Where the runners that use it run", LAB),
        Key(
            "host", "Whose TLS is opened, with all names below it; the rest passes unread", HOST, "github.com"
        ),
        Key("image", "mitmproxy 11 or later", IMAGE, "mitmproxy/mitmproxy:11.0.2"),
        Key(
            "runner_image",
            "The runners' own image, whose trust store is copied",
            IMAGE,
            "ghcr.io/actions/actions-runner:latest",
        ),
        Key("port", "Where the proxy listens", whole_number(1024, 65535), "8080"),
        Key("node", "Label of the nodes that get a proxy", SELECTOR, "kubernetes.io/os=linux"),
        Key("runners", "Label of the pods that may use it", SELECTOR, "actions-ephemeral-runner=True"),
        Key("no_proxy", "What runners reach without it", TEXT, _INSIDE),
        Key("cpu", "CPU limit of a proxy; it never uses more than one", QUANTITY, "1"),
        Key("memory", "Memory limit of a proxy", QUANTITY, "512Mi"),
    ),
    files={
        "README.md": File(),
        "addon.py": File(),
        "kustomization.yaml": File(),
        "certificates.yaml": File(),
        "proxy.yaml": File(),
        "network-policy.yaml": File(),
        "runner-values.yaml": File(),
    },
    source="mitmproxy",
)
