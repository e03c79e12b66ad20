"""An Idempotency-Key means once, and stands for one request only."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from scripts.chaos.history import Asked
from scripts.chaos.rules import Rule, Run, Violation


def _check(run: Run) -> Iterator[Violation]:
    by_key: dict[tuple[str, str], list[Asked]] = defaultdict(list)
    for asked, _ in run.requests.values():
        if asked.key is not None:
            by_key[asked.client, asked.key].append(asked)
    for (_, key), calls in by_key.items():
        yield from _of_key(run, key, calls)


def _of_key(run: Run, key: str, calls: list[Asked]) -> Iterator[Violation]:
    given: dict[tuple[str | None, ...], Asked] = {}
    bodies: dict[tuple[str | None, ...], set[tuple[str, ...]]] = defaultdict(set)
    for asked in calls:
        answer = run.requests[asked.number][1]
        if answer is not None and answer.ids and None not in answer.ids:
            given.setdefault(answer.ids, asked)
            bodies[answer.ids].add(tuple(mail.mark for mail in asked.mails))
    if len(given) > 1:
        first, second, *_ = given
        yield Violation(
            second[0] or "",
            given[second].at,
            f"key {key} gave {second[0]}, and {first[0]} before",
            "the first request's e-mails",
        )
    for ids, marks in bodies.items():
        if len(marks) > 1:
            yield Violation(
                ids[0] or "",
                given[ids].at,
                f"key {key} gave the same e-mails to {len(marks)} different requests",
                "a refusal of another request with the same key",
            )
    for mark in {mail.mark for asked in calls for mail in asked.mails}:
        stored = run.history.ids_of_mark.get(mark, set())
        if len(stored) > 1 and all(
            asked.key == key
            for asked, _ in run.requests.values()
            if any(mail.mark == mark for mail in asked.mails)
        ):
            yield Violation(
                min(stored),
                calls[0].at,
                f"key {key}: one e-mail was stored {len(stored)} times: {sorted(stored)}",
                "once",
            )


RULE = Rule(
    "key-means-once",
    "An Idempotency-Key stores an e-mail once, and always gives the same answer.",
    of_run=_check,
)
