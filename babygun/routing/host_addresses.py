"""The addresses of a host that a stranger names, without those that must never be dialled.

The owner of a domain may name any address in DNS. Mail and notices must not reach this machine, nor
its own networks, by such a name. So only addresses of the public Internet are dialled, and those of
networks that the settings allow.
"""

from __future__ import annotations

import asyncio
import random
import socket
import time
from collections.abc import Callable, Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import NamedTuple

from babygun.dns import Answer, DnsError, Kind, NoSuchName, Resolver
from babygun.errors import BabygunError, OutOfResources
from babygun.runtime.local_faults import is_local_fault
from babygun.runtime.networks import Network

Address = IPv4Address | IPv6Address

_ELSEWHERE = "2001:db8::1"  # RFC 3849: nobody has it, and the way to it is that to the Internet
_NOBODYS = "203.0.113.213"
_KNOWN_FOR = 5.0  # s, for which it is known whether there is one
_NAT64 = IPv6Network("64:ff9b::/96")  # RFC 6052: an address of IPv4 is in its last 32 bits
_GLOBAL = IPv6Network("2000::/3")  # RFC 4291: all that is given out; forms of IPv4 are elsewhere
_AZURE = IPv4Address("168.63.129.16")  # it serves a machine's own data there, by a public address


class HostAddresses(NamedTuple):
    """What is known of a host's addresses.

    ``usable``: those of IPv6 first; those of one kind in another order each time. ``refused``:
    those that mail must not go to. ``failed``: why DNS did not answer about a kind; empty: it did.
    ``ours``: the host is this machine, as the Internet sees it. ``secure``: of some address DNS
    proves it. ``name``: whose addresses they are, after all aliases; empty: the host's own.
    """

    usable: tuple[Address, ...]
    refused: tuple[Address, ...] = ()
    failed: str = ""
    ours: bool = False
    secure: bool = False
    name: str = ""


async def addresses_of(
    resolver: Resolver, host: str, *, allowed: Sequence[Network] = (), ipv6: bool = True
) -> HostAddresses:
    """The addresses of a host, by its name in ASCII. ``ipv6``: whether to ask for those, too.

    Those of one kind may be known though DNS fails about the other. A host that is not in DNS has
    none. Raises OutOfResources.
    """
    kinds: tuple[Kind, ...] = ("AAAA", "A") if ipv6 else ("A",)
    answers = await asyncio.gather(*(_ask(resolver, host, kind) for kind in kinds))
    usable: list[Address] = []
    refused: list[Address] = []
    failed = name = ""
    secure = False
    for answer in answers:
        if isinstance(answer, DnsError):
            failed = failed or str(answer)
            continue
        if answer.records:
            secure, name = secure or answer.secure, answer.name
        found = [ip_address(each.value) for each in answer.records]
        for address in random.sample(found, len(found)):
            (usable if may_be_dialled(address, allowed) else refused).append(address)
    ours = any(each.is_global and is_of_this_machine(each) for each in refused)
    return HostAddresses(tuple(usable), tuple(refused), failed, ours, secure, name)


class NoAddress(BabygunError):
    """A host has no address that may be dialled, for the reason in the text."""


async def require_addresses(
    resolver: Resolver, host: str, *, allowed: Sequence[Network]
) -> tuple[Address, ...]:
    """The addresses of a host that may be dialled, at least one.

    Raises NoAddress, OutOfResources.
    """
    found = await addresses_of(resolver, host, allowed=allowed, ipv6=ipv6_leads_out())
    if found.usable:
        return found.usable
    if found.refused:
        raise NoAddress(f"{host} leads to an address that is not public")
    raise NoAddress(found.failed or f"{host} has no address in DNS")


async def _ask(resolver: Resolver, host: str, kind: Kind) -> Answer | DnsError:
    try:
        return await resolver.lookup(host, kind)
    except NoSuchName:
        return Answer((), 0.0)
    except DnsError as error:
        return error


def may_be_dialled(address: Address, allowed: Sequence[Network]) -> bool:
    """Whether a connection may go to an address that a stranger's DNS or URL names."""
    if any(address in network for network in allowed):
        return True
    inner = _inside(address)
    if inner is not None:
        return may_be_dialled(inner, allowed)
    if address == _AZURE or (isinstance(address, IPv6Address) and address not in _GLOBAL):
        return False
    is_public = address.is_global and not address.is_multicast
    return is_public and not is_of_this_machine(address)


def _inside(address: Address) -> IPv4Address | None:
    """The address of IPv4 that one of IPv6 leads to."""
    if isinstance(address, IPv4Address):
        return None
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour


def ipv6_leads_out() -> bool:
    """Whether this machine has a way to the IPv6 Internet, as far as it knows. Nothing is sent.

    It may be some seconds old: it is asked for each new connection. Raises OutOfResources.
    """
    return _leads_out(int(time.monotonic() / _KNOWN_FOR))


@lru_cache(maxsize=1)
def _leads_out(_period: int) -> bool:
    return _way_begins_at(ip_address(_ELSEWHERE)) is not None


def is_of_this_machine(address: Address) -> bool:
    """Whether this machine has the address: only then a socket can have it. Raises OutOfResources.

    Some systems give a socket any address (``net.ipv4.ip_nonlocal_bind``). Then an address is ours
    if the way to it begins there.
    """
    if not address.is_loopback and may_have_any(address.version):
        return _way_begins_at(address) == str(address)
    return _may_have(address)


@lru_cache
def may_have_any(version: int) -> bool:
    """Whether a socket may have an address that nobody has (RFC 5737, RFC 3849)."""
    return _may_have(ip_address(_NOBODYS if version == 4 else _ELSEWHERE))


def _may_have(address: Address) -> bool:
    """Whether a socket may have the address. Raises OutOfResources."""
    return _socket_address(address, lambda each: each.bind((str(address), 0))) is not None


def _way_begins_at(address: Address) -> str | None:
    """Which address of ours the way to another begins at. None: there is no way to it.

    Raises OutOfResources.
    """
    return _socket_address(address, lambda each: each.connect((str(address), 53)))


def _socket_address(address: Address, act: Callable[[socket.socket], None]) -> str | None:
    """The own address of a UDP socket after ``act``. None: the system refuses. Nothing is sent.

    The socket is one for ``address``. Raises OutOfResources where it could not even be asked.
    """
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as one:
            act(one)
            return str(one.getsockname()[0])
    except OSError as error:
        if is_local_fault(error.errno):
            raise OutOfResources(f"addresses can't be looked at: {error}") from error
        return None
