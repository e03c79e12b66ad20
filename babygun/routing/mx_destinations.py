"""Where the mail of a domain goes that no relay takes: to its mail hosts, as DNS names them.

What is remembered of domains is bounded: their sites for scheduling, their hosts for seconds.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import time
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

from babygun.dns import DnsError, LookupFailed, Resolver
from babygun.routing.destination import Destination, NoDestination, NoSource, picked_sources
from babygun.routing.domain_policies import DomainPolicies, StsOf
from babygun.routing.host_addresses import (
    HostAddresses,
    addresses_of,
    ipv6_leads_out,
    is_of_this_machine,
)
from babygun.routing.mx import BackToUs, MailHosts, NoMailHost, mail_hosts
from babygun.routing.providers import Providers
from babygun.routing.route_settings import Route
from babygun.routing.server import Server, TlsMin, TlsMode
from babygun.routing.sites import MX, Site, site_of, site_of_domain
from babygun.routing.tls_overrides import Override
from babygun.routing.tls_policy import NO_DEMANDS, DomainPolicy
from babygun.runtime.networks import Network
from babygun.runtime.settings import Settings

_SITES = 50_000  # domains whose site is remembered; some 300 bytes each
_HOSTS = 5_000  # domains whose hosts are remembered, and sets of hosts; some KB each
_FRESH = 30.0  # s, for which hosts are used before DNS is asked again: the shortest TTL we heed


class _Looks(NamedTuple):
    """What each destination needs to look up its servers."""

    resolver: Resolver
    allowed: tuple[Network, ...]
    port: int
    sts_ca: str

    async def addresses_of(self, host: str) -> HostAddresses:
        """Those of IPv6 are left out where they lead nowhere, unless the host has no others."""
        ipv6 = ipv6_leads_out() or any(network.version == 6 for network in self.allowed)
        found = await addresses_of(self.resolver, host, allowed=self.allowed, ipv6=ipv6)
        if found.usable or ipv6:
            return found
        return await addresses_of(self.resolver, host, allowed=self.allowed)


@dataclass(frozen=True, kw_only=True)
class MxDestination(Destination):
    """The mail hosts of one domain.

    ``heeds_policies``: mail goes as the domain's TLS policy demands.
    """

    hosts: MailHosts
    tls: TlsMode
    tls_min: TlsMin
    looks: _Looks
    policy: DomainPolicy = NO_DEMANDS
    heeds_policies: bool = True

    def without_policies(self) -> MxDestination:
        """For mail that is to go whatever the domain's TLS policy demands (RFC 8689, 5)."""
        pool = f"{self.pool} without policies"
        return replace(self, pool=pool, policy=NO_DEMANDS, heeds_policies=False)

    async def servers(self, *, for_email: str = "") -> AsyncGenerator[Server, None]:
        """Hosts by preference, equal ones in any order; the addresses of each, IPv6 first.

        A host's addresses are looked up when its turn comes. Raises NoMailHost and LookupFailed
        if there is no server at all, NoSource if none of ours reaches one.
        """
        sources = picked_sources(self.sources, for_email)
        found: list[HostAddresses] = []
        some = False
        for host in self.hosts.shuffled():
            addresses = await self.looks.addresses_of(host)
            found.append(addresses)
            if addresses.ours:  # mail to it, or to a host after it, would come back to us
                break
            for address in addresses.usable:
                source = sources.get(address.version, "")
                if source or not sources:
                    some = True
                    yield Server(
                        host,
                        self.looks.port,
                        str(address),
                        source,
                        tls=self.tls,
                        tls_min=self.tls_min,
                        tls_ca=self.looks.sts_ca,
                        policy=self.policy.of(host),
                    )
        if not some:
            raise self._none(found)

    def _none(self, found: list[HostAddresses]) -> NoMailHost | DnsError | NoSource:
        domain = self.name.removeprefix(MX)
        failed = next((each.failed for each in found if each.failed), "")
        if failed:
            return LookupFailed(failed)
        if any(each.usable for each in found):
            has = "IPv4" if 4 in picked_sources(self.sources, "") else "IPv6"
            lacks = "IPv6" if has == "IPv4" else "IPv4"
            return NoSource(
                f"the mail hosts of {domain} have addresses of {lacks} only, and source_addresses"
                f" has none of these here: add one"
            )
        if found[-1].ours:
            text = f"the mail of {domain} would come back to this server: its host has our address"
            return BackToUs(text)
        refused = sorted({str(address) for each in found for address in each.refused})
        if refused:
            text = (
                f"the mail hosts of {domain} have addresses only that are not on the public"
                f" Internet, or ours: {', '.join(refused[:3])}; allow_networks can allow them"
            )
            return NoMailHost(text, code=554, enhanced="5.4.6")
        what = (
            f"{domain} has neither an MX record nor an address"
            if self.hosts.implicit
            else f"no mail host of {domain} has an address: {', '.join(self.hosts.shuffled()[:3])}"
        )
        return NoMailHost(what, code=554, enhanced="5.4.4")


