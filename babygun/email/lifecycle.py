"""The life cycle of an email: a small state machine of pure functions. No clock, no I/O: state and event in, transition out.

    a queue's job     accept ─▶ ready ─claim─▶ sending ─▶ over
                                  ▲              │
                                  └─due─ waiting ◀┘ defer          (also: accepted with send_at ─▶ waiting)
    the email         incomplete ─▶ complete | failed | cancelled  with the transition that ends its last queue
                      failed | cancelled ─retry─▶ incomplete       by a person

Claim, due and release move keys only and change no record, so they live in :mod:`babygun.store`; everything that changes a
record is decided here, and makes exactly one log entry. The acceptance, and an end that comes with the first try, are part of the record (:func:`told`). Who decides: the record alone
is authoritative; a decision made on a record that has moved since is thrown away and made again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from babygun.email.model import (
    Attempt,
    Email,
    EmailStatus,
    Job,
    LogEntry,
    LogEvent,
    QueueState,
    Recipient,
    RecipientReply,
    RecipientStatus,
)
from babygun.errors import Conflict

Action = Literal["deliver", "retry", "fail"]


class RecipientResult(Struct, frozen=True, gc=False):
    """What a try did for one recipient, already classified."""

    action: Action
    reply_class: str
    status_code: int | None = None
    enhanced_code: str | None = None
    reason: str | None = None
    retry_after: float | None = None  # seconds that the server asked for; replaces the usual wait


class QueueResult(Struct, frozen=True, gc=False):
    """What one try of one queue did. A recipient of the queue that ``results`` misses counts as softly failed."""

    queue: str
    worker_id: str
    claimed_at: datetime
    results: Mapping[str, RecipientResult]  # by recipient address


class Transition(Struct, frozen=True, gc=False):
    """A change of a record, its log entry, and where each touched queue goes."""

    email: Email
    entry: LogEntry | None  # None: the record itself tells of it
    untold: LogEntry | None = None  # what the record before told of and this one doesn't
    ready: tuple[str, ...] = ()  # queues that get a job
    waiting: tuple[tuple[str, datetime], ...] = ()  # queues that get a not-before key
    over: tuple[str, ...] = ()  # queues that have neither from now on

    @property
    def ended(self) -> bool:
        return self.email.status != "incomplete"

    @property
    def touched(self) -> tuple[str, ...]:
        return (*self.ready, *(queue for queue, _ in self.waiting), *self.over)


_NO_RESULT = RecipientResult(
    "retry", "network", reason="the try ended without a result for this recipient"
)


def accept(email: Email) -> Transition:
    """A new e-mail, as :func:`babygun.email.compose.new_email` made it, begins its life."""
    if due := email.send_at:
        return Transition(email, None, waiting=tuple((queue, due) for queue in email.queues))
    return Transition(email, None, ready=tuple(email.queues))


def told(email: Email) -> list[LogEntry]:
    """The log entries that a record itself tells of: its acceptance, always, and the end of an email that its first tries ended."""
    reason = f"to be sent at {email.send_at.isoformat()}" if email.send_at else None
    entries = [
        LogEntry(
            0,
            email.created_at,
            "accepted",
            client_id=email.client_id,
            request_id=email.request_id,
            reason=reason,
        )
    ]
    if email.claimed_at:
        attempts = tuple(
            Attempt(
                queue,
                email.queues[queue].tries,
                at,
                tuple(_reply(r) for r in email.recipients if r.queue == queue),
            )
            for queue, at in email.claimed_at.items()
        )
        entries.append(
            LogEntry(
                1, email.updated_at, _event(attempts), worker_id=email.worker_id, attempts=attempts
            )
        )
    return entries


def finish(
    email: Email, results: Sequence[QueueResult], *, now: datetime, retry_intervals: Sequence[float]
) -> Transition:
    """The end of a try, of one queue or of several at once: each recipient is over or deferred, each queue over or waiting.

    ``retry_intervals``: seconds between tries; one more try than intervals is made.
    """
    recipients = list(email.recipients)
    queues = dict(email.queues)
    attempts: list[Attempt] = []
    waiting: list[tuple[str, datetime]] = []
    over: list[str] = []
    limit = (
        512 if len(recipients) <= 200 else 128
    )  # of a reason, so that 1,000 of them fit one etcd request
    for result in results:
        tries = queues[result.queue].tries + 1
        last = tries > len(retry_intervals)
        wait: float | None = None
        replies = []
        for index, recipient in enumerate(recipients):
            if recipient.queue != result.queue or recipient.over:
                continue
            outcome = result.results.get(recipient.email, _NO_RESULT)
            status = _status(outcome.action, last)
            if status == "deferred":
                wait = max(
                    wait or 0.0,
                    outcome.retry_after
                    if outcome.retry_after is not None
                    else retry_intervals[tries - 1],
                )
            reason = outcome.reason and cut(outcome.reason, limit)
            recipients[index] = Recipient(
                recipient.email,
                recipient.kind,
                recipient.queue,
                status,
                outcome.status_code,
                outcome.enhanced_code,
                reason,
                outcome.reply_class,
                tries,
                now,
            )
            replies.append(_reply(recipients[index]))
        due = now + timedelta(seconds=wait) if wait is not None else None
        queues[result.queue] = QueueState(tries, due, over=due is None)
        attempts.append(Attempt(result.queue, tries, result.claimed_at, tuple(replies), due))
        if due:
            waiting.append((result.queue, due))
        else:
            over.append(result.queue)
    email = _settled(
        email,
        recipients,
        queues,
        now,
        worker_id=results[-1].worker_id,
        max_tries=len(retry_intervals) + 1,
    )
    if email.status != "incomplete" and (email.log_first, email.log_seq) == (
        1,
        1,
    ):  # most e-mails: the record says it all
        email = replace(
            email,
            log_first=2,
            claimed_at={attempt.queue: attempt.claimed_at for attempt in attempts},
        )
        return Transition(email, None, over=tuple(over))
    entry = LogEntry(
        email.log_seq,
        now,
        _event(attempts),
        worker_id=results[-1].worker_id,
        attempts=tuple(attempts),
    )
    return Transition(email, entry, waiting=tuple(waiting), over=tuple(over))


def cancel(
    email: Email,
    *,
    sending: Collection[str],
    now: datetime,
    client_id: str | None = None,
    request_id: str | None = None,
) -> Transition:
    """A person stops what is not being sent. ``sending``: the queues that have an owner; they go on. Raises Conflict."""
    if email.status != "incomplete":
        raise Conflict(f"the e-mail is {email.status} already")
    stopped = tuple(
        queue for queue, state in email.queues.items() if not state.over and queue not in sending
    )
    if not stopped:
        raise Conflict("all that is left of the e-mail is being sent at this moment")
    recipients = [
        replace(r, status="cancelled", updated_at=now) if r.queue in stopped and not r.over else r
        for r in email.recipients
    ]
    queues = {
        queue: replace(state, over=True, not_before=None) if queue in stopped else state
        for queue, state in email.queues.items()
    }
    email = _settled(email, recipients, queues, now)
    entry = LogEntry(
        email.log_seq,
        now,
        "cancelled",
        client_id=client_id,
        request_id=request_id,
        reason=_left_sending(queues),
    )
    return Transition(email, entry, over=stopped)


def retry(
    email: Email, *, now: datetime, client_id: str | None = None, request_id: str | None = None
) -> Transition:
    """A person has the recipients that the email did not reach tried again, from the first try. Raises Conflict."""
    if email.status not in ("failed", "cancelled"):
        raise Conflict(
            "the e-mail is not over yet"
            if email.status == "incomplete"
            else "every recipient has got the e-mail"
        )
    recipients = [
        r if r.status == "delivered" else Recipient(r.email, r.kind, r.queue, updated_at=now)
        for r in email.recipients
    ]
    again = tuple(dict.fromkeys(r.queue for r in recipients if not r.over))
    queues = {
        queue: QueueState() if queue in again else state for queue, state in email.queues.items()
    }
    untold = told(email)[1] if email.claimed_at else None
    email = _settled(email, recipients, queues, now)
    if untold:
        email = replace(email, log_first=untold.seq, claimed_at={})
    entry = LogEntry(email.log_seq, now, "retried", client_id=client_id, request_id=request_id)
    return Transition(email, entry, untold, ready=again)


def reclaim(
    email: Email, queue: str, *, worker_id: str, previous_worker_id: str, now: datetime
) -> Transition:
    """A worker has claimed what a dead one held. The try that the dead one had begun is not counted: nobody knows its end.

    But the reclaims are (``QueueState.reclaims``, until a try ends): an email that kills its worker must not kill them all.
    """
    state = email.queues[queue]
    queues = {**email.queues, queue: replace(state, reclaims=state.reclaims + 1)}
    email = replace(
        email, queues=queues, worker_id=worker_id, updated_at=now, log_seq=email.log_seq + 1
    )
    reason = f"{previous_worker_id} was silent longer than its lease; a copy may have been sent"
    entry = LogEntry(
        email.log_seq,
        now,
        "reclaimed",
        worker_id=worker_id,
        attempts=(Attempt(queue, email.queues[queue].tries + 1, now),),
        reason=reason,
        previous_worker_id=previous_worker_id,
    )
    return Transition(email, entry)


def job_of(email: Email, queue: str) -> Job:
    """The job of one queue: for those of its recipients that are not over."""
    return Job(
        email.size,
        sum(1 for r in email.recipients if r.queue == queue and not r.over),
        email.priority,
    )


def cut(text: str, limit: int) -> str:
    """``text`` without controls, cut to ``limit`` bytes of UTF-8 at a character's border."""
    if not text.isprintable():  # a control takes six bytes in JSON
        text = "".join(c if c.isprintable() else " " for c in text)
    data = text.encode("utf-8", "replace")
    return (
        data.decode() if len(data) <= limit else data[: limit - 3].decode("utf-8", "ignore") + "…"
    )


