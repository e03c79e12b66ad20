"""The status log: which entries the record holds, and which get a key."""

from __future__ import annotations

from datetime import datetime

import pytest

from babygun.email import lifecycle, tries
from babygun.email.log import entries_in_record
from babygun.email.model import Email, LogEntry
from babygun.email.tries import RecipientResult
from babygun.store import codec
from tests.email.steps import (
    HARD,
    LATER,
    NOW,
    OK,
    SOFT,
    email,
    finish,
    result,
    schedule,
    submitted,
)


@pytest.mark.parametrize("send_at", [None, LATER])
def test_acceptance_is_held_by_the_record_however_often_it_has_changed(
    send_at: datetime | None,
) -> None:
    made = submitted(send_at=send_at, a=1)
    reason = f"to be sent at {LATER.isoformat()}" if send_at else None
    first = LogEntry(0, NOW, "accepted", client_id="shop", request_id="r1", reason=reason)
    assert made.entry == first and not made.keyed and entries_in_record(made.email) == [first]
    over = finish(finish(made.email, "a", SOFT).email, "a", HARD).email
    again = lifecycle.retry(over, now=LATER, client_id="other", request_id="r2").email
    assert entries_in_record(codec.decode_email(codec.encode_state(again))) == [first]


@pytest.mark.parametrize("outcome", [OK, HARD])
def test_an_end_by_the_first_tries_is_held_by_the_record_until_it_is_retried(
    outcome: RecipientResult,
) -> None:
    before = email(a=2, b=1)
    results = [result("b", before, OK), result("a", before, OK, outcome)]
    ended = tries.finish(before, results, now=LATER, schedule=schedule)
    assert not ended.keyed
    stored = codec.decode_email(codec.encode_state(ended.email))
    assert entries_in_record(stored) == [*entries_in_record(before), ended.entry]
    if outcome is HARD:
        again = lifecycle.retry(stored, now=LATER, client_id="other")
        assert again.keyed == (ended.entry, again.entry) and again.entry.seq == 2
        assert entries_in_record(again.email) == entries_in_record(before)
        over = finish(again.email, "a", HARD)
        assert (
            over.keyed == (over.entry,)
            and over.entry.seq == 3
            and entries_in_record(over.email) == entries_in_record(before)
        )


@pytest.mark.parametrize(
    ("before", "queue"),
    [(finish(email(a=1), "a", SOFT).email, "a"), (finish(email(a=1, b=1), "a", OK).email, "b")],
)
def test_an_end_by_a_later_try_is_an_entry_of_its_own(before: Email, queue: str) -> None:
    transition = finish(before, queue, OK)
    assert transition.email.final and transition.keyed == (transition.entry,)
    assert transition.entry.seq == 2
    assert [entry.event for entry in entries_in_record(transition.email)] == ["accepted"]
