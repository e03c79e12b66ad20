"""A client's rate and daily limit: what passes, what is taken, when more passes. Pure."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest

from babygun.errors import DailyLimitReached, RateExceeded
from babygun.store.access.allowance import (
    add_recipients,
    give_emails_back,
    take_emails,
    take_recipients,
    usage_now,
)
from babygun.store.records import ClientUsage

NOW = datetime(2026, 11, 30, 23, 0, tzinfo=UTC)
NOTHING = ClientUsage(NOW.date())


def at(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def passes(usage: ClientUsage, rate: float, seconds: float, emails: int = 1) -> ClientUsage:
    return take_emails(usage, rate, emails, at(seconds))[0]


def refused(usage: ClientUsage, rate: float, seconds: float, emails: int = 1) -> int:
    """Seconds after which the refused client may try again."""
    with pytest.raises(RateExceeded) as raised:
        take_emails(usage, rate, emails, at(seconds))
    return raised.value.retry_after


def test_burst_of_one_second_passes_and_the_next_email_waits() -> None:
    usage = NOTHING
    for _ in range(3):
        usage = passes(usage, 3, 10)
    assert refused(usage, 3, 10) == 1
    usage = passes(usage, 3, 10.34)
    assert refused(usage, 3, 10.34) == 1


def test_bucket_never_holds_more_than_one_second() -> None:
    usage = passes(NOTHING, 2, 0)
    for _ in range(2):
        usage = passes(usage, 2, 1000)
    refused(usage, 2, 1000)


def test_rate_below_one_lets_one_email_through_at_a_time() -> None:
    usage = passes(NOTHING, 0.1, 0)
    assert refused(usage, 0.1, 0) == 10
    passes(usage, 0.1, 10)


def test_large_batch_passes_a_full_bucket_and_its_rest_has_to_pass_first() -> None:
    usage = passes(NOTHING, 20, 0, emails=30)
    assert refused(usage, 20, 0) == 1
    refused(usage, 20, 0.54)
    usage = passes(usage, 20, 0.56)
    refused(usage, 20, 0.6, emails=30)


def test_block_takes_more_only_as_far_as_it_is_there() -> None:
    usage, taken = take_emails(NOTHING, 10, 2, NOW, more=3)
    assert taken == 5
    _, taken = take_emails(usage, 10, 1, NOW, more=9)
    assert taken == 5


def test_emails_that_are_held_count_as_there() -> None:
    usage, _ = take_emails(NOTHING, 20, 1, NOW)
    _, taken = take_emails(usage, 20, 1000, NOW, held=1)
    assert taken == 999


def test_emails_that_were_given_back_can_be_taken_again() -> None:
    usage, _ = take_emails(NOTHING, 10, 10, NOW)
    usage = give_emails_back(usage, 10, 4)
    _, taken = take_emails(usage, 10, 1, NOW, more=9)
    assert taken == 4


def test_bucket_emptied_by_a_wrong_clock_fills_again_in_the_time_of_a_batch() -> None:
    usage = passes(NOTHING, 50, 30 * 86400)
    assert refused(usage, 50, 0) <= 21


def test_daily_limit_is_reached_exactly_and_ends_at_midnight() -> None:
    usage, taken = take_recipients(NOTHING, 10, 7, NOW)
    assert taken == 7
    with pytest.raises(DailyLimitReached) as raised:
        take_recipients(usage, 10, 4, NOW)
    assert (raised.value.remaining, raised.value.retry_after) == (3, 3600)
    usage, _ = take_recipients(usage, 10, 3, NOW)
    assert usage.recipients == 10
    tomorrow = NOW + timedelta(hours=1)
    assert take_recipients(usage_now(usage, tomorrow), 10, 10, tomorrow)[1] == 10


def test_block_of_recipients_leaves_others_half_of_what_remains() -> None:
    usage, taken = take_recipients(NOTHING, 100, 20, NOW, more=1000)
    assert (taken, usage.recipients) == (60, 60)
    assert take_recipients(usage, 100, 62, NOW, held=40)[1] == 22


def test_limit_that_was_lowered_below_what_counts_leaves_nothing() -> None:
    usage = ClientUsage(NOW.date(), 500)
    with pytest.raises(DailyLimitReached) as raised:
        take_recipients(usage, 100, 1, NOW)
    assert raised.value.remaining == 0


def test_recipients_of_yesterday_count_no_more() -> None:
    yesterday = ClientUsage(date(2026, 11, 29), 80, 5.0)
    assert usage_now(yesterday, NOW) == ClientUsage(NOW.date(), 0, 5.0)


def test_next_day_counts_where_another_clock_is_ahead_and_a_later_day_counts_today() -> None:
    tomorrow = ClientUsage(date(2026, 12, 1), 80)
    assert usage_now(tomorrow, NOW) == tomorrow
    later = ClientUsage(date(2027, 5, 1), 80)
    assert usage_now(later, NOW) == ClientUsage(NOW.date(), 80)


def test_counts_never_fall_below_zero() -> None:
    assert add_recipients(ClientUsage(NOW.date(), 3), -5).recipients == 0
