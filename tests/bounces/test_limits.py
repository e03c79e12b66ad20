"""How many connections one address, and all together, may have."""

from __future__ import annotations

from babygun.bounces.limits import ConnectionCount


def test_one_address_gets_a_tenth_and_all_together_no_more_than_the_most() -> None:
    count = ConnectionCount(20)
    assert [count.enter("192.0.2.1") for _ in range(3)] == [True, True, False]
    entered = [count.enter(f"192.0.2.{number}") for number in range(2, 30)]
    assert entered == [True] * 18 + [False] * 10
    count.leave("192.0.2.1")
    assert count.enter("192.0.2.99") and not count.enter("192.0.2.98")


def test_addresses_of_one_ipv6_network_count_together() -> None:
    count = ConnectionCount(20)
    assert [count.enter(f"2001:db8::{number}") for number in range(3)] == [True, True, False]
    assert count.enter("2001:db8:0:1::1")


def test_address_that_has_left_is_forgotten() -> None:
    count = ConnectionCount(20)
    for number in range(1000):
        address = f"10.0.{number // 250}.{number % 250}"
        assert count.enter(address)
        count.leave(address)
    assert count.total == 0 and not count._by_network
