"""IP addresses to addresses that nobody has: 240.0.0.0/4 is reserved, 2001:db8::/32 is for documentation."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

_PRIVATE = {
    ipaddress.ip_network(network): int(ipaddress.ip_address(start))
    for network, start in {
        "10.0.0.0/8": "240.0.0.0",
        "127.0.0.0/8": "241.0.0.0",
        "172.16.0.0/12": "242.0.0.0",
        "100.64.0.0/10": "243.0.0.0",
        "192.168.0.0/16": "244.0.0.0",
        "169.254.0.0/16": "245.0.0.0",
    }.items()
}
"""Shuffled, each in a place of its own, so that no two of a hundred thousand pods can collide."""

_PUBLIC = int(ipaddress.ip_address("248.0.0.0")), 27
_IPV6 = int(ipaddress.ip_address("2001:db8::")), 96


def nobodys(address: Address, number: Callable[[str], int]) -> Address:
    """The address that stands for another one.

    Args:
        address: any.
        number: a keyed hash, 256 bits of it.

    Example:
        >>> import hashlib
        >>> hashed = lambda text: int(hashlib.sha256(text.encode()).hexdigest(), 16)
        >>> nobodys(ipaddress.ip_address("10.0.0.7"), hashed) in ipaddress.ip_network("240.0.0.0/8")
        True
    """
    for network, start in _PRIVATE.items():
        if address in network:
            bits = 32 - network.prefixlen
            return ipaddress.ip_address(start + _shuffled(int(address) % (1 << bits), bits, number))
    start, bits = _PUBLIC if address.version == 4 else _IPV6
    return ipaddress.ip_address(start + number(str(address)) % (1 << bits))


def _shuffled(value: int, bits: int, number: Callable[[str], int]) -> int:
    """A keyed permutation of the numbers below 2**bits: a Feistel network."""
    half = bits // 2
    left, right = divmod(value, 1 << half)
    for turn in range(4):
        left, right = right, left ^ number(f"{bits} {turn} {right}") % (1 << half)
    return left << half | right
