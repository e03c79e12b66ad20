"""Every event of an e-mail is sent to the webhook, and no other one.

One that failed since etcd was short of room need not be sent.
"""

from __future__ import annotations

from collections.abc import Iterator

from babygun.email.email_events import event_id
from babygun.email.erasure import MARK
from babygun.email.model import Email, LogEntry
from scripts.chaos.history import KEYS, Leftovers
from scripts.chaos.rules import Rule, Run, Violation, broken
from scripts.chaos.rules.events_after import is_without_entry
from scripts.chaos.states import Step
from scripts.chaos.story import Story

# An event: the number of its log entry, and its type.
_Key = tuple[int, str]
_OF_STATUS = {"pending": "accepted"}  # other types have the status's own name


def _check(story: Story, run: Run) -> Iterator[Violation]:
    if story.record is None or not run.has_webhook(story.record.client_id):
        return
    expected: dict[_Key, tuple[set[str], Step]] = {}
    whole = bool(story.steps)
    for step in story.steps:
        whole = whole and step.whole
        if step.changes_record and step.entry is not None:
            for type, concerned in _events(step, step.entry).items():
                expected[step.entry.seq, type] = concerned, step
    sent: dict[_Key, set[str]] = {}
    for event in story.notified:
        if is_without_entry(event):  # a rule of its own
            continue
        key = event.sequence, event.what
        if event.status == 204:
            sent[key] = set(event.recipients)
        if whole and key not in expected:
            yield Violation(
                story.email_id,
                event.at,
                f"the webhook got {event.what} with number {event.sequence}",
                "an event of the e-mail's log",
            )
    for key, (concerned, step) in expected.items():
        text = f"{key[1]} with number {key[0]}"
        if key not in sent:
            if event_id(story.email_id, *key) in run.given_up:
                continue
            yield broken(story, step, f"the webhook never took {text}", "every event, once or more")
        elif not _are(concerned, sent[key]) and step.whole:
            yield broken(
                story,
                step,
                f"{text} named {', '.join(sorted(sent[key])) or 'nobody'}",
                ", ".join(sorted(concerned)) or "nobody",
            )


def _are(concerned: set[str], named: set[str]) -> bool:
    """Whether an event names those whom it concerns. A mark stands for one that was erased."""
    others = named - {MARK}
    return others == concerned or (len(named) == len(concerned) and others < concerned)


def _events(step: Step, entry: LogEntry) -> dict[str, set[str]]:
    """The events of a change, each with the recipients that it concerns."""
    before, after = step.before.record, step.after.record
    assert after is not None
    if before is None:
        found: dict[str, set[str]] = {"accepted": set()}
        for each in after.recipients:
            found.setdefault(_OF_STATUS.get(each.status, each.status), set()).add(each.email)
        return found
    if entry.event in ("reclaimed", "due_now", "changed"):
        return {}
    if entry.event == "complained":
        return {"complained": {r.email for one in entry.attempts for r in one.replies}}
    if entry.event == "erased":
        stopped = _changed(before, after)
        return {"cancelled": stopped} if stopped else {}
    if entry.event in ("cancelled", "retried"):
        return {entry.event: _changed(before, after)}
    found = {}
    for reply in (reply for attempt in entry.attempts for reply in attempt.replies):
        found.setdefault(reply.status, set()).add(reply.email)
    return found


def _changed(before: Email, after: Email) -> set[str]:
    """Those whom a client's cancel or retry concerns."""
    old = {each.email: each.status for each in before.recipients}
    return {each.email for each in after.recipients if each.status != old[each.email]}


def _left(run: Run) -> Iterator[Violation]:
    for taken in run.history.events(Leftovers):
        if taken.moment == "after":
            for key in taken.keys:
                if key.startswith((KEYS.notices, KEYS.due_notices)):
                    yield Violation("", taken.at, f"{key.decode()} is there", "every event is sent")


RULE = Rule(
    "events-are-sent",
    "The webhook takes every event of an e-mail's log at least once, and no other event."
    " One may fail instead if etcd is short of room.",
    _check,
    of_run=_left,
)
