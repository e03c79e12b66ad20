"""The end of tries: what becomes of recipients, queues and the record."""

from __future__ import annotations

from datetime import timedelta

from msgspec import structs

from babygun.email import lifecycle, tries
from babygun.email.log import entries_in_record
from babygun.email.model import Email, TlsResult
from babygun.email.retry import Schedule
from babygun.email.transition import Transition
from babygun.email.tries import QueueResult, RecipientResult
from babygun.store import codec
from tests.email.steps import (
    GONE,
    HARD,
    HELD,
    LATER,
    LEFT_OUT,
    NOW,
    OK,
    PUT_OFF,
    SOFT,
    check_invariants,
    email,
    finish,
    result,
    schedule,
    submitted,
)


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
    last_try = finish(finish(email(a=1), "a", SOFT).email, "a", SOFT).email
    recipient = finish(last_try, "a", SOFT).email.recipients[0]
    assert (recipient.status, recipient.status_code, recipient.reply_class, recipient.tries) == (
        "expired",
        451,
        "temporary",
        3,
    )


def test_finish_without_a_result_for_a_recipient_counts_as_soft() -> None:
    transition = tries.finish(
        email(a=1), [QueueResult("a", "w1", NOW, {})], now=LATER, schedule=schedule
    )
    assert transition.email.recipients[0].status == "deferred"


def test_finish_of_two_queues_at_once_writes_one_entry() -> None:
    before = email(a=1, b=1)
    transition = tries.finish(
        before,
        [result("a", before, OK), result("b", before, SOFT)],
        now=LATER,
        schedule=schedule,
    )
    assert transition.final == ("a",) and [q for q, _ in transition.waiting] == ["b"]
    assert [a.queue for a in transition.entry.attempts] == ["a", "b"]
    check_invariants(before, transition)


def test_finish_with_no_retries_configured_expires_at_once() -> None:
    before = email(a=1)
    transition = tries.finish(
        before, [result("a", before, SOFT)], now=LATER, schedule=lambda queue: Schedule(())
    )
    assert (
        transition.email.status == "failed" and transition.email.recipients[0].status == "expired"
    )


def test_try_whose_session_was_refused_uses_up_no_try_and_its_queue_stays_ready() -> None:
    before = email(a=2)
    put_back = finish(before, "a", HELD, HELD)
    assert put_back.ready == ("a",) and not put_back.waiting and not put_back.final
    state = put_back.email.queues["a"]
    assert (state.tries, state.final, state.held) == (0, False, LATER)
    assert {(r.status, r.tries) for r in put_back.email.recipients} == {("deferred", 0)}
    assert (put_back.email.status, put_back.entry.event) == ("incomplete", "held")
    assert "2 deferred (authentication)" in (put_back.email.status_reason or "")


def test_recipients_who_had_an_answer_before_the_session_was_refused_keep_it() -> None:
    put_back = finish(email(a=3), "a", OK, SOFT, HELD)
    assert put_back.ready == ("a",)
    assert [(r.status, r.tries) for r in put_back.email.recipients] == [
        ("delivered", 1),
        ("deferred", 1),
        ("deferred", 0),
    ]
    rest = finish(put_back.email, "a", OK, OK)
    assert (rest.email.status, rest.email.queues["a"].tries) == ("complete", 1)


def test_tls_result_is_in_the_log_and_in_the_state_however_the_try_ends() -> None:
    got = TlsResult("sts", "1.3", "TLS_AES_256_GCM_SHA384", "pkix")
    violated = TlsResult("dane", failure="certificate-expired", connected=False)
    for outcome in (OK, HARD, SOFT, HELD):
        for tls in (got, violated, None):
            before = email(a=1)
            tried = structs.replace(result("a", before, outcome), tls=tls)
            ended = tries.finish(before, [tried], now=LATER, schedule=schedule)
            stored = codec.decode_email(codec.encode_state(ended.email))
            assert stored.queues["a"].tls == tls
            assert [each.tls for each in ended.entry.attempts] == [tls]
            if outcome is OK:
                assert [each.tls for each in entries_in_record(stored)[-1].attempts] == [tls]
    again = finish(finish(email(a=1), "a", SOFT).email, "a", OK)
    assert again.email.queues["a"].tls is None, "of the last try only"


