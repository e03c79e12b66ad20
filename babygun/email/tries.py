"""The end of tries: what they did for each recipient, and what the record becomes by it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from babygun.email import log, wide
from babygun.email.model import (
    Email,
    LoggedTry,
    QueueState,
    Recipient,
    RecipientStatus,
    TlsResult,
    queue_recipients,
)
from babygun.email.reasons import cut, reason_bytes
from babygun.email.retry import Schedules, most_tries, next_try
from babygun.email.suppression import Suppression
from babygun.email.transition import Suppressed, Transition, changed, logged

# hold      the session was refused; the recipient's try does not count, and its queue stays ready
# put_off   it may not be sent to before a time; its try does not count, and its queue waits
# suppress  the recipient is suppressed, so it was left out
Action = Literal["deliver", "retry", "fail", "hold", "put_off", "suppress"]
# The recipient had no try.
UNTRIED: tuple[Action, ...] = ("hold", "put_off", "suppress")


class RecipientResult(Struct, frozen=True, gc=False):
    """What a try did for one recipient, already classified.

    ``retry_after``: seconds that the server asked for; they replace the usual wait. Of one that is
    put off: seconds until then. ``suppress``: of a hard bounce: the address is dead.
    """

    action: Action
    reply_class: str
    status_code: int | None = None
    enhanced_code: str | None = None
    reason: str | None = None
    retry_after: float | None = None
    suppress: bool = False


class QueueResult(Struct, frozen=True, gc=False):
    """What one try of one queue did. ``results``: by address; a missing one failed softly.

    ``in_rounds``: this was one round of the try. Recipients without a result are as before; if it
    is still to come to one, the queue is ready. ``site``: where it went, unless the queue's name
    says so. ``tls``: of its last connection.
    """

    queue: str
    worker_id: str
    claimed_at: datetime
    results: Mapping[str, RecipientResult]
    in_rounds: bool = False
    site: str = ""
    tls: TlsResult | None = None


def recipients_of_try(email: Email, queue: str) -> tuple[Recipient, ...]:
    """The recipients that a try of a queue is still to come to, where it is made in rounds."""
    tries = email.queues[queue].tries
    return tuple(r for r in queue_recipients(email, queue) if r.tries <= tries)


_NO_RESULT = RecipientResult(
    "retry", "network", reason="the try ended without a result for this recipient"
)
# Bytes of a reply in a suppression: a thousand of them must fit one etcd request.
REPLY_BYTES = 64


def left_out(suppression: Suppression) -> RecipientResult:
    """The result of a recipient that is suppressed by the time of its try."""
    return RecipientResult("suppress", suppression.reason, reason=suppression.why)


def is_first(email: Email, queue: str) -> bool:
    """Whether the next try of a queue follows its acceptance, which has looked for suppressions."""
    return email.send_at is None and all(
        r.updated_at is None for r in email.recipients if r.queue == queue and not r.final
    )


def finish(
    email: Email,
    results: Sequence[QueueResult],
    *,
    now: datetime,
    schedule: Schedules,
    suppress: float = 0.0,
) -> Transition:
    """Tries have ended, of one queue or of several at once.

    Each recipient of them is final or deferred. Each queue is final, waiting or ready. It is ready
    where a recipient of it is held, and where the try goes on. ``suppress``: for how many seconds a
    dead address is suppressed.
    """
    recipients = list(email.recipients)
    queues = dict(email.queues)
    final: list[str] = []
    waiting: list[tuple[str, datetime]] = []
    ready: list[str] = []
    for result in results:
        queue = result.queue
        state = _end_try(email, recipients, result, now=now, schedule=schedule)
        if result.site and not state.final:
            state = replace(state, site=result.site)
        queues[queue] = state
        if state.final:
            final.append(queue)
        elif state.not_before:
            waiting.append((queue, state.not_before))
        else:
            ready.append(queue)
    last = results[-1]
    # As with most e-mails: the first tries end it all at once. Then the record has the entry in it.
    in_record = (
        email.log_seq == 0 and email.wide is None and all(state.final for state in queues.values())
    )
    after = changed(
        email,
        recipients,
        queues,
        now,
        worker_id=last.worker_id,
        # The other queues of a wide e-mail may have other schedules.
        most_tries=0 if email.wide else _most_tries(queues, schedule),
        claimed_at={result.queue: result.claimed_at for result in results} if in_record else None,
    )
    suppressed = _suppressed(email, results, now, suppress) if suppress else ()
    if in_record:
        return Transition(after, final=tuple(final), suppressed=suppressed)
    attempts = [_attempt(email, after, result) for result in results]
    refused = any(queues[queue].held == now for queue in ready)
    entry = log.result(after.log_seq, now, last.worker_id, attempts, held=refused)
    return logged(
        Transition(after, (entry,), tuple(ready), tuple(waiting), tuple(final), suppressed)
    )


def delivered_to(email: Email, result: QueueResult) -> list[str]:
    """The addresses that a try has delivered to, given the e-mail before it."""
    return [
        recipient.email
        for recipient in queue_recipients(email, result.queue)
        if (outcome := result.results.get(recipient.email)) and outcome.action == "deliver"
    ]


def _suppressed(
    email: Email, results: Sequence[QueueResult], now: datetime, seconds: float
) -> tuple[Suppressed, ...]:
    """The dead addresses among the recipients whose tries have ended."""
    until = now + timedelta(seconds=seconds)
    return tuple(
        Suppressed(
            recipient.email,
            Suppression(
                "hard_bounce",
                now,
                until,
                email.id,
                outcome.status_code,
                outcome.enhanced_code,
                outcome.reason and cut(outcome.reason, REPLY_BYTES),
                outcome.reply_class,
            ),
        )
        for result in results
        for recipient in queue_recipients(email, result.queue)
        if (outcome := result.results.get(recipient.email)) and outcome.suppress
    )


def _most_tries(queues: Mapping[str, QueueState], schedule: Schedules) -> int:
    """How many tries each recipient gets that is not final; 0: not all get as many."""
    numbers = {most_tries(queue, schedule) for queue, state in queues.items() if not state.final}
    return numbers.pop() if len(numbers) == 1 else 0


def _end_try(
    email: Email,
    recipients: list[Recipient],
    result: QueueResult,
    *,
    now: datetime,
    schedule: Schedules,
) -> QueueState:
    """The end of one queue's try: its new state. Changes ``recipients``.

    A try with a held recipient does not count, and one that goes on does not yet. So the queue's
    number of tries stays. Where recipients are put off, it is that of the recipient with the most.
    """
    queue = result.queue
    before = email.queues[queue]
    tries = before.tries + 1
    due: datetime | None = None
    put_off: datetime | None = None
    held = goes_on = False
    limit = reason_bytes(wide.count(email))
    for index, recipient in enumerate(recipients):
        if recipient.queue != queue or recipient.final:
            continue
        outcome = result.results.get(recipient.email)
        if outcome is None and result.in_rounds:
            if recipient.tries < tries:
                goes_on = True
            else:
                due = _later(due, before.retry_at)
            continue
        outcome = outcome or _NO_RESULT
        again: datetime | None = None
        if outcome.action == "hold":
            held = True
        elif outcome.action == "put_off":
            again = _put_off(outcome, now, email.expires_at)
            put_off = _later(put_off, again)
        elif outcome.action == "retry":
            again = next_try(
                queue,
                email_id=email.id,
                retry_after=outcome.retry_after,
                tries=tries,
                schedule=schedule,
                now=now,
                expires_at=email.expires_at,
            )
            due = _later(due, again)
        recipients[index] = Recipient(
            recipient.email,
            recipient.kind,
            queue,
            _recipient_status(outcome.action, again),
            outcome.status_code,
            outcome.enhanced_code,
            outcome.reason and cut(outcome.reason, limit),
            outcome.reply_class,
            recipient.tries if outcome.action in UNTRIED else tries,
            now,
            recipient.retried,
            complained_at=recipient.complained_at,
        )
    if held or goes_on:
        retry_at = due if result.in_rounds else None
        held_at = now if held else before.held
        return QueueState(tries - 1, held=held_at, retry_at=retry_at, tls=result.tls)
    if put_off:
        tries = max(r.tries for r in recipients if r.queue == queue and not r.final)
        due = min(due or put_off, put_off)
    if due:
        return QueueState(tries, due, held=before.held, tls=result.tls)
    return QueueState(tries, final=True, tls=result.tls)


def _later(one: datetime | None, other: datetime | None) -> datetime | None:
    return max(one, other) if one and other else one or other


def _put_off(
    outcome: RecipientResult, now: datetime, expires_at: datetime | None
) -> datetime | None:
    """When a recipient that is put off has its try. None: its e-mail's end comes before."""
    due = now + timedelta(seconds=outcome.retry_after or 0.0)
    return None if expires_at is not None and due >= expires_at else due


def _attempt(before: Email, after: Email, result: QueueResult) -> LoggedTry:
    """The log's part of one queue's try."""
    queue = result.queue
    replies = tuple(
        log.reply_of(new)
        for old, new in zip(before.recipients, after.recipients, strict=True)
        if old.queue == queue and not old.final and new is not old
    )
    state = after.queues[queue]
    tries, due = before.queues[queue].tries + 1, state.not_before or state.retry_at
    return LoggedTry(queue, tries, result.claimed_at, replies, due, result.tls)


def _recipient_status(action: Action, again: datetime | None) -> RecipientStatus:
    if action == "deliver":
        return "delivered"
    if action == "fail":
        return "bounced"
    if action == "hold":
        return "deferred"
    if action == "suppress":
        return "suppressed"
    # A soft failure that runs out of tries never becomes a hard bounce.
    return "expired" if again is None else "deferred"
