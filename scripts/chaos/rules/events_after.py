"""What comes back about an e-mail that is deleted is an event of its own, without a log entry."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from scripts.chaos.history import Notified, Returned
from scripts.chaos.rules import LAG, Rule, Run, Violation
from scripts.chaos.story import Story

TYPES: Final = {"bounce": "bounced", "complaint": "complained"}


def is_without_entry(event: Notified) -> bool:
    """Whether it is such an event. The log's entry 0 says that the e-mail was accepted."""
    return event.sequence == 0 and event.what in TYPES.values()


def _check(story: Story, run: Run) -> Iterator[Violation]:
    if story.record is None or not run.has_webhook(story.record.client_id):
        return
    got = [event for event in story.notified if is_without_entry(event)]
    for event in got:
        if not any(_is_about(event, message, story) for message in story.returned):
            yield Violation(
                story.email_id,
                event.at,
                f"the webhook got {event.what} without a log entry",
                "a message that came back when the record was gone",
            )
    for kind, type in TYPES.items():
        accepted = [
            each for each in story.returned if each.kind == kind and _needs_event(each, story)
        ]
        recipients = {message.recipient for message in accepted}
        taken = {event.event_id for event in got if event.what == type and event.status == 204}
        if len(taken) < len(recipients):
            yield Violation(
                story.email_id,
                accepted[-1].at,
                f"the {kind} of {len(recipients)} recipients is accepted, and the webhook took"
                f" {len(taken)} events of it",
                "an event of each, without a log entry: the record was gone",
            )


def _needs_event(message: Returned, story: Story) -> bool:
    """Whether the message was accepted though there was no record."""
    states = story.states_at(message.asked - LAG, message.at)
    return (
        not message.forged
        and message.reply.startswith("2")
        and all(state.record is None for state in states)
    )


def _is_about(event: Notified, message: Returned, story: Story) -> bool:
    """Whether the event may be of this message, which found no record any more."""
    return (
        TYPES[message.kind] == event.what
        and not message.forged
        and message.asked < event.at + LAG
        and set(event.recipients) <= {message.recipient}
        and any(state.record is None for state in story.states_at(message.asked, event.at))
    )


RULE = Rule(
    "events-after-deletion",
    "What comes back about a deleted e-mail is an event too; only such events have no log entry.",
    _check,
)
