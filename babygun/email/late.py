"""What comes back after a server took the message: late bounces and complaints.

    a recipient       delivered ─bounce message─▶ bounced (late)
    the e-mail        complete ─▶ failed; incomplete, failed and cancelled stay

Neither moves a job: the recipient is final, or its tries go on as before.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Literal

from msgspec.structs import replace

from babygun.email import log, wide
from babygun.email.addresses import comparable
from babygun.email.bounces import Bounce, Complaint
from babygun.email.model import Email, LogEntry, LoggedTry, Recipient, RecipientReply
from babygun.email.reasons import cut, reason_bytes
from babygun.email.return_path import (
    ReturnPath,
    hash_of_queue,
    hash_of_recipient,
    is_of_generation,
)
from babygun.email.suppression import ALL_MAIL, Suppression
from babygun.email.transition import Suppressed, Transition, changed, logged
from babygun.email.tries import REPLY_BYTES

# apply      the recipient is delivered, and bounces now
# already    it is final and not delivered; or the message is of a delivery before a client's retry
# too_early  it is not final: the result of the try that the message is about is not written yet
Fate = Literal["apply", "already", "too_early"]
# Bytes of a log entry's reason.
_REASON_BYTES = 512


def recipient_of(email: Email, path: ReturnPath, addresses: Sequence[str]) -> Recipient | None:
    """The recipient that a message to a return path is about. None: it is not at hand here.

    ``addresses``: how the message calls it. They count where the return path is of a whole queue.
    An erased recipient is none: what the message says of it may name it.
    """
    of_queue: dict[str, bool] = {}
    found = []
    for recipient in email.recipients:
        if recipient.erased_at is not None:
            continue
        if hash_of_recipient(email.id, recipient.email) == path.recipient:
            return recipient
        queue = recipient.queue
        if queue not in of_queue:
            of_queue[queue] = hash_of_queue(email.id, queue) == path.recipient
        if of_queue[queue]:
            found.append(recipient)
    if len(found) == 1:
        return found[0]
    by_address = {comparable(recipient.email): recipient for recipient in found}
    named = (by_address.get(comparable(address)) for address in addresses)
    return next((recipient for recipient in named if recipient), None)


def fate_of_bounce(path: ReturnPath, recipient: Recipient) -> Fate:
    """What becomes of a bounce message."""
    if not is_of_generation(path, recipient.retried):
        return "already"
    if not recipient.final:
        return "too_early"
    return "apply" if recipient.status == "delivered" else "already"


def bounce(
    email: Email, recipient: Recipient, report: Bounce, *, now: datetime, suppress: float = 0.0
) -> Transition:
    """A delivered recipient bounces. ``suppress``: for how many seconds, if its address is dead."""
    now = _after(email, now)
    new = replace(
        recipient,
        status="bounced",
        status_code=report.status_code,
        enhanced_code=report.enhanced_code,
        status_reason=report.reason and cut(report.reason, reason_bytes(wide.count(email))),
        reply_class=report.reply_class,
        updated_at=now,
        late=True,
    )
    transition = _changed(email, new, now)
    entry = LogEntry(
        transition.email.log_seq,
        now,
        "bounced",
        attempts=(_about(recipient, log.reply_of(new), now),),
        late=True,
        reason=reason_of_bounce(report),
    )
    dead = report.suppress and suppress > 0
    suppression = Suppression(
        "hard_bounce",
        now,
        now + timedelta(seconds=suppress),
        email.id,
        report.status_code,
        report.enhanced_code,
        report.reason and cut(report.reason, REPLY_BYTES),
        report.reply_class,
    )
    return _written(transition, entry, (Suppressed(new.email, suppression),) if dead else ())


def complain(
    email: Email,
    recipient: Recipient,
    report: Complaint,
    *,
    now: datetime,
    suppression: Suppression | None,
) -> Transition:
    """A recipient calls the e-mail spam. ``suppression``: None: what is there stands."""
    now = _after(email, now)
    new = replace(recipient, complained_at=now)
    transition = _changed(email, new, now)
    entry = LogEntry(
        transition.email.log_seq,
        now,
        "complained",
        attempts=(_about(recipient, RecipientReply(new.email, new.status), now),),
        reason=reason_of_complaint(report),
    )
    listed = Suppressed(new.email, suppression, email.list or ALL_MAIL) if suppression else None
    return _written(transition, entry, (listed,) if listed else ())


def _after(email: Email, now: datetime) -> datetime:
    """A time after the record's last change: the key of the end mark holds it."""
    return max(now, email.updated_at + timedelta(milliseconds=1))


def _changed(email: Email, new: Recipient, now: datetime) -> Transition:
    """The change, without its own entry. The record's end gets a key, if the record held it."""
    recipients = [new if r.email == new.email else r for r in email.recipients]
    earlier_end = log.entries_in_record(email)[1:]
    after = changed(email, recipients, email.queues, now, claimed_at={})
    return Transition(after, tuple(earlier_end))


def _about(recipient: Recipient, reply: RecipientReply, now: datetime) -> LoggedTry:
    return LoggedTry(recipient.queue, recipient.tries, now, (reply,))


def reason_of_bounce(report: Bounce) -> str:
    """What came back, and from whom."""
    return _from("a bounce message came back", report.reporter)


def reason_of_complaint(report: Complaint) -> str:
    return _from(f"feedback report: {report.feedback_type}", report.reporter)


def _from(words: str, reporter: str) -> str:
    return cut(f"{words}, from {reporter}" if reporter else words, _REASON_BYTES)


def _written(
    transition: Transition, entry: LogEntry, suppressed: tuple[Suppressed, ...]
) -> Transition:
    keyed = (*transition.keyed, entry)
    return logged(replace(transition, keyed=keyed, suppressed=suppressed))
