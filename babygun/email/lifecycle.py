"""The life cycle of an e-mail: pure functions from a record and an event to a transition.

    a queue's job     accept ─▶ ready ─claim─▶ sending ─▶ final
                                  ▲ ▲            │
                                  │ └────hold────┤     (no try is used up)
                                  └─due─ waiting ◀┘ defer     (accepted with send_at ─▶ waiting)
    the e-mail        incomplete ─▶ complete | failed | cancelled   when its last queue is final
                      failed | cancelled ─retry─▶ incomplete        when a client asks for it

Every change of a record is decided here and makes exactly one log entry. Claim, due and release
move keys and change no record, so the store does them alone.

A decision is valid only for the record that it was made on. If the record has changed since, the
store throws the decision away and asks again.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from babygun.email import log
from babygun.email.model import (
    Attempt,
    Email,
    EmailStatus,
    Job,
    LogEntry,
    QueueState,
    Recipient,
    RecipientReply,
    RecipientStatus,
    queue_recipients,
)
from babygun.email.reasons import cut, left_sending, status_reason
from babygun.email.retry import Schedule, most_tries, next_try
from babygun.errors import Conflict

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


class Transition(Struct, frozen=True, gc=False):
    """A change of a record: the new record, the log entry of the change, where each queue goes.

    ``keyed``: the log entries that get a key with this change; the record holds the others.
    ``ready``: queues that get a job. ``waiting``: queues that get a not-before key.
    ``final``: queues that have neither from now on.
    """

    email: Email
    entry: LogEntry
    keyed: tuple[LogEntry, ...] = ()
    ready: tuple[str, ...] = ()
    waiting: tuple[tuple[str, datetime], ...] = ()
    final: tuple[str, ...] = ()

    @property
    def touched(self) -> tuple[str, ...]:
        """The queues of ``ready``, ``waiting`` and ``final``."""
        return (*self.ready, *(queue for queue, _ in self.waiting), *self.final)


_NO_RESULT = RecipientResult(
    "retry", "network", reason="the try ended without a result for this recipient"
)


def accept(email: Email) -> Transition:
    """A new e-mail, as :func:`babygun.email.compose.new_email` made it, begins its life."""
    entry = log.acceptance(email)
    if due := email.send_at:
        return Transition(email, entry, waiting=tuple((queue, due) for queue in email.queues))
    return Transition(email, entry, ready=tuple(email.queues))


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
    email = _changed(
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
    limit = _reason_bytes(recipients)
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


def cancel(
    email: Email,
    *,
    sending: Collection[str],
    now: datetime,
    client_id: str | None = None,
    request_id: str | None = None,
) -> Transition:
    """A client stops what is not being sent.

    ``sending``: the queues that have an owner; they go on. Raises Conflict if nothing can be
    stopped.
    """
    if email.final:
        raise Conflict(f"the e-mail is {email.status} already")
    stopped = tuple(
        queue for queue, state in email.queues.items() if not state.final and queue not in sending
    )
    if not stopped:
        raise Conflict("all that is left of the e-mail is being sent at this moment")
    recipients = [
        replace(r, status="cancelled", updated_at=now) if r.queue in stopped and not r.final else r
        for r in email.recipients
    ]
    queues = {
        queue: replace(state, final=True, not_before=None, held=None) if queue in stopped else state
        for queue, state in email.queues.items()
    }
    email = _changed(email, recipients, queues, now)
    entry = LogEntry(
        email.log_seq,
        now,
        "cancelled",
        client_id=client_id,
        request_id=request_id,
        reason=left_sending(queues),
    )
    return Transition(email, entry, (entry,), final=stopped)


def expire(
    email: Email,
    queue: str,
    *,
    sending: Collection[str],
    worker_id: str,
    now: datetime,
    outcome: RecipientResult,
) -> Transition:
    """The e-mail's own end has come while a queue of it had a job that nobody was sending.

    ``sending``: the queues that have an owner. ``outcome``: why its recipients were not reached.
    Raises Conflict if the queue is final, waits or is being sent.
    """
    state = email.queues.get(queue)
    if state is None or state.final or queue in sending:
        raise Conflict("no job of the queue waits to be sent")
    recipients = [
        replace(
            recipient,
            status="expired",
            status_code=outcome.status_code,
            enhanced_code=outcome.enhanced_code,
            status_reason=outcome.reason and cut(outcome.reason, _reason_bytes(email.recipients)),
            reply_class=outcome.reply_class,
            updated_at=now,
        )
        if recipient.queue == queue and not recipient.final
        else recipient
        for recipient in email.recipients
    ]
    queues = {**email.queues, queue: replace(state, final=True, not_before=None, held=None)}
    email = _changed(email, recipients, queues, now, worker_id=worker_id)
    entry = LogEntry(
        email.log_seq,
        now,
        "expired",
        worker_id=worker_id,
        attempts=(
            Attempt(
                queue,
                state.tries,
                now,
                tuple(log.reply_of(r) for r in recipients if r.queue == queue),
            ),
        ),
        reason=outcome.reason and cut(outcome.reason, 512),
    )
    return Transition(email, entry, (entry,), final=(queue,))


def retry(
    email: Email, *, now: datetime, client_id: str | None = None, request_id: str | None = None
) -> Transition:
    """A client asks to try the recipients again that were not reached. Their tries count from 0.

    An end of the e-mail that has come counts no more. Raises Conflict if the e-mail is not final,
    or every recipient has it.
    """
    if not email.final:
        raise Conflict("the e-mail is not final yet")
    if email.status == "complete":
        raise Conflict("every recipient has got the e-mail")
    recipients = [
        r if r.status == "delivered" else Recipient(r.email, r.kind, r.queue, updated_at=now)
        for r in email.recipients
    ]
    again = tuple(dict.fromkeys(r.queue for r in recipients if not r.final))
    queues = {
        queue: QueueState() if queue in again else state for queue, state in email.queues.items()
    }
    if email.expires_at is not None and email.expires_at <= now:
        email = replace(email, expires_at=None)
    # The record can't hold its earlier end any more: that entry gets a key.
    earlier_end = log.entries_in_record(email)[1:]
    email = replace(_changed(email, recipients, queues, now), claimed_at={})
    entry = LogEntry(email.log_seq, now, "retried", client_id=client_id, request_id=request_id)
    return Transition(email, entry, (*earlier_end, entry), ready=again)


def reclaim(
    email: Email, queue: str, *, worker_id: str, previous_worker_id: str, now: datetime
) -> Transition:
    """A worker has claimed a job that a dead worker held.

    The dead worker's try is not counted, since nobody knows how it ended. The reclaims in a row are
    counted; a try that ends sets them to 0. So an e-mail that kills its workers is noticed.
    """
    state = email.queues[queue]
    email = replace(
        email,
        queues={**email.queues, queue: replace(state, reclaims=state.reclaims + 1)},
        worker_id=worker_id,
        updated_at=now,
        log_seq=email.log_seq + 1,
    )
    entry = LogEntry(
        email.log_seq,
        now,
        "reclaimed",
        worker_id=worker_id,
        attempts=(Attempt(queue, state.tries + 1, now),),
        reason=f"{previous_worker_id} was silent longer than its lease; a copy may have been sent",
        previous_worker_id=previous_worker_id,
    )
    return Transition(email, entry, (entry,))


def job_of(email: Email, queue: str) -> Job:
    """The job of one queue, which is ready now, or when its time has come."""
    since = email.queues[queue].not_before or email.updated_at
    return Job(
        email.size,
        len(queue_recipients(email, queue)),
        since if since > email.created_at else None,
        email.expires_at,
    )


def _reason_bytes(recipients: Sequence[Recipient]) -> int:
    """How long a reason may be: 1,000 of them must fit one etcd request."""
    return 512 if len(recipients) <= 200 else 128


def _recipient_status(action: Action, again: datetime | None) -> RecipientStatus:
    if action == "deliver":
        return "delivered"
    if action == "fail":
        return "bounced"
    if action == "hold":
        return "deferred"
    # A soft failure that runs out of tries never becomes a hard bounce.
    return "expired" if again is None else "deferred"


def _changed(
    email: Email,
    recipients: Sequence[Recipient],
    queues: Mapping[str, QueueState],
    now: datetime,
    *,
    worker_id: str | None = None,
    most_tries: int = 0,
) -> Email:
    """The record with what follows from its new recipients and queues."""
    states = queues.values()
    status: EmailStatus = "incomplete"
    if all(state.final for state in states):
        statuses = {r.status for r in recipients}
        if "cancelled" in statuses:
            status = "cancelled"
        else:
            status = "complete" if statuses == {"delivered"} else "failed"
    return replace(
        email,
        recipients=tuple(recipients),
        queues=dict(queues),
        status=status,
        status_reason=status_reason(status, recipients, most_tries),
        not_before=min((state.not_before for state in states if state.not_before), default=None),
        tries=max(state.tries for state in states),
        worker_id=worker_id or email.worker_id,
        updated_at=now,
        log_seq=email.log_seq + 1,
    )
