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
    taken = {event.what for event in got if event.status == 204}
    for message in story.returned:
        if message.forged or not message.reply.startswith("2"):
            continue
        states = story.states_at(message.asked - LAG, message.at)
        if all(state.record is None for state in states) and TYPES[message.kind] not in taken:
            yield Violation(
                story.email_id,
                message.at,
                f"a {message.kind} is accepted, and the webhook never took an event of it",
                "an event without a log entry: the record was gone",
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
