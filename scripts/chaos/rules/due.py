"""Nothing is sent before its time, unless a client asks for that."""

from __future__ import annotations

from collections.abc import Iterator

from scripts.chaos.rules import LAG, Rule, Run, Violation
from scripts.chaos.story import Story


def _check(story: Story, run: Run) -> Iterator[Violation]:
    times = {mail.mark: mail.send_at for asked in story.asked for mail in asked.mails}
    hurried = [
        step.at
        for step in story.changes()
        if step.entry and step.entry.event in ("due_now", "changed")
    ]
    for copy in story.received:
        due = times.get(copy.mark)
        if due is None or copy.at >= due - LAG or any(at <= copy.at + LAG for at in hurried):
            continue
        if any("clock" in name for name in run.faults_in(0.0, copy.at)):
            continue  # by its worker's clock it was due
        yield Violation(
            story.email_id, copy.at, f"it came {due - copy.at:.2f} s early", "not before send_at"
        )


RULE = Rule(
    "not-before-its-time",
    "An e-mail for later is sent before its time only if a client asks for that.",
    _check,
)
