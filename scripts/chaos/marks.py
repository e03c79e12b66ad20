"""Puts an erased address back into what a story knows, so that rules can follow its recipient."""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

import msgspec

from babygun.email.erasure import MARK
from scripts.chaos.mail import ERASED
from scripts.chaos.states import State, Step

T = TypeVar("T")


def with_addresses(steps: list[Step]) -> list[Step]:
    """The steps with an address in place of its mark. The load erases one address of an e-mail."""
    address = next(filter(None, (_erased_by(step) for step in steps)), "") or _to_be_erased(steps)
    if not address:
        return steps
    return [
        replace(step, before=_named(step.before, address), after=_named(step.after, address))
        for step in steps
    ]


def _erased_by(step: Step) -> str:
    """The address that a step puts the mark in place of; empty: none."""
    before, after = step.before.record, step.after.record
    if before is None or after is None or len(before.recipients) != len(after.recipients):
        return ""
    pairs = zip(before.recipients, after.recipients, strict=True)
    return next((old.email for old, new in pairs if new.erased_at and not old.erased_at), "")


def _to_be_erased(steps: list[Step]) -> str:
    """The address that the load has erased. The log may lose it though the record never does."""
    records = (step.after.record for step in steps)
    first = next((record for record in records if record is not None), None)
    recipients = first.recipients if first else ()
    return next(
        (each.email for each in recipients if each.email.partition("@")[0].endswith(ERASED)), ""
    )


def _named(state: State, address: str) -> State:
    record = _text(state.record, address)
    log = {number: (_text(entry, address), lease) for number, (entry, lease) in state.log.items()}
    return replace(state, record=record, log=log)


def _text(value: T, address: str) -> T:
    json = msgspec.json.encode(value)
    if MARK.encode() not in json:
        return value
    return msgspec.json.decode(json.replace(MARK.encode(), address.encode()), type=type(value))
