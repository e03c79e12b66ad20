"""A client's rate: what passes at once, and when the next e-mail passes."""

from __future__ import annotations

import pytest

from babygun.errors import RateExceeded
from babygun.intake.rate_limit import RateLimits
from babygun.runtime.clock import utc_now
from babygun.store.records import Client


def client(rate: float | None, name: str = "a") -> Client:
    return Client(name, name, ("emails:send",), "", utc_now(), rate)


def refused(limits: RateLimits, who: Client, now: float, emails: int = 1) -> int:
    """Seconds after which the refused client may try again."""
    with pytest.raises(RateExceeded) as raised:
        limits.take(who, now, emails=emails)
    return raised.value.retry_after


def test_client_without_a_rate_is_never_refused() -> None:
    limits = RateLimits()
    for _ in range(100):
        limits.take(client(None), 0.0, emails=1000)


def test_burst_of_one_second_passes_and_the_next_email_waits() -> None:
    limits, who = RateLimits(), client(3)
    for _ in range(3):
        limits.take(who, 10.0)
    assert refused(limits, who, 10.0) == 1
    limits.take(who, 10.34)
    assert refused(limits, who, 10.34) == 1


def test_bucket_never_holds_more_than_one_second() -> None:
    limits, who = RateLimits(), client(2)
    limits.take(who, 0.0)
    for _ in range(2):
        limits.take(who, 1000.0)
    refused(limits, who, 1000.0)


def test_rate_below_one_lets_one_email_through_at_a_time() -> None:
    limits, who = RateLimits(), client(0.1)
    limits.take(who, 0.0)
    assert refused(limits, who, 0.0) == 10
    limits.take(who, 10.0)


def test_large_batch_passes_a_full_bucket_and_its_rest_has_to_pass_first() -> None:
    limits, who = RateLimits(), client(20)
    limits.take(who, 0.0, emails=30)
    assert refused(limits, who, 0.0) == 1
    refused(limits, who, 0.54)
    limits.take(who, 0.56)
    refused(limits, who, 0.6, emails=30)


def test_no_email_takes_nothing_and_is_refused_where_one_would_be() -> None:
    limits, who = RateLimits(), client(1)
    for _ in range(5):
        limits.take(who, 0.0, emails=0)
    limits.take(who, 0.0)
    refused(limits, who, 0.0, emails=0)


def test_rate_of_0_stops_the_client() -> None:
    assert refused(RateLimits(), client(0), 0.0) == 60


def test_each_client_has_its_own_bucket() -> None:
    limits = RateLimits()
    limits.take(client(1, "a"), 0.0)
    limits.take(client(1, "b"), 0.0)
    refused(limits, client(1, "a"), 0.0)