def test_finish_suppresses_the_addresses_whose_reply_says_that_they_are_dead() -> None:
    long = structs.replace(GONE, reason="no such user " * 100)
    transition = finish(email(a=3), "a", long, HARD, OK)
    ((address, found, name),) = transition.suppressed
    assert name == "*" and (address, found.reason, found.email_id) == (
        "a0@example.com",
        "hard_bounce",
        "id",
    )
    assert (found.since, found.until) == (LATER, LATER + timedelta(days=1))
    assert (found.status_code, found.enhanced_code) == (550, "5.1.1")
    assert found.reply is not None and len(found.reply.encode()) <= 64


def test_finish_suppresses_nothing_where_the_setting_says_so() -> None:
    ended = [result("a", email(a=1), GONE)]
    transition = tries.finish(email(a=1), ended, now=LATER, schedule=schedule)
    assert transition.email.status == "failed" and not transition.suppressed


def test_recipient_that_is_left_out_is_final_and_its_try_does_not_count() -> None:
    waiting = finish(email(a=2), "a", SOFT, SOFT).email
    transition = finish(waiting, "a", LEFT_OUT, SOFT)
    left_out, other = transition.email.recipients
    assert (left_out.status, left_out.tries, left_out.reply_class) == (
        "suppressed",
        1,
        "unsubscribe",
    )
    assert left_out.status_reason == "suppressed since 2026-11-24: unsubscribe"
    assert (other.status, other.tries) == ("deferred", 2)
    done = finish(transition.email, "a", OK)
    assert done.email.status == "complete"


def test_first_try_is_the_one_that_follows_an_acceptance_at_once() -> None:
    assert tries.is_first(email(a=1), "a")
    assert not tries.is_first(submitted(a=1, send_at=LATER).email, "a")
    assert not tries.is_first(finish(email(a=1), "a", SOFT).email, "a")
    assert not tries.is_first(finish(email(a=1), "a", HELD).email, "a")
    ended = finish(email(a=1, b=1), "a", HARD).email
    assert tries.is_first(ended, "b"), "another queue's try says nothing of this one"
    ended = finish(ended, "b", HARD).email
    assert not tries.is_first(lifecycle.retry(ended, now=LATER).email, "b")


# --- a try in rounds: an e-mail with links to unsubscribe ---


def round_of(email: Email, outcomes: dict[int, RecipientResult]) -> Transition:
    """A round of a try of the queue a; outcomes by the recipients' numbers."""
    results = {f"a{number}@example.com": outcome for number, outcome in outcomes.items()}
    todo = [r.email for r in tries.recipients_of_try(email, "a")]
    assert results.keys() <= set(todo), "each recipient has one turn"
    ended = QueueResult("a", "w1", NOW, results, in_rounds=True)
    transition = tries.finish(email, [ended], now=LATER, schedule=schedule)
    check_invariants(email, transition)
    return transition


def turns(email: Email) -> list[str]:
    return [r.email[:2] for r in tries.recipients_of_try(email, "a")]


def test_round_of_a_try_changes_its_recipients_only_and_leaves_the_queue_ready() -> None:
    before = email(a=3, b=1)
    first = round_of(before, {0: OK})
    assert (first.ready, first.waiting, first.final) == (("a",), (), ())
    assert [r.status for r in first.email.recipients] == [
        "delivered", "pending", "pending", "pending",
    ]  # fmt: skip
    assert first.email.recipients[1:] == before.recipients[1:]
    assert (first.entry.event, first.email.queues["a"].tries, first.email.tries) == (
        "delivered",
        0,
        0,
    )
    [attempt] = first.entry.attempts
    assert attempt.attempt == 1
    assert [reply.email for reply in attempt.replies] == ["a0@example.com"]
    assert turns(first.email) == ["a1", "a2"]


