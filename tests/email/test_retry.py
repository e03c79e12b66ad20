"""When a try is made again: by the schedule, or as the server asked."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from babygun.email.model import Job
from babygun.email.retry import Schedule, end_of_held, most_tries, next_try

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


def schedule(queue: str) -> Schedule:
    return {
        "main": Schedule((600.0, 1200.0)),
        "once": Schedule(()),
        "mx:example.org": Schedule((600.0, 1200.0), jitter=0.2),
    }[queue]


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
        email_id="id",
        retry_after=retry_after,
        tries=tries,
        schedule=schedule,
        now=NOW,
    )
    assert due == (None if seconds is None else NOW + timedelta(seconds=seconds))


def test_most_tries_is_one_more_than_the_intervals() -> None:
    assert most_tries("main", schedule) == 3
    assert most_tries("once", schedule) == 1


@pytest.mark.parametrize(("minutes", "due"), [(5, False), (10, False), (11, True)])
def test_next_try_is_never_after_the_emails_own_end(minutes: int, due: bool) -> None:
    found = next_try(
        "main",
        email_id="id",
        retry_after=None,
        tries=1,
        schedule=schedule,
        now=NOW,
        expires_at=NOW + timedelta(minutes=minutes),
    )
    assert (found is not None) == due


def waits(tries: int, email_id: str, queue: str = "mx:example.org") -> float:
    due = next_try(
        queue, email_id=email_id, retry_after=None, tries=tries, schedule=schedule, now=NOW
    )
    assert due is not None
    return (due - NOW).total_seconds()


def test_jitter_spreads_the_tries_of_many_emails_and_is_the_same_for_the_same_try() -> None:
    found = [waits(1, f"id{n}") for n in range(1000)]
    assert 480 <= min(found) < 490 and 710 < max(found) <= 720
    assert 590 < sum(found) / len(found) < 610
    assert waits(1, "id7") == found[7]
    assert waits(2, "id7") != 2 * waits(1, "id7")


def test_jitter_leaves_what_the_server_asked_for_as_it_is() -> None:
    due = next_try(
        "mx:example.org", email_id="id", retry_after=70.0, tries=1, schedule=schedule, now=NOW
    )
    assert due == NOW + timedelta(seconds=70)


@pytest.mark.parametrize(
    ("accepted", "since", "expires_at", "end"),
    [
        # Hours from NOW, when the site was held. The setting is 48 hours.
        (-100, None, None, 48),
        (3, None, None, 51),
        (-100, 5, None, 53),
        (-100, -50, None, 48),
        (-100, None, 200, 200),
        (-100, None, 1, 1),
    ],
)
def test_end_of_a_held_email_is_its_own_or_counts_from_when_it_was_held(
    accepted: int, since: int | None, expires_at: int | None, end: int
) -> None:
    def hours(count: int) -> datetime:
        return NOW + timedelta(hours=count)

    job = Job(
        1,
        1,
        None if since is None else hours(since),
        None if expires_at is None else hours(expires_at),
    )
    found = end_of_held(
        job,
        accepted=hours(accepted),
        held_since=NOW,
        expires_after=48 * 3600.0,
        schedule=schedule("main"),
    )
    assert found == hours(end)


def test_end_of_held_is_no_earlier_than_that_of_all_tries() -> None:
    five_days = Schedule((12 * 3600.0,) * 10)
    found = end_of_held(
        Job(0, 1), accepted=NOW, held_since=NOW, expires_after=48 * 3600.0, schedule=five_days
    )
    assert found == NOW + timedelta(days=5)
