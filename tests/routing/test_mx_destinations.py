"""Destinations of domains by a real DNS: their sites, servers, sources, and what is remembered."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from ipaddress import ip_address, ip_network
from typing import Any

import pytest
import pytest_asyncio

from babygun.dns import LookupFailed
from babygun.dns import resolver as dns_resolver
from babygun.routing import host_addresses, mx_destinations
from babygun.routing.destination import Destination, NoDestination, NoSource
from babygun.routing.mx import NoMailHost
from babygun.routing.routes import Routes, load_routes
from babygun.routing.server import Server
from babygun.runtime.settings import Settings
from tests.support.dns_servers import Zone, failing, scripted, serving

pytestmark = pytest.mark.asyncio(loop_scope="module")

ZONE = """\
plain       MX 20 mx2
plain       MX 10 mx1
equal       MX 10 mx1
equal       MX 10 mx2
same        MX 10 mx1
same        MX 20 mx2
implicit    A 8.8.4.4
null        MX 0 .
alone       TXT "no mail"
homeless    MX 10 nowhere
halfway     MX 10 nowhere
halfway     MX 20 mx1
local       MX 10 lo
local       MX 20 private
partly      MX 10 lo
partly      MX 20 mx2
backup      MX 10 mx1
backup      MX 20 us
backup      MX 30 mx2
ours        MX 10 us
ours        MX 20 mx2
named       MX 10 out.babygun.example.
six         MX 10 v6only
google      MX 1 aspmx.l.google.com.
google      MX 5 alt1.aspmx.l.google.com.
mx1         A 8.8.8.1
mx1         A 8.8.8.2
mx1         AAAA 2606:4700::1
mx2         A 8.8.8.3
v6only      AAAA 2606:4700::6
us          A 8.8.8.9
lo          A 127.0.0.1
lo          A 169.254.169.254
private     A 10.0.0.1
"""
SETTINGS = Settings(default="mx", smtp_hostname="Out.babygun.example")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def dns() -> AsyncIterator[str]:
    async with serving({"example": ZONE}) as server:
        yield server


@pytest.fixture(autouse=True)
def ipv6(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine with IPv6, whatever this one has."""
    monkeypatch.setattr(mx_destinations, "ipv6_leads_out", lambda: True)


@pytest.fixture
def routes(dns: str) -> Routes:
    return load_routes(replace(SETTINGS, resolvers=(dns,)))


def routes_with(dns: str, **fields: Any) -> Routes:
    return load_routes(replace(SETTINGS, resolvers=(dns,), **fields))


async def find(routes: Routes, domain: str) -> Destination:
    return await routes.destination(f"mx:{domain}.example")


async def servers(routes: Routes, domain: str, for_email: str = "") -> list[Server]:
    destination = await find(routes, domain)
    return [server async for server in destination.servers(for_email=for_email)]


async def addresses(routes: Routes, domain: str) -> list[str]:
    return [server.address for server in await servers(routes, domain)]


async def test_servers_are_the_addresses_of_the_hosts_by_preference_ipv6_first(
    routes: Routes,
) -> None:
    one, two, three, four = await servers(routes, "plain")
    assert one == Server("mx1.example", 25, "2606:4700::1")
    assert {two.address, three.address} == {"8.8.8.1", "8.8.8.2"}
    assert four == Server("mx2.example", 25, "8.8.8.3")


async def test_equal_hosts_come_in_another_order_each_time(routes: Routes) -> None:
    destination = await find(routes, "equal")
    first = {(await anext(destination.servers())).host for _ in range(50)}
    assert first == {"mx1.example", "mx2.example"}


async def test_addresses_of_a_host_are_looked_up_when_its_turn_comes(routes: Routes) -> None:
    looking = (await find(routes, "plain")).servers()
    await anext(looking)
    resolver = routes._mx._looks.resolver
    asked = resolver.asked
    assert [server.host async for server in looking][-1] == "mx2.example"
    assert resolver.asked == asked + 2  # A and AAAA of mx2