def test_try_in_rounds_ends_as_one_try_does() -> None:
    record = email(a=4)
    for outcomes in ({0: OK, 1: SOFT}, {2: HARD}, {3: OK}):
        transition = round_of(record, outcomes)
        record = transition.email
    in_one = finish(email(a=4), "a", OK, SOFT, HARD, OK)
    assert transition.waiting == in_one.waiting == (("a", LATER + timedelta(seconds=600)),)
    assert record.recipients == in_one.email.recipients
    assert record.queues == in_one.email.queues and record.tries == 1
    assert turns(record) == ["a1"], "the next try is for those that are not final"


def test_recipient_that_was_deferred_waits_for_its_own_time_while_the_try_goes_on() -> None:
    hint = RecipientResult("retry", "greylist", 450, retry_after=3000.0)
    first = round_of(email(a=3), {0: hint})
    assert first.entry.attempts[0].not_before == LATER + timedelta(seconds=3000)
    assert first.email.not_before is None, "the queue is ready"
    last = round_of(first.email, {1: OK, 2: SOFT})
    assert last.waiting == (("a", LATER + timedelta(seconds=3000)),)
    assert last.email.queues["a"].retry_at is None


def test_round_that_is_refused_holds_the_rest_and_nobody_gets_a_second_turn() -> None:
    first = round_of(email(a=3), {0: SOFT})
    held = round_of(first.email, {1: HELD, 2: HELD})
    assert (held.entry.event, held.ready) == ("held", ("a",))
    assert turns(held.email) == ["a1", "a2"]
    last = round_of(held.email, {1: OK, 2: OK})
    assert last.waiting == (("a", LATER + timedelta(seconds=600)),)
    assert [r.tries for r in last.email.recipients] == [1, 1, 1]


def test_email_is_final_with_the_last_round() -> None:
    record = round_of(round_of(email(a=2), {0: OK}).email, {1: OK}).email
    assert (record.status, record.queues["a"].final, record.tries) == ("complete", True, 1)


def test_email_of_which_a_round_is_done_can_be_cancelled_and_retried() -> None:
    record = round_of(email(a=2), {0: SOFT}).email
    stopped = lifecycle.cancel(record, sending=(), now=LATER)
    assert stopped.email.status == "cancelled" and stopped.email.queues["a"].retry_at is None
    again = lifecycle.retry(stopped.email, now=LATER)
    assert turns(again.email) == ["a0", "a1"]


def test_recipient_that_is_put_off_waits_without_a_try() -> None:
    before = email(a=1)
    put_off = finish(before, "a", PUT_OFF)
    check_invariants(before, put_off)
    assert put_off.waiting == (("a", LATER + timedelta(hours=1)),)
    [recipient] = put_off.email.recipients
    assert (recipient.status, recipient.tries, recipient.reply_class) == ("deferred", 0, "warm_up")
    assert (put_off.email.tries, put_off.entry.event) == (0, "deferred")
    last = finish(finish(finish(put_off.email, "a", SOFT).email, "a", SOFT).email, "a", SOFT)
    assert last.email.recipients[0].tries == 3, "it had all its tries"


def test_recipients_beside_those_that_are_put_off_are_tried_again_at_their_own_time() -> None:
    mixed = finish(email(a=3), "a", OK, SOFT, PUT_OFF)
    assert mixed.waiting == (("a", LATER + timedelta(seconds=600)),)
    assert [r.tries for r in mixed.email.recipients] == [1, 1, 0]
    again = finish(mixed.email, "a", OK, PUT_OFF)
    assert again.waiting == (("a", LATER + timedelta(hours=1)),)
    assert again.email.queues["a"].tries == 0, "all its tries are left for the last one"


def test_recipient_that_can_only_go_after_the_end_of_its_email_expires() -> None:
    before = structs.replace(email(a=1), expires_at=LATER + timedelta(minutes=30))
    ended = finish(before, "a", PUT_OFF)
    assert (ended.email.status, ended.email.recipients[0].status) == ("failed", "expired")


def test_round_in_which_the_rest_is_put_off_gives_nobody_a_second_turn() -> None:
    first = round_of(email(a=3), {0: SOFT})
    last = round_of(first.email, {1: OK, 2: PUT_OFF})
    assert last.waiting == (("a", LATER + timedelta(seconds=600)),)
    assert [r.tries for r in last.email.recipients] == [1, 1, 0]
    assert turns(last.email) == ["a0", "a2"]
