"""The kit `squid`: a proxy on each node that logs which pod, and so which workflow, connected where."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import TYPE_CHECKING, cast

from ciforensics.kits.kit import (
    FLAG,
    IMAGE,
    LABEL,
    NETWORKS,
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

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ciforensics.kits.kit import Value

# What no runner has to reach through a proxy: private and local networks, metadata services of clouds, and
# of these the ones in IPv4 once more behind NAT64.
_INSIDE = """
    0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 168.63.129.16/32 169.254.0.0/16 172.16.0.0/12 192.0.0.0/24
    192.168.0.0/16 198.18.0.0/15 224.0.0.0/3 ::/127 64:ff9b::a00:0/104 64:ff9b::7f00:0/104
    64:ff9b::a9fe:0/112 64:ff9b::ac10:0/108 64:ff9b::c0a8:0/112 64:ff9b:1::/48 fc00::/7 fe80::/10 fec0::/10
    ff00::/8
"""

_Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def still_inside(text: str) -> tuple[str, ...]:
    """The networks that stay refused when these are allowed.

    They are worked out here because Squid has no "but not": of a name with two addresses, one allowed and
    one not, `inside !allowed` would say that it is fine.

    Example:
        >>> still_inside("10.0.0.0/9")[:2]
        ('0.0.0.0/8', '10.128.0.0/9')
    """
    kept: list[_Network] = [ipaddress.ip_network(each) for each in _INSIDE.split()]
    for allowed in map(ipaddress.ip_network, cast("tuple[str, ...]", NETWORKS.read(text))):
        kept = [part for network in kept for part in _without(network, allowed)]
    return tuple(map(str, kept))


def _without(network: _Network, allowed: _Network) -> Iterable[_Network]:
    if network.version != allowed.version or not network.overlaps(allowed):
        return [network]
    if network.prefixlen >= allowed.prefixlen:
        return []
    return sorted(network.address_exclude(allowed))  # type: ignore[arg-type]


def _check(values: Mapping[str, Value | None]) -> None:
    log, folder = Path(str(values["log"])), values["folder"]
    if log.parent in {Path("/"), Path(str(folder))}:
        raise ValueError(f"log={log} is in a folder that the proxy cannot write to.")


_DIRECT = (
    "localhost,127.0.0.1,::1,.svc,.cluster.local,10.0.0.0/8,172.16.0.0/12,192.168.0.0/16,"
    "169.254.169.254,metadata.google.internal"
)

KIT = Kit(
    name="squid",
    summary="a proxy on each Kubernetes node that logs which runner pod connected where, and its workflow",
    folder=Path(__file__).parent,
    keys=(
        Key("image", "Image built from Containerfile", IMAGE),
        Key("namespace", "Namespace that the proxy lives in", LABEL, "ciforensics"),
        Key("runner_namespace", "Namespace of the runners' pods", LABEL, "arc-runners"),
        Key("port", "Where the proxy listens", PORT, "3128"),
        Key(
            "allow_private",
            "Private networks that may be reached through the proxy nevertheless",
            Kind(NETWORKS.meaning, NETWORKS.example, still_inside),
            "",
        ),
        Key("no_proxy", "Hosts and networks that runners reach without the proxy", TEXT, _DIRECT),
        Key("refuse_plain_http", "Sends plain HTTP to the proxy as well, which refuses it", FLAG, "no"),
        Key("log", "Where lines go in the container: its output, or a file", PATH, "/dev/stdout"),
        Key("folder", "Where squid.conf and podmeta.py are in the container", PATH, "/etc/ciforensics"),
        Key(
            "shutdown",
            "Seconds that tunnels have to end when the pod is stopped",
            whole_number(1, 3600),
            "10",
        ),
        Key("cpu", "CPU that is set aside for the proxy", QUANTITY, "100m"),
        Key("memory", "Memory that is set aside for the proxy", QUANTITY, "128Mi"),
        Key("memory_limit", "Memory above which the proxy is restarted", QUANTITY, "512Mi"),
    ),
    files={
        "README.md": File(),
        "Containerfile": File(),
        "squid.conf": File(),
        "podmeta.py": File(executable=True),
        "kustomization.yaml": File(),
        "rbac.yaml": File(),
        "daemonset.yaml": File(),
        "service.yaml": File(),
        "runner/daemon.json": File(),
        "runner/values.yaml": File(),
    },
    source="squid",
    check=_check,
)
