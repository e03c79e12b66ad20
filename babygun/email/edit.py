"""What a client changes of an e-mail that is not final: when it is sent, its tags, its metadata."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import NamedTuple

from msgspec.structs import replace

from babygun.email.model import Email, LogEntry, QueueState
from babygun.email.transition import Transition, changed, logged
from babygun.errors import Conflict

# Each change adds a log entry, and a log is read as a whole.
MOST_LOGGED = 1000


class Edit(NamedTuple):
    """What is wanted. None: it stays as it is. ``send_at``: a time that has come means now."""

    send_at: datetime | None = None
    tags: tuple[str, ...] | None = None
    metadata: dict[str, str] | None = None


def edit(
    email: Email,
    wanted: Edit,
    *,
    sending: Collection[str],
    now: datetime,
    client_id: str | None = None,
    request_id: str | None = None,
) -> Transition | None:
    """A client changes an e-mail. None: it is as wanted already.

    ``sending``: the queues that have an owner. Raises Conflict if the e-mail is final, or has
    changed MOST_LOGGED times. A new time is a Conflict, too, if the e-mail does not wait for its
    first try, or would be sent after its end.
    """
    if email.final:
        raise Conflict(f"the e-mail is {email.status} already")
    queues = dict(email.queues)
    moved: tuple[str, ...] = ()
    if wanted.send_at is not None:
        moved = _moved(email, wanted.send_at, sending, now)
        due = wanted.send_at if wanted.send_at > now else None
        queues |= {queue: replace(queues[queue], not_before=due) for queue in moved}
    named = _with_fields(email, wanted, bool(moved))
    differing = [
        field
        for field in ("send_at", "tags", "metadata")
        if getattr(named, field) != getattr(email, field)
    ]
    if not (differing or moved):
        return None
    if email.log_seq >= MOST_LOGGED:
        raise Conflict("the e-mail has changed too often: cancel it, and send another one")
    after = changed(named, email.recipients, queues, now)
    reason = "; ".join(_said(named, field) for field in differing or ["send_at"])
    entry = LogEntry(
        after.log_seq, now, "changed", client_id=client_id, request_id=request_id, reason=reason
    )
    transition = (
        Transition(after, (entry,), waiting=tuple((queue, wanted.send_at) for queue in moved))
        if wanted.send_at is not None and wanted.send_at > now
        else Transition(after, (entry,), ready=moved)
    )
    return logged(transition if moved else replace(transition, noted=tuple(queues)[:1]))


def _moved(
    email: Email, send_at: datetime, sending: Collection[str], now: datetime
) -> tuple[str, ...]:
    """The queues whose first try gets another time. Raises Conflict."""
    if email.expires_at is not None and send_at >= email.expires_at:
        end = email.expires_at.isoformat()
        raise Conflict(f"the e-mail ends at {end} (expires_at): send_at must be before that")
    left = {queue: state for queue, state in email.queues.items() if not state.final}
    moved = tuple(queue for queue, state in left.items() if state.not_before != send_at)
    tried = sending or email.tries > 0
    if moved and (tried or not all(_waits(left[queue], now) for queue in moved)):
        raise Conflict(
            "the e-mail does not wait for its first try: send_at can't be changed any more"
        )
    return moved


def _waits(state: QueueState, now: datetime) -> bool:
    """Whether a queue waits, and is not due.

    One that is due may have been claimed, and sent by a worker whose lease has run out since.
    """
    return state.not_before is not None and state.not_before > now


def _with_fields(email: Email, wanted: Edit, moved: bool) -> Email:
    if moved and wanted.send_at is not None and wanted.send_at != email.send_at:
        first = email.first_send_at or email.send_at or email.created_at
        email = replace(email, send_at=wanted.send_at, first_send_at=first)
    return replace(
        email,
        tags=email.tags if wanted.tags is None else wanted.tags,
        metadata=email.metadata if wanted.metadata is None else wanted.metadata,
    )


def _said(email: Email, field: str) -> str:
    """What of an e-mail is another one, for the log."""
    if field == "send_at" and email.send_at:
        return f"to be sent at {email.send_at.isoformat()}"
    return f"other {field}"
