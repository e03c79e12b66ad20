"""What ``babygun doctor`` says of DNS, of this machine's name and addresses, and of mail hosts."""

from __future__ import annotations

from collections.abc import AsyncIterator
from ipaddress import ip_network
from typing import Any

import pytest
import pytest_asyncio

from babygun.cli.mail_checks import check_mail
from babygun.runtime.settings import Settings
from tests.support.dns_servers import failing, scripted, serving
from tests.support.smtp_server import MisbehavingServer

pytestmark = pytest.mark.asyncio(loop_scope="module")

ZONES = {
    "example": """\
out         A 8.8.8.1
other       A 8.8.8.2
bare        A 8.8.8.3
lying       A 8.8.8.4
elsewhere   A 9.9.9.9
inside      A 10.0.0.1
here        A 127.0.0.2
taking      MX 10 host
host        A 127.0.0.1
silent      MX 10 nobody
nobody      A 127.0.0.9
""",
    "8.8.8.in-addr.arpa": """\
1           PTR out.example.
2           PTR out.example.
2           PTR other.example.
4           PTR elsewhere.example.
""",
    "127.in-addr.arpa": "2.0.0 PTR here.example.\n",
}
LOOPBACK = (ip_network("127.0.0.0/8"),)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def dns() -> AsyncIterator[str]:
    async with serving(ZONES) as server:
        yield server


async def said(resolver: str, hostname: str, mx: str = "", **fields: Any) -> list[str]:
    fields = {"default": "mx", "smtp_hostname": hostname, "resolvers": (resolver,)} | fields
    settings = Settings(smtp_connect_timeout=30, **fields)
    return [
        f"{each.level} {each.sentence}" async for each in check_mail(settings, relays=True, mx=mx)
    ]


async def test_host_whose_name_and_address_point_at_each_other_is_fine(dns: str) -> None:
    resolver, address, port = await said(dns, "Out.Example")
    assert resolver.startswith(f"ok resolver {dns} answers, in ")
    assert address == "ok 8.8.8.1 points at out.example (PTR), and that name back"
    assert port.startswith("ok port 25 of mail hosts is only tried for a domain that you name")


@pytest.mark.parametrize(
    ("hostname", "finding"),
    [
        ("machine", "bad the host's name machine is not a full one: set BABYGUN_SMTP_HOSTNAME"),
        ("nowhere.example", "bad the host's name nowhere.example has no address in DNS"),
        ("bare.example", "bad 8.8.8.3 has no PTR record: large providers refuse its mail"),
        ("lying.example", "bad 8.8.8.4 points at elsewhere.example (PTR), and that name has"),
        ("other.example", "ok 8.8.8.2 points at other.example (PTR), and that name back"),
        ("inside.example", "warn this machine's public address is not known: DNS and settings"),
    ],
)
async def test_name_and_address_that_do_not_fit_each_other_are_named(
    dns: str, hostname: str, finding: str
) -> None:
    assert (await said(dns, hostname))[1].startswith(finding)


async def test_source_addresses_are_compared_with_those_of_this_machine_and_their_ptr(
    dns: str,
) -> None:
    found = await said(
        dns,
        "out.example",
        source_addresses=("127.0.0.2", "8.8.8.1"),
        allow_networks=LOOPBACK,
    )
    assert found[1:4] == [
        "ok source address 127.0.0.2 is one of this machine",
        "warn 127.0.0.2 points at here.example (PTR) and back, but EHLO says out.example:"
        " set BABYGUN_SMTP_HOSTNAME=here.example, or change the PTR record",
        "ok 8.8.8.1 points at out.example (PTR), and that name back",  # that of another machine
    ]
    found = await said(dns, "out.example", source_addresses=("8.8.8.1",))
    assert found[1] == "bad none of source_addresses is an address of this machine"


async def test_resolver_that_does_not_answer_is_named_and_nothing_more_is_asked() -> None:
    async with scripted(failing) as dead:
        resolver, port = await said(dead, "out.example")
    assert resolver == f"bad resolver {dead}: DNS has no answer about out.example: SERVFAIL"
    assert "only tried for a domain that you name" in port


async def test_domain_that_is_named_has_its_mail_hosts_dialled(dns: str) -> None:
    async with MisbehavingServer() as server:
        local = {"allow_networks": LOOPBACK, "mx_port": server.port}
        found = (await said(dns, "out.example", "taking.example", **local))[-1]
        place = f"host.example[127.0.0.1]:{server.port}"
        assert found.startswith(f"ok mail host {place} accepts connections (PIPELINING")
        tried, reached = (await said(dns, "out.example", "silent.example", **local))[-2:]
        assert tried.startswith("warn mail host nobody.example[127.0.0.9]:")
        assert reached.startswith("bad no mail host of silent.example can be reached")
        assert server.messages == []
        unknown = (await said(dns, "out.example", "nowhere.example", **local))[-1]
        assert unknown == "bad mail hosts of nowhere.example: nowhere.example is not in DNS"


async def test_relay_only_needs_no_dns_and_a_domain_can_still_be_tried(dns: str) -> None:
    async with MisbehavingServer() as server:
        local = {"allow_networks": LOOPBACK, "mx_port": server.port}
        one, demands, two = await said(
            dns, "out.example", "taking.example", default="", relay_url=server.url, **local
        )
    assert one.startswith("ok relay default at") and two.startswith("ok mail host host.example")
    assert demands == "ok taking.example demands nothing of TLS"
