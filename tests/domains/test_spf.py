"""SPF as a receiver evaluates it, over a real DNS (RFC 7208)."""

from __future__ import annotations

import ipaddress
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from babygun.dns import Resolver
from babygun.domains.spf import SpfResult, evaluate
from babygun.domains.spf_record import Result
from tests.support.dns_servers import failing, scripted, serving
from tests.support.processes import PATIENCE

pytestmark = pytest.mark.asyncio(loop_scope="module")

ZONE = """
host        A 192.0.2.10
host        AAAA 2001:db8::10
nothing     TXT "hello"
networks    TXT "v=spf1 ip4:192.0.2.0/28 ip6:2001:db8::/64 -all"
split       TXT "v=spf1 ip4:192.0" ".2.1 ~all"
hosts       TXT "v=spf1 a:host.example -all"
near        TXT "v=spf1 a:host.example/28//120 -all"
mailhosts   MX 10 host
mailhosts   TXT "v=spf1 mx -all"
open        TXT "v=spf1 +all"
own         A 192.0.2.10
own         TXT "v=spf1 a ?all"
two         TXT "v=spf1 ip4:192.0.2.1 -all"
two         TXT "v=spf1 ip4:192.0.2.2 -all"
broken      TXT "v=spf1 ip4:192.0.2.1 ipv4:192.0.2.2 -all"
includes    TXT "v=spf1 include:networks.example ~all"
softly      TXT "v=spf1 include:denies.example include:networks.example ~all"
denies      TXT "v=spf1 -all"
dangling    TXT "v=spf1 include:absent.example -all"
empty       TXT "v=spf1 include:nothing.example -all"
redirects   TXT "v=spf1 redirect=networks.example"
redirected  TXT "v=spf1 redirect=absent.example"
alias       CNAME networks
loop        TXT "v=spf1 include:loop.example -all"
lists       TXT "v=spf1 exists:%{ir}.list.example -all"
1.2.0.192.list A 127.0.0.2
void        TXT "v=spf1 a:v1.example a:v2.example a:v3.example ip4:192.0.2.1 -all"
deep        TXT "v=spf1 include:ten.example -all"
early       TXT "v=spf1 ip4:192.0.2.1 include:ten.example -all"
many        TXT "v=spf1 mx -all"
names       TXT "v=spf1 ptr -all"
x.names     A 192.0.2.12
"""
ZONE += f'ten TXT "v=spf1 {"a:host.example " * 10}ip4:192.0.2.1 -all"\n'
ZONE += "".join(f"many MX {n} m{n}\nm{n} A 192.0.2.{100 + n}\n" for n in range(11))
REVERSE = """
10 PTR host.example.
11 PTR host.example.
12 PTR x.names.example.
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def resolver() -> AsyncIterator[Resolver]:
    zones = {"example": ZONE, "2.0.192.in-addr.arpa": REVERSE}
    async with serving(zones) as server:
        yield Resolver([server], timeout=PATIENCE)


async def spf(resolver: Resolver, name: str, address: str) -> SpfResult:
    return await evaluate(resolver, f"{name}.example", ipaddress.ip_address(address))


@pytest.mark.parametrize(
    ("name", "address", "result"),
    [
        ("absent", "192.0.2.1", "none"),
        ("nothing", "192.0.2.1", "none"),
        ("networks", "192.0.2.1", "pass"),
        ("networks", "192.0.2.16", "fail"),
        ("networks", "2001:db8::5", "pass"),
        ("networks", "::ffff:192.0.2.1", "pass"),
        ("split", "192.0.2.1", "pass"),
        ("split", "192.0.2.2", "softfail"),
        ("hosts", "192.0.2.10", "pass"),
        ("hosts", "2001:db8::10", "pass"),
        ("hosts", "192.0.2.11", "fail"),
        ("near", "192.0.2.11", "pass"),
        ("near", "2001:db8::ff", "pass"),
        ("near", "2001:db8::100", "fail"),
        ("mailhosts", "192.0.2.10", "pass"),
        ("open", "203.0.113.1", "pass"),
        ("own", "192.0.2.10", "pass"),
        ("own", "192.0.2.1", "neutral"),
        ("two", "192.0.2.1", "permerror"),
        ("broken", "192.0.2.1", "permerror"),
        ("includes", "192.0.2.1", "pass"),
        ("includes", "192.0.2.16", "softfail"),
        ("softly", "192.0.2.1", "pass"),
        ("dangling", "192.0.2.1", "permerror"),
        ("empty", "192.0.2.1", "permerror"),
        ("redirects", "192.0.2.1", "pass"),
        ("redirects", "192.0.2.16", "fail"),
        ("redirected", "192.0.2.1", "permerror"),
        ("alias", "192.0.2.1", "pass"),
        ("loop", "192.0.2.1", "permerror"),
        ("lists", "192.0.2.1", "pass"),
        ("lists", "192.0.2.2", "fail"),
        ("void", "192.0.2.1", "permerror"),
        ("ten", "192.0.2.1", "pass"),
        ("deep", "192.0.2.1", "permerror"),
        ("early", "192.0.2.1", "pass"),
        ("many", "192.0.2.1", "permerror"),
        ("names", "192.0.2.12", "pass"),
        ("names", "192.0.2.10", "fail"),
        ("names", "192.0.2.11", "fail"),
    ],
)
async def test_address_gets_the_result_that_the_standard_says(
    resolver: Resolver, name: str, address: str, result: Result
) -> None:
    found = await spf(resolver, name, address)
    assert found.result == result, found.sentence
    assert found.sentence


async def test_result_names_what_decided_and_what_was_read(resolver: Resolver) -> None:
    found = await spf(resolver, "includes", "192.0.2.16")
    assert found.sentence == "~all in the SPF record of includes.example decides"
    assert (found.lookups, found.included) == (1, {"networks.example"})
    two = await spf(resolver, "two", "192.0.2.1")
    assert two.sentence == "two.example has 2 SPF records: join them into one"
    deep = await spf(resolver, "deep", "192.0.2.1")
    assert "more than 10 look-ups" in deep.sentence


async def test_dns_that_fails_is_a_temporary_error() -> None:
    async with scripted(failing) as server:
        found = await spf(Resolver([server]), "networks", "192.0.2.1")
    assert found.result == "temperror" and "SERVFAIL" in found.sentence
