"""The DNS of a run: what it says, and what faults make of it. Asked by the product's resolver."""

from __future__ import annotations

from collections.abc import AsyncIterator

import dns.message
import pytest

from babygun.dns import LookupFailed, NoSuchName, Resolver
from scripts.chaos.mail_hosts import (
    LIMITED_DOMAINS,
    PROVIDER,
    TAIL_DOMAINS,
    host_of,
    lying_addresses,
    records,
    site_of,
)
from scripts.chaos.name_server import NameServer, quoted
from tests.support.dns_servers import free_dns_ports


@pytest.fixture
async def server() -> AsyncIterator[NameServer]:
    (port,) = free_dns_ports(1)
    server = NameServer(port, records())
    await server.start()
    yield server
    await server.stop()


def resolver(server: NameServer) -> Resolver:
    return Resolver((f"127.0.0.1@{server.port}",))


async def test_domain_has_two_hosts_with_an_address_each(server: NameServer) -> None:
    asking = resolver(server)
    found = await asking.lookup(TAIL_DOMAINS[25], "MX")
    assert sorted(each.value for each in found.records) == ["mx1.tail.example", "mx2.tail.example"]
    address = await asking.lookup(host_of(TAIL_DOMAINS[25]), "A")
    assert [each.value for each in address.records] == ["127.0.1.2"]


async def test_name_that_it_lacks_does_not_exist(server: NameServer) -> None:
    with pytest.raises(NoSuchName):
        await resolver(server).lookup("nothing.tail.example", "MX")


async def test_server_that_fails_answers_nobody_until_it_is_healed(server: NameServer) -> None:
    server.failing = True
    with pytest.raises(LookupFailed):
        await resolver(server).lookup(TAIL_DOMAINS[0], "MX")
    server.normal()
    assert (await resolver(server).lookup(TAIL_DOMAINS[0], "MX")).records


def test_server_that_is_silent_has_no_answer() -> None:
    server = NameServer(0, records())
    server.silent = True
    assert server.answer(dns.message.make_query(TAIL_DOMAINS[0], "MX").to_wire()) is None


async def test_lies_count_before_what_is_so(server: NameServer) -> None:
    server.lies = lying_addresses()
    found = await resolver(server).lookup(host_of(TAIL_DOMAINS[0]), "A")
    assert "127.0.9.1" in [each.value for each in found.records]


def test_queue_belongs_to_the_site_of_its_best_host_or_its_provider() -> None:
    assert site_of(f"mx:{TAIL_DOMAINS[24]}") == "mx:mx0.tail.example"
    assert site_of(f"mx:{LIMITED_DOMAINS[0]}") == f"mx:{PROVIDER}"
    assert site_of("one") == "one"


async def test_text_that_is_published_is_cut_into_strings_and_read_as_one(
    server: NameServer,
) -> None:
    text = "v=DKIM1; p=" + "a" * 400
    server.publish({("s1._domainkey.held0.example", "TXT"): (quoted(text),)})
    found = await resolver(server).lookup("s1._domainkey.held0.example", "TXT")
    assert [each.value for each in found.records] == [text]
    assert server.text("s1._domainkey.held0.example.") == text
