"""The state machine as a full table of (state, event), and the rules behind each cell."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from babygun.email import lifecycle
from babygun.email.compose import new_email
from babygun.email.lifecycle import QueueResult, RecipientResult, Transition
from babygun.email.log import entries_in_record
from babygun.email.model import Email, LogEntry, Recipient
from babygun.email.reasons import cut
from babygun.errors import Conflict
from babygun.store import codec

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
LATER = NOW + timedelta(minutes=1)
INTERVALS = (600.0, 1200.0)

OK = RecipientResult("deliver", "delivered", 250, "2.0.0", "queued")
SOFT = RecipientResult("retry", "temporary", 451, "4.3.0", "try later")
HARD = RecipientResult("fail", "bad_mailbox", 550, "5.1.1", "no such user")


def submitted(*, now: datetime = NOW, send_at: datetime | None = None, **queues: int) -> Transition:
    """The acceptance of an e-mail with so many recipients in each queue: ``submitted(a=2, b=1)``."""
    recipients = tuple(
        Recipient(f"{queue}{n}@example.com", "to", queue)
        for queue, count in queues.items()
        for n in range(count)
    )
    email = new_email(
        "id",
        client_id="shop",
        sender="me@example.com",
        subject="hello",
        recipients=recipients,
        now=now,
        send_at=send_at,
        request_id="r1",
    )
    return lifecycle.accept(email)


def email(**queues: int) -> Email:
    """An e-mail with so many recipients in each queue: ``email(a=2, b=1)``."""
    return submitted(**queues).email


def result(queue: str, email: Email, *outcomes: RecipientResult) -> QueueResult:
    """One outcome per recipient of the queue that is not over."""
    open_ones = [r.email for r in email.recipients if r.queue == queue and not r.final]
    return QueueResult(queue, "w1", NOW, dict(zip(open_ones, outcomes, strict=True)))


def finish(email: Email, queue: str, *outcomes: RecipientResult) -> Transition:
    return lifecycle.finish(
        email, [result(queue, email, *outcomes)], now=LATER, retry_intervals=INTERVALS
    )


def ready() -> Email:
    return email(a=1)


def waiting() -> Email:
    return finish(email(a=1), "a", SOFT).email


def last_try() -> Email:
    return finish(waiting(), "a", SOFT).email


def half_over() -> Email:
    return finish(email(a=1, b=1), "a", OK).email


def half_failed() -> Email:
    return finish(email(a=1, b=1), "a", HARD).email


def complete() -> Email:
    return finish(email(a=1), "a", OK).email


def failed() -> Email:
    return finish(email(a=1), "a", HARD).email


def cancelled() -> Email:
    return lifecycle.cancel(email(a=1), sending=(), now=LATER).email


STATES: dict[str, tuple[Callable[[], Email], str]] = {  # a state, and the queue whose try ends
    "ready": (ready, "a"),
    "waiting": (waiting, "a"),
    "last try": (last_try, "a"),
    "half over": (half_over, "b"),
    "half failed": (half_failed, "b"),
    "complete": (complete, ""),
    "failed": (failed, ""),
    "cancelled": (cancelled, ""),
}

EVENTS: dict[str, Callable[[Email, str], Transition]] = {
    "delivered": lambda e, q: finish(e, q, OK),
    "soft": lambda e, q: finish(e, q, SOFT),
    "hard": lambda e, q: finish(e, q, HARD),
    "cancel": lambda e, q: lifecycle.cancel(e, sending=(), now=LATER),
    "cancel while sending": lambda e, q: lifecycle.cancel(
        e, sending={q} if q else set(), now=LATER
    ),
    "retry": lambda e, q: lifecycle.retry(e, now=LATER),
    "reclaim": lambda e, q: lifecycle.reclaim(
        e, q, worker_id="w2", previous_worker_id="w1", now=LATER
    ),
}

# What each event makes of each state: the email's status, the touched queue's place, the log event; or the refusal.
# A finish and a reclaim belong to an owner, and an email that is over has none: those cells can't be reached ("-").
TABLE: dict[tuple[str, str], tuple[str, str, str] | str] = {
    ("ready", "delivered"): ("complete", "over", "delivered"),
    ("ready", "soft"): ("incomplete", "waiting", "deferred"),
    ("ready", "hard"): ("failed", "over", "bounced"),
    ("ready", "cancel"): ("cancelled", "over", "cancelled"),
    ("ready", "cancel while sending"): "being sent at this moment",
    ("ready", "retry"): "not over yet",
    ("ready", "reclaim"): ("incomplete", "kept", "reclaimed"),
    ("waiting", "delivered"): ("complete", "over", "delivered"),
    ("waiting", "soft"): ("incomplete", "waiting", "deferred"),
    ("waiting", "hard"): ("failed", "over", "bounced"),
    ("waiting", "cancel"): ("cancelled", "over", "cancelled"),
    ("waiting", "cancel while sending"): "being sent at this moment",
    ("waiting", "retry"): "not over yet",
    ("waiting", "reclaim"): ("incomplete", "kept", "reclaimed"),
    ("last try", "delivered"): ("complete", "over", "delivered"),
    ("last try", "soft"): ("failed", "over", "expired"),
    ("last try", "hard"): ("failed", "over", "bounced"),
    ("last try", "cancel"): ("cancelled", "over", "cancelled"),
    ("last try", "cancel while sending"): "being sent at this moment",
    ("last try", "retry"): "not over yet",
    ("last try", "reclaim"): ("incomplete", "kept", "reclaimed"),
    ("half over", "delivered"): ("complete", "over", "delivered"),
    ("half over", "soft"): ("incomplete", "waiting", "deferred"),
    ("half over", "hard"): ("failed", "over", "bounced"),
    ("half over", "cancel"): ("cancelled", "over", "cancelled"),
    ("half over", "cancel while sending"): "being sent at this moment",
    ("half over", "retry"): "not over yet",
    ("half over", "reclaim"): ("incomplete", "kept", "reclaimed"),
    ("half failed", "delivered"): ("failed", "over", "delivered"),
    ("half failed", "soft"): ("incomplete", "waiting", "deferred"),
    ("half failed", "hard"): ("failed", "over", "bounced"),
    ("half failed", "cancel"): ("cancelled", "over", "cancelled"),
    ("half failed", "cancel while sending"): "being sent at this moment",
    ("half failed", "retry"): "not over yet",
    ("half failed", "reclaim"): ("incomplete", "kept", "reclaimed"),
    ("complete", "cancel"): "complete already",
    ("complete", "cancel while sending"): "complete already",
    ("complete", "retry"): "every recipient has got",
    ("failed", "cancel"): "failed already",
    ("failed", "cancel while sending"): "failed already",
    ("failed", "retry"): ("incomplete", "ready", "retried"),
    ("cancelled", "cancel"): "cancelled already",
    ("cancelled", "cancel while sending"): "cancelled already",
    ("cancelled", "retry"): ("incomplete", "ready", "retried"),
}


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize("state", STATES)
def test_transition_of_every_state_and_event_is_the_tables(state: str, event: str) -> None:
    make, queue = STATES[state]
    before = make()
    if (state, event) not in TABLE:
        assert before.status != "incomplete", (
            "only an email that is over has cells that can't be reached"
        )
        assert event in ("delivered", "soft", "hard", "reclaim")
        return
    expected = TABLE[state, event]
    if isinstance(expected, str):
        with pytest.raises(Conflict, match=expected):
            EVENTS[event](before, queue)
        return
    transition = EVENTS[event](before, queue)
    status, place, name = expected
    queue = queue or "a"
    places = {
        **dict.fromkeys(transition.ready, "ready"),
        **dict.fromkeys(transition.final, "over"),
        **{q: "waiting" for q, _ in transition.waiting},
    }
    assert (transition.email.status, places.get(queue, "kept"), transition.entry.event) == (
        status,
        place,
        name,
    )
    check_invariants(before, transition)


def check_invariants(before: Email, transition: Transition) -> None:
    after = transition.email
    assert transition.entry.seq == after.log_seq == before.log_seq + 1, (
        "every change writes exactly one entry"
    )
    assert after.updated_at == transition.entry.at == LATER
    assert (after.status == "incomplete") == any(not state.final for state in after.queues.values())
    for queue, state in after.queues.items():
        assert state.final == all(r.final for r in after.recipients if r.queue == queue)
    assert after.final == (after.status != "incomplete")
    assert len(transition.touched) == len(set(transition.touched)), "a queue goes to one place"
    assert [r.email for r in after.recipients] == [r.email for r in before.recipients]
    for old, new in zip(before.recipients, after.recipients, strict=True):
        assert new.status == "delivered" or old.status != "delivered", "who got it has got it"


def test_accept_of_several_queues_makes_each_ready() -> None:
    transition = submitted(a=2, b=1)
    assert transition.ready == ("a", "b") and transition.email.log_seq == 0


@pytest.mark.parametrize("send_at", [None, LATER])
def test_acceptance_is_told_by_the_record_however_often_it_has_changed(
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
def test_an_end_by_the_first_tries_is_told_by_the_record_until_it_is_retried(
    outcome: RecipientResult,
) -> None:
    before = email(a=2, b=1)
    tries = [result("b", before, OK), result("a", before, OK, outcome)]
    ended = lifecycle.finish(before, tries, now=LATER, retry_intervals=INTERVALS)
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


@pytest.mark.parametrize("before", [waiting, half_over])
def test_an_end_by_a_later_try_is_an_entry_of_its_own(before: Callable[[], Email]) -> None:
    now = before()
    transition = finish(
        now, next(queue for queue, state in now.queues.items() if not state.final), OK
    )
    assert transition.email.final and transition.keyed == (transition.entry,)
    assert transition.entry.seq == 2
    assert [entry.event for entry in entries_in_record(transition.email)] == ["accepted"]


def test_accept_with_send_at_makes_every_queue_wait() -> None:
    transition = submitted(send_at=LATER, a=1, b=1)
    assert transition.waiting == (("a", LATER), ("b", LATER)) and not transition.ready
    assert transition.email.not_before == LATER


def test_accept_with_send_at_in_the_past_is_ready_at_once() -> None:
    transition = submitted(now=LATER, send_at=NOW, a=1)
    assert transition.ready == ("a",) and transition.email.not_before is None


def test_defer_waits_the_interval_of_its_try() -> None:
    first = finish(email(a=1), "a", SOFT)
    assert first.waiting == (("a", LATER + timedelta(seconds=600)),)
    second = finish(first.email, "a", SOFT)
    assert second.waiting == (("a", LATER + timedelta(seconds=1200)),)
    assert second.email.tries == 2 and second.email.recipients[0].tries == 2


def test_defer_with_a_hint_waits_as_long_as_the_server_asked() -> None:
    transition = finish(
        email(a=1),
        "a",
        RecipientResult("retry", "greylist", 450, reason="in 60 seconds", retry_after=70.0),
    )
    assert transition.waiting == (("a", LATER + timedelta(seconds=70)),)


def test_defer_of_several_recipients_waits_the_longest() -> None:
    hint = RecipientResult("retry", "greylist", 450, retry_after=70.0)
    assert finish(email(a=2), "a", hint, SOFT).waiting == (("a", LATER + timedelta(seconds=600)),)


def test_finish_tries_only_the_softly_failed_again() -> None:
    transition = finish(email(a=3), "a", OK, SOFT, HARD)
    assert [r.status for r in transition.email.recipients] == ["delivered", "deferred", "bounced"]
    assert transition.email.status == "incomplete" and transition.entry.event == "deferred"
    again = finish(transition.email, "a", OK)
    assert [r.tries for r in again.email.recipients] == [1, 2, 1]
    assert (
        again.email.status == "failed"
        and again.email.status_reason == "1 of 3 recipients not reached: 1 bounced (bad_mailbox)"
    )


def test_finish_out_of_tries_expires_and_keeps_the_last_reply() -> None:
    recipient = finish(last_try(), "a", SOFT).email.recipients[0]
    assert (recipient.status, recipient.status_code, recipient.reply_class, recipient.tries) == (
        "expired",
        451,
        "temporary",
        3,
    )


def test_finish_without_a_result_for_a_recipient_counts_as_soft() -> None:
    transition = lifecycle.finish(
        email(a=1), [QueueResult("a", "w1", NOW, {})], now=LATER, retry_intervals=INTERVALS
    )
    assert transition.email.recipients[0].status == "deferred"


def test_finish_of_two_queues_at_once_writes_one_entry() -> None:
    before = email(a=1, b=1)
    transition = lifecycle.finish(
        before,
        [result("a", before, OK), result("b", before, SOFT)],
        now=LATER,
        retry_intervals=INTERVALS,
    )
    assert transition.final == ("a",) and [q for q, _ in transition.waiting] == ["b"]
    assert [a.queue for a in transition.entry.attempts] == ["a", "b"]
    check_invariants(before, transition)


def test_finish_with_no_retries_configured_expires_at_once() -> None:
    before = email(a=1)
    transition = lifecycle.finish(
        before, [result("a", before, SOFT)], now=LATER, retry_intervals=()
    )
    assert (
        transition.email.status == "failed" and transition.email.recipients[0].status == "expired"
    )


def test_cancel_half_way_leaves_what_is_being_sent() -> None:
    transition = lifecycle.cancel(email(a=1, b=1), sending={"a"}, now=LATER)
    assert (
        transition.final == ("b",)
        and transition.email.status == "incomplete"
        and "a" in (transition.entry.reason or "")
    )
    done = finish(transition.email, "a", OK)
    assert (
        done.email.status == "cancelled"
        and done.email.status_reason == "1 of 2 recipients not reached: 1 cancelled"
    )


def test_retry_goes_to_those_not_reached_from_the_first_try() -> None:
    ended = finish(email(a=2), "a", OK, HARD).email
    transition = lifecycle.retry(ended, now=LATER)
    assert [r.status for r in transition.email.recipients] == ["delivered", "pending"]
    assert transition.email.queues["a"].tries == 0 and transition.email.status_reason is None
    assert lifecycle.job_of(transition.email, "a").recipients == 1


def test_status_reason_counts_and_names_the_causes() -> None:
    reason = finish(email(a=3), "a", SOFT, HARD, HARD).email.status_reason
    assert (
        reason
        == "3 of 3 recipients not reached yet: 2 bounced (bad_mailbox), 1 deferred after try 1 of 3 (temporary)"
    )


def test_reasons_of_many_recipients_fit_one_etcd_request() -> None:
    before = email(a=1000)
    long = RecipientResult("fail", "rejected", 550, "5.0.0", "ü" * 5000)
    transition = finish(before, "a", *[long] * 1000)
    from babygun.store.codec import encode_state

    assert len(encode_state(transition.email)) + len(encode_state(transition.entry)) < 1_000_000


@pytest.mark.parametrize(
    ("text", "limit", "expected"),
    [("abc", 3, "abc"), ("abcdef", 5, "ab…"), ("üüü", 5, "ü…"), ("a\x00\ud800\nb", 9, "a   b")],
)
def test_cut_keeps_whole_characters(text: str, limit: int, expected: str) -> None:
    assert cut(text, limit) == expected
