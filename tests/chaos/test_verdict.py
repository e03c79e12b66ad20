"""The verdict on a history: its text and its figures."""

from __future__ import annotations

from tests.chaos.book import Book
from tests.chaos.life_cycle_stories import deferred_then_bounced
from tests.chaos.mail_stories import another_content


def test_verdict_names_the_violation_and_its_story(book: Book) -> None:
    another_content(book)
    verdict = book.judged()
    text = verdict.text()
    assert not verdict.clean
    assert "[received-was-asked]" in text and "equal content" in text
    assert "shop asks api 1: send" in text and "w1 owns one" in text
    assert text.splitlines()[-1] == "NOT CLEAN: 1 violations: received-was-asked 1"


def test_verdict_of_a_clean_run_says_so_and_counts(book: Book) -> None:
    deferred_then_bounced(book)
    verdict = book.judged()
    assert verdict.text().splitlines()[-1].startswith("clean: nothing lost")
    assert verdict.figures.by_status == {"failed": 1} and verdict.figures.lost == 0
