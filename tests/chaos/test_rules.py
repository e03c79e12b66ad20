"""The rules, on histories written by hand: clean ones pass, and each rule finds its broken one."""

from __future__ import annotations

import pytest

from scripts.chaos.history import KEYS, Linked, ProcessPaused
from scripts.chaos.mail_hosts import PROVIDER
from scripts.chaos.rules import all_rules
from tests.chaos import (
    client_stories,
    domain_stories,
    leftover_stories,
    life_cycle_stories,
    mail_stories,
    owner_stories,
    site_stories,
    webhook_stories,
)
from tests.chaos.book import A, Book, Happens
from tests.chaos.owner_stories import taken_over_late
from tests.chaos.site_stories import lowered, mails_to_the_limited_site

CLEAN: list[Happens] = [
    *client_stories.CLEAN,
    *domain_stories.CLEAN,
    *leftover_stories.CLEAN,
    *life_cycle_stories.CLEAN,
    *mail_stories.CLEAN,
    *owner_stories.CLEAN,
    *webhook_stories.CLEAN,
]
BROKEN: list[tuple[str, Happens]] = [
    *client_stories.BROKEN,
    *domain_stories.BROKEN,
    *leftover_stories.BROKEN,
    *life_cycle_stories.BROKEN,
    *mail_stories.BROKEN,
    *owner_stories.BROKEN,
    *site_stories.BROKEN,
    *webhook_stories.BROKEN,
]


@pytest.mark.parametrize("is_wide", [False, True], ids=["usual", "wide"])
@pytest.mark.parametrize("happens", CLEAN)
def test_rules_on_a_clean_story_find_nothing(book: Book, happens: Happens, is_wide: bool) -> None:
    book.is_wide = is_wide
    happens(book)
    verdict = book.judged()
    assert verdict.clean, verdict.text()


@pytest.mark.parametrize("is_wide", [False, True], ids=["usual", "wide"])
@pytest.mark.parametrize(("rule", "happens"), BROKEN)
def test_rule_on_its_broken_story_finds_it(
    book: Book, rule: str, happens: Happens, is_wide: bool
) -> None:
    book.is_wide = is_wide
    happens(book)
    assert rule in book.broken()


def test_every_rule_has_a_broken_story() -> None:
    assert {rule.name for rule in all_rules()} == {name for name, _ in BROKEN}


# --- what looks broken, and is allowed ---


def test_connections_of_a_paused_worker_do_not_count(book: Book) -> None:
    book.add(Linked(book.at, PROVIDER, 1, "open", 101))
    book.add(Linked(book.at, PROVIDER, 2, "open", 101))
    book.add(ProcessPaused(book.at, "worker", 1, 101))
    book.later(5)
    for number in (3, 4):
        book.add(Linked(book.at, PROVIDER, number, "open", 102))
    book.later(5)
    assert "site-limits-hold" not in book.broken()


def test_lowered_limits_are_kept_by_a_message_a_second_and_end_with_their_key(
    book: Book,
) -> None:
    lowered(book)
    mails_to_the_limited_site(book, 20, 1.0)
    book.write([], [KEYS.limit(f"mx:{PROVIDER}")])
    mails_to_the_limited_site(book, 20, 0.25)
    assert "lowered-limits-hold" not in book.broken()


def test_probe_of_a_held_site_may_claim_its_mail(book: Book) -> None:
    for _ in range(2):
        book.write([(KEYS.hold("one"), b"{}", 99)])
    book.later(5)
    book.claim(book.posted("m1", A))
    assert "held-mail-rests" not in book.broken()


def test_killed_workers_job_may_wait_for_its_turn_behind_others_of_its_queue(book: Book) -> None:
    for number in range(90):
        book.posted(f"n{number}", A)
    taken_over_late(book, after=3.0)
    assert "recovers-in-time" not in book.broken()