def _status(action: Action, last: bool) -> RecipientStatus:
    if action == "deliver":
        return "delivered"
    if action == "fail":
        return "bounced"
    return (
        "expired" if last else "deferred"
    )  # a soft failure that runs out of tries never becomes a hard bounce


def _reply(recipient: Recipient) -> RecipientReply:
    return RecipientReply(
        recipient.email,
        recipient.status,
        recipient.status_code,
        recipient.enhanced_code,
        recipient.status_reason,
        recipient.reply_class,
    )


def _event(attempts: Sequence[Attempt]) -> LogEvent:
    """An entry is called by the least finished of its recipients: there the interest lies."""
    statuses = {reply.status for attempt in attempts for reply in attempt.replies}
    for event in ("deferred", "bounced", "expired"):
        if event in statuses:
            return event
    return "delivered"


def _settled(
    email: Email,
    recipients: Sequence[Recipient],
    queues: Mapping[str, QueueState],
    now: datetime,
    *,
    worker_id: str | None = None,
    max_tries: int = 0,
) -> Email:
    """The record with what follows from its recipients and queues."""
    states = list(queues.values())
    status: EmailStatus = "incomplete"
    if all(state.over for state in states):
        kinds = {r.status for r in recipients}
        status = (
            "cancelled"
            if "cancelled" in kinds
            else "complete"
            if kinds == {"delivered"}
            else "failed"
        )
    return replace(
        email,
        recipients=tuple(recipients),
        queues=dict(queues),
        status=status,
        status_reason=_reason(status, recipients, max_tries),
        not_before=min([state.not_before for state in states if state.not_before], default=None),
        tries=max([state.tries for state in states]),
        worker_id=worker_id or email.worker_id,
        updated_at=now,
        log_seq=email.log_seq + 1,
    )


