"""When a try is made again: by the schedule, or as the server asked."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from babygun.email.retry import most_tries, next_try
from babygun.runtime.settings import Settings

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
SCHEDULE = Settings(retry_intervals=(600.0, 1200.0))


@pytest.mark.parametrize(
    ("tries", "retry_after", "seconds"),
    [
        (1, None, 600.0),
        (2, None, 1200.0),
        (1, 70.0, 70.0),
        (2, 0.0, 0.0),
        (3, None, None),
        (3, 70.0, None),
    ],
)
def test_next_try_is_after_the_interval_or_what_the_server_asked_until_the_tries_are_used_up(
    tries: int, retry_after: float | None, seconds: float | None
) -> None:
    due = next_try(
        "main",
        reply_class="greylisted",
        retry_after=retry_after,
        tries=tries,
        schedule=SCHEDULE,
        now=NOW,
    )
    assert due == (None if seconds is None else NOW + timedelta(seconds=seconds))


def test_most_tries_is_one_more_than_the_intervals() -> None:
    assert most_tries("main", SCHEDULE) == 3
    assert most_tries("main", Settings(retry_intervals=())) == 1
