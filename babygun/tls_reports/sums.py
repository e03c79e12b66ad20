"""Sums of what connections to one domain got of TLS on one day. They are bounded."""

from __future__ import annotations

from msgspec.structs import replace

from babygun.routing.mx_destinations import MxDestination
from babygun.routing.server import Server
from babygun.routing.sites import MX
from babygun.smtp.tls_checks import TlsSession
from babygun.store.tls_reports.records import DomainCount, Failure, PolicyCount, ReportedPolicy

_MOST_POLICIES = 8  # of a domain on one day; mail hosts with TLSA records have one each
_MOST_FAILURES = 20  # of one policy that are kept apart by host and address
_MOST_HOSTS = 50  # of a policy: its owner may name thousands
_LONGEST_REASON = 200


class Sums:
    """Of one domain and day."""

    def __init__(self) -> None:
        self._policies: dict[ReportedPolicy, _PolicySums] = {}

    def add(self, destination: MxDestination, session: TlsSession) -> None:
        """One connection for one queue's mail."""
        if sums := self._of(policy_of(destination, session)):
            sums.add(failure_of(destination, session))

    def merge(self, count: DomainCount) -> None:
        """What a process has counted."""
        for each in count.policies:
            if sums := self._of(each.policy):
                sums.successful += each.successful
                sums.failed += each.failed
                for failure in each.failures:
                    sums.add_failure(failure)

    def count(self) -> DomainCount:
        """As they are now, the policy with most sessions first."""
        found = [sums.count(policy) for policy, sums in self._policies.items()]
        found.sort(key=lambda each: -each.successful - each.failed)
        return DomainCount(tuple(found))

    def _of(self, policy: ReportedPolicy) -> _PolicySums | None:
        """None: the domain has shown more policies than are counted."""
        sums = self._policies.get(policy)
        if sums is None and len(self._policies) < _MOST_POLICIES:
            sums = self._policies[policy] = _PolicySums()
        return sums


class _PolicySums:
    """``failures``: by result type, host, its address and ours."""

    def __init__(self) -> None:
        self.successful = self.failed = 0
        self.failures: dict[tuple[str, str, str, str], Failure] = {}

    def add(self, failure: Failure | None) -> None:
        if failure is None:
            self.successful += 1
        else:
            self.failed += 1
            self.add_failure(failure)

    def add_failure(self, failure: Failure) -> None:
        key = failure.result, failure.host, failure.address, failure.source
        if key not in self.failures and len(self.failures) >= _MOST_FAILURES:
            failure = Failure(failure.result, failure.count, reason=failure.reason)
            key = failure.result, "", "", ""
        before = self.failures.get(key)
        self.failures[key] = Failure(
            failure.result,
            failure.count + (before.count if before else 0),
            failure.host,
            failure.address,
            failure.source,
            before.reason if before else failure.reason,
        )

    def count(self, policy: ReportedPolicy) -> PolicyCount:
        failures = sorted(self.failures.values(), key=lambda each: -each.count)
        return PolicyCount(policy, self.successful, self.failed, tuple(failures))


def policy_of(destination: MxDestination, session: TlsSession) -> ReportedPolicy:
    """What was demanded of a connection. With TLSA records the mail host is the policy's domain."""
    domain, demand = destination.name.removeprefix(MX), session.result.policy
    if demand == "dane":
        policy = session.server.policy
        name = policy.names[0] if policy.names else session.server.host
        return ReportedPolicy("tlsa", name, tuple(map(str, policy.tlsa)))
    sts = destination.policy.sts
    if demand != "none" and sts is not None:
        if len(sts.mx) > _MOST_HOSTS:
            sts = replace(sts, mx=sts.mx[:_MOST_HOSTS])
        return ReportedPolicy("sts", domain, sts.lines(), sts.mx)
    if destination.policy.sts_failure is not None:
        return ReportedPolicy("sts", domain)
    return ReportedPolicy("no-policy-found", domain)


def failure_of(destination: MxDestination, session: TlsSession) -> Failure | None:
    """How a connection failed by RFC 8460, 4.3; None: it used TLS as was demanded."""
    result, server = session.result, session.server
    if result.failure:
        return _failure(result.failure, server, session.why)
    if not result.version:
        return _failure("starttls-not-supported", server, session.why)
    lacking = destination.policy.sts_failure
    if lacking is not None and result.policy != "dane":  # DANE comes first: RFC 8461, 2
        return Failure(lacking.result_type, 1, reason=lacking.text[:_LONGEST_REASON])
    return None


def _failure(result: str, server: Server, why: str) -> Failure:
    reason = why[:_LONGEST_REASON]
    return Failure(result, 1, server.host, server.address, server.source, reason)
