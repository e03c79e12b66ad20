"""The vocabulary of events: complete, and each try ends with one of them."""

from __future__ import annotations

from typing import get_args

import pytest

from babygun.email.events import EVENTS, OUTCOMES, EventName, end_of_try
from babygun.email.model import LogEntry, RecipientStatus


def test_events_are_those_of_a_log_entry_and_hold_fields_of_it() -> None:
    assert set(EVENTS) == set(get_args(EventName))
    assert {name for event in EVENTS.values() for name in event.holds} <= set(
        LogEntry.__struct_fields__
    )


@pytest.mark.parametrize(
    ("statuses", "event"),
    [
        ({"delivered"}, "delivered"),
        ({"delivered", "bounced"}, "bounced"),
        ({"delivered", "expired"}, "expired"),
        ({"expired", "bounced"}, "bounced"),
        ({"delivered", "bounced", "expired", "deferred"}, "deferred"),
        ({"delivered", "suppressed"}, "suppressed"),
        ({"suppressed", "expired"}, "expired"),
        (set(), "delivered"),
    ],
)
def test_end_of_try_is_the_event_of_its_least_finished_recipient(
    statuses: set[str], event: str
) -> None:
    assert end_of_try(statuses) == event


def test_outcomes_count_every_status_that_a_try_can_leave() -> None:
    assert set(OUTCOMES) == set(get_args(RecipientStatus)) - {"pending", "cancelled"}
