"""Squid as a forward proxy that does not look into TLS: which pod connected to which host, and how much."""

from __future__ import annotations

import ipaddress
from pathlib import Path

from ciforensics.capture.kit import (
    FLAG,
    HOST,
    IMAGE,
    LABEL,
    PATH,
    PORT,
    QUANTITY,
    TEXT,
    File,
    Key,
    Kind,
    Kit,
    whole_number,
)

# What is no host on the internet. Of these nothing can be allowed: the host itself, link-local addresses and
# the metadata services of clouds (Azure's has a public address).
_NEVER = (
    "0.0.0.0/8",
    "127.0.0.0/8",
    "168.63.129.16/32",
    "169.254.0.0/16",
    "192.0.0.0/24",
    "224.0.0.0/3",
    "::/127",
    "fe80::/10",
    "fd00:ec2::254/128",
    "ff00::/8",
    "64:ff9b::a9fe:0/112",
    "64:ff9b::7f00:0/104",
)
_PRIVATE = (
    "10.0.0.0/8",
    "100.64.0.0/10",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "fc00::/7",
    "fec0::/10",
    "64:ff9b::a00:0/104",
    "64:ff9b::ac10:0/108",
    "64:ff9b::c0a8:0/112",
)

_Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def denied(text: str) -> tuple[str, ...]:
    """The networks that stay denied when these are allowed.

    Squid denies a name when any of its addresses is denied. An exception beside the rule would let a name
    through that has both an allowed and a forbidden address; so what is allowed is cut out of the rule.

    Example:
        >>> denied("10.128.0.0/9")[-2:], "10.0.0.0/9" in denied("10.128.0.0/9")
        (('64:ff9b::ac10:0/108', '64:ff9b::c0a8:0/112'), True)
    """
    allowed = [ipaddress.ip_network(each.strip()) for each in text.split(",") if each.strip()]
    left: list[_Network] = []
    for network in map(ipaddress.ip_network, (*_NEVER, *_PRIVATE)):
        left += _without(network, allowed)
    # Squid warns of a network that lies in another.
    return tuple(
        str(each)
        for each in left
        if not any(
            each != other and each.version == other.version and each.subnet_of(other)  # type: ignore[arg-type]
            for other in left
        )
    )


def _without(network: _Network, allowed: list[_Network]) -> list[_Network]:
    """A network in pieces, without what is allowed of it."""
    for each in allowed:
        if network.version == each.version and network.overlaps(each):
            if network.subnet_of(each):  # type: ignore[arg-type]  # of one version
                return []
            pieces: list[_Network] = [*network.address_exclude(each)]  # type: ignore[arg-type]
            return [piece for part in pieces for piece in _without(part, allowed)]
    return [network]


def _allowed(text: str) -> tuple[str, ...]:
    for each in filter(None, map(str.strip, text.split(","))):
        network = ipaddress.ip_network(each)
        for never in map(ipaddress.ip_network, _NEVER):
            loopback = never.is_loopback and network.is_loopback
            if network.version == never.version and network.overlaps(never) and not loopback:
                raise ValueError(each)
    return denied(text)


def _names(text: str) -> tuple[str, ...]:
    return tuple(str(LABEL.read(each.strip())) for each in text.split(","))


_ALLOWED = Kind(
    "networks in CIDR notation with commas between, none with link-local or metadata addresses in it",
    "10.20.0.0/16",
    _allowed,
)
_NAMESPACES = Kind("names of namespaces with commas between", "arc-runners,arc-large", _names)

KIT = Kit(
    name="squid",
    summary="each connection through a forward proxy, with pod, job and run, without looking into TLS",
    folder=Path(__file__).parent,
    keys=(
        Key("image", "The image that is built from Containerfile", IMAGE),
        Key("runner_namespaces", "Where the runners' pods are", _NAMESPACES, "arc-runners"),
        Key("namespace", "Where Squid runs; must be there", LABEL, "ciforensics"),
        Key("name", "Of the service, and of all that is made", LABEL, "squid"),
        Key("cluster_domain", "The cluster's DNS domain", HOST, "cluster.local"),
        Key("port", "Where Squid listens", PORT, "3128"),
        Key("allow_private", "Private networks that may be connected to", _ALLOWED, ""),
        Key("plain_http", "Send plain HTTP to the proxy too, which denies it", FLAG, "no"),
        Key(
            "no_proxy",
            "What is connected to without the proxy",
            TEXT,
            "localhost,127.0.0.1,::1,.svc,.cluster.local,10.0.0.0/8,172.16.0.0/12,192.168.0.0/16,169.254.169.254,metadata.google.internal",
        ),
        Key("drain", "Seconds that tunnels have to end when Squid stops", whole_number(1, 3600), "5"),
        Key("cpu", "CPU that is reserved; more is taken where there is some", QUANTITY, "50m"),
        Key("memory", "Memory that is reserved", QUANTITY, "128Mi"),
        Key("memory_limit", "Memory above which Kubernetes ends Squid", QUANTITY, "512Mi"),
        Key("log", "Where the log goes", PATH, "/dev/stdout"),
        Key("helper", "Where podmeta.py is", PATH, "/etc/ciforensics/podmeta.py"),
        Key("python", "Python 3.9 or newer", PATH, "/usr/bin/python3"),
    ),
    files={
        "README.md": File(),
        "squid.conf": File(),
        "podmeta.py": File(executable=True),
        "Containerfile": File(),
        "kustomization.yaml": File(),
        "rbac.yaml": File(),
        "daemonset.yaml": File(),
        "service.yaml": File(),
        "runner/values.yaml": File(),
        "runner/daemon.json": File(),
    },
    source="squid",
)
