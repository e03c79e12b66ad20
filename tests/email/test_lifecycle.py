"""The life cycle as a full table of (state, change), and the rules behind each cell."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from msgspec import structs

from babygun.email import lifecycle
from babygun.email.model import Email
from babygun.email.transition import Transition
from babygun.errors import Conflict
from tests.email.steps import (
    HARD,
    HELD,
    LATER,
    LEFT_OUT,
    NOW,
    OK,
    SOFT,
    check_invariants,
    email,
    finish,
    submitted,
)


def ready() -> Email:
    return email(a=1)


def waiting() -> Email:
    return finish(email(a=1), "a", SOFT).email


def last_try() -> Email:
    return finish(waiting(), "a", SOFT).email


def half_final() -> Email:
    return finish(email(a=1, b=1), "a", OK).email


def half_failed() -> Email:
    return finish(email(a=1, b=1), "a", HARD).email


def complete() -> Email:
    return finish(email(a=1), "a", OK).email


def failed() -> Email:
    return finish(email(a=1), "a", HARD).email


def cancelled() -> Email:
    return lifecycle.cancel(email(a=1), sending=(), now=LATER).email


def half_suppressed() -> Email:
    return submitted(a=1, b=1, suppressed=["b0@example.com"]).email


def suppressed() -> Email:
    return submitted(a=1, suppressed=["a0@example.com"]).email


STATES: dict[str, tuple[Callable[[], Email], str]] = {  # a state, and the queue whose try ends
    "ready": (ready, "a"),
    "waiting": (waiting, "a"),
    "last try": (last_try, "a"),
    "half final": (half_final, "b"),
    "half failed": (half_failed, "b"),
    "complete": (complete, ""),
    "failed": (failed, ""),
    "cancelled": (cancelled, ""),
    "half suppressed": (half_suppressed, "a"),
    "suppressed": (suppressed, ""),
}

CHANGES: dict[str, Callable[[Email, str], Transition]] = {
    "delivered": lambda e, q: finish(e, q, OK),
    "soft": lambda e, q: finish(e, q, SOFT),
    "hard": lambda e, q: finish(e, q, HARD),
    "left out": lambda e, q: finish(e, q, LEFT_OUT),
    "cancel": lambda e, q: lifecycle.cancel(e, sending=(), now=LATER, client_id="shop"),
    "cancel while sending": lambda e, q: lifecycle.cancel(
        e, sending={q} if q else set(), now=LATER, client_id="shop"
    ),
    "retry": lambda e, q: lifecycle.retry(e, now=LATER, client_id="shop"),
    "reclaim": lambda e, q: lifecycle.reclaim(
        e, q, worker_id="w2", previous_worker_id="w1", now=LATER
    ),
}

# What each change makes of each state: the status, the queue's place, the log event; or the
# refusal. A final e-mail has no owner, so finish and reclaim have no cells there.
TABLE: dict[tuple[str, str], tuple[str, str, str] | str] = {
    ("ready", "delivered"): ("complete", "final", "delivered"),
    ("ready", "soft"): ("incomplete", "waiting", "deferred"),
    ("ready", "hard"): ("failed", "final", "bounced"),
    ("ready", "left out"): ("failed", "final", "suppressed"),
    ("ready", "cancel"): ("cancelled", "final", "cancelled"),
    ("ready", "cancel while sending"): "being sent at this moment",
    ("ready", "retry"): "not final yet",
    ("ready", "reclaim"): ("incomplete", "kept", "reclaimed"),
    ("waiting", "delivered"): ("complete", "final", "delivered"),
    ("waiting", "soft"): ("incomplete", "waiting", "deferred"),
    ("waiting", "hard"): ("failed", "final", "bounced"),
    ("waiting", "left out"): ("failed", "final", "suppressed"),
    ("waiting", "cancel"): ("cancelled", "final", "cancelled"),
    ("waiting", "cancel while sending"): "being sent at this moment",
    ("waiting", "retry"): "not final yet",
    ("waiting", "reclaim"): ("incomplete", "kept", "reclaimed"),
    ("last try", "delivered"): ("complete", "final", "delivered"),
    ("last try", "soft"): ("failed", "final", "expired"),
    ("last try", "hard"): ("failed", "final", "bounced"),
    ("last try", "left out"): ("failed", "final", "suppressed"),
    ("last try", "cancel"): ("cancelled", "final", "cancelled"),
    ("last try", "cancel while sending"): "being sent at this moment",
    ("last try", "retry"): "not final yet",
    ("last try", "reclaim"): ("incomplete", "kept", "reclaimed"),
    ("half final", "delivered"): ("complete", "final", "delivered"),
    ("half final", "soft"): ("incomplete", "waiting", "deferred"),
    ("half final", "hard"): ("failed", "final", "bounced"),
    ("half final", "left out"): ("complete", "final", "suppressed"),
    ("half final", "cancel"): ("cancelled", "final", "cancelled"),
    ("half final", "cancel while sending"): "being sent at this moment",
    ("half final", "retry"): "not final yet",
    ("half final", "reclaim"): ("incomplete", "kept", "reclaimed"),
    ("half failed", "delivered"): ("failed", "final", "delivered"),
    ("half failed", "soft"): ("incomplete", "waiting", "deferred"),
    ("half failed", "hard"): ("failed", "final", "bounced"),
    ("half failed", "left out"): ("failed", "final", "suppressed"),
    ("half failed", "cancel"): ("cancelled", "final", "cancelled"),
    ("half failed", "cancel while sending"): "being sent at this moment",
    ("half failed", "retry"): "not final yet",
    ("half failed", "reclaim"): ("incomplete", "kept", "reclaimed"),
    ("half suppressed", "delivered"): ("complete", "final", "delivered"),
    ("half suppressed", "soft"): ("incomplete", "waiting", "deferred"),
    ("half suppressed", "hard"): ("failed", "final", "bounced"),
    ("half suppressed", "left out"): ("failed", "final", "suppressed"),
    ("half suppressed", "cancel"): ("cancelled", "final", "cancelled"),
    ("half suppressed", "cancel while sending"): "being sent at this moment",
    ("half suppressed", "retry"): "not final yet",
    ("half suppressed", "reclaim"): ("incomplete", "kept", "reclaimed"),
    ("suppressed", "cancel"): "failed already",
    ("suppressed", "cancel while sending"): "failed already",
    ("suppressed", "retry"): "are suppressed",
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


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("state", STATES)
def test_transition_of_every_state_and_change_is_the_tables(state: str, change: str) -> None:
    make, queue = STATES[state]
    before = make()
    if (state, change) not in TABLE:
        assert before.status != "incomplete", "only a final e-mail has cells that can't be reached"
        assert change in ("delivered", "soft", "hard", "left out", "reclaim")
        return
    expected = TABLE[state, change]
    if isinstance(expected, str):
        with pytest.raises(Conflict, match=expected):
            CHANGES[change](before, queue)
        return
    transition = CHANGES[change](before, queue)
    status, place, name = expected
    queue = queue or "a"
    places = {
        **dict.fromkeys(transition.ready, "ready"),
        **dict.fromkeys(transition.final, "final"),
        **{q: "waiting" for q, _ in transition.waiting},
    }
    assert (transition.email.status, places.get(queue, "kept"), transition.entry.event) == (
        status,
        place,
        name,
    )
    check_invariants(before, transition)


def test_accept_of_several_queues_makes_each_ready() -> None:
    transition = submitted(a=2, b=1)
    assert transition.ready == ("a", "b") and transition.email.log_seq == 0


def test_accept_with_send_at_makes_every_queue_wait() -> None:
    transition = submitted(send_at=LATER, a=1, b=1)
    assert transition.waiting == (("a", LATER), ("b", LATER)) and not transition.ready
    assert transition.email.not_before == LATER


def test_accept_with_send_at_in_the_past_is_ready_at_once() -> None:
    transition = submitted(now=LATER, send_at=NOW, a=1)
    assert transition.ready == ("a",) and transition.email.not_before is None


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


def test_email_that_expires_while_it_is_held_says_why_and_counts_no_try() -> None:
    put_back = finish(email(a=1), "a", HELD).email
    ended = lifecycle.expire(put_back, "a", sending=(), worker_id="w1", now=LATER, outcome=HELD)
    assert (ended.final, ended.email.status, ended.entry.event) == (("a",), "failed", "expired")
    assert "expired after no tries (authentication)" in (ended.email.status_reason or "")
    with pytest.raises(Conflict):
        lifecycle.expire(put_back, "a", sending=["a"], worker_id="w1", now=LATER, outcome=HELD)
    with pytest.raises(Conflict):
        lifecycle.expire(ended.email, "a", sending=(), worker_id="w1", now=LATER, outcome=HELD)


def test_retry_on_request_forgets_an_end_that_has_come() -> None:
    ended = structs.replace(finish(email(a=1), "a", HARD).email, expires_at=NOW)
    assert lifecycle.retry(ended, now=LATER).email.expires_at is None
    ahead = structs.replace(ended, expires_at=LATER + timedelta(hours=1))
    assert lifecycle.retry(ahead, now=LATER).email.expires_at == ahead.expires_at


def test_job_says_since_when_it_is_ready_if_not_with_the_acceptance() -> None:
    assert lifecycle.job_of(email(a=1), "a").since is None
    assert lifecycle.job_of(finish(email(a=1), "a", HELD).email, "a").since == LATER
    deferred = finish(email(a=1), "a", SOFT).email
    assert lifecycle.job_of(deferred, "a").since == deferred.queues["a"].not_before


def test_accept_with_a_suppressed_recipient_goes_to_the_others() -> None:
    transition = submitted(a=2, b=1, suppressed=["a0@example.com", "b0@example.com"])
    accepted = transition.email
    assert [r.status for r in accepted.recipients] == ["suppressed", "pending", "suppressed"]
    assert (transition.ready, transition.final) == (("a",), ("b",))
    assert (accepted.status, accepted.status_reason, accepted.log_seq) == ("incomplete", None, 0)
    assert accepted.recipients[0].reply_class == "unsubscribe"
    assert transition.entry.reason == "recipients suppressed: 2"
    done = finish(accepted, "a", OK)
    assert (done.email.status, done.email.status_reason) == (
        "complete",
        "2 of 3 recipients not reached: 2 suppressed (unsubscribe)",
    )
    assert [reply.email for reply in done.entry.attempts[0].replies] == ["a1@example.com"]


def test_accept_with_nobody_but_suppressed_ones_is_final_at_once() -> None:
    addresses = ["a0@example.com", "b0@example.com"]
    transition = submitted(a=1, b=1, suppressed=addresses, send_at=LATER)
    accepted = transition.email
    assert (accepted.status, accepted.status_reason) == ("failed", "all recipients suppressed")
    assert not transition.ready and not transition.waiting and transition.final == ("a", "b")
    assert accepted.not_before is None and accepted.tries == 0


def test_retry_on_request_leaves_suppressed_recipients_out() -> None:
    half = finish(submitted(a=2, suppressed=["a0@example.com"]).email, "a", HARD).email
    transition = lifecycle.retry(half, now=LATER)
    assert [r.status for r in transition.email.recipients] == ["suppressed", "pending"]
