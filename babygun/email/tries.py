"""The end of tries: what they did for each recipient, and what the record becomes by it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from babygun.email import log
from babygun.email.model import (
    Attempt,
    Email,
    QueueState,
    Recipient,
    RecipientReply,
    RecipientStatus,
)
from babygun.email.reasons import cut, reason_bytes
from babygun.email.retry import Schedule, most_tries, next_try
from babygun.email.transition import Transition, changed

# hold: the session was refused; the recipient's try does not count, and its queue stays ready.
Action = Literal["deliver", "retry", "fail", "hold"]


class RecipientResult(Struct, frozen=True, gc=False):
    """What a try did for one recipient, already classified.

    ``retry_after``: seconds that the server asked for; they replace the usual wait.
    """

    action: Action
    reply_class: str
    status_code: int | None = None
    enhanced_code: str | None = None
    reason: str | None = None
    retry_after: float | None = None


class QueueResult(Struct, frozen=True, gc=False):
    """What one try of one queue did. ``results``: by address; a missing one failed softly."""

    queue: str
    worker_id: str
    claimed_at: datetime
    results: Mapping[str, RecipientResult]


_NO_RESULT = RecipientResult(
    "retry", "network", reason="the try ended without a result for this recipient"
)


def finish(
    email: Email, results: Sequence[QueueResult], *, now: datetime, schedule: Schedule
) -> Transition:
    """Tries have ended, of one queue or of several at once.

    Each recipient of them is final or deferred. Each queue is final, waiting or, where a recipient
    of it is held, ready.
    """
    recipients = list(email.recipients)
    queues = dict(email.queues)
    attempts: list[Attempt] = []
    for result in results:
        state, attempt = _end_try(email, recipients, result, now=now, schedule=schedule)
        queues[result.queue] = state
        attempts.append(attempt)
    tried = {attempt.queue: queues[attempt.queue] for attempt in attempts}
    final = tuple(queue for queue, state in tried.items() if state.final)
    waiting = tuple((queue, state.not_before) for queue, state in tried.items() if state.not_before)
    ready = tuple(queue for queue, s in tried.items() if not s.final and not s.not_before)
    last = results[-1]
    email = changed(
        email,
        recipients,
        queues,
        now,
        worker_id=last.worker_id,
        most_tries=most_tries(last.queue, schedule),
    )
    entry = log.result(email.log_seq, now, last.worker_id, attempts, held=bool(ready))
    if email.final and email.log_seq == 1:  # as with most e-mails: the record can hold the entry
        email = replace(email, claimed_at={a.queue: a.claimed_at for a in attempts})
        return Transition(email, entry, final=final)
    return Transition(email, entry, (entry,), ready=ready, waiting=waiting, final=final)


def _end_try(
    email: Email,
    recipients: list[Recipient],
    result: QueueResult,
    *,
    now: datetime,
    schedule: Schedule,
) -> tuple[QueueState, Attempt]:
    """The end of one queue's try: its new state and the log's part. Changes ``recipients``.

    A try with a held recipient does not count, so the queue's number of tries stays.
    """
    queue = result.queue
    tries = email.queues[queue].tries + 1
    due: datetime | None = None
    held = False
    replies: list[RecipientReply] = []
    limit = reason_bytes(len(recipients))
    for index, recipient in enumerate(recipients):
        if recipient.queue != queue or recipient.final:
            continue
        outcome = result.results.get(recipient.email, _NO_RESULT)
        again: datetime | None = None
        if outcome.action == "hold":
            held = True
        elif outcome.action == "retry":
            again = next_try(
                queue,
                reply_class=outcome.reply_class,
                retry_after=outcome.retry_after,
                tries=tries,
                schedule=schedule,
                now=now,
                expires_at=email.expires_at,
            )
        if again is not None:
            due = again if due is None else max(due, again)
        recipients[index] = Recipient(
            recipient.email,
            recipient.kind,
            queue,
            _recipient_status(outcome.action, again),
            outcome.status_code,
            outcome.enhanced_code,
            outcome.reason and cut(outcome.reason, limit),
            outcome.reply_class,
            recipient.tries if outcome.action == "hold" else tries,
            now,
        )
        replies.append(log.reply_of(recipients[index]))
    if held:
        state, due = QueueState(tries - 1, held=now), None
    elif due:
        state = QueueState(tries, due, held=email.queues[queue].held)
    else:
        state = QueueState(tries, final=True)
    return state, Attempt(queue, tries, result.claimed_at, tuple(replies), due)


def _recipient_status(action: Action, again: datetime | None) -> RecipientStatus:
    if action == "deliver":
        return "delivered"
    if action == "fail":
        return "bounced"
    if action == "hold":
        return "deferred"
    # A soft failure that runs out of tries never becomes a hard bounce.
    return "expired" if again is None else "deferred"