async def test_domain_without_mx_is_its_own_server(routes: Routes) -> None:
    assert await addresses(routes, "implicit") == ["8.8.4.4"]


async def test_host_that_is_not_in_dns_is_skipped(routes: Routes) -> None:
    assert {server.host for server in await servers(routes, "halfway")} == {"mx1.example"}


async def test_addresses_that_are_not_public_are_skipped(routes: Routes) -> None:
    assert await addresses(routes, "partly") == ["8.8.8.3"]


async def test_networks_that_are_allowed_are_dialled(dns: str) -> None:
    allowed = routes_with(dns, allow_networks=(ip_network("127.0.0.0/8"),))
    assert await addresses(allowed, "local") == ["127.0.0.1"]


async def test_host_with_our_address_and_all_after_it_are_left_out(
    routes: Routes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        host_addresses, "is_of_this_machine", lambda address: address == ip_address("8.8.8.9")
    )
    assert {server.host for server in await servers(routes, "backup")} == {"mx1.example"}
    with pytest.raises(NoMailHost, match="has our address") as caught:
        await servers(routes, "ours")
    assert (caught.value.code, caught.value.enhanced) == (554, "5.4.6")


@pytest.mark.parametrize(
    ("domain", "enhanced", "words"),
    [
        ("null", "5.1.10", "null MX"),
        ("nowhere", "5.1.2", "not in DNS"),
        ("named", "5.4.6", "names us"),
        ("alone", "5.4.4", "neither an MX record nor an address"),
        ("homeless", "5.4.4", r"no mail host of homeless.example has an address: nowhere.example"),
        ("local", "5.4.6", r"not on the public Internet, or ours: 10.0.0.1, 127.0.0.1, 169"),
    ],
)
async def test_domain_without_a_server_says_why(
    routes: Routes, domain: str, enhanced: str, words: str
) -> None:
    with pytest.raises(NoMailHost, match=words) as caught:
        await servers(routes, domain)
    assert caught.value.enhanced == enhanced
    assert caught.value.for_sure == (domain == "null")


async def test_domain_that_dns_does_not_answer_about_fails_and_has_a_site_for_the_moment() -> None:
    async with scripted(failing) as dead:
        routes = routes_with(dead)
        assert routes.known_site("mx:plain.example") is None
        with pytest.raises(LookupFailed):
            await find(routes, "plain")
    site = routes.known_site("mx:plain.example")
    assert site and (site.name, site.shared) == ("mx:plain.example", False)


async def test_sites_are_those_of_providers_and_of_best_hosts(routes: Routes) -> None:
    google, plain, same = [await find(routes, each) for each in ("google", "plain", "same")]
    assert (google.site.name, google.site.shared) == ("mx:google", True)
    assert google.site.limits and google.max_connections == google.site.limits.connections
    assert plain.site.name == "mx:mx1.example" and not plain.site.shared
    assert plain.site is same.site and plain.pool == same.pool != google.pool
    assert routes.known_site("mx:same.example") is same.site
    assert routes.max_connections("mx:same.example") == 10
    assert routes.max_connections("mx:never-asked.example") == 0


async def test_provider_that_requires_tls_gets_no_plain_text(dns: str, routes: Routes) -> None:
    assert "encrypted" in (await find(routes, "google")).pool
    assert (await servers(routes, "plain"))[0].tls == "opportunistic"
    strict = routes_with(dns, default="", routes={"a": {"mx": True, "tls": "encrypted"}})
    assert {server.tls for server in await servers(strict, "plain")} == {"encrypted"}


async def test_port_of_mail_hosts_is_a_setting(dns: str) -> None:
    assert {server.port for server in await servers(routes_with(dns, mx_port=2525), "plain")} == {
        2525
    }


