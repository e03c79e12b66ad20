"""Steps of the tests here: e-mails, results of their tries, the ends of tries."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from msgspec import structs

from babygun.email import lifecycle, tries
from babygun.email.compose import new_email
from babygun.email.email_events import events_of
from babygun.email.events import EVENTS
from babygun.email.model import Email, Recipient
from babygun.email.retry import Schedule
from babygun.email.suppression import Suppression
from babygun.email.transition import Transition
from babygun.email.tries import QueueResult, RecipientResult

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
LATER = NOW + timedelta(minutes=1)


def schedule(queue: str) -> Schedule:
    return Schedule((600.0, 1200.0))


OK = RecipientResult("deliver", "delivered", 250, "2.0.0", "queued")
SOFT = RecipientResult("retry", "temporary", 451, "4.3.0", "try later")
HELD = RecipientResult("hold", "authentication", 535, "5.7.8", "Authentication failed")
PUT_OFF = RecipientResult("put_off", "warm_up", reason="tomorrow", retry_after=3600.0)
HARD = RecipientResult("fail", "bad_mailbox", 550, "5.1.1", "no such user")
GONE = structs.replace(HARD, suppress=True)
UNWANTED = Suppression("unsubscribe", NOW)
LEFT_OUT = tries.left_out(UNWANTED)


def submitted(
    *,
    now: datetime = NOW,
    send_at: datetime | None = None,
    suppressed: Sequence[str] = (),
    **queues: int,
) -> Transition:
    """The acceptance of an e-mail with that many recipients by queue: ``submitted(a=2, b=1)``.

    ``suppressed``: some of its addresses, such as ``a0@example.com``.
    """
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
    return lifecycle.accept(email, dict.fromkeys(suppressed, UNWANTED))


def email(**queues: int) -> Email:
    """An e-mail with so many recipients in each queue: ``email(a=2, b=1)``."""
    return submitted(**queues).email


def result(queue: str, email: Email, *outcomes: RecipientResult) -> QueueResult:
    """One outcome per recipient of the queue that is not final."""
    open_ones = [r.email for r in email.recipients if r.queue == queue and not r.final]
    return QueueResult(queue, "w1", NOW, dict(zip(open_ones, outcomes, strict=True)))


def finish(email: Email, queue: str, *outcomes: RecipientResult) -> Transition:
    ended = [result(queue, email, *outcomes)]
    return tries.finish(email, ended, now=LATER, schedule=schedule, suppress=86400.0)


def check_invariants(before: Email, transition: Transition) -> None:
    after = transition.email
    entry = transition.entry
    held = {name for name, value in structs.asdict(entry).items() if value not in (None, (), False)}
    assert held - {"seq", "at", "event"} <= set(EVENTS[entry.event].holds)
    assert EVENTS[entry.event].by == ("client" if entry.client_id else "worker")
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
        assert new.status == "suppressed" or old.status != "suppressed", "suppressed stays"
        if old.status == "delivered":
            assert new.status == "delivered" or (new.status == "bounced" and new.late)
    check_events(before, transition)


def check_events(before: Email, transition: Transition) -> None:
    """Each recipient that the change concerns is in one event, of the type of what it became."""
    events = events_of(transition)
    concerned = {r.email: event.type for event in events for r in event.data.recipients}
    assert len(concerned) == sum(len(event.data.recipients) for event in events)
    assert len({event.data.event_id for event in events}) == len(events)
    statuses = {r.email: r.status for r in transition.email.recipients}
    changed = {r.email for r in before.recipients if r.status != statuses[r.email]}
    assert changed <= concerned.keys() <= statuses.keys()
    if transition.entry.event == "complained":
        assert not changed and set(concerned.values()) == {"complained"}
        return
    for address, of_type in concerned.items():
        status = "retried" if statuses[address] == "pending" else statuses[address]
        assert of_type == status, (address, of_type)
    assert bool(events) == (transition.entry.event != "reclaimed")
