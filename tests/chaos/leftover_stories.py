"""Stories of what is left when the load has ended: keys, leases, descriptors."""

from __future__ import annotations

from scripts.chaos.history import KEYS, Footprint, Leftovers
from tests.chaos.book import Book, Happens


def upload_given_up_ends_with_its_lease(book: Book) -> None:
    key = KEYS.chunk("x", 1)
    book.write([(key, b"", 55)])
    book.add(Leftovers(book.at, "after", (key,), {55: 1}, ()))


# --- broken ---


def job_left_behind(book: Book) -> None:
    book.add(Leftovers(book.at, "after", (KEYS.jobs + b"00/one/x",), {}, ()))


def leases_left_behind(book: Book) -> None:
    book.add(Leftovers(book.at, "after", (), dict.fromkeys(range(10), 0), ()))


def content_without_a_record(book: Book) -> None:
    key = KEYS.chunk("x", 0)
    book.write([(key, b"", 0)])
    book.add(Leftovers(book.at, "after", (key,), {}, ()))


def descriptors_left_behind(book: Book) -> None:
    for moment, descriptors in (("before", 20), ("after", 400)):
        prints = (Footprint("api", 1, 7, 2, descriptors, 1 << 26),)
        book.add(Leftovers(book.at, moment, (), {}, prints))  # type: ignore[arg-type]


CLEAN: list[Happens] = [
    upload_given_up_ends_with_its_lease,
]
BROKEN: list[tuple[str, Happens]] = [
    ("nothing-left-behind", job_left_behind),
    ("nothing-left-behind", leases_left_behind),
    ("nothing-left-behind", content_without_a_record),
    ("nothing-left-behind", descriptors_left_behind),
]
