"""Which addresses of a host are dialled: never those of this machine or its own networks."""

from __future__ import annotations

from collections.abc import AsyncIterator
from ipaddress import ip_address, ip_network

import dns.message
import dns.rcode
import dns.rdatatype
import pytest
import pytest_asyncio

from babygun.dns import Resolver
from babygun.errors import OutOfResources
from babygun.routing import host_addresses
from babygun.routing.host_addresses import (
    HostAddresses,
    addresses_of,
    ipv6_leads_out,
    is_of_this_machine,
    may_be_dialled,
)
from tests.support.dns_servers import failing, scripted, serving
from tests.support.processes import no_more_descriptors

pytestmark = pytest.mark.asyncio(loop_scope="module")

ZONE = """\
both        A 8.8.8.8
both        A 8.8.4.4
both        AAAA 2606:4700::1
mixed       A 127.0.0.1
mixed       A 8.8.8.8
inside      A 10.0.0.1
inside      AAAA fe80::1
alias       CNAME both
nothing     TXT "no address"
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def resolver() -> AsyncIterator[Resolver]:
    async with serving({"example": ZONE}) as server:
        yield Resolver([server])


@pytest.mark.parametrize("host", ["both", "alias"])
async def test_addresses_of_ipv6_come_first(resolver: Resolver, host: str) -> None:
    found = await addresses_of(resolver, f"{host}.example")
    assert str(found.usable[0]) == "2606:4700::1"
    assert {str(each) for each in found.usable[1:]} == {"8.8.8.8", "8.8.4.4"}


async def test_addresses_of_one_kind_come_in_any_order(resolver: Resolver) -> None:
    orders = {(await addresses_of(resolver, "both.example")).usable for _ in range(100)}
    assert len(orders) == 2


async def test_ipv6_that_does_not_work_here_is_not_asked_for(resolver: Resolver) -> None:
    found = await addresses_of(resolver, "both.example", ipv6=False)
    assert all(each.version == 4 for each in found.usable)


async def test_address_of_this_machine_is_refused_and_others_are_used(resolver: Resolver) -> None:
    found = await addresses_of(resolver, "mixed.example")
    assert found.usable == (ip_address("8.8.8.8"),)
    assert found.refused == (ip_address("127.0.0.1"),)


async def test_private_and_link_local_addresses_are_refused_unless_allowed(
    resolver: Resolver,
) -> None:
    found = await addresses_of(resolver, "inside.example")
    assert not found.usable
    assert len(found.refused) == 2
    found = await addresses_of(resolver, "inside.example", allowed=[ip_network("10.0.0.0/8")])
    assert found.usable == (ip_address("10.0.0.1"),)


@pytest.mark.parametrize("host", ["nothing", "nowhere"])
async def test_host_without_addresses_has_none_for_sure(resolver: Resolver, host: str) -> None:
    found = await addresses_of(resolver, f"{host}.example")
    assert found == HostAddresses(())


async def test_one_kind_is_known_though_dns_fails_about_the_other() -> None:
    def reply(query: dns.message.QueryMessage, by_tcp: bool) -> dns.message.Message:
        if query.question[0].rdtype == dns.rdatatype.AAAA:
            return failing(query, by_tcp)
        answer = dns.message.make_response(query)
        answer.answer.append(dns.rrset.from_text(query.question[0].name, 60, "IN", "A", "8.8.8.8"))
        return answer

    async with scripted(reply) as server:
        found = await addresses_of(Resolver([server]), "both.example")
    assert found.usable == (ip_address("8.8.8.8"),)
    assert "SERVFAIL" in found.failed


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0",
        "10.1.2.3",
        "100.64.0.1",
        "127.0.0.1",
        "169.254.169.254",
        "192.0.2.1",
        "192.168.1.1",
        "224.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::ffff:10.0.0.1",
        "64:ff9b::7f00:1",
        "2002:a00:1::",
        "fc00::1",
        "fe80::1",
        "fec0::1",
        "ff02::1",
        "::127.0.0.1",
        "::8.8.8.8",
        "::ffff:0:127.0.0.1",
        "::5efe:127.0.0.1",
        "64:ff9b:1::808:808",
        "168.63.129.16",
        "::ffff:168.63.129.16",
        "100.100.100.200",
        "fd00:ec2::254",
    ],
)
async def test_address_that_is_not_public_may_not_be_dialled(address: str) -> None:
    assert not may_be_dialled(ip_address(address), [])


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700::1", "64:ff9b::808:808"])
async def test_public_address_may_be_dialled(address: str) -> None:
    assert may_be_dialled(ip_address(address), [])


@pytest.mark.parametrize(
    ("address", "ours"), [("127.0.0.1", True), ("203.0.113.77", False), ("2001:db8::77", False)]
)
async def test_address_is_of_this_machine_if_a_socket_can_have_it(address: str, ours: bool) -> None:
    assert is_of_this_machine(ip_address(address)) == ours


async def test_process_without_descriptors_takes_no_silence_for_a_no() -> None:
    host_addresses._leads_out.cache_clear()
    with no_more_descriptors():
        with pytest.raises(OutOfResources, match="Too many open files"):
            ipv6_leads_out()
        with pytest.raises(OutOfResources):
            may_be_dialled(ip_address("8.8.8.8"), ())
    ipv6_leads_out()
    assert host_addresses._leads_out.cache_info().currsize == 1, "it has been asked again"
    assert is_of_this_machine(ip_address("127.0.0.1"))


async def test_private_address_of_this_machine_does_not_make_a_host_ours(
    resolver: Resolver,
) -> None:
    # Only a public one means that the Internet sends the host's mail to us.
    assert not (await addresses_of(resolver, "mixed.example")).ours


@pytest.mark.parametrize(
    ("address", "ours"), [("127.0.0.2", True), ("8.8.8.8", False), ("2606:4700::1", False)]
)
async def test_address_is_not_ours_only_because_sockets_may_have_any(
    monkeypatch: pytest.MonkeyPatch, address: str, ours: bool
) -> None:
    monkeypatch.setattr(host_addresses, "may_have_any", lambda version: True)
    monkeypatch.setattr(host_addresses, "_may_have", lambda address: True)
    assert is_of_this_machine(ip_address(address)) == ours
