"""Mail of a held domain is signed, and its return path says which e-mail it is."""

from __future__ import annotations

from collections.abc import Iterator

from babygun.email.return_path import (
    PREFIX,
    hash_of_queue,
    hash_of_recipient,
    is_return_path,
)
from babygun.email.sending_domains import SendingDomain, name_and_parents
from scripts.chaos.history import Received
from scripts.chaos.mail_hosts import is_straight
from scripts.chaos.rules import LAG, Rule, Run, Violation
from scripts.chaos.stage import RETURN_PATHS
from scripts.chaos.story import Story


def _signed(story: Story, run: Run) -> Iterator[Violation]:
    domain = _held(story, run)
    for copy in story.received if domain else ():
        assert domain is not None
        algorithms = {one.algorithm for one in domain.selectors}
        if copy.signatures != len(algorithms):
            yield _of(
                story,
                copy,
                f"a message of {domain.name} has {copy.signatures} signatures",
                f"one of each algorithm: {len(algorithms)}",
            )
        elif copy.signed != (domain.name,) * copy.signatures:
            yield _of(
                story,
                copy,
                f"of {copy.signatures} signatures, those of {copy.signed or 'nobody'} are valid",
                f"all are, by {domain.name}",
            )


def _return_path(story: Story, run: Run) -> Iterator[Violation]:
    domain = _held(story, run)
    for copy in story.received if domain else ():
        assert domain is not None
        mode = "recipient" if is_straight(copy.relay) else RETURN_PATHS.get(copy.relay, "off")
        if mode == "off":
            continue
        local, _, name = copy.sender.rpartition("@")
        if not is_return_path(local) or name != domain.return_path:
            seen = f"the envelope's sender is {copy.sender}"
            yield _of(story, copy, seen, f"a return path at {domain.return_path}")
            continue
        said = local.removeprefix(PREFIX).split(".")[1][:8]
        recipients = {hash_of_recipient(story.email_id, each) for each in copy.recipients}
        expected = (
            recipients if mode == "recipient" else {hash_of_queue(story.email_id, copy.relay)}
        )
        if expected != {said}:
            yield _of(story, copy, f"{copy.sender} is of another recipient", "that of the message")


def _held(story: Story, run: Run) -> SendingDomain | None:
    """The domain that covers the sender's, if it signed before the e-mail was stored."""
    if story.record is None or story.stored_at is None:
        return None
    for name in name_and_parents(story.record.sender.rpartition("@")[2]):
        since, domain = run.sending_domains.get(name, (0.0, None))
        if domain is not None and since + LAG < story.stored_at.at:
            return domain
    return None


def _of(story: Story, copy: Received, seen: str, expected: str) -> Violation:
    return Violation(story.email_id, copy.at, seen, expected)


SIGNED = Rule(
    "held-is-signed",
    "Each message of a held domain has a valid signature of each of its algorithms, and no other.",
    _signed,
)
RETURN_PATH = Rule(
    "return-path-names-its-mail",
    "The return path of a message says which e-mail and which recipient it is for.",
    _return_path,
)
