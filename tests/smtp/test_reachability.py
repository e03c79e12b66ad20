"""What a process remembers of servers that failed, and of IPv6."""

from __future__ import annotations

import errno

from babygun.routing.server import Server
from babygun.smtp.reachability import FAILED, MOST, NO_ROUTE, REFUSES_IPV6, Reachability

ONE = Server("mx1.example.org", 25, address="192.0.2.1")
SIX = Server("mx1.example.org", 25, address="2001:db8::1")
OTHER_SIX = Server("mx.example.net", 25, address="2001:db8::2")


def test_server_that_failed_is_tried_last_for_a_while() -> None:
    known = Reachability()
    assert known.turn_of(ONE, "site", 0.0) == "now"
    known.failed(ONE, errno.ECONNREFUSED, 0.0)
    assert known.turn_of(ONE, "site", FAILED - 1) == "last"
    assert known.turn_of(ONE, "site", FAILED) == "now"


def test_server_that_works_again_has_its_turn() -> None:
    known = Reachability()
    known.failed(ONE, 0, 0.0)
    known.worked(ONE)
    assert known.turn_of(ONE, "site", 1.0) == "now"


def test_no_route_puts_ipv6_last_everywhere_and_ipv4_nowhere() -> None:
    known = Reachability()
    known.failed(SIX, errno.ENETUNREACH, 0.0)
    assert known.turn_of(OTHER_SIX, "other", NO_ROUTE - 1) == "last"
    assert known.turn_of(ONE, "site", 1.0) == "now"
    assert known.turn_of(OTHER_SIX, "other", NO_ROUTE) == "now"


def test_ipv6_that_works_somewhere_is_back_everywhere() -> None:
    known = Reachability()
    known.failed(SIX, errno.ENETUNREACH, 0.0)
    known.worked(OTHER_SIX)
    assert known.turn_of(SIX, "site", 1.0) == "now"


def test_refused_ipv6_connection_is_that_servers_alone() -> None:
    known = Reachability()
    known.failed(SIX, errno.ECONNREFUSED, 0.0)
    assert known.turn_of(SIX, "site", 1.0) == "last"
    assert known.turn_of(OTHER_SIX, "other", 1.0) == "now"


def test_site_that_refuses_our_ipv6_address_gets_ipv4_for_a_day() -> None:
    known = Reachability()
    assert known.refused_ipv6("site", 0.0)
    assert not known.refused_ipv6("site", 1.0)  # that is known
    assert known.turn_of(SIX, "site", REFUSES_IPV6) == "instead"
    assert known.turn_of(ONE, "site", 2.0) == "now"
    assert known.turn_of(OTHER_SIX, "other", 2.0) == "now"
    assert known.turn_of(SIX, "site", REFUSES_IPV6 + 1) == "now"


def test_oldest_server_is_forgotten_beyond_the_most() -> None:
    known = Reachability()
    for n in range(MOST + 1):
        known.failed(Server("mx.example", 25, address=f"192.0.2.1-{n}"), 0, 0.0)
    assert known.turn_of(Server("mx.example", 25, address="192.0.2.1-0"), "site", 1.0) == "now"
    assert known.turn_of(Server("mx.example", 25, address="192.0.2.1-1"), "site", 1.0) == "last"
