"""What a domain demands of its hosts: the operator's word, DANE, MTA-STS, in this order."""

from __future__ import annotations

from collections.abc import AsyncIterator
from ipaddress import ip_network

import pytest
import pytest_asyncio

from babygun.dns import Resolver
from babygun.routing.domain_policies import DomainPolicies, FoundSts
from babygun.routing.host_addresses import HostAddresses, addresses_of
from babygun.routing.mx import mail_hosts
from babygun.routing.sts import StsPolicy
from babygun.routing.tls_overrides import Override
from babygun.routing.tls_policy import (
    NO_DEMANDS,
    NO_POLICY,
    DomainPolicy,
    TlsPolicy,
    Violation,
)
from babygun.routing.tlsa import Tlsa
from tests.support.dns_servers import failing, scripted, serving

pytestmark = pytest.mark.asyncio(loop_scope="module")

DIGEST = "ab" * 32
RECORD = Tlsa(3, 1, 1, b"\xab" * 32)
SIGNED = f"""\
@ MX 10 mx1
both MX 10 mx1
both MX 20 mx2
ta MX 10 ta-mx
_25._tcp.ta-mx TLSA 2 0 1 {DIGEST}
ta-mx A 127.0.0.1
mx1 A 127.0.0.1
mx2 A 127.0.0.2
_25._tcp.mx1 TLSA 3 1 1 {DIGEST}
self A 127.0.0.3
_25._tcp.self TLSA 3 1 1 {DIGEST}
broken MX 10 broken-mx
broken-mx A 127.0.0.1
_tcp.broken-mx NS ns
elsewhere MX 10 mx.unsigned.
"""
UNSIGNED = """\
@ MX 10 mx1.signed.
mx A 127.0.0.1
"""
STS = StsPolicy("enforce", ("mx1.signed", "mx.unsigned"), 86400)
FAILURE = Violation("sts-policy-fetch-error", "no answer in time")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server() -> AsyncIterator[str]:
    async with (
        scripted(failing) as broken,
        serving(
            {"signed": SIGNED, "unsigned": UNSIGNED},
            {"_tcp.broken-mx.signed": broken},
            signed=["signed"],
        ) as server,
    ):
        yield server


class Asked:
    """Says what MTA-STS a domain has, and remembers who asked."""

    def __init__(self, sts: FoundSts) -> None:
        self.sts, self.domains = sts, list[str]()

    async def of(self, domain: str) -> FoundSts:
        self.domains.append(domain)
        return self.sts


async def demanded(
    server: str,
    domain: str,
    *,
    sts: FoundSts | Asked = FoundSts(),  # noqa: B008 (never changes)
    override: Override | None = None,
    dane: bool = True,
) -> DomainPolicy:
    resolver = Resolver([server], trusted=dane)
    asked = sts if isinstance(sts, Asked) else Asked(sts)

    async def look(name: str) -> HostAddresses:
        return await addresses_of(resolver, name, allowed=[ip_network("127.0.0.0/8")])

    policies = DomainPolicies(
        asked.of, {domain: override} if override else {}, resolver if dane else None, look
    )
    return await policies.of(domain, await mail_hosts(resolver, domain, ours=()))


async def test_domain_without_any_policy_demands_nothing(server: str) -> None:
    assert await demanded(server, "unsigned") is NO_DEMANDS
    assert NO_DEMANDS.of("mx1.signed") is NO_POLICY


async def test_hosts_of_a_signed_domain_must_match_their_tlsa_records(server: str) -> None:
    policy = await demanded(server, "signed")
    assert policy.of("mx1.signed") == TlsPolicy("dane", names=("mx1.signed",), tlsa=(RECORD,))


async def test_host_of_a_domain_without_mx_is_itself(server: str) -> None:
    assert (await demanded(server, "self.signed")).of("self.signed").tlsa == (RECORD,)


async def test_certificate_of_a_named_authority_may_name_the_domain(server: str) -> None:
    policy = await demanded(server, "ta.signed")
    assert policy.of("ta-mx.signed").names == ("ta-mx.signed", "ta.signed")


async def test_tlsa_records_count_for_no_domain_whose_mx_is_not_signed(server: str) -> None:
    assert await demanded(server, "unsigned") is NO_DEMANDS


async def test_tlsa_records_that_can_not_be_had_shut_the_host(server: str) -> None:
    policy = await demanded(server, "broken.signed", sts=FoundSts(STS))
    of_host = policy.of("broken-mx.signed")
    assert of_host.kind == "dane" and of_host.violation is not None
    assert of_host.violation.result_type == "dnssec-invalid"


async def test_dane_comes_before_mta_sts_host_by_host(server: str) -> None:
    policy = await demanded(server, "both.signed", sts=FoundSts(STS))
    assert policy.of("mx1.signed").kind == "dane"
    assert policy.of("mx2.signed").kind == "sts"
    assert policy.of("mx2.signed").violation == Violation(
        "validation-failure", "no line mx of the policy names mx2.signed"
    )
    assert policy.sts == STS


async def test_without_a_resolver_for_dane_mta_sts_alone_counts(server: str) -> None:
    policy = await demanded(server, "signed", sts=FoundSts(STS), dane=False)
    assert policy.of("mx1.signed") == TlsPolicy("sts", names=("mx1.signed",))


async def test_policy_of_a_test_is_marked_so(server: str) -> None:
    testing = StsPolicy("testing", STS.mx, 60)
    policy = await demanded(server, "elsewhere.signed", sts=FoundSts(testing))
    assert policy.of("mx.unsigned").testing


async def test_policy_of_mode_none_demands_nothing(server: str) -> None:
    off = StsPolicy("none", (), 60)
    assert await demanded(server, "unsigned", sts=FoundSts(off)) is NO_DEMANDS


async def test_failure_to_get_a_policy_is_kept_for_reports(server: str) -> None:
    policy = await demanded(server, "unsigned", sts=FoundSts(None, FAILURE))
    assert policy.sts_failure == FAILURE and not policy.hosts


async def test_operator_may_switch_off_what_a_domain_demands(server: str) -> None:
    asked = Asked(FoundSts(STS))
    assert await demanded(server, "signed", sts=asked, override=Override()) is NO_DEMANDS
    assert asked.domains == []


async def test_operator_may_ask_for_encryption(server: str) -> None:
    policy = await demanded(server, "unsigned", override=Override(encrypted=True))
    assert policy.encrypted and policy.of("mx1.signed") is NO_POLICY


async def test_operator_may_name_the_hosts(server: str) -> None:
    pinned = StsPolicy("enforce", ("*.signed",), 0)
    policy = await demanded(server, "signed", override=Override(sts=pinned))
    assert policy.of("mx1.signed") == TlsPolicy("sts", names=("mx1.signed",))


async def test_operator_may_ask_for_dane(server: str) -> None:
    asked = Asked(FoundSts(STS))
    policy = await demanded(server, "both.signed", sts=asked, override=Override(dane=True))
    assert policy.of("mx1.signed").violation is None
    violation = policy.of("mx2.signed").violation
    assert violation is not None and violation.result_type == "dane-required"
    assert asked.domains == []


async def test_domains_with_equal_demands_share_connections(server: str) -> None:
    first = await demanded(server, "signed")
    assert first.pool and first.pool == (await demanded(server, "signed")).pool
    assert first.pool != (await demanded(server, "signed", sts=FoundSts(STS), dane=False)).pool
    assert (await demanded(server, "ta.signed")).pool != first.pool
    assert NO_DEMANDS.pool == ""
