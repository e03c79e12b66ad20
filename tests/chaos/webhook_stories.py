"""Stories of webhooks and their events."""

from __future__ import annotations

from msgspec import Raw

from babygun.email.email_events import event_id
from babygun.runtime.clock import utc_now
from babygun.store import codec
from babygun.store.keys import NoticeRef
from babygun.store.webhooks.records import SHORT_OF_ROOM, Notice
from scripts.chaos.history import KEYS, Leftovers
from tests.chaos.book import DELIVER, A, Book, C, Happens
from tests.chaos.life_cycle_stories import delivered

WEBHOOK = KEYS.client_webhooks("shop"), b"", 0


def webhook_gets_every_event(book: Book) -> None:
    book.write([WEBHOOK])
    found = book.posted("m1", A, C)
    book.claim(found)
    book.receive(found, "m1", A)
    book.finish(found, DELIVER)
    book.notified(found, 1, "delivered", A)
    book.cancel(found)
    book.notified(found, 0, "accepted", A, C, status=503)
    book.notified(found, 0, "accepted", A, C)
    book.notified(found, 0, "accepted", A, C)  # twice is allowed
    book.notified(found, 2, "cancelled", C)


def event_is_given_up_for_room(book: Book) -> None:
    book.write([WEBHOOK])
    found = delivered(book)
    book.notified(found, 0, "accepted", A)
    notice = Notice(Raw(b"{}"), now := utc_now()).given_up(SHORT_OF_ROOM, now)
    key = KEYS.sent_notice(NoticeRef("wh_1", event_id(found, 1, "delivered")))
    book.write([(key, codec.encode_notice(notice), 7)])


# --- broken ---


def webhook_misses_an_event(book: Book) -> None:
    book.write([WEBHOOK])
    found = delivered(book)
    book.notified(found, 0, "accepted", A)
    book.notified(found, 1, "delivered", A, status=0)


def webhook_gets_an_event_that_never_was(book: Book) -> None:
    webhook_gets_every_event(book)
    book.notified(next(iter(book.records)), 1, "bounced", A)


def webhook_gets_others_than_it_concerns(book: Book) -> None:
    book.write([WEBHOOK])
    found = book.posted("m1", A, C)
    book.notified(found, 0, "accepted", A)


def event_left_behind(book: Book) -> None:
    book.write([WEBHOOK])
    key = KEYS.notice(NoticeRef("wh_1", "x-0000-accepted"))
    book.add(Leftovers(book.at, "after", (key,), {}, ()))


CLEAN: list[Happens] = [
    webhook_gets_every_event,
    event_is_given_up_for_room,
]
BROKEN: list[tuple[str, Happens]] = [
    ("events-are-sent", webhook_misses_an_event),
    ("events-are-sent", webhook_gets_an_event_that_never_was),
    ("events-are-sent", webhook_gets_others_than_it_concerns),
    ("events-are-sent", event_left_behind),
]
