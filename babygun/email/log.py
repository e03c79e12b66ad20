"""The entries of the status log, and which of them the record itself holds.

The record holds its acceptance. It also holds the end of an e-mail whose first tries ended it all
at once. So most e-mails need no log key. A retry writes the end that the record held to a key.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from babygun.email.events import end_of_try
from babygun.email.model import (
    Email,
    LogEntry,
    LoggedTry,
    Recipient,
    RecipientReply,
    client_id_of,
)


def entries_in_record(email: Email) -> list[LogEntry]:
    """The log entries that the record holds, oldest first."""
    entries = [acceptance(email)]
    if email.claimed_at:
        attempts = tuple(
            LoggedTry(
                queue,
                email.queues[queue].tries,
                claimed_at,
                tuple(
                    reply_of(r)
                    for r in email.recipients
                    if r.queue == queue and not was_suppressed_at_once(r, email)
                ),
                tls=email.queues[queue].tls,
            )
            for queue, claimed_at in email.claimed_at.items()
        )
        entries.append(result(1, email.updated_at, email.worker_id, attempts))
    return entries


def acceptance(email: Email) -> LogEntry:
    """The entry of an e-mail's acceptance."""
    due = email.first_send_at or email.send_at
    later = due is not None and due != email.created_at
    reasons = [f"to be sent at {due.isoformat()}"] if due and later else []
    if count := sum(was_suppressed_at_once(r, email) for r in email.recipients):
        reasons.append(f"recipients suppressed: {count}")
    return LogEntry(
        0,
        email.created_at,
        "accepted",
        client_id=client_id_of(email.client_id),
        request_id=email.request_id,
        reason="; ".join(reasons) or None,
    )


def was_suppressed_at_once(recipient: Recipient, email: Email) -> bool:
    """Whether a recipient was suppressed when the e-mail was accepted."""
    return recipient.status == "suppressed" and recipient.updated_at == email.created_at


def result(
    seq: int,
    at: datetime,
    worker_id: str | None,
    attempts: Iterable[LoggedTry],
    *,
    held: bool = False,
) -> LogEntry:
    """The entry that ends tries, of one queue or of several at once. ``held``: one is held."""
    attempts = tuple(attempts)
    statuses = {reply.status for attempt in attempts for reply in attempt.replies}
    event = "held" if held else end_of_try(statuses)
    return LogEntry(seq, at, event, worker_id=worker_id, attempts=attempts)


def reply_of(recipient: Recipient) -> RecipientReply:
    """What the last try did for a recipient."""
    return RecipientReply(
        recipient.email,
        recipient.status,
        recipient.status_code,
        recipient.enhanced_code,
        recipient.status_reason,
        recipient.reply_class,
    )
