"""Late bounces and complaints: what they make of each state of an e-mail."""

from __future__ import annotations

from datetime import timedelta

import pytest
from msgspec import structs

from babygun.email import late, lifecycle, wide
from babygun.email.bounces import Bounce, Complaint
from babygun.email.email_events import events_of
from babygun.email.erasure import MARK, erase
from babygun.email.log import entries_in_record
from babygun.email.model import Email
from babygun.email.return_path import of_queue, of_recipient
from babygun.email.suppression import Suppression
from babygun.email.transition import Transition
from tests.email.steps import (
    HARD,
    LATER,
    NOW,
    OK,
    SOFT,
    check_invariants,
    email,
    finish,
)

AFTERWARDS = LATER + timedelta(hours=1)
DAY = 86400.0
NO_MAILBOX = Bounce(
    addresses=("a0@example.com",),
    status_code=550,
    enhanced_code="5.1.1",
    reason="no such user",
    reply_class="bad_mailbox",
    suppress=True,
    reporter="mx.example.net",
)
WORD = Suppression("complaint", AFTERWARDS)


def bounced(email: Email, address: str = "a0@example.com", report: Bounce = NO_MAILBOX) -> Email:
    return bounce(email, address, report).email


def bounce(email: Email, address: str, report: Bounce = NO_MAILBOX) -> Transition:
    path = of_recipient("id", address, 0, "shop")
    recipient = late.recipient_of(email, path, report.addresses)
    assert recipient is not None and recipient.email == address
    assert late.fate_of_bounce(path, recipient) == "apply"
    transition = late.bounce(email, recipient, report, now=LATER, suppress=DAY)
    entry = transition.entry
    assert (entry.event, entry.late) == ("bounced", True)
    return transition


def complain(email: Email, address: str = "a0@example.com") -> Transition:
    recipient = next(r for r in email.recipients if r.email == address)
    report = Complaint(reporter="fbl.example.net")
    return late.complain(email, recipient, report, now=AFTERWARDS, suppression=WORD)


def test_late_bounce_of_a_complete_email_makes_it_failed_and_says_why() -> None:
    transition = bounce(finish(email(a=1), "a", OK).email, "a0@example.com")
    after = transition.email
    (recipient,) = after.recipients
    assert (recipient.status, recipient.late, recipient.tries) == ("bounced", True, 1)
    assert (recipient.status_code, recipient.enhanced_code) == (550, "5.1.1")
    assert (recipient.status_reason, recipient.reply_class) == ("no such user", "bad_mailbox")
    assert after.status == "failed"
    assert after.status_reason == "1 of 1 recipient not reached: 1 bounced late (bad_mailbox)"
    assert not transition.touched


def test_end_that_the_record_held_gets_a_key_before_the_late_bounce() -> None:
    before = finish(email(a=1), "a", OK).email
    (_, end) = entries_in_record(before)
    transition = bounce(before, "a0@example.com")
    assert [entry.event for entry in transition.keyed] == ["delivered", "bounced"]
    assert transition.keyed[0] == end and not transition.email.claimed_at
    assert transition.entry.reason == "a bounce message came back, from mx.example.net"
    (attempt,) = transition.entry.attempts
    assert (attempt.queue, attempt.attempt) == ("a", 1)


def test_late_bounce_comes_later_than_the_end_though_the_clock_is_behind() -> None:
    """The key of the end mark holds the time, and a transaction writes a key once."""
    transition = bounce(finish(email(a=1), "a", OK).email, "a0@example.com")
    assert transition.email.updated_at == LATER + timedelta(milliseconds=1)


def test_late_bounce_while_others_are_still_tried_changes_no_queue() -> None:
    before = finish(email(a=2, b=1), "a", OK, SOFT).email
    transition = bounce(before, "a0@example.com")
    after = transition.email
    assert (after.status, after.queues) == ("incomplete", before.queues)
    assert after.not_before == before.not_before is not None
    assert after.status_reason == (
        "2 of 3 recipients not reached yet: 1 bounced late (bad_mailbox), 1 deferred (temporary)"
    )
    rest = finish(finish(after, "a", OK).email, "b", OK)
    assert (rest.email.status, rest.entry.event) == ("failed", "delivered")


