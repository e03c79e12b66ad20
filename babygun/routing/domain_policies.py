"""Finds the TLS policies of a domain's mail hosts: the operator's, DANE, or MTA-STS, in this order.

All hosts are looked at when the domain is, not when their turn comes: the policy decides which
connections the domain's mail may share.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple

from babygun.dns import Resolver
from babygun.routing.dane import NO_TLSA, HostTlsa, tlsa_of
from babygun.routing.host_addresses import HostAddresses
from babygun.routing.mx import MailHosts
from babygun.routing.sts import StsPolicy
from babygun.routing.tls_overrides import Override
from babygun.routing.tls_policy import NO_DEMANDS, DomainPolicy, TlsPolicy, Violation
from babygun.routing.tlsa import DANE_TA


class FoundSts(NamedTuple):
    """The MTA-STS policy of a domain; None: it has none.

    ``failure``: why its newest one can't be had. Mail goes by the one before, or by none.
    """

    policy: StsPolicy | None = None
    failure: Violation | None = None


# Finds the MTA-STS policy of a domain. Raises OutOfResources.
StsOf = Callable[[str], Awaitable[FoundSts]]


class DomainPolicies:
    """``trusted``: a resolver whose answers say what is secure; None: there is no DANE.

    ``addresses_of``: the addresses of a host, by the same resolver.
    """

    def __init__(
        self,
        sts_of: StsOf,
        overrides: Mapping[str, Override],
        trusted: Resolver | None,
        addresses_of: Callable[[str], Awaitable[HostAddresses]],
        *,
        port: int = 25,
    ) -> None:
        self._sts_of, self._overrides = sts_of, overrides
        self._trusted, self._addresses_of, self._port = trusted, addresses_of, port

    async def of(self, domain: str, hosts: MailHosts) -> DomainPolicy:
        """What a domain demands of its hosts. Raises OutOfResources."""
        override = self._overrides.get(domain)
        if override is not None and not override.dane:
            if override.encrypted:
                return DomainPolicy(encrypted=True)
            return _policies(domain, hosts, {}, FoundSts(override.sts), dane_only=False)
        tlsa = await self._all_tlsa(hosts)
        sts = FoundSts() if override else await self._sts_of(domain)
        return _policies(domain, hosts, tlsa, sts, dane_only=override is not None)

    async def _all_tlsa(self, hosts: MailHosts) -> dict[str, HostTlsa]:
        """By host; nothing where DANE does not apply."""
        resolver = self._trusted
        if resolver is None or not hosts.secure:
            return {}
        asked = (
            tlsa_of(resolver, host, self._addresses_of, port=self._port) for host in hosts.names
        )
        return dict(zip(hosts.names, await asyncio.gather(*asked), strict=True))


def _policies(
    domain: str,
    hosts: MailHosts,
    tlsa: Mapping[str, HostTlsa],
    sts: FoundSts,
    *,
    dane_only: bool,
) -> DomainPolicy:
    found: dict[str, TlsPolicy] = {}
    policy = sts.policy if sts.policy and sts.policy.mode != "none" else None
    for host in hosts.names:
        of_host = tlsa.get(host, NO_TLSA)
        if of_host.found:
            found[host] = _by_dane(domain, host, of_host)
        elif dane_only:
            text = f"{host} has no TLSA record that is signed, which tls_policies asks for"
            found[host] = TlsPolicy("dane", violation=Violation("dane-required", text))
        elif policy is not None:
            found[host] = _by_sts(host, policy)
    if not found and sts.failure is None:
        return NO_DEMANDS
    return DomainPolicy(found, policy, sts.failure)


def _by_dane(domain: str, host: str, tlsa: HostTlsa) -> TlsPolicy:
    """RFC 7672, 3.2.2: which names a certificate may have, where an authority is named."""
    names = [tlsa.name or host]
    if any(each.usage == DANE_TA for each in tlsa.records):
        names += [host, domain]
    return TlsPolicy(
        "dane", names=tuple(dict.fromkeys(names)), tlsa=tlsa.records, violation=tlsa.failed
    )


def _by_sts(host: str, sts: StsPolicy) -> TlsPolicy:
    violation = None
    if not sts.names(host):
        violation = Violation("validation-failure", f"no line mx of the policy names {host}")
    return TlsPolicy("sts", sts.mode == "testing", names=(host,), violation=violation)
