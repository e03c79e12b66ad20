"""What ``babygun doctor`` looks at so that mail leaves this machine and is welcome elsewhere.

Relays are connected to. Mail that goes straight to mail hosts needs more: DNS, port 25, and a name
and addresses that point at each other. A stranger's server is only dialled if the operator names a
domain.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import time
from collections.abc import AsyncIterator
from dataclasses import replace

from babygun.cli.finding import Finding, Level
from babygun.cli.tls_policy_checks import check_dane_resolver, describe_demands, find_policies
from babygun.dns import DnsError, LookupFailed, NoSuchName, Resolver
from babygun.email.domains import ascii_domain
from babygun.errors import BabygunError
from babygun.routing.host_addresses import Address, is_of_this_machine, may_be_dialled
from babygun.routing.mx import BackToUs
from babygun.routing.mx_destinations import MxDestination
from babygun.routing.routes import Routes, load_routes
from babygun.routing.sites import MX
from babygun.runtime.settings import Settings
from babygun.smtp import ConnectFailed, check_server

_MOST_SERVERS = 4  # of a domain that are dialled
_SLOW = 1.0  # s, for a lookup


async def check_mail(loaded: Settings, *, relays: bool, mx: str) -> AsyncIterator[Finding]:
    """All of it. ``relays``: whether to connect to them. ``mx``: a domain to connect to."""
    routes = load_routes(loaded)
    if not routes.has_destinations:
        yield Finding(
            "bad",
            "no route for mail is set: BABYGUN_RELAY_URL=smtp://host:port, or BABYGUN_DEFAULT=mx",
        )
    checks = [_relays(loaded, routes)] if relays else []
    if routes.to_mx:
        checks.append(check_sending_host(loaded))
    if mx:
        checks.append(check_mail_hosts(loaded, mx))
    for each in checks:
        async for finding in each:
            yield finding


async def _relays(loaded: Settings, routes: Routes) -> AsyncIterator[Finding]:
    """Whether each relay can be reached, and takes the login."""
    for relay in routes.destinations.values():
        assert relay.server
        name = f"relay {relay.name} at {relay.endpoint}"
        try:
            offered = await check_server(
                relay.server, hostname=loaded.smtp_hostname, timeout=loaded.smtp_connect_timeout
            )
            yield Finding("ok", f"{name} accepts connections ({offered})")
        except BabygunError as error:
            yield Finding("bad", f"{name}: {error}")


async def check_mail_hosts(loaded: Settings, domain: str) -> AsyncIterator[Finding]:
    """Whether this machine reaches a domain's mail hosts: many networks close port 25."""
    routes = load_routes(
        loaded if load_routes(loaded).to_mx else replace(loaded, default="mx", relay_url="")
    )
    dialled = reached = 0
    fetcher = find_policies(loaded, routes)
    try:
        destination = await routes.destination(MX + ascii_domain(domain).lower())
        if isinstance(destination, MxDestination):
            for finding in describe_demands(domain, destination.policy):
                yield finding
        async for server in destination.servers():
            dialled += 1
            try:
                offered = await check_server(
                    server, hostname=loaded.smtp_hostname, timeout=loaded.smtp_connect_timeout
                )
                reached += 1
                yield Finding("ok", f"mail host {server.endpoint} accepts connections ({offered})")
            except ConnectFailed as error:
                yield Finding("warn", f"mail host {server.endpoint}: {error}")
            if dialled == _MOST_SERVERS:
                break
    except (BabygunError, ValueError) as error:
        level: Level = "warn" if isinstance(error, BackToUs) else "bad"
        yield Finding(level, f"mail hosts of {domain}: {error}")
        return
    finally:
        await fetcher.close()
    if not reached:
        yield Finding(
            "bad",
            f"no mail host of {domain} can be reached: if that is so for all domains, this network"
            f" closes port {loaded.mx_port}. Ask who runs it to open the port, or use a relay",
        )


