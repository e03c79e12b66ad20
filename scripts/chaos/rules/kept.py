"""Invariant 7: incomplete e-mails never expire, final ones always do."""

from __future__ import annotations

from collections.abc import Iterator

from scripts.chaos.rules import Rule, Run, Violation, broken
from scripts.chaos.states import State
from scripts.chaos.story import Story


def _check(story: Story, run: Run) -> Iterator[Violation]:
    for step in story.steps:
        for seen, expected in _wrong(step.after):
            yield broken(story, step, seen, expected)


def _wrong(state: State) -> Iterator[tuple[str, str]]:
    record = state.record
    if record is None:
        return
    if not record.final:
        if any(_leases(state)):
            yield "an incomplete e-mail is on a lease", "no lease until it is final"
        if state.marks:
            yield "an incomplete e-mail has an end mark", "none until it is final"
        if len(state.chunks) != record.chunks:
            yield f"{len(state.chunks)} of {record.chunks} chunks of content", "all of them"
        if any(state.chunks.values()):
            yield "the content of an incomplete e-mail is on a lease", "no lease"
        if state.failed is not None:
            yield "an incomplete e-mail has the mark of a failure", "none"
        return
    if not all(_leases(state)):
        yield (
            f"the e-mail is {record.status}, and a part of it is on no lease",
            "the retention lease",
        )
    kind = "delivered" if record.status == "complete" else "undelivered"
    expected = {kind} if state.chunks else set()
    if state.marks != expected:
        yield (
            f"end marks {sorted(state.marks)}",
            f"{sorted(expected)}, since content is kept by them",
        )
    if (state.failed is not None) != (record.status == "failed"):
        yield "the mark of a failure and the status disagree", "a mark exactly if it failed"


def _leases(state: State) -> list[int]:
    """Those of the record, the log and the parts."""
    more = (*state.log.values(), *state.parts.values())
    return [state.record_lease, *(lease for _, lease in more)]


RULE = Rule(
    "kept-until-final",
    "An incomplete e-mail has all of its content and no lease; a final one expires.",
    _check,
)
