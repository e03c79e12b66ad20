"""A refusal means that nothing is stored, where it says so."""

from __future__ import annotations

from collections.abc import Iterator

from scripts.chaos.rules import Rule, Run, Violation
from scripts.chaos.story import Story

# Of 503, the problems that leave it open whether the e-mail is stored.
UNKNOWN = ("outcome-unknown", "repeat-with-key", "out-of-memory")


def _check(story: Story, run: Run) -> Iterator[Violation]:
    posts = [asked for asked in story.asked if asked.mails]
    if story.record is None or not posts:
        return
    answers = [story.answers.get(asked.number) for asked in posts]
    if all(
        answer is not None
        and answer.status >= 400
        and answer.status != 500
        and not any(word in answer.problem for word in UNKNOWN)
        for answer in answers
    ):
        last = answers[-1]
        assert last is not None
        yield Violation(
            story.email_id,
            last.at,
            f"it is stored, and every request was refused: {last.status} {last.problem}",
            "nothing stored",
        )


RULE = Rule("refused-is-not-stored", "What every request was refused for is not stored.", _check)
