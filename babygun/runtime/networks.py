"""IP addresses and networks as text: read, compared, and grouped for limits. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_IPV6_HOST = 64  # bits of the network that one host has for itself, at least


def normal_address(text: str) -> str:
    """An address, with or without a port, in its shortest form; empty for another text.

    An IPv4 address inside IPv6 becomes plain IPv4.
    """
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        ip = ipaddress.ip_address(text)
    except ValueError:
        return ""
    return str(getattr(ip, "ipv4_mapped", None) or ip)


def is_in(networks: Sequence[Network], address: str) -> bool:
    """Whether one of the networks has this address; false for a text that is no address."""
    if not networks:
        return False
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    return any(ip in network for network in networks)


def network_of(address: str) -> str:
    """What a limit counts as one address: of IPv6 the first 64 bits, as a host has all others."""
    if ":" not in address:
        return address
    ip = ipaddress.IPv6Address(address.partition("%")[0])
    return str(ip.ipv4_mapped or ipaddress.ip_network((ip, _IPV6_HOST), strict=False))
