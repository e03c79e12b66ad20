"""Where a webhook's requests go: its URL taken apart, and the IP addresses that it may lead to.

A client names the URL, so it may name a host of our own network. The addresses of the host are
looked up once for each connection, and checked before it is made. The connection goes to exactly
these. So a name that points elsewhere a moment later changes nothing.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from typing import NamedTuple
from urllib.parse import urlsplit

import idna

from babygun.dns import Resolver
from babygun.errors import OutOfResources
from babygun.routing.host_addresses import (
    Address,
    NoAddress,
    may_be_dialled,
    require_addresses,
)
from babygun.runtime.networks import Network

_PORTS = {"https": 443, "http": 80}
_TARGET = re.compile(r"[!-~]+")
_HOST = re.compile(r"[A-Za-z0-9._:%-]+")
_LOOPBACK = ("127.0.0.1", "::1")  # RFC 6761, 6.3: what localhost is, whatever DNS says


class Unreachable(Exception):
    """No connection can be made, for the reason in the text."""


class Endpoint(NamedTuple):
    """``host``: in ASCII, of IPv6 without brackets. ``target``: path and query."""

    tls: bool
    host: str
    port: int
    target: str

    @property
    def authority(self) -> str:
        """As the field Host has it (RFC 9110, 7.2)."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return (
            host if self.port == _PORTS["https" if self.tls else "http"] else f"{host}:{self.port}"
        )


def parse_endpoint(url: str, *, allow_http: bool) -> Endpoint:
    """Raises Unreachable if nothing may be sent there."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
        if not host.isascii():
            host = idna.encode(host, uts46=True).decode()
    except (ValueError, idna.IDNAError) as error:
        raise Unreachable(f"the URL is not valid: {error}") from None
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    if parts.scheme not in _PORTS or not _HOST.fullmatch(host) or not _TARGET.fullmatch(target):
        raise Unreachable("the URL is not valid")
    if parts.scheme == "http" and not allow_http:
        raise Unreachable("the URL must be https: the setting webhook_allow_http is not yes")
    return Endpoint(parts.scheme == "https", host, port or _PORTS[parts.scheme], target)


async def addresses(
    endpoint: Endpoint, resolver: Resolver, allowed: Sequence[Network]
) -> tuple[Address, ...]:
    """The addresses to connect to, at least one. Raises Unreachable, which says why there is none.

    ``allowed``: networks that are not public, and may be called all the same.
    """
    try:
        return await _usable(endpoint.host.rstrip("."), resolver, allowed)
    except (NoAddress, OutOfResources) as error:
        raise Unreachable(str(error)) from None


async def _usable(host: str, resolver: Resolver, allowed: Sequence[Network]) -> tuple[Address, ...]:
    """The same for a host. Raises NoAddress, OutOfResources."""
    if (literal := _literal(host)) is not None:
        found: Sequence[Address] = (literal,)
    elif host == "localhost" or host.endswith(".localhost"):
        found = [ipaddress.ip_address(each) for each in _LOOPBACK]
    else:
        return await require_addresses(resolver, host, allowed=allowed)
    usable = tuple(address for address in found if may_be_dialled(address, allowed))
    if not usable:
        raise NoAddress(f"{host} leads to an address that is not public")
    return usable


def _literal(host: str) -> Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
