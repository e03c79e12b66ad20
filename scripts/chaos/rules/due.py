"""Nothing is sent before its time."""

from __future__ import annotations

from collections.abc import Iterator

from scripts.chaos.rules import LAG, Rule, Run, Violation
from scripts.chaos.story import Story


def _check(story: Story, run: Run) -> Iterator[Violation]:
    times = {mail.mark: mail.send_at for asked in story.asked for mail in asked.mails}
    for copy in story.received:
        due = times.get(copy.mark)
        if due is None or copy.at >= due - LAG:
            continue
        if any("clock" in name for name in run.faults_in(0.0, copy.at)):
            continue  # by its worker's clock it was due
        yield Violation(
            story.email_id, copy.at, f"it came {due - copy.at:.2f} s early", "not before send_at"
        )


RULE = Rule("not-before-its-time", "An e-mail for later is not sent before its time.", _check)
