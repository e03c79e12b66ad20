"""Wide e-mails: those with so many queues that no change may write all of them again.

Each queue has a part of its own. The record counts the recipients in groups. The life cycle sees a
wide e-mail as a view: some parts are at hand, as recipients and queues of an :class:`Email`; of the
others it knows the groups. So a record is the view with no part at hand.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence

from msgspec.structs import replace

from babygun.email.model import (
    Email,
    LogEntry,
    Part,
    Recipient,
    RecipientGroup,
    RecipientStatus,
    Wide,
)
from babygun.email.reasons import Kind, kind_of

# An e-mail with more queues is wide.
MOST_QUEUES = 16
# A part's log keeps its newest entries: so many, with so many replies together.
_ENTRIES, _REPLIES = 31, 256


def begun(email: Email) -> Email:
    """A new e-mail as a wide one, with all parts at hand."""
    return replace(email, wide=Wide(first=email.recipients[0].email))


def with_parts(record: Email, parts: Mapping[str, Part]) -> Email:
    """The view of a record, with these parts at hand, by queue."""
    assert record.wide is not None
    recipients = tuple(r for part in parts.values() for r in part.recipients)
    counts = _counts(record.wide.groups)
    counts.subtract(map(kind_of, recipients))
    return replace(
        record,
        recipients=recipients,
        queues={queue: part.state for queue, part in parts.items()},
        wide=Wide(
            _groups(counts),
            record.wide.not_final - sum(not part.state.final for part in parts.values()),
            {queue: part.log for queue, part in parts.items()},
            record.wide.first,
        ),
    )


def shown(record: Email, parts: Mapping[str, Part]) -> Email:
    """The view with all parts, for people to read. It has a not-before time, too."""
    waiting = [part.state.not_before for part in parts.values() if part.state.not_before]
    return replace(with_parts(record, parts), not_before=min(waiting, default=None))


def record_of(view: Email) -> Email:
    """The record: the view with no part at hand."""
    assert view.wide is not None
    counts = _counts(view.wide.groups)
    counts.update(map(kind_of, view.recipients))
    still_open = view.wide.not_final + sum(not state.final for state in view.queues.values())
    others = Wide(_groups(counts), still_open, first=view.wide.first)
    return replace(view, recipients=(), queues={}, wide=others)


def parts_of(view: Email, queues: Collection[str] | None = None) -> dict[str, Part]:
    """The parts of these queues, by default of all that are at hand."""
    assert view.wide is not None
    recipients: dict[str, list[Recipient]] = {
        queue: [] for queue in view.queues if queues is None or queue in queues
    }
    for recipient in view.recipients:
        if (of_queue := recipients.get(recipient.queue)) is not None:
            of_queue.append(recipient)
    return {
        queue: Part(view.queues[queue], tuple(found), view.wide.logs.get(queue, ()))
        for queue, found in recipients.items()
    }


def logged(view: Email, entries: Iterable[LogEntry], touched: Sequence[str]) -> Email:
    """The view with log entries added. An entry about tries goes to the parts of their queues.

    Any other entry goes to the parts of ``touched``.
    """
    assert view.wide is not None
    logs = dict(view.wide.logs)
    for entry in entries:
        own = {attempt.queue: attempt for attempt in entry.attempts}
        for queue in own or touched:
            added = replace(entry, attempts=(own[queue],)) if own else entry
            logs[queue] = shortened((*logs.get(queue, ()), added), _ENTRIES)
    return replace(view, wide=replace(view.wide, logs=logs))


def shortened(log: tuple[LogEntry, ...], entries: int) -> tuple[LogEntry, ...]:
    """The newest entries of a part's log: so many, with _REPLIES replies; at least one."""
    kept, replies = 0, 0
    for entry in reversed(log[-entries:]):
        replies += sum(len(attempt.replies) for attempt in entry.attempts)
        if kept and replies > _REPLIES:
            break
        kept += 1
    return log[len(log) - kept :]


def is_whole(view: Email) -> bool:
    """Whether all parts are at hand, and the record counts just what they are."""
    return view.wide is None or not (view.wide.groups or view.wide.not_final)


def unlogged(email: Email) -> Email:
    """The e-mail without the logs of its parts. It differs after each change all the same."""
    return email if email.wide is None else replace(email, wide=replace(email.wide, logs={}))


def merged_log(logs: Iterable[Sequence[LogEntry]]) -> list[LogEntry]:
    """The entries of several parts, oldest first. Those of one change become one entry."""
    merged: dict[int, LogEntry] = {}
    for entry in (entry for log in logs for entry in log):
        known = merged.get(entry.seq)
        if known is None:
            merged[entry.seq] = entry
        elif entry.attempts:
            merged[entry.seq] = replace(known, attempts=(*known.attempts, *entry.attempts))
    return [merged[seq] for seq in sorted(merged)]


def count(email: Email) -> int:
    """How many recipients an e-mail has."""
    others = sum(group.count for group in email.wide.groups) if email.wide else 0
    return len(email.recipients) + others


def count_by_status(email: Email) -> dict[RecipientStatus, int]:
    """How many recipients a wide e-mail has in each status."""
    assert email.wide is not None
    counts = Counter(recipient.status for recipient in email.recipients)
    for group in email.wide.groups:
        counts[group.status] += group.count
    return dict(counts)


def _counts(groups: Iterable[RecipientGroup]) -> Counter[Kind]:
    return Counter({(g.status, g.reply_class, g.tries, g.late): g.count for g in groups})


def _groups(counts: Counter[Kind]) -> tuple[RecipientGroup, ...]:
    found = (kind for kind, number in counts.items() if number > 0)
    kinds = sorted(found, key=lambda kind: (kind[0], kind[1] or "", *kind[2:]))
    return tuple(RecipientGroup(*kind[:3], counts[kind], kind[3]) for kind in kinds)