def test_late_bounce_of_a_cancelled_email_leaves_it_cancelled() -> None:
    half = finish(email(a=1, b=1), "a", OK).email
    cancelled = lifecycle.cancel(half, sending=(), now=LATER).email
    after = bounced(cancelled)
    assert (after.status, [r.status for r in after.recipients]) == (
        "cancelled",
        ["bounced", "cancelled"],
    )


def test_late_bounce_of_a_failed_email_counts_beside_the_others() -> None:
    before = finish(email(a=2), "a", OK, HARD).email
    after = bounced(before)
    assert (after.status, after.status_reason) == (
        "failed",
        "2 of 2 recipients not reached: 1 bounced (bad_mailbox), 1 bounced late (bad_mailbox)",
    )


def test_late_bounce_gives_one_event_that_says_late() -> None:
    (event,) = events_of(bounce(finish(email(a=2), "a", OK, OK).email, "a1@example.com"))
    assert (event.type, event.data.late) == ("bounced", True)
    assert [(r.email, r.status) for r in event.data.recipients] == [("a1@example.com", "bounced")]
    assert event.data.reason == "a bounce message came back, from mx.example.net"


def test_late_bounce_suppresses_a_dead_address_and_no_other() -> None:
    ended = finish(email(a=1), "a", OK).email
    (new,) = bounce(ended, "a0@example.com").suppressed
    assert (new.address, new.list, new.suppression.reason) == ("a0@example.com", "*", "hard_bounce")
    assert new.suppression.email_id == "id" and new.suppression.until is not None
    full = structs.replace(NO_MAILBOX, suppress=False)
    assert not bounce(ended, "a0@example.com", full).suppressed
    recipient = ended.recipients[0]
    assert not late.bounce(ended, recipient, NO_MAILBOX, now=AFTERWARDS).suppressed


@pytest.mark.parametrize(
    ("before", "fate"),
    [
        (email(a=1), "too_early"),
        (finish(email(a=1), "a", SOFT).email, "too_early"),
        (finish(email(a=1), "a", OK).email, "apply"),
        (finish(email(a=1), "a", HARD).email, "already"),
        (bounced(finish(email(a=1), "a", OK).email), "already"),
        (lifecycle.cancel(email(a=1), sending=(), now=LATER).email, "already"),
    ],
    ids=["pending", "deferred", "delivered", "bounced", "bounced late", "cancelled"],
)
def test_fate_of_a_bounce_message_is_by_the_recipients_status(before: Email, fate: str) -> None:
    path = of_recipient("id", "a0@example.com", 0, "shop")
    assert late.fate_of_bounce(path, before.recipients[0]) == fate


def test_second_copy_of_a_bounce_message_says_nothing_of_the_delivery_after_a_retry() -> None:
    failed = bounced(finish(email(a=1), "a", OK).email)
    retried = lifecycle.retry(failed, now=AFTERWARDS).email
    (recipient,) = retried.recipients
    assert (recipient.status, recipient.late, recipient.retried) == ("pending", False, 1)
    old, new = (of_recipient("id", "a0@example.com", n, "shop") for n in (0, 1))
    assert late.fate_of_bounce(old, recipient) == "already"
    assert late.fate_of_bounce(new, recipient) == "too_early"
    (delivered,) = finish(retried, "a", OK).email.recipients
    assert late.fate_of_bounce(old, delivered) == "already"
    assert late.fate_of_bounce(new, delivered) == "apply"


def test_recipient_is_found_by_its_hash_whatever_the_message_calls_it() -> None:
    path = of_recipient("id", "A1@EXAMPLE.com", 0, "shop")
    found = late.recipient_of(email(a=3), path, ["forwarded@elsewhere.example"])
    assert found is not None and found.email == "a1@example.com"


