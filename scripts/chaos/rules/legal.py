"""Each change of a record is one of the transitions of docs/design/life-cycle.md."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec.structs import replace

from babygun.email.model import Email, LogEntry, LoggedTry, QueueState, Recipient
from scripts.chaos.rules import Rule, Run, Violation, broken
from scripts.chaos.story import Story

Wrong = tuple[str, str]  # what was seen, and what was expected
_STAYS = ("delivered", "suppressed")  # whatever is asked for


def _check(story: Story, run: Run) -> Iterator[Violation]:
    for step in story.changes():
        entry = step.entry
        if entry is None:
            continue  # the rule one-log-entry says that
        before, after = step.before.record, step.after.record
        assert after is not None
        wrong = _accepted(after) if before is None else _changed(before, after, entry)
        for seen, expected in (*wrong, *_status(after)):
            yield broken(story, step, f"{entry.event}: {seen}", expected)


def _accepted(email: Email) -> Iterator[Wrong]:
    if any(r.status not in ("pending", "suppressed") or r.tries for r in email.recipients):
        yield "a new e-mail has recipients that were tried", "all pending or suppressed"
    if {r.queue for r in email.recipients} != set(email.queues):
        yield "a new e-mail's queues are not those of its recipients", "one for each"


def _changed(before: Email, after: Email, entry: LogEntry) -> Iterator[Wrong]:
    if entry.event == "changed":  # by its client: of these three, and of what waits the time
        after_but = replace(
            after, send_at=before.send_at, tags=before.tags, metadata=before.metadata
        )
    elif entry.event == "erased":  # the content's head has lost the address
        after_but = replace(after, size=before.size)
    else:
        after_but = after
    if _fixed(before) != _fixed(after_but) and entry.event != "retried":
        yield "a part of the record has changed that never changes", "the part as accepted"
    if [r.email for r in before.recipients] != [r.email for r in after.recipients]:
        yield "the recipients are others", "the same ones"
        return
    touched = _touched(before, after, entry)
    for queue, state in before.queues.items():
        pairs = [
            (old, new)
            for old, new in zip(before.recipients, after.recipients, strict=True)
            if old.queue == queue
        ]
        attempt = next((each for each in entry.attempts if each.queue == queue), None)
        if queue not in touched:
            if state != after.queues[queue] or any(old != new for old, new in pairs):
                yield f"queue {queue} has changed though the entry is not about it", "no change"
        elif entry.event == "erased":
            yield from _erased(state, after.queues[queue], pairs)
        elif entry.event == "retried":
            yield from _retried(before, after.queues[queue], pairs)
        elif entry.late or entry.event == "complained":
            yield from _came_back(entry, state, after.queues[queue], pairs)
        else:
            yield from _touches(entry, attempt, state, after.queues[queue], pairs)


def _touches(
    entry: LogEntry,
    attempt: LoggedTry | None,
    old_state: QueueState,
    state: QueueState,
    pairs: list[tuple[Recipient, Recipient]],
) -> Iterator[Wrong]:
    """A queue that the entry is about."""
    if entry.event == "cancelled":
        yield from _ended(old_state, state, pairs, "cancelled")
    elif entry.event == "reclaimed":
        if state != replace(old_state, reclaims=old_state.reclaims + 1):
            yield "a takeover changed its queue", "one more reclaim, nothing else"
    elif entry.event == "changed":
        moved = replace(old_state, not_before=state.not_before)
        if state != moved or old_state.tries or any(old != new for old, new in pairs):
            yield "a client's change changed more", "another time for the first try, nothing else"
    elif entry.event == "due_now":
        if state != replace(old_state, not_before=None) or any(old != new for old, new in pairs):
            yield "a call to send it now changed more", "it waits no longer, nothing else"
    elif entry.event == "expired" and entry.reason is not None:
        yield from _ended(old_state, state, pairs, "expired")
    elif attempt is not None:
        yield from _tried(old_state, state, pairs, attempt)


def _fixed(email: Email) -> tuple[object, ...]:
    return (
        email.id,
        email.client_id,
        email.sender,
        email.subject,
        email.created_at,
        email.size,
        email.chunks,
        email.send_at,
        email.expires_at,
        email.tags,
        email.metadata,
        email.list,
        email.ignore_suppressions,
        [(r.email, r.kind, r.queue) for r in email.recipients],
    )


def _touched(before: Email, after: Email, entry: LogEntry) -> set[str]:
    """The queues that the entry is about."""
    if entry.event == "cancelled":
        return {
            q for q, state in before.queues.items() if not state.final and after.queues[q].final
        }
    if entry.event == "changed":
        return {q for q, state in before.queues.items() if state != after.queues[q]}
    if entry.event == "due_now":
        return {
            q
            for q, state in before.queues.items()
            if state.not_before and not after.queues[q].not_before
        }
    if entry.event == "retried":
        return {r.queue for r in before.recipients if not _stays(r)}
    return {attempt.queue for attempt in entry.attempts}


def _stays(recipient: Recipient) -> bool:
    """Whether a retry leaves the recipient as it is."""
    return recipient.status in _STAYS or recipient.erased_at is not None


def _erased(
    old_state: QueueState, state: QueueState, pairs: list[tuple[Recipient, Recipient]]
) -> Iterator[Wrong]:
    """One recipient is erased. The queue goes on for those that are left to come."""
    is_over = not old_state.final and all(new.final for _, new in pairs)
    if state.final != (old_state.final or is_over) or state.tries != old_state.tries:
        yield "an erasure changed its queue", "an end exactly where nobody is left"
    if sum(old.erased_at != new.erased_at for old, new in pairs) != 1:
        yield "an erasure marks not one recipient", "one recipient"
    for old, new in pairs:
        expected = old.status if old.final or new.erased_at is None else "cancelled"
        if new.status != expected:
            yield f"{old.email} went from {old.status} to {new.status}", expected


def _retried(
    before: Email, state: QueueState, pairs: list[tuple[Recipient, Recipient]]
) -> Iterator[Wrong]:
    if not before.final or before.status == "complete":
        yield f"the e-mail was {before.status}", "failed or cancelled"
    if state != QueueState():
        yield "a queue that is tried again keeps a part of its past", "tries from 0"
    for old, new in pairs:
        expected = old.status if _stays(old) else "pending"
        if new.status != expected:
            yield f"{old.email} went from {old.status} to {new.status}", expected


def _ended(
    old_state: QueueState,
    state: QueueState,
    pairs: list[tuple[Recipient, Recipient]],
    status: str,
) -> Iterator[Wrong]:
    """A queue that ends without a try."""
    if old_state.final or not state.final or state.tries != old_state.tries:
        yield "a queue ended in another way", "final from now on, with as many tries as before"
    for old, new in pairs:
        expected = old.status if old.final else status
        if new.status != expected:
            yield f"{old.email} went from {old.status} to {new.status}", expected


def _tried(
    old_state: QueueState,
    state: QueueState,
    pairs: list[tuple[Recipient, Recipient]],
    attempt: LoggedTry,
) -> Iterator[Wrong]:
    """A try that ended, or a session that was refused: that uses up no try (invariant 8)."""
    held = not state.final and state.not_before is None
    tries = old_state.tries if held else old_state.tries + 1
    if old_state.final:
        yield f"a try of queue {attempt.queue}, which was final", "no try"
    if state.tries != tries:
        yield (
            f"the tries of queue {attempt.queue} went from {old_state.tries} to {state.tries}",
            (f"{tries}"),
        )
    if attempt.not_before != (state.not_before or state.retry_at):
        yield "the log and the record disagree on the next try", "one time"
    replies = {reply.email: reply for reply in attempt.replies}
    for old, new in pairs:
        if old.final:
            if new != old:
                yield f"{old.email} was {old.status}, and has changed", "no change"
            continue
        reply = replies.get(old.email)
        if reply is None and new == old and not state.final and len(pairs) > 1:
            continue  # its copy is not of this round
        if reply is None or (reply.status, reply.reply_class) != (new.status, new.reply_class):
            yield f"the log does not say that {old.email} became {new.status}", "a reply in it"
        if new.status not in ("delivered", "deferred", "bounced", "expired", "suppressed"):
            yield f"{old.email} went from {old.status} to {new.status}", "a result of a try"
        yield from _agrees(new)


def _came_back(
    entry: LogEntry,
    old_state: QueueState,
    state: QueueState,
    pairs: list[tuple[Recipient, Recipient]],
) -> Iterator[Wrong]:
    """A bounce message or a complaint: one recipient, and no job moves."""
    if state != old_state:
        yield "a message that came back has changed its queue", "no change"
    for old, new in pairs:
        if entry.event == "complained":
            expected = replace(old, complained_at=new.complained_at)
        elif old.status == "delivered" and new.status == "bounced" and new.late:
            continue
        else:
            expected = old
        if new != expected:
            yield f"{old.email} went from {old.status} to {new.status}", expected.status


def _agrees(recipient: Recipient) -> Iterator[Wrong]:
    """A recipient's status fits the server's code: 2xx delivered, 4xx soft."""
    code, status = recipient.status_code, recipient.status
    if status == "delivered" and (code is None or not 200 <= code < 300):
        yield f"{recipient.email} is delivered by a reply {code}", "a reply 2xx"
    if status == "bounced" and code is not None and code < 400:
        yield f"{recipient.email} bounced by a reply {code}", "a reply that refuses"


def _status(email: Email) -> Iterator[Wrong]:
    """The e-mail's status follows from its recipients."""
    statuses = {r.status for r in email.recipients}
    if statuses & {"pending", "deferred"}:
        expected = "incomplete"
    elif "cancelled" in statuses:
        expected = "cancelled"
    else:
        expected = "complete" if statuses - {"suppressed"} == {"delivered"} else "failed"
    if email.status != expected:
        yield f"the e-mail is {email.status}", expected


RULE = Rule(
    "legal-transition",
    "Each change of a record is one of the life cycle's transitions, and changes nothing else.",
    _check,
)
