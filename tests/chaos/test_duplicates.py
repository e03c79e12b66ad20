"""The reasons of messages that came twice, on histories written by hand."""

from __future__ import annotations

import pytest

from scripts.chaos.history import Healed, Injected, ProcessPaused, ProcessWoken, Reached
from scripts.chaos.rules.duplicates import (
    ENDED,
    LEASE_LOST,
    PAUSED,
    REPLY_CUT,
    REPLY_LATE,
    REPLY_LOST,
)
from tests.chaos.book import DELIVER, LOST, A, Book
from tests.chaos.owner_stories import (
    sent_by_the_first,
    take_over,
    taken_over_from_a_killed_worker,
)


def test_duplicate_after_a_kill_is_explained_by_it(book: Book) -> None:
    taken_over_from_a_killed_worker(book)
    verdict = book.judged()
    assert verdict.figures.duplicates == {ENDED: 1}
    assert verdict.figures.recovery is not None and 4 < verdict.figures.recovery < 6


def test_duplicate_after_a_pause_past_the_lease_is_explained_by_it(book: Book) -> None:
    found = sent_by_the_first(book)
    book.add(ProcessPaused(book.at, "worker", 1, 101))
    book.later(5)
    book.lose(found)
    take_over(book, found)
    book.add(ProcessWoken(book.at, "worker", 1, 101))
    assert book.judged().figures.duplicates == {PAUSED: 1}


@pytest.mark.parametrize(
    ("fault", "reason"),
    [("etcd-away", LEASE_LOST), ("relay-away", "unexplained"), ("", "unexplained")],
)
def test_duplicate_after_a_lost_lease_needs_a_fault_that_can_lose_it(
    book: Book, fault: str, reason: str
) -> None:
    found = sent_by_the_first(book)
    if fault:
        book.add(Injected(book.at, 1, fault))
    book.later(5)
    book.lose(found)
    take_over(book, found)
    verdict = book.judged()
    assert verdict.figures.duplicates == {reason: 1}
    assert verdict.clean == (reason == LEASE_LOST)


def test_duplicate_after_a_cut_reply_is_explained_by_the_receiver(book: Book) -> None:
    found = book.posted("m1", A)
    book.claim(found)
    book.receive(found, "m1", A, committed=None)
    book.receive(found, "m1", A)
    book.finish(found, DELIVER)
    assert book.judged().figures.duplicates == {REPLY_CUT: 1}


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("relay-away", REPLY_LOST),
        ("busy", REPLY_LATE),
        ("api-away", "unexplained"),
        ("", "unexplained"),
    ],
)
def test_duplicate_after_an_uncertain_try_needs_a_fault_or_a_busy_machine(
    book: Book, fault: str, reason: str
) -> None:
    for asked in range(20):  # it answers at once, but for the time of the try
        late = 2.0 if fault == "busy" and asked == 10 else 0.1
        book.add(Reached(asked + late, float(asked), 0))
    if fault.endswith("-away"):
        book.add(Injected(book.at, 1, fault))
    found = sent_by_the_first(book)
    book.finish(found, LOST)
    book.add(Healed(book.at, 1, fault))
    book.due(found)
    book.claim(found)
    book.receive(found, "m1", A)
    book.finish(found, DELIVER)
    assert book.judged().figures.duplicates == {reason: 1}


@pytest.mark.parametrize(("fault", "reason"), [("relay-away", REPLY_LOST), ("", "unexplained")])
def test_message_that_arrives_under_the_next_claim_is_explained_by_the_uncertain_try_before(
    book: Book, fault: str, reason: str
) -> None:
    if fault:
        book.add(Injected(book.at, 1, fault))
    found = book.posted("m1", A)
    book.claim(found)
    book.finish(found, LOST)
    book.due(found)
    book.later(1)
    book.claim(found)
    book.later(1)
    for _ in range(2):
        book.receive(found, "m1", A)
    book.finish(found, DELIVER)
    assert book.judged().figures.duplicates == {reason: 1}
