"""The kit `squid`: a proxy on each node that logs which pod, and so which workflow, connected where."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Self

from pydantic import model_validator

from ciforensics.kits.kinds import (
    AbsolutePath,
    Flag,
    ImageReference,
    Label,
    Port,
    Quantity,
    SettingKind,
    Text,
    whole_number,
)
from ciforensics.kits.kit import File, Kit, Settings, key

if TYPE_CHECKING:
    from collections.abc import Iterable

# What no runner has to reach through a proxy: private and local metadata services of clouds, and
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
    for allowed in (ipaddress.ip_network(each.strip()) for each in text.split(",") if each.strip()):
        kept = [part for network in kept for part in _without(network, allowed)]
    return tuple(map(str, kept))


def _without(network: _Network, allowed: _Network) -> Iterable[_Network]:
    if network.version != allowed.version or not network.overlaps(allowed):
        return [network]
    if network.prefixlen >= allowed.prefixlen:
        return []
    return sorted(network.address_exclude(allowed))  # type: ignore[arg-type]


_DIRECT = (
    "localhost,127.0.0.1,::1,.svc,.cluster.local,10.0.0.0/8,172.16.0.0/12,192.168.0.0/16,"
    "169.254.169.254,metadata.google.internal"
)

Allowed = Annotated[
    tuple[str, ...],
    SettingKind("networks in CIDR notation with commas between", "10.0.0.0/8,fd00::/8", still_inside),
]


class Squid(Settings):
    """The keys of the kit."""

    image: ImageReference = key("Image built from Containerfile")
    namespace: Label = key("Namespace that the proxy lives in", "ciforensics")
    runner_namespace: Label = key("Namespace of the runners' pods", "arc-runners")
    port: Port = key("Where the proxy listens", "3128")
    allow_private: Allowed = key("Private networks that may be reached through the proxy nevertheless", "")
    no_proxy: Text = key("Hosts and networks that runners reach without the proxy", _DIRECT)
    refuse_plain_http: Flag = key("Sends plain HTTP to the proxy as well, which refuses it", "no")
    log: AbsolutePath = key("Where lines go in the container: its output, or a file", "/dev/stdout")
    folder: AbsolutePath = key("Where squid.conf and podmeta.py are in the container", "/etc/ciforensics")
    shutdown: Annotated[int, whole_number(1, 3600)] = key(
        "Seconds that tunnels have to end when the pod is stopped", "10"
    )
    cpu: Quantity = key("CPU that is set aside for the proxy", "100m")
    memory: Quantity = key("Memory that is set aside for the proxy", "128Mi")
    memory_limit: Quantity = key("Memory above which the proxy is restarted", "512Mi")

    @model_validator(mode="after")
    def _log_can_be_written(self) -> Self:
        if Path(self.log).parent in {Path("/"), Path(self.folder)}:
            raise ValueError(f"log={self.log} is in a folder that the proxy cannot write to.")
        return self


KIT = Kit(
    summary="a proxy on each Kubernetes node that logs which runner pod connected where, and its workflow",
    folder=Path(__file__).parent,
    settings=Squid,
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
)
