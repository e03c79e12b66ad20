"""Stories of sites: limits, holds, and addresses of ours and of theirs."""

from __future__ import annotations

from datetime import timedelta

from babygun.routing.providers import Rate
from babygun.store import codec
from babygun.store.records import Lowered, SomeLimits
from scripts.chaos.history import KEYS, Greylisted, Linked
from scripts.chaos.mail_hosts import FORBIDDEN, PROVIDER
from tests.chaos.book import A, Book, Happens


def third_connection_to_a_site_that_takes_two(book: Book) -> None:
    for number in range(3):
        book.add(Linked(book.at, PROVIDER, number, "open", 101))
        book.later(0.1)


def messages_faster_than_the_site_takes_them(book: Book) -> None:
    book.add(Linked(book.at, PROVIDER, 1, "open", 101))
    for _ in range(60):
        book.add(Linked(book.at, PROVIDER, 1, "mail", 101))
        book.later(0.15)


def lowered(book: Book) -> None:
    """The limited site takes one message a second from now on."""
    state = Lowered(
        site=f"mx:{PROVIDER}",
        limits=SomeLimits(rate=Rate(1, 1.0)),
        reason="rate_limit",
        since=book.now,
        set_by="w1",
        until=book.now + timedelta(minutes=1),
    )
    book.write([(KEYS.limit(state.site), codec.encode_state(state), 99)])
    book.later(3)


def mails_to_the_limited_site(book: Book, count: int, every: float) -> None:
    for _ in range(count):
        book.add(Linked(book.at, PROVIDER, 1, "mail", 101))
        book.later(every)


def lowered_limits_ignored(book: Book) -> None:
    lowered(book)
    mails_to_the_limited_site(book, 12, 0.3)


def held_mail_claimed(book: Book) -> None:
    """The first claim is the probe, for which the hold is written."""
    for _ in range(2):
        book.write([(KEYS.hold("one"), b"{}", 99)])
    book.later(5)
    for mark in ("m1", "m2"):
        book.claim(book.posted(mark, A))


def greylisted_mail_comes_from_elsewhere(book: Book) -> None:
    for source in ("127.0.3.1", "127.0.3.2"):
        book.add(Greylisted(book.at, "mx1.tail.example", "grey.m@d1.tail.example", source))


def private_address_dialled(book: Book) -> None:
    book.add(Linked(book.at, FORBIDDEN, 1, "open", 101))


BROKEN: list[tuple[str, Happens]] = [
    ("greylisted-comes-from-the-same-address", greylisted_mail_comes_from_elsewhere),
    ("lowered-limits-hold", lowered_limits_ignored),
    ("site-limits-hold", third_connection_to_a_site_that_takes_two),
    ("site-limits-hold", messages_faster_than_the_site_takes_them),
    ("never-dialled", private_address_dialled),
    ("held-mail-rests", held_mail_claimed),
]
