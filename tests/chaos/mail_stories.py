"""Stories of what clients were answered, and of the messages that servers received."""

from __future__ import annotations

from babygun.email.tries import RecipientResult
from scripts.chaos.history import KEYS
from tests.chaos.book import BOUNCE, DELIVER, LEFT_OUT, A, B, Book, Happens
from tests.chaos.life_cycle_stories import delivered

DEAD = RecipientResult("fail", "bad_mailbox", 550, "5.1.1")


def unanswered_post_is_stored(book: Book) -> None:
    mail = book.mail("m1", A)
    first = book.ask("send", mail, key="k")
    found = book.store("m1", A, key="k")
    book.answer(first, 0, problem="timed out")
    book.answer(book.ask("send", mail, key="k"), 202, found)
    book.claim(found)
    book.receive(found, "m1", A)
    book.finish(found, DELIVER)


def bounced_and_suppressed(book: Book) -> None:
    found = book.posted("m1", A)
    book.claim(found)
    book.revision -= 1  # the next two writes are one revision
    book.write([(KEYS.suppression("shop", "*", A), b"", 0)])
    book.finish(found, DEAD)


# --- broken ---


def acknowledged_and_never_stored(book: Book) -> None:
    book.answer(book.ask("send", book.mail("m1", A)), 202, "0" * 8)


def refused_and_stored(book: Book) -> None:
    number = book.ask("send", book.mail("m1", A))
    book.store("m1", A)
    book.answer(number, 503, problem="not-stored")


def key_stores_twice(book: Book) -> None:
    book.posted("m1", A, key="k")
    book.posted("m1", A, key="k")


def key_taken_for_another_request(book: Book) -> None:
    found = book.posted("m1", A, key="k")
    book.answer(book.ask("send", book.mail("m2", B), key="k"), 202, found)


def cancel_answered_and_not_made(book: Book) -> None:
    found = delivered(book)
    book.answer(book.ask("cancel", about=found), 200)


def delivered_without_a_message(book: Book) -> None:
    found = book.posted("m1", A)
    book.claim(found)
    book.receive(found, "m1", A, committed=False)
    book.finish(found, DELIVER)


def second_copy_without_a_reason(book: Book) -> None:
    found = book.posted("m1", A)
    book.claim(found)
    book.receive(found, "m1", A)
    book.later(1)
    book.receive(found, "m1", A)
    book.finish(found, DELIVER)


def another_content(book: Book) -> None:
    found = book.posted("m1", A)
    book.claim(found)
    book.receive(found, "m1", A, digest="another")
    book.finish(found, DELIVER)


def bcc_shown(book: Book) -> None:
    book.ask("send", book.mail("m1", A, bcc=(A,)))
    found = book.store("m1", A)
    book.claim(found)
    book.receive(found, "m1", A, shown=(A,))
    book.finish(found, DELIVER)


def message_of_nobody(book: Book) -> None:
    book.receive("", "m9", A)


def bounced_by_a_server_that_takes_all(book: Book) -> None:
    found = book.posted("m1", "ok.m1@one.example")
    book.claim(found)
    book.finish(found, BOUNCE)


def sent_early(book: Book) -> None:
    number = book.ask("send", book.mail("m1", A, send_at=60.0))
    found = book.store("m1", A, later=50)
    book.answer(number, 202, found)
    book.receive(found, "m1", A)


def sent_after_the_cancel(book: Book) -> None:
    found = book.posted("m1", A)
    book.claim(found)
    book.cancel(found)
    book.later(2)
    book.receive(found, "m1", A)


def sent_though_suppressed(book: Book) -> None:
    found = book.posted("m1", A)
    book.claim(found)
    book.finish(found, LEFT_OUT)
    book.later(2)
    book.receive(found, "m1", A)


def bounced_and_not_suppressed(book: Book) -> None:
    found = book.posted("m1", A)
    book.claim(found)
    book.finish(found, DEAD)


def accepted_though_suppressed(book: Book) -> None:
    book.write([(KEYS.suppression("shop", "*", A), b"", 0)])
    book.later(2)
    delivered(book)


CLEAN: list[Happens] = [
    unanswered_post_is_stored,
    bounced_and_suppressed,
]
BROKEN: list[tuple[str, Happens]] = [
    ("bounced-is-suppressed", bounced_and_not_suppressed),
    ("bounced-is-suppressed", accepted_though_suppressed),
    ("acknowledged-is-stored", acknowledged_and_never_stored),
    ("delivered-was-received", delivered_without_a_message),
    ("received-was-asked", another_content),
    ("received-was-asked", bcc_shown),
    ("received-was-asked", message_of_nobody),
    ("ends-as-the-server-says", bounced_by_a_server_that_takes_all),
    ("cancelled-is-not-sent", sent_after_the_cancel),
    ("cancelled-is-not-sent", cancel_answered_and_not_made),
    ("suppressed-is-not-sent", sent_though_suppressed),
    ("key-means-once", key_stores_twice),
    ("key-means-once", key_taken_for_another_request),
    ("refused-is-not-stored", refused_and_stored),
    ("duplicates-explained", second_copy_without_a_reason),
    ("not-before-its-time", sent_early),
]