async def test_email_goes_from_the_same_address_of_ours_each_time(dns: str) -> None:
    here = tuple(f"127.0.0.{n}" for n in range(2, 10))
    routes = routes_with(dns, source_addresses=(*here, "203.0.113.77", "::1"))
    destination = await find(routes, "plain")
    assert destination.sources == (*here, "::1")  # 203.0.113.77 is another machine's

    async def sources(number: int) -> dict[str, str]:
        found = await servers(routes, "plain", f"sender{number}@example.org example")
        return {server.address: server.source for server in found}

    picked = [await sources(number) for number in range(50)]
    assert picked[7] == await sources(7)
    assert {each["2606:4700::1"] for each in picked} == {"::1"}
    assert {each["8.8.8.1"] for each in picked} == set(here)
    assert all(each["8.8.8.1"] == each["8.8.8.3"] for each in picked)
    assert destination.picks_source
    assert destination.pool_for("a b") == destination.pool_for("a b") != destination.pool
    assert len({destination.pool_for(f"a{n}") for n in range(50)}) == len(here)


async def test_hosts_of_a_kind_of_which_we_have_no_source_address_are_left_out(dns: str) -> None:
    routes = routes_with(dns, source_addresses=("127.0.0.2",))
    found = await servers(routes, "plain")
    assert {server.address for server in found} == {"8.8.8.1", "8.8.8.2", "8.8.8.3"}
    assert (await find(routes, "plain")).pool_for("a") == (await find(routes, "plain")).pool
    words = "of IPv6 only, and source_addresses has none of these here: add one"
    with pytest.raises(NoSource, match=words):
        await servers(routes, "six")


async def test_source_addresses_of_other_machines_only_leave_no_destination(dns: str) -> None:
    routes = routes_with(dns, source_addresses=("203.0.113.77",))
    with pytest.raises(NoDestination, match="none of the source_addresses of route default"):
        await find(routes, "plain")


async def test_what_is_remembered_of_domains_is_bounded(
    routes: Routes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mx_destinations, "_SITES", 2)
    monkeypatch.setattr(mx_destinations, "_HOSTS", 1)
    for domain in ("plain", "equal", "plain", "same"):
        await find(routes, domain)
    assert list(routes._mx._sites) == ["mx:plain.example", "mx:same.example"]
    assert list(routes._mx._hosts) == ["mx:same.example"]


async def test_ipv6_that_leads_nowhere_is_not_asked_for_unless_the_host_has_nothing_else(
    dns: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mx_destinations, "ipv6_leads_out", lambda: False)
    routes = routes_with(dns)
    assert set(await addresses(routes, "plain")) == {"8.8.8.1", "8.8.8.2", "8.8.8.3"}
    assert routes._mx._looks.resolver.asked == 3  # MX, and A of both hosts
    assert await addresses(routes, "six") == ["2606:4700::6"]
    allowed = routes_with(dns, allow_networks=(ip_network("::1"),))
    assert (await addresses(allowed, "plain"))[0] == "2606:4700::1"


async def test_hosts_of_a_domain_that_takes_no_mail_any_more_are_not_used_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its mail would be refused by them, and would go back to its new site, again and again."""
    monkeypatch.setattr(dns_resolver, "_LONGEST", 0.0)
    zone = Zone({("a.example", "MX"): ["10 mx.old.example."]})
    async with scripted(zone) as resolver:
        routes = routes_with(resolver)
        assert (await find(routes, "a")).site.name == "mx:mx.old.example"
        zone.records["a.example", "MX"] = ["0 ."]
        site = await routes.find_site_again("mx:a.example")
        assert site and site.name == "mx:a.example"
        with pytest.raises(NoMailHost, match="null MX"):
            await find(routes, "a")


async def test_domain_that_dns_does_not_answer_about_any_more_keeps_its_site_and_hosts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(dns_resolver, "_LONGEST", 0.0)
    answers = [Zone({("a.example", "MX"): ["10 mx.old.example."]}), failing]
    async with scripted(lambda query, by_tcp: answers[0](query, by_tcp)) as resolver:
        routes = routes_with(resolver)
        found = await find(routes, "a")
        del answers[0]
        assert await routes.find_site_again("mx:a.example") is None
        assert routes.known_site("mx:a.example") is found.site
        assert await find(routes, "a") is found
