"""What servers do not manage: remembered for a while, and for so many servers."""

from __future__ import annotations

from babygun.routing.tls_policy import TlsPolicy, Violation
from babygun.smtp.workarounds import MOST_SERVERS, REMEMBERED, Workarounds, WorkaroundsByServer


def test_feature_that_failed_is_avoided_for_an_hour() -> None:
    known = Workarounds()
    assert known.why_not("tls", 0.0) == ""
    known.avoid("tls", "handshake reset", 100.0)
    assert known.why_not("tls", 99.0 + REMEMBERED) == "handshake reset"
    assert known.why_not("pipelining", 100.0) == ""
    assert known.why_not("tls", 100.0 + REMEMBERED) == ""


def test_pipelining_is_too_much_after_two_breaks_in_a_row() -> None:
    known = Workarounds()
    assert not known.pipelining_broke()
    known.pipelining_worked()
    assert not known.pipelining_broke()
    assert known.pipelining_broke()


def test_violation_of_a_policy_that_tests_is_known_for_an_hour_and_for_that_policy_alone() -> None:
    known, violation = Workarounds(), Violation("certificate-expired", "has expired")
    policy = TlsPolicy("sts", testing=True, names=("mx.example",))
    assert known.violation_of(policy, 0.0) is None
    known.violates(policy, violation, 100.0)
    assert known.violation_of(policy, 99.0 + REMEMBERED) == violation
    assert known.violation_of(TlsPolicy("sts", testing=True, names=("mx2.example",)), 100.0) is None
    assert known.violation_of(policy, 100.0 + REMEMBERED) is None


def test_servers_beyond_the_most_are_forgotten_the_one_unused_for_longest_first() -> None:
    servers = WorkaroundsByServer()
    first, second = servers.of("0.example:25"), servers.of("1.example:25")
    for n in range(2, MOST_SERVERS):
        servers.of(f"{n}.example:25")
    assert servers.of("0.example:25") is first
    servers.of("new.example:25")
    assert len(servers) == MOST_SERVERS
    assert servers.of("0.example:25") is first
    assert servers.of("1.example:25") is not second
