"""A change of a record, and what follows from it whatever the change is."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from babygun.email import log, wide
from babygun.email.model import (
    Email,
    EmailStatus,
    LogEntry,
    QueueState,
    Recipient,
    RecipientStatus,
)
from babygun.email.reasons import status_reason
from babygun.email.suppression import ALL_MAIL, Suppression


class Suppressed(NamedTuple):
    """An address that the client's mail of a list does not go to from now on."""

    address: str
    suppression: Suppression
    list: str = ALL_MAIL


class Transition(Struct, frozen=True, gc=False):
    """A change of a record: the new record, and where each queue goes.

    ``keyed``: the log entries that get a key with this change; the record holds the others.
    ``ready``: queues that get a job. ``waiting``: queues that get a not-before key.
    ``final``: queues that have neither from now on. ``suppressed``: what it suppresses. ``noted``:
    of a wide e-mail, queues whose parts get the log entry, where it is about no queue.
    """

    email: Email
    keyed: tuple[LogEntry, ...] = ()
    ready: tuple[str, ...] = ()
    waiting: tuple[tuple[str, datetime], ...] = ()
    final: tuple[str, ...] = ()
    suppressed: tuple[Suppressed, ...] = ()
    noted: tuple[str, ...] = ()

    @property
    def entry(self) -> LogEntry:
        """The log entry of the change."""
        return self.keyed[-1] if self.keyed else log.entries_in_record(self.email)[-1]

    @property
    def touched(self) -> tuple[str, ...]:
        """The queues of ``ready``, ``waiting`` and ``final``."""
        return (*self.ready, *(queue for queue, _ in self.waiting), *self.final)

    @property
    def changed(self) -> frozenset[str]:
        """The queues whose state or recipients may have changed."""
        tried = (attempt.queue for entry in self.keyed for attempt in entry.attempts)
        return frozenset((*self.touched, *tried, *self.noted))


def changed(
    email: Email,
    recipients: Sequence[Recipient],
    queues: Mapping[str, QueueState],
    now: datetime,
    *,
    worker_id: str | None = None,
    most_tries: int = 0,
    claimed_at: Mapping[str, datetime] | None = None,
) -> Email:
    """The record with what follows from its new recipients and queues.

    ``claimed_at``: None: as it was.
    """
    states, others = queues.values(), email.wide
    tries = max(state.tries for state in states)
    if others and others.groups:
        tries = max(tries, email.tries)
    status: EmailStatus = "incomplete"
    if all(state.final for state in states) and not (others and others.not_final):
        statuses = {r.status for r in recipients}
        if others:
            statuses.update(group.status for group in others.groups)
        status = _final_status(statuses)
    return replace(
        email,
        recipients=tuple(recipients),
        queues=dict(queues),
        status=status,
        status_reason=status_reason(
            status, recipients, most_tries, others.groups if others else ()
        ),
        not_before=None
        if others
        else min((state.not_before for state in states if state.not_before), default=None),
        tries=tries,
        worker_id=worker_id or email.worker_id,
        updated_at=now,
        log_seq=email.log_seq + 1,
        claimed_at=email.claimed_at if claimed_at is None else dict(claimed_at),
    )


def _final_status(statuses: Collection[RecipientStatus]) -> EmailStatus:
    """The status of an e-mail with these of its recipients. All of them are final.

    A suppressed one counts neither as delivered nor as a failure.
    """
    if "cancelled" in statuses:
        return "cancelled"
    others = set(statuses) - {"suppressed"}
    return "complete" if others == {"delivered"} else "failed"


def logged(transition: Transition) -> Transition:
    """The transition with its entries in the logs of the parts, where the e-mail is wide."""
    email = transition.email
    if email.wide is None:
        return transition
    parts = transition.touched or transition.noted
    return replace(transition, email=wide.logged(email, transition.keyed, parts))