def _reason(status: EmailStatus, recipients: Sequence[Recipient], max_tries: int) -> str | None:
    """How many of how many, and why: ``1 of 3 recipients not reached: 1 bounced (bad_mailbox)``."""
    if status == "complete":
        return None
    groups = Counter(
        [
            (r.status, r.reply_class, r.tries)
            for r in recipients
            if r.status not in ("delivered", "pending")
        ]
    )
    if not groups:
        return None
    words = []
    for (kind, reply_class, tries), count in sorted(
        groups.items(), key=lambda item: (-item[1], item[0][0])
    ):
        why = f" ({reply_class})" if reply_class and kind != "cancelled" else ""
        after = (
            f" after {tries} {'try' if tries == 1 else 'tries'}"
            if kind == "expired"
            else f" after try {tries} of {max_tries}"
            if kind == "deferred" and max_tries
            else ""
        )
        words.append(f"{count} {kind}{after}{why}")
    head = "not reached yet" if status == "incomplete" else "not reached"
    total = len(recipients)
    return f"{sum(groups.values())} of {total} {'recipient' if total == 1 else 'recipients'} {head}: {', '.join(words[:5])}{', …' if len(words) > 5 else ''}"


def _left_sending(queues: Mapping[str, QueueState]) -> str | None:
    left = [queue for queue, state in queues.items() if not state.over]
    return f"being sent at this moment, and not stopped: {', '.join(left)}" if left else None
