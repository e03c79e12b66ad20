"""A new e-mail's record: its queues, and when it is due."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from babygun.email.compose import new_email
from babygun.email.model import Email, QueueState, Recipient

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)


def composed(send_at: datetime | None) -> Email:
    return new_email(
        "id",
        client_id="shop",
        sender="me@example.com",
        subject="hello",
        recipients=tuple(
            Recipient(f"{n}@example.com", "to", queue) for n, queue in enumerate("bab")
        ),
        now=NOW,
        send_at=send_at,
    )


def test_new_email_has_a_queue_for_each_way_its_recipients_go_in_their_order() -> None:
    email = composed(None)
    assert list(email.queues) == ["b", "a"] and not email.final
    assert (email.created_at, email.updated_at, email.log_seq) == (NOW, NOW, 0)


def test_new_email_for_later_waits_until_then() -> None:
    email = composed(LATER)
    assert email.send_at == email.not_before == LATER
    assert set(email.queues.values()) == {QueueState(not_before=LATER)}


def test_new_email_for_now_or_earlier_is_due_at_once() -> None:
    for send_at in (None, NOW, NOW - timedelta(hours=1)):
        email = composed(send_at)
        assert email.send_at is email.not_before is None
        assert set(email.queues.values()) == {QueueState()}