async def check_sending_host(loaded: Settings) -> AsyncIterator[Finding]:
    """Resolvers, name and addresses of this machine, as other servers look at them."""
    hostname = (loaded.smtp_hostname or await asyncio.to_thread(socket.getfqdn)).lower()
    is_full = "." in hostname and not hostname.startswith("localhost")
    resolver = Resolver(loaded.resolvers)
    answers = False
    for server in resolver.servers:
        finding = await _check_resolver(server, hostname if is_full else "localhost")
        answers = answers or finding.level != "bad"
        yield finding
    if loaded.dane_resolver:
        yield await check_dane_resolver(loaded)
    sources = [ipaddress.ip_address(each) for each in load_routes(loaded).sources]
    here = [address for address in sources if is_of_this_machine(address)]
    for address in sources:
        if address in here:
            yield Finding("ok", f"source address {address} is one of this machine")
    if sources and not here:
        yield Finding("bad", "none of source_addresses is an address of this machine")
    if not is_full:
        yield Finding(
            "bad",
            f"the host's name {hostname} is not a full one: set BABYGUN_SMTP_HOSTNAME to the name"
            " that DNS has for this machine",
        )
    elif answers:
        async for finding in _check_names(resolver, hostname, here, loaded):
            yield finding
        others = [each for each in sources if each not in here] if here else []
        for address in others:  # of other machines, whose names are not known here
            if may_be_dialled(address, loaded.allow_networks):
                yield await _check_ptr(resolver, address)
    yield Finding(
        "ok",
        f"port {loaded.mx_port} of mail hosts is only tried for a domain that you name:"
        " babygun doctor --mx DOMAIN",
    )


async def _check_resolver(server: str, hostname: str) -> Finding:
    """A name that does not exist is an answer, too."""
    began = time.monotonic()
    try:
        await Resolver([server]).lookup(hostname, "A")
    except NoSuchName:
        pass
    except LookupFailed as error:
        return Finding("bad", f"resolver {server}: {error}")
    took = time.monotonic() - began
    return Finding(
        "warn" if took > _SLOW else "ok", f"resolver {server} answers, in {took * 1000:.0f} ms"
    )


async def _check_names(
    resolver: Resolver, hostname: str, here: list[Address], loaded: Settings
) -> AsyncIterator[Finding]:
    """Whether the name in EHLO leads to our addresses, and each of them back to a name."""
    named = await addresses_in_dns(resolver, hostname)
    if not named:
        yield Finding("bad", f"the host's name {hostname} has no address in DNS: add it there")
    public = [each for each in here or named if _is_shown(each, loaded)]
    if named and not public:
        shown = ", ".join(map(str, here or named))
        yield Finding(
            "warn",
            f"this machine's public address is not known: DNS and settings have"
            f" {shown} only. Name it in source_addresses if it is an address of this machine",
        )
    for address in public:
        yield await _check_ptr(resolver, address, hostname)


def _is_shown(address: Address, loaded: Settings) -> bool:
    """Whether other servers may see the address: it is public, or we say that it counts."""
    return may_be_dialled(address, loaded.allow_networks) or (
        address.is_global and is_of_this_machine(address)
    )


async def _check_ptr(resolver: Resolver, address: Address, hostname: str = "") -> Finding:
    """Servers ask for the name of an address (PTR), and whether the name has that address.

    ``hostname``: the name that EHLO says; empty: any.
    """
    try:
        records = (await resolver.lookup(address.reverse_pointer, "PTR")).records
    except NoSuchName:
        records = ()
    except DnsError as error:
        return Finding("warn", f"PTR of {address}: {error}")
    names = [record.value for record in records]
    if not names:
        return Finding(
            "bad",
            f"{address} has no PTR record: large providers refuse its mail. Ask who gave you the"
            f" address to point it at {hostname or 'the name of its machine'}",
        )
    back = [name for name in names if address in await addresses_in_dns(resolver, name)]
    if not back:
        return Finding(
            "bad",
            f"{address} points at {names[0]} (PTR), and that name has another address or none:"
            f" both have to point at each other",
        )
    hostname = hostname or back[0]
    if hostname not in back:
        return Finding(
            "warn",
            f"{address} points at {back[0]} (PTR) and back, but EHLO says {hostname}: set"
            f" BABYGUN_SMTP_HOSTNAME={back[0]}, or change the PTR record",
        )
    return Finding("ok", f"{address} points at {hostname} (PTR), and that name back")


async def addresses_in_dns(resolver: Resolver, name: str) -> list[Address]:
    """All of a name; those that DNS does not answer about are left out."""
    found: list[Address] = []
    for kind in ("A", "AAAA"):
        try:
            records = (await resolver.lookup(name, kind)).records
        except DnsError:
            continue
        found += [ipaddress.ip_address(record.value) for record in records]
    return found
