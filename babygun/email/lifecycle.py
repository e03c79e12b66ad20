"""The life cycle of an e-mail: pure functions from a record and an event to a transition.

    a queue's job     accept ─▶ ready ─claim─▶ sending ─▶ final
                                  ▲ ▲            │
                                  │ └────hold────┤     (no try is used up)
                           due or └────── waiting ◀┘ defer     (accepted with send_at ─▶ waiting)
                           send-now
    the e-mail        incomplete ─▶ complete | failed | cancelled   when its last queue is final
                      complete ─late bounce─▶ failed                when a bounce message says so
                      failed | cancelled ─retry─▶ incomplete        when a client asks for it

Every change of a record is decided here, the end of tries in :mod:`babygun.email.tries`, and what
comes back after it in :mod:`babygun.email.late`. Each makes exactly one log entry. Claim, due and
release move keys and change no record, so the store does them alone.

A decision is valid only for the record that it was made on. If the record has changed since, the
store throws the decision away and asks again.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime

from msgspec.structs import replace

from babygun.email import log, wide
from babygun.email.model import (
    MX,
    Email,
    Job,
    LogEntry,
    LoggedTry,
    QueueState,
    Recipient,
    client_id_of,
    queue_recipients,
)
from babygun.email.reasons import cut, left_sending, reason_bytes
from babygun.email.suppression import Suppression
from babygun.email.transition import Transition, changed, logged
from babygun.email.tries import RecipientResult
from babygun.errors import Conflict


def accept(email: Email, suppressed: Mapping[str, Suppression] | None = None) -> Transition:
    """A new e-mail, as :func:`babygun.email.compose.new_email` made it, begins its life.

    ``suppressed``: by address, recipients that it does not go to. If nobody else is left, the
    e-mail is final at once.
    """
    final: tuple[str, ...] = ()
    if suppressed:
        email = _without(email, suppressed)
        final = tuple(queue for queue, state in email.queues.items() if state.final)
    to_send = tuple(queue for queue in email.queues if queue not in final)
    if due := email.send_at:
        return Transition(email, waiting=tuple((queue, due) for queue in to_send), final=final)
    return Transition(email, ready=to_send, final=final)


def _without(email: Email, suppressed: Mapping[str, Suppression]) -> Email:
    """The new e-mail with these recipients final, and the queues that have no others."""
    now, most = email.created_at, reason_bytes(wide.count(email))
    recipients = [
        replace(
            recipient,
            status="suppressed",
            status_reason=cut(found.why, most),
            reply_class=found.reason,
            updated_at=now,
        )
        if (found := suppressed.get(recipient.email))
        else recipient
        for recipient in email.recipients
    ]
    to_send = {recipient.queue for recipient in recipients if not recipient.final}
    queues = {
        queue: state if queue in to_send else ended(state) for queue, state in email.queues.items()
    }
    return replace(changed(email, recipients, queues, now), log_seq=email.log_seq)


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
        queue: ended(state) if queue in stopped else state for queue, state in email.queues.items()
    }
    email = changed(email, recipients, queues, now)
    entry = LogEntry(
        email.log_seq,
        now,
        "cancelled",
        client_id=client_id,
        request_id=request_id,
        reason=left_sending(queues),
    )
    return logged(Transition(email, (entry,), final=stopped))


def send_now(
    email: Email,
    *,
    sending: Collection[str],
    now: datetime,
    client_id: str | None = None,
    request_id: str | None = None,
) -> Transition:
    """A client asks that what waits for its time is ready at once. No try is used up by it.

    ``sending``: the queues that have an owner. Raises Conflict if nothing waits.
    """
    if email.final:
        raise Conflict(f"the e-mail is {email.status} already")
    hurried = tuple(
        queue
        for queue, state in email.queues.items()
        if state.not_before and not state.final and queue not in sending
    )
    if not hurried:
        raise Conflict("nothing of the e-mail waits for its time: it is ready, or being sent")
    queues = {
        queue: replace(state, not_before=None) if queue in hurried else state
        for queue, state in email.queues.items()
    }
    email = changed(email, email.recipients, queues, now)
    entry = LogEntry(email.log_seq, now, "due_now", client_id=client_id, request_id=request_id)
    return logged(Transition(email, (entry,), ready=hurried))


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
    most = reason_bytes(wide.count(email))
    before = email.recipients
    recipients = [
        replace(
            recipient,
            status="expired",
            status_code=outcome.status_code,
            enhanced_code=outcome.enhanced_code,
            status_reason=outcome.reason and cut(outcome.reason, most),
            reply_class=outcome.reply_class,
            updated_at=now,
        )
        if recipient.queue == queue and not recipient.final
        else recipient
        for recipient in before
    ]
    queues = {**email.queues, queue: ended(state)}
    email = changed(email, recipients, queues, now, worker_id=worker_id)
    entry = LogEntry(
        email.log_seq,
        now,
        "expired",
        worker_id=worker_id,
        attempts=(
            LoggedTry(
                queue,
                state.tries,
                now,
                tuple(
                    log.reply_of(new)
                    for old, new in zip(before, recipients, strict=True)
                    if old.queue == queue and not old.final
                ),
            ),
        ),
        reason=outcome.reason and cut(outcome.reason, 512),
    )
    return logged(Transition(email, (entry,), final=(queue,)))


def retry(
    email: Email, *, now: datetime, client_id: str | None = None, request_id: str | None = None
) -> Transition:
    """A client asks to try the recipients again that were not reached. Their tries count from 0.

    Suppressed and erased ones are left out. An end of the e-mail that has come counts no more.
    Raises Conflict if the e-mail is not final, or nobody is left to be tried.
    """
    if not email.final:
        raise Conflict("the e-mail is not final yet; send-now makes ready what waits for its time")
    if email.status == "complete":
        raise Conflict("every recipient has got the e-mail")
    recipients = [
        r
        if r.status in ("delivered", "suppressed") or r.erased_at
        else Recipient(
            r.email,
            r.kind,
            r.queue,
            updated_at=now,
            retried=r.retried + 1,
            complained_at=r.complained_at,
        )
        for r in email.recipients
    ]
    again = dict.fromkeys(r.queue for r in recipients if not r.final)
    if not again:
        raise Conflict("the recipients that were not reached are suppressed or erased")
    queues = {
        queue: QueueState() if queue in again else state for queue, state in email.queues.items()
    }
    if email.expires_at is not None and email.expires_at <= now:
        email = replace(email, expires_at=None)
    # The record can't hold its earlier end any more: that entry gets a key.
    earlier_end = log.entries_in_record(email)[1:]
    email = changed(email, recipients, queues, now, claimed_at={})
    entry = LogEntry(email.log_seq, now, "retried", client_id=client_id, request_id=request_id)
    return logged(Transition(email, (*earlier_end, entry), ready=tuple(again)))


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
        attempts=(LoggedTry(queue, state.tries + 1, now),),
        reason=f"{previous_worker_id} was silent longer than its lease; a copy may have been sent",
        previous_worker_id=previous_worker_id,
    )
    return logged(Transition(email, (entry,)))


def lose_part(email: Email, queue: str, *, worker_id: str, now: datetime) -> Transition:
    """The part of a wide e-mail's queue is gone: somebody has deleted it by hand.

    ``email``: with all other parts at hand. Recipients of parts that are gone are expired. The
    queue gets a part without recipients, so that the e-mail can end.
    """
    assert email.wide is not None
    lost = tuple(
        group
        if group.status not in ("pending", "deferred")
        else replace(group, status="expired", reply_class="internal")
        for group in email.wide.groups
    )
    email = replace(email, wide=replace(email.wide, groups=lost, not_final=0))
    queues = {**email.queues, queue: QueueState(final=True)}
    email = changed(email, email.recipients, queues, now, worker_id=worker_id)
    reason = "the queue's part of the record was gone from etcd, with its recipients"
    entry = LogEntry(email.log_seq, now, "expired", worker_id=worker_id, reason=reason)
    return logged(Transition(email, (entry,), final=(queue,)))


def job_of(email: Email, queue: str, recipients: int | None = None) -> Job:
    """The job of one queue, which is ready now, or when its time has come.

    ``recipients``: how many are not final; None: they are counted.
    """
    since = email.queues[queue].not_before or email.updated_at
    return Job(
        email.size,
        len(queue_recipients(email, queue)) if recipients is None else recipients,
        since if since > email.created_at else None,
        email.expires_at,
        email.wide is not None,
        client_id_of(email.client_id),
        email.weight,
        email.sender.rpartition("@")[2].lower() if queue.startswith(MX) else "",
    )


def ended(state: QueueState) -> QueueState:
    """The queue goes no further: its recipients get no more tries."""
    return replace(state, final=True, not_before=None, held=None, retry_at=None)
