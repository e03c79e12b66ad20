"""Puts a new e-mail's record together. No other place makes one."""

from __future__ import annotations

from datetime import datetime

from babygun.email.model import Email, QueueState, Recipient


def new_email(
    email_id: str,
    *,
    client_id: str,
    sender: str,
    subject: str,
    recipients: tuple[Recipient, ...],
    now: datetime,
    send_at: datetime | None = None,
    expires_at: datetime | None = None,
    weight: int = 1,
    tags: tuple[str, ...] = (),
    metadata: dict[str, str] | None = None,
    ignore_suppressions: bool = False,
    list: str = "",
    request_id: str | None = None,
    traceparent: str | None = None,
    tracestate: str | None = None,
) -> Email:
    """The record of an e-mail that a client has submitted, before it is stored.

    ``sender``: the bare envelope sender. ``recipients``: each with its queue. ``send_at``: when the
    first try is due; a time that is not after ``now`` means at once. ``weight``: the client's.
    ``list``: which mail its recipients can unsubscribe from. ``ignore_suppressions``: it also goes
    to suppressed addresses. The store adds ``size`` and ``chunks``, which it knows only when it has
    packed the content.
    """
    due = send_at if send_at is not None and send_at > now else None
    state = QueueState(not_before=due)
    return Email(
        id=email_id,
        client_id=client_id,
        sender=sender,
        subject=subject,
        recipients=recipients,
        queues={recipient.queue: state for recipient in recipients},
        created_at=now,
        updated_at=now,
        send_at=due,
        expires_at=expires_at,
        weight=weight,
        not_before=due,
        tags=tags,
        metadata=metadata or {},
        ignore_suppressions=ignore_suppressions,
        list=list,
        request_id=request_id,
        traceparent=traceparent,
        tracestate=tracestate,
    )