def test_recipient_of_a_queues_return_path_is_found_by_address_or_is_the_only_one() -> None:
    several = email(a=2, b=1)
    of_a, of_b = (of_queue("id", queue, 0, "shop") for queue in "ab")
    named = late.recipient_of(several, of_a, ["x@elsewhere.example", "A1@example.com"])
    assert named is not None and named.email == "a1@example.com"
    assert late.recipient_of(several, of_a, ["b0@example.com"]) is None
    only = late.recipient_of(several, of_b, [])
    assert only is not None and only.email == "b0@example.com"


def test_message_of_a_queue_is_not_about_an_erased_recipient() -> None:
    """Its words may name the address, and the record's next one is another person."""
    sent = finish(email(a=2), "a", OK, OK).email
    path = of_queue("id", "a", 0, "shop")
    for mailbox in ("a0@example.com", "a1@example.com"):
        sent = erase(sent, mailbox, sending=(), now=LATER, size=1).email
    assert late.recipient_of(sent, path, [MARK, "a0@example.com"]) is None


def test_complaint_changes_no_status_and_gives_an_event_with_the_list() -> None:
    before = structs.replace(finish(email(a=2), "a", OK, OK).email, list="news")
    transition = complain(before)
    after = transition.email
    assert (after.status, after.recipients[0].complained_at) == ("complete", AFTERWARDS)
    assert [r.status for r in after.recipients] == ["delivered", "delivered"]
    (event,) = events_of(transition)
    assert (event.type, event.data.list_name) == ("complained", "news")
    assert [r.email for r in event.data.recipients] == ["a0@example.com"]
    assert event.data.reason == "feedback report: abuse, from fbl.example.net"
    assert transition.suppressed == (("a0@example.com", WORD, "news"),)


def test_complaint_about_an_email_without_a_list_concerns_all_mail() -> None:
    transition = complain(finish(email(a=1), "a", OK).email)
    assert transition.suppressed[0].list == events_of(transition)[0].data.list_name == "*"


def test_complaint_stays_known_through_further_tries_and_retries() -> None:
    deferred = complain(finish(email(a=1), "a", SOFT).email).email
    failed = finish(deferred, "a", HARD).email
    retried = lifecycle.retry(failed, now=AFTERWARDS).email
    assert retried.recipients[0].complained_at == AFTERWARDS


def test_late_changes_hold_the_invariants() -> None:
    ended = finish(email(a=2, b=1), "a", OK, OK).email
    path_to = late.recipient_of(ended, of_recipient("id", "a0@example.com", 0, "shop"), [])
    assert path_to is not None
    earlier = structs.replace(ended, updated_at=NOW)
    recipient = earlier.recipients[0]
    check_invariants(earlier, late.bounce(earlier, recipient, NO_MAILBOX, now=LATER))
    check_invariants(
        earlier, late.complain(earlier, recipient, Complaint(), now=LATER, suppression=None)
    )


def test_late_bounce_of_a_wide_email_is_counted_and_logged_in_its_part() -> None:
    whole = wide.begun(email(a=1, b=1))
    whole = finish(finish(whole, "a", OK).email, "b", OK).email
    view = wide.with_parts(wide.record_of(whole), wide.parts_of(whole, ["a"]))
    transition = bounce(view, "a0@example.com")
    assert transition.changed == {"a"} and transition.email.status == "failed"
    record = wide.record_of(transition.email)
    assert record.wide is not None
    assert sorted((g.status, g.late, g.count) for g in record.wide.groups) == [
        ("bounced", True, 1),
        ("delivered", False, 1),
    ]
    assert record.status_reason == "1 of 2 recipients not reached: 1 bounced late (bad_mailbox)"
    (part,) = wide.parts_of(transition.email, ["a"]).values()
    assert [entry.event for entry in part.log] == ["delivered", "bounced"]
