"""Invariant 4: every change of a record makes exactly one log entry, in the same transaction."""

from __future__ import annotations

from collections.abc import Iterator

from scripts.chaos.rules import Rule, Run, Violation, broken
from scripts.chaos.states import Step
from scripts.chaos.story import Story

KEPT = 32  # entries of a log: the first one and the newest


def _check(story: Story, run: Run) -> Iterator[Violation]:
    for step in story.steps:
        if step.whole and step.after.record is not None:
            yield from _new_entries(story, step)
        yield from _all_there(story, step)


def _new_entries(story: Story, step: Step) -> Iterator[Violation]:
    before, after = step.before, step.after
    assert after.record is not None
    newest = -1 if before.record is None else before.record.log_seq
    expected = newest + 1 if step.changes_record else newest
    if after.record.log_seq != expected:
        yield broken(
            story,
            step,
            f"the newest log entry went from {newest} to {after.record.log_seq}",
            f"{expected}",
        )
    elif step.changes_record and step.entry is None:
        yield broken(story, step, f"log entry {expected} is nowhere", "written with the record")
    for number in before.log.keys() & after.log.keys():
        earlier, entry = before.log[number], after.log[number][0]
        is_cut = after.record.wide is not None and len(entry.attempts) < len(earlier[0].attempts)
        if earlier[0] != entry and not is_cut:
            yield broken(story, step, f"log entry {number} has changed", "an entry stays as it is")


def _all_there(story: Story, step: Step) -> Iterator[Violation]:
    record = step.after.record
    if record is None:
        return
    # Each part of a wide e-mail keeps its own newest entries: the newest of all is there.
    kept = 2 if record.wide is not None else KEPT
    oldest = max(record.first_log_key, record.log_seq - kept + 2)
    missing = [n for n in range(oldest, record.log_seq + 1) if n not in step.after.log]
    if missing:
        yield broken(story, step, f"log entries {missing} are missing", "all since the acceptance")


RULE = Rule(
    "one-log-entry", "Every change of a record makes one log entry, and none changes.", _check
)
