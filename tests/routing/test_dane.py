"""DANE: which hosts have TLSA records that count. Knot signs, Unbound checks the signatures."""

from __future__ import annotations

from collections.abc import AsyncIterator
from ipaddress import ip_network

import dns.message
import dns.rcode
import pytest
import pytest_asyncio

from babygun.dns import Resolver
from babygun.routing.dane import NO_TLSA, HostTlsa, tlsa_of
from babygun.routing.host_addresses import HostAddresses, addresses_of
from tests.support.dns_servers import failing, scripted, serving

pytestmark = pytest.mark.asyncio(loop_scope="module")

DIGEST = "ab" * 32
ZONE = f"""\
mx A 127.0.0.1
_25._tcp.mx TLSA 3 1 1 {DIGEST}
plain A 127.0.0.1
alias CNAME mx
both CNAME mx
_25._tcp.both TLSA 2 0 1 {DIGEST}
own CNAME plain
_25._tcp.own TLSA 3 1 1 {DIGEST}
out CNAME mx.unsigned.
_25._tcp.out TLSA 3 1 1 {DIGEST}
outside CNAME mx.unsigned.
useless A 127.0.0.1
_25._tcp.useless TLSA 1 1 1 {DIGEST}
broken A 127.0.0.1
dead NS ns
_tcp.broken NS ns
six AAAA ::1
_25._tcp.six TLSA 3 1 1 {DIGEST}
private A 10.0.0.1
_25._tcp.private TLSA 3 1 1 {DIGEST}
"""
UNSIGNED = f"""\
mx A 127.0.0.1
_25._tcp.mx TLSA 3 1 1 {DIGEST}
in CNAME mx.signed.
"""
LOOPBACK = (ip_network("127.0.0.0/8"), ip_network("::1/128"))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server() -> AsyncIterator[str]:
    async with (
        scripted(failing) as broken,
        serving(
            {"signed": ZONE, "unsigned": UNSIGNED},
            {"_tcp.broken.signed": broken, "dead.signed": broken},
            signed=["signed"],
        ) as server,
    ):
        yield server


@pytest.fixture
def resolver(server: str) -> Resolver:
    return Resolver([server], trusted=True)


async def found(resolver: Resolver, host: str) -> HostTlsa:
    async def look(name: str) -> HostAddresses:
        return await addresses_of(resolver, name, allowed=LOOPBACK)

    return await tlsa_of(resolver, host, look)


@pytest.mark.parametrize(
    ("host", "base", "usages"),
    [
        ("mx.signed", "mx.signed", [3]),
        ("alias.signed", "mx.signed", [3]),  # the end of the aliases comes first
        ("both.signed", "mx.signed", [3]),
        ("own.signed", "own.signed", [3]),  # there is none at the end
        ("out.signed", "out.signed", [3]),  # the alias is secure, its target is not
        ("useless.signed", "useless.signed", []),
        ("six.signed", "six.signed", [3]),
        ("private.signed", "private.signed", [3]),
    ],
)
async def test_host_has_the_tlsa_records_of_its_base_domain(
    resolver: Resolver, host: str, base: str, usages: list[int]
) -> None:
    tlsa = await found(resolver, host)
    assert (tlsa.found, tlsa.name, tlsa.failed) == (True, base, None)
    assert [each.usage for each in tlsa.records] == usages


@pytest.mark.parametrize(
    "host",
    ["plain.signed", "missing.signed", "mx.unsigned", "in.unsigned", "outside.signed"],
)
async def test_host_without_secure_records_has_none(resolver: Resolver, host: str) -> None:
    assert await found(resolver, host) == NO_TLSA


@pytest.mark.parametrize(
    ("host", "what"),
    [("broken.signed", "TLSA records of broken.signed"), ("mx.dead.signed", "the addresses of")],
)
async def test_records_that_can_not_be_had_are_no_reason_to_do_without(
    resolver: Resolver, host: str, what: str
) -> None:
    tlsa = await found(resolver, host)
    assert tlsa.found and tlsa.records == ()
    assert tlsa.failed is not None and tlsa.failed.result_type == "dnssec-invalid"
    assert what in tlsa.failed.text and "SERVFAIL" in tlsa.failed.text


async def test_resolver_that_is_not_trusted_finds_nothing_secure(server: str) -> None:
    assert await found(Resolver([server]), "mx.signed") == NO_TLSA


async def test_tlsa_of_a_host_without_secure_addresses_is_not_asked_for(
    resolver: Resolver,
) -> None:
    before = resolver.asked
    await found(resolver, "mx.unsigned")
    assert resolver.asked == before + 2  # A and AAAA


async def test_forged_answer_without_signature_is_a_failure() -> None:
    """Somebody on the way to the resolver answers without signatures: Unbound says SERVFAIL."""

    def forged(query: dns.message.QueryMessage, _: bool) -> dns.message.Message:
        answer = dns.message.make_response(query)
        answer.set_rcode(dns.rcode.NXDOMAIN)
        return answer

    async with (
        scripted(forged) as forger,
        serving({"signed": ZONE}, {"_tcp.mx.signed": forger}, signed=["signed"]) as server,
    ):
        tlsa = await found(Resolver([server], trusted=True), "mx.signed")
    assert tlsa.failed is not None


async def test_alias_that_can_not_be_asked_for_is_no_reason_to_do_without() -> None:
    """The target's addresses are not secure, and nobody says whether the alias is."""

    def zone(query: dns.message.QueryMessage, _: bool) -> dns.message.Message:
        answer = dns.message.make_response(query)
        asked = query.question[0]
        if dns.rdatatype.to_text(asked.rdtype) == "CNAME":
            answer.set_rcode(dns.rcode.SERVFAIL)
        else:
            answer.answer.append(dns.rrset.from_text(asked.name, 60, "IN", "CNAME", "b.example."))
            if dns.rdatatype.to_text(asked.rdtype) == "A":
                answer.answer.append(dns.rrset.from_text("b.example.", 60, "IN", "A", "127.0.0.1"))
        return answer

    async with scripted(zone) as server:
        tlsa = await found(Resolver([server], trusted=True), "a.example")
    assert tlsa.failed is not None and tlsa.failed.result_type == "dnssec-invalid"
