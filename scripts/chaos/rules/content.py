"""What is received was asked for: its recipients, its content, and no more addresses than that."""

from __future__ import annotations

from collections.abc import Iterator

from scripts.chaos.history import Mail, Received
from scripts.chaos.rules import Rule, Run, Violation
from scripts.chaos.story import Story


def _check(story: Story, run: Run) -> Iterator[Violation]:
    mails = {mail.mark: mail for asked in story.asked for mail in asked.mails}
    for copy in story.received:
        mail = mails.get(copy.mark)
        if mail is None:
            yield _of(story, copy, "a message that nobody has asked for", "an e-mail of the load")
            continue
        for seen, expected in _differences(copy, mail):
            yield _of(story, copy, seen, expected)
    if len({copy.message_id for copy in story.received}) > 1:
        yield _of(story, story.received[-1], "copies with several Message-IDs", "one Message-ID")


def _differences(copy: Received, mail: Mail) -> Iterator[tuple[str, str]]:
    if copy.digest != mail.digest:
        yield "the content is another one than was asked for", "equal content"
    if others := set(copy.recipients) - set(mail.recipients):
        yield f"it went to {sorted(others)}", f"only {sorted(mail.recipients)}"
    if shown := set(copy.shown) & set(mail.bcc):
        yield f"its header shows {sorted(shown)}, which was in bcc", "no address of bcc"


def _of(story: Story, copy: Received, seen: str, expected: str) -> Violation:
    return Violation(story.email_id, copy.at, seen, expected)


RULE = Rule(
    "received-was-asked",
    "Every message belongs to an e-mail that was asked for, with equal content and recipients.",
    _check,
)
