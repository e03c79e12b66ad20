"""What a connection counts as, by RFC 8460, and that what is counted is bounded."""

from __future__ import annotations

import pytest

from babygun.email.model import TlsResult
from babygun.routing.sts import StsPolicy
from babygun.routing.tls_policy import DomainPolicy, TlsPolicy, Violation
from babygun.routing.tlsa import Tlsa
from babygun.store.tls_reports.records import DomainCount, Failure, ReportedPolicy
from babygun.tls_reports.sums import Sums
from tests.support.tls_reports import GOOD, STS, session, to_domain

BY_STS = DomainPolicy({"mx.a.example": TlsPolicy("sts")}, STS)
LACKING = DomainPolicy(sts_failure=Violation("sts-policy-fetch-error", "mta-sts.a.example: 404"))
STALE = DomainPolicy(BY_STS.hosts, STS, LACKING.sts_failure)
TLSA = TlsPolicy("dane", names=("mx.a.example", "a.example"), tlsa=(Tlsa(3, 1, 1, b"\1\2"),))
NONE = ReportedPolicy("no-policy-found", "a.example")
OF_STS = ReportedPolicy("sts", "a.example", STS.lines(), STS.mx)
OF_TLSA = ReportedPolicy("tlsa", "mx.a.example", ("3 1 1 0102",))


@pytest.mark.parametrize(
    ("domain", "result", "policy", "failure"),
    [
        (DomainPolicy(), GOOD, NONE, ""),
        (DomainPolicy(), TlsResult(), NONE, "starttls-not-supported"),
        (DomainPolicy(), TlsResult(failure="validation-failure"), NONE, "validation-failure"),
        (BY_STS, TlsResult("sts", "1.3", verified="pkix"), OF_STS, ""),
        (
            BY_STS,
            TlsResult("sts", failure="certificate-expired", connected=False),
            OF_STS,
            "certificate-expired",
        ),
        (
            BY_STS,
            TlsResult("sts_testing", "1.3", failure="certificate-host-mismatch"),
            OF_STS,
            "certificate-host-mismatch",
        ),
        (LACKING, GOOD, ReportedPolicy("sts", "a.example"), "sts-policy-fetch-error"),
        (STALE, TlsResult("sts", "1.3", verified="pkix"), OF_STS, "sts-policy-fetch-error"),
        (STALE, TlsResult("dane", "1.3", verified="dane_ee"), OF_TLSA, ""),
        (DomainPolicy(), TlsResult("dane", failure="tlsa-invalid"), OF_TLSA, "tlsa-invalid"),
    ],
)
def test_connection_is_a_success_or_a_failure_under_the_policy_that_was_demanded(
    domain: DomainPolicy, result: TlsResult, policy: ReportedPolicy, failure: str
) -> None:
    sums = Sums()
    host = TLSA if result.policy == "dane" else None
    sums.add(to_domain(policy=domain), session(result, "the words", host))
    [count] = sums.count().policies
    assert (count.policy, count.successful, count.failed) == (policy, not failure, bool(failure))
    assert [each.result for each in count.failures] == [failure] * bool(failure)


def test_policy_of_very_many_hosts_is_cut() -> None:
    sums, sts = Sums(), StsPolicy("enforce", tuple(f"mx{n}.a.example" for n in range(1000)), 1)
    sums.add(to_domain(policy=DomainPolicy(BY_STS.hosts, sts)), session(TlsResult("sts", "1.3")))
    [count] = sums.count().policies
    assert count.policy.mx == sts.mx[:50] and len(count.policy.lines) == 53


def test_failures_are_kept_apart_by_host_and_added_up() -> None:
    sums = Sums()
    for host in ("mx1.a.example", "mx2.a.example", "mx1.a.example"):
        sums.add(to_domain(), session(TlsResult(), f"no TLS at {host}", host=host))
    [count] = sums.count().policies
    assert count.failures == (
        Failure(
            "starttls-not-supported",
            2,
            "mx1.a.example",
            "192.0.2.7",
            "198.51.100.1",
            "no TLS at mx1.a.example",
        ),
        Failure(
            "starttls-not-supported",
            1,
            "mx2.a.example",
            "192.0.2.7",
            "198.51.100.1",
            "no TLS at mx2.a.example",
        ),
    )


def test_domain_with_many_hosts_and_policies_is_counted_within_bounds() -> None:
    sums, policy = Sums(), TlsPolicy("dane")
    for number in range(1000):
        host = f"mx{number}.a.example"
        sums.add(to_domain(), session(TlsResult(), "x" * 5000, host=host))
        sums.add(to_domain(), session(TlsResult("dane", "1.3"), "", policy, host))
    count = sums.count()
    assert len(count.policies) == 8
    most = count.policies[0]
    assert (most.policy, most.failed) == (NONE, 1000)
    assert sum(each.count for each in most.failures) == 1000
    assert len(most.failures) == 21 and all(len(each.reason) <= 200 for each in most.failures)


def test_what_several_workers_counted_is_added_up() -> None:
    one, other, both = Sums(), Sums(), Sums()
    for sums in (one, other):
        sums.add(to_domain(), session())
        sums.add(to_domain(), session(TlsResult(), "why"))
    for count in (one.count(), other.count(), DomainCount(())):
        both.merge(count)
    [count] = both.count().policies
    assert (count.successful, count.failed, count.failures[0].count) == (2, 2, 2)
