"""DANE (RFC 7672): the TLSA records of a mail host, asked for only where all before them is secure.

Everything hangs on DNSSEC. A host whose addresses are not signed has no TLSA record that counts,
and is not asked for one: many such servers answer wrongly. For a host whose addresses are signed,
TLSA records that can't be had are no reason to send without them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import NamedTuple

from babygun.dns import Answer, DnsError, Kind, NoSuchName, Resolver
from babygun.routing.host_addresses import HostAddresses
from babygun.routing.tls_policy import Violation
from babygun.routing.tlsa import Tlsa, usable


class HostTlsa(NamedTuple):
    """What DANE says of a host. ``found``: it has TLSA records; ``records``: those mail can use.

    ``name``: where they are (the TLSA base domain). ``failed``: nobody knows whether there are any.
    """

    found: bool
    name: str = ""
    records: tuple[Tlsa, ...] = ()
    failed: Violation | None = None


NO_TLSA = HostTlsa(False)


async def tlsa_of(
    resolver: Resolver,
    host: str,
    addresses_of: Callable[[str], Awaitable[HostAddresses]],
    *,
    port: int = 25,
) -> HostTlsa:
    """The TLSA records of a mail host, for a domain whose MX answer is secure.

    The resolver is a trusted one. Raises OutOfResources.
    """
    addresses = await addresses_of(host)
    if not addresses.usable and not addresses.refused:
        # Nobody may find an address a moment later, and think that there is no TLSA record.
        return (
            _unknown(f"the addresses of {host}", addresses.failed) if addresses.failed else NO_TLSA
        )
    names = [host]
    try:
        if addresses.secure and addresses.name:
            # RFC 7671, 7: first the end of the aliases, then their beginning.
            names.insert(0, addresses.name)
        elif not addresses.secure and not await _is_secure_alias(resolver, host, addresses):
            return NO_TLSA
        for name in names:
            if (answer := await _lookup(resolver, f"_{port}._tcp.{name}", "TLSA")).secure:
                return HostTlsa(True, name, usable(each.value for each in answer.records))
    except DnsError as error:
        return _unknown(f"the TLSA records of {host}", str(error))
    return NO_TLSA


async def _is_secure_alias(resolver: Resolver, host: str, addresses: HostAddresses) -> bool:
    """Whether a host is an alias for sure, though its target is not (RFC 7672, 2.1.3)."""
    return bool(addresses.name) and (await _lookup(resolver, host, "CNAME")).secure


async def _lookup(resolver: Resolver, name: str, kind: Kind) -> Answer:
    """The answer; one that is not secure where there is no record. Raises LookupFailed."""
    try:
        answer = await resolver.lookup(name, kind)
    except NoSuchName:
        return Answer((), 0.0)
    return answer if answer.records else Answer((), 0.0)


def _unknown(what: str, why: str) -> HostTlsa:
    return HostTlsa(True, failed=Violation("dnssec-invalid", f"{what} can't be had: {why}"))
