"""Who was erased is named nowhere, and gets no mail."""

from __future__ import annotations

import re
from collections.abc import Iterator
from math import inf

from babygun.store import codec
from scripts.chaos.history import Revision, email_of
from scripts.chaos.mail import ERASED
from scripts.chaos.rules import Rule, Run, Violation
from scripts.chaos.rules.one_sender import ON_ITS_WAY
from scripts.chaos.story import Story

_ADDRESS = re.compile(rf"[\w.+-]+{ERASED}@[\w.-]+".encode())


def _nowhere(run: Run) -> Iterator[Violation]:
    if not run.erased:
        return
    naming: dict[bytes, tuple[Revision, set[str]]] = {}
    for event in run.history.events(Revision):
        if event.key in naming:
            yield from _named(run, *naming.pop(event.key), run.history.made(event)[0])
        if not event.gone and (names := _names(event) & run.erased.keys()):
            naming[event.key] = event, names
    for event, names in naming.values():
        yield from _named(run, event, names, inf)


def _named(run: Run, event: Revision, names: set[str], until: float) -> Iterator[Violation]:
    """``until``: when the key changed again, at the earliest."""
    for address in sorted(names):
        if until > (erased := run.erased[address]):
            yield Violation(
                email_of(event),
                erased,
                f"{event.key.decode(errors='replace')} names {address} after its erasure",
                "no key names it",
                event.revision,
            )


def _names(event: Revision) -> set[str]:
    """The addresses of the source that a key and its value name."""
    value = event.value
    if codec.is_compressed(value):
        value = codec.decompressed(value)
    if ERASED.encode() not in value and ERASED.encode() not in event.key:
        return set()
    return {found.decode() for text in (event.key, value) for found in _ADDRESS.findall(text)}


def _no_mail(story: Story, run: Run) -> Iterator[Violation]:
    for copy in story.received:
        for address in copy.recipients:
            if copy.at > run.erased.get(address, inf) + ON_ITS_WAY:
                yield Violation(
                    story.email_id,
                    copy.at,
                    f"{address} got a message after its erasure",
                    "no message begins after the answer",
                )


RULE = Rule(
    "erased-is-gone",
    "After an erasure that was done no key names the address, and no mail to it begins.",
    _no_mail,
    of_run=_nowhere,
)