class MxDestinations:
    """Finds the destinations of domains, and remembers their sites."""

    def __init__(
        self,
        settings: Settings,
        providers: Providers,
        overrides: Mapping[str, Override],
        sts_of: StsOf,
    ) -> None:
        self._settings, self._providers = settings, providers
        self._overrides, self._sts_of = overrides, sts_of
        self._ours: frozenset[str] | None = None  # names of this host
        self._sites: dict[str, Site] = {}  # by queue
        self._hosts: dict[str, tuple[float, MxDestination]] = {}  # by queue, with their end
        self._site_of = lru_cache(_HOSTS)(self._find_site)  # domains share one in memory, too

    @cached_property
    def _looks(self) -> _Looks:
        settings = self._settings
        if settings.dane_resolver:
            resolver = Resolver([settings.dane_resolver], trusted=True)
        else:
            resolver = Resolver(settings.resolvers)
        return _Looks(resolver, settings.allow_networks, settings.mx_port, settings.sts_ca)

    @property
    def resolver(self) -> Resolver:
        return self._looks.resolver

    @cached_property
    def _policies(self) -> DomainPolicies:
        looks = self._looks
        return DomainPolicies(
            self._sts_of,
            self._overrides,
            looks.resolver if self._settings.dane_resolver else None,
            looks.addresses_of,
            port=looks.port,
        )

    def known_site(self, queue: str) -> Site | None:
        """The site of a queue as it was found last; None: it was not looked up yet."""
        return self._sites.get(queue)

    async def find_site(self, queue: str) -> Site:
        """The site of a queue, as it is now. Raises NoMailHost and LookupFailed.

        It is known then, also if there is no host: such a queue has a site of its own.
        """
        return (await self._find_hosts(queue))[1]

    async def find_site_again(self, queue: str) -> Site | None:
        """As :meth:`find_site`, for a known queue. None: DNS does not say now, so it stays.

        A domain without a mail host gets a site of its own: its mail then ends as DNS says.
        """
        try:
            return (await self._find_hosts(queue, again=True))[1]
        except NoMailHost:
            return self._sites.get(queue)
        except DnsError:
            return None

    async def find(self, queue: str, route: Route) -> MxDestination:
        """The destination of a queue. Raises NoMailHost, LookupFailed, NoDestination.

        Then its site is known, too.
        """
        until, known = self._hosts.get(queue, (0.0, None))
        if known is not None and until > time.monotonic():
            return known
        hosts, site = await self._find_hosts(queue)
        policy = NO_DEMANDS
        if route.tls != "none":
            policy = await self._policies.of(queue.removeprefix(MX), hosts)
        found = self._destination(queue, route, hosts, site, policy)
        _remember(self._hosts, queue, (time.monotonic() + _FRESH, found), _HOSTS)
        return found

    async def _find_hosts(self, queue: str, *, again: bool = False) -> tuple[MailHosts, Site]:
        """``again``: where DNS does not answer, nothing changes."""
        domain = queue.removeprefix(MX)
        if self._ours is None:
            self._ours = await asyncio.to_thread(_names_of_ours, self._settings)
        try:
            hosts = await mail_hosts(self._looks.resolver, domain, ours=self._ours)
        except NoMailHost:
            self._hosts.pop(queue, None)  # else its mail goes to them once more
            _remember(self._sites, queue, site_of_domain(domain, self._providers), _SITES)
            raise
        except DnsError:
            if not again:
                _remember(self._sites, queue, site_of_domain(domain, self._providers), _SITES)
            raise
        site = self._site_of(hosts)
        _remember(self._sites, queue, site, _SITES)
        if (known := self._hosts.get(queue)) is not None and known[1].hosts != hosts:
            del self._hosts[queue]
        return hosts, site

    def _find_site(self, hosts: MailHosts) -> Site:
        return site_of(hosts, self._providers)

    def _destination(
        self, queue: str, route: Route, hosts: MailHosts, site: Site, policy: DomainPolicy
    ) -> MxDestination:
        tls = route.tls
        if policy.encrypted or (site.provider and site.provider.tls_required):
            tls = "encrypted"
        sources = here(route.sources)
        if route.sources and not sources:
            raise NoDestination(
                f"none of the source_addresses of route {route.name} is an address of this machine"
            )
        assert site.limits
        by_preference = ">".join(",".join(equal) for equal in hosts.by_preference)
        demands = [policy.pool] if policy.hosts else []
        return MxDestination(
            queue,
            site,
            pool=" ".join([MX, by_preference, tls, route.tls_min, *demands, *route.sources]),
            max_connections=site.limits.connections,
            sources=sources,
            hosts=hosts,
            tls=tls,
            tls_min=route.tls_min,
            looks=self._looks,
            policy=policy,
        )


def _names_of_ours(settings: Settings) -> frozenset[str]:
    """The names of this host, in lower case. It may have to ask DNS for them."""
    names = (settings.smtp_hostname, socket.getfqdn(), socket.gethostname())
    return frozenset(name.lower().removesuffix(".") for name in names if name)


def here(sources: tuple[str, ...]) -> tuple[str, ...]:
    """Those of these addresses that this machine has now."""
    return tuple(each for each in sources if is_of_this_machine(ipaddress.ip_address(each)))


def _remember(of: dict[str, Any], queue: str, value: object, most: int) -> None:
    """The oldest entry goes where there are too many."""
    of.pop(queue, None)
    of[queue] = value
    if len(of) > most:
        del of[next(iter(of))]
