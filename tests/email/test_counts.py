"""Numbers of e-mails and recipients."""

from __future__ import annotations

from datetime import timedelta

import pytest
from msgspec import structs

from babygun.email import lifecycle, wide
from babygun.email.counts import counts_of, in_two_digits
from tests.email.steps import HARD, LATER, NOW, OK, SOFT, email, finish


def test_counts_have_each_email_by_status_and_each_recipient_by_queue_and_reason() -> None:
    done = finish(email(a=2), "a", OK, OK).email
    half = finish(email(a=2, b=1), "a", HARD, SOFT).email
    ready = email(b=1)
    cancelled = lifecycle.cancel(email(a=1), sending=(), now=LATER).email
    counts = counts_of([(done, False), (half, False), (ready, True), (cancelled, False)])
    assert counts.statuses == {"complete": 1, "waiting": 1, "sending": 1, "cancelled": 1}
    statuses = {queue: dict(one.statuses) for queue, one in counts.queues.items()}
    assert statuses == {
        "a": {"delivered": 2, "bounced": 1, "deferred": 1, "cancelled": 1},
        "b": {"pending": 2},
    }
    assert sum(counts.reasons.values()) == 2
    assert counts.reasons["bounced", HARD.reply_class] == 1
    assert counts.seconds == {in_two_digits((LATER - NOW).total_seconds()): 2}


def test_queue_says_when_it_delivered_last_and_what_failed_last() -> None:
    minute = timedelta(minutes=1)
    good, bad = finish(email(a=1), "a", OK).email, finish(email(a=1), "a", SOFT).email
    [recipient] = bad.recipients
    newer = structs.replace(recipient, updated_at=LATER + minute, status_reason="the newer one")
    worse = structs.replace(bad, recipients=(newer,))
    queue = counts_of([(worse, False), (good, False), (bad, False)]).queues["a"]
    assert queue.delivered_at == LATER
    assert queue.last_failure is newer


def test_wide_email_counts_its_recipients_by_reason_alone() -> None:
    whole = finish(wide.begun(email(a=3)), "a", OK, HARD, HARD).email
    counts = counts_of([(wide.record_of(whole), False)])
    assert counts.statuses == {"failed": 1} and not counts.queues and not counts.seconds
    assert counts.reasons == {("bounced", HARD.reply_class): 2}


@pytest.mark.parametrize(
    ("given", "expected"), [(0.0347, 0.035), (0.999, 1.0), (1234.0, 1200.0), (7.0, 7.0)]
)
def test_number_in_two_digits_is_rounded(given: float, expected: float) -> None:
    assert in_two_digits(given) == expected
