"""Which hosts take a domain's mail, by a real DNS: each way in which an MX record is met."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from babygun.dns import LookupFailed, Resolver
from babygun.routing.mx import MailHosts, NoMailHost, mail_hosts
from tests.support.dns_servers import failing, scripted, serving, silent, truncating

pytestmark = pytest.mark.asyncio(loop_scope="module")

OURS = {"out.babygun.example"}
ZONE = """\
plain       MX 20 mx2
plain       MX 10 mx1
equal       MX 10 mx1
equal       MX 10 mx2
equal       MX 5 mx3
null        MX 0 .
nullish     MX 0 .
nullish     MX 10 mx1
bare        A 192.0.2.7
alone       TXT "no mail"
alias       CNAME plain
long        CNAME alias
dangling    CNAME nowhere
loop1       CNAME loop2
loop2       CNAME loop1
_odd        MX 10 _mx.plain
number      MX 10 192.0.2.1.
mixed       MX 5 192.0.2.1.
mixed       MX 10 mx1
single      MX 5 localhost.
ours        MX 10 out.babygun.example.
ours        MX 20 mx2
backup      MX 5 mx1
backup      MX 10 OUT.babygun.example.
backup      MX 10 mx2
backup      MX 20 mx3
twice       MX 20 mx1
twice       MX 10 mx1
xn--bcher-kva MX 10 mx1
mx1         A 203.0.113.1
mx1         A 203.0.113.2
mx1         AAAA 2606:4700::1
mx2         A 127.0.0.1
mx2         A 8.8.8.8
mx3         A 10.0.0.1
mx3         AAAA fe80::1
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def resolver() -> AsyncIterator[Resolver]:
    async with serving({"example": ZONE}) as server:
        yield Resolver([server])


async def hosts(resolver: Resolver, name: str) -> MailHosts:
    return await mail_hosts(resolver, f"{name}.example", ours=OURS)


def by_preference(*names: tuple[str, ...]) -> MailHosts:
    return MailHosts(tuple(tuple(f"{name}.example" for name in equal) for equal in names))


@pytest.mark.parametrize(
    ("domain", "right"),
    [
        ("plain", by_preference(("mx1",), ("mx2",))),
        ("PLAIN", by_preference(("mx1",), ("mx2",))),
        ("equal", by_preference(("mx3",), ("mx1", "mx2"))),
        ("nullish", by_preference(("mx1",))),
        ("alias", by_preference(("mx1",), ("mx2",))),
        ("long", by_preference(("mx1",), ("mx2",))),
        ("_odd", by_preference(("_mx.plain",))),
        ("mixed", by_preference(("mx1",))),
        ("backup", by_preference(("mx1",))),
        ("twice", by_preference(("mx1",))),
        ("bücher", by_preference(("mx1",))),
    ],
)
async def test_hosts_come_in_the_order_of_their_preference(
    resolver: Resolver, domain: str, right: MailHosts
) -> None:
    assert await hosts(resolver, domain) == right


@pytest.mark.parametrize("domain", ["bare", "alone"])
async def test_domain_without_mx_is_its_own_host(resolver: Resolver, domain: str) -> None:
    assert await hosts(resolver, domain) == MailHosts(((f"{domain}.example",),), implicit=True)


@pytest.mark.parametrize(
    ("domain", "code", "enhanced", "words"),
    [
        ("null", 556, "5.1.10", "takes no mail"),
        ("nowhere", 556, "5.1.2", "not in DNS"),
        ("dangling", 556, "5.1.2", "not in DNS"),
        ("number", 554, "5.4.4", "names a host"),
        ("single", 554, "5.4.4", "names a host"),
        ("ours", 554, "5.4.6", "names us"),
    ],
)
async def test_domain_without_a_usable_host_bounces(
    resolver: Resolver, domain: str, code: int, enhanced: str, words: str
) -> None:
    with pytest.raises(NoMailHost, match=words) as caught:
        await hosts(resolver, domain)
    assert (caught.value.code, caught.value.enhanced) == (code, enhanced)
    # All but a null MX may be another a little later.
    assert caught.value.for_sure == (enhanced == "5.1.10")


async def test_address_literal_is_not_sent_to(resolver: Resolver) -> None:
    with pytest.raises(NoMailHost, match="address literal"):
        await mail_hosts(resolver, "[192.0.2.1]", ours=OURS)


async def test_names_that_lead_in_a_circle_fail(resolver: Resolver) -> None:
    with pytest.raises(LookupFailed):
        await hosts(resolver, "loop1")


@pytest.mark.parametrize("reply", [failing, silent])
async def test_domain_that_dns_does_not_answer_about_never_becomes_its_own_host(
    reply: object,
) -> None:
    async with scripted(reply) as server:  # type: ignore[arg-type]
        with pytest.raises(LookupFailed):
            await mail_hosts(Resolver([server], timeout=0.2), "plain.example", ours=OURS)


async def test_truncated_answer_is_asked_for_by_tcp() -> None:
    async with scripted(truncating("60 IN MX 5 mx.example.")) as server:
        found = await mail_hosts(Resolver([server]), "plain.example", ours=OURS)
    assert found.by_preference == (("mx.example",),)


async def test_equal_hosts_come_in_any_order() -> None:
    found = MailHosts((("a",), ("b", "c", "d"), ("e",)))
    orders = {tuple(found.shuffled()) for _ in range(200)}
    assert len(orders) == 6
    assert {order[0] for order in orders} == {"a"}
    assert {order[-1] for order in orders} == {"e"}
