"""How many e-mails and recipients there are of each kind: what a person reads as numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import datetime

from msgspec import Struct, field

from babygun.email.model import Email, Recipient, RecipientStatus

# Recipients that something kept from their mail, at least for now.
_NOT_REACHED = frozenset({"bounced", "expired", "deferred", "suppressed"})


class QueueCounts(Struct):
    """The recipients of one queue. ``delivered_at``: when the last of them was delivered.

    ``last_failure``: the recipient whose try failed last, softly or for good.
    """

    statuses: Counter[RecipientStatus] = field(default_factory=Counter)
    delivered_at: datetime | None = None
    last_failure: Recipient | None = None

    def add(self, recipient: Recipient) -> None:
        self.statuses[recipient.status] += 1
        at, last = recipient.updated_at, self.last_failure
        if at is None:
            return
        if recipient.status == "delivered":
            self.delivered_at = max(at, self.delivered_at or at)
        elif recipient.status in ("deferred", "bounced", "expired") and (
            last is None or last.updated_at is None or at > last.updated_at
        ):
            self.last_failure = recipient


class Counts(Struct):
    """``statuses``: of e-mails; those that are incomplete are waiting or sending.

    ``reasons``: recipients by status and reply class. ``seconds``: how many recipients were
    delivered so long after they could first be sent to, in two digits. Recipients of wide e-mails
    are in the reasons alone.
    """

    statuses: Counter[str] = field(default_factory=Counter)
    queues: dict[str, QueueCounts] = field(default_factory=dict)
    reasons: Counter[tuple[RecipientStatus, str | None]] = field(default_factory=Counter)
    seconds: Counter[float] = field(default_factory=Counter)

    def add(self, email: Email, *, sending: bool) -> None:
        """``sending``: whether some worker sends it now."""
        status = ("sending" if sending else "waiting") if not email.final else email.status
        self.statuses[status] += 1
        begun = email.send_at or email.created_at
        for recipient in email.recipients:
            self.queues.setdefault(recipient.queue, QueueCounts()).add(recipient)
            if recipient.status in _NOT_REACHED:
                self.reasons[recipient.status, recipient.reply_class] += 1
            elif recipient.status == "delivered" and recipient.updated_at is not None:
                took = (recipient.updated_at - begun).total_seconds()
                self.seconds[in_two_digits(max(0.001, took))] += 1
        for group in email.wide.groups if email.wide else ():
            if group.status in _NOT_REACHED:
                self.reasons[group.status, group.reply_class] += group.count


def counts_of(emails: Iterable[tuple[Email, bool]]) -> Counts:
    """``emails``: each with whether some worker sends it now."""
    counts = Counts()
    for email, sending in emails:
        counts.add(email, sending=sending)
    return counts


def reasons_of(email: Email) -> set[str | None]:
    """The reply classes of recipients that were not reached, or not yet."""
    found = {r.reply_class for r in email.recipients if r.status in _NOT_REACHED}
    if email.wide:
        found |= {g.reply_class for g in email.wide.groups if g.status in _NOT_REACHED}
    return found


def in_two_digits(value: float) -> float:
    """A positive number, rounded: 0.347 -> 0.35, 1234 -> 1200."""
    return float(f"{value:.2g}")
