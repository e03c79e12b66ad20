"""Stories of erasures, of daily limits and of clients' secrets, for the tests of the rules."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from babygun.email import lifecycle, wide
from babygun.email.erasure import MARK, erase
from babygun.store import codec
from babygun.store.keys import JobRef
from babygun.store.records import Client
from scripts.chaos.history import KEYS, Erased, Reached, SecretTried
from tests.chaos.book import BOUNCE, DEFER, DELIVER, Book, Happens

ERASED, B, C = "a-erased@one.example", "b@one.example", "c@two.example"


# --- erasures ---


def done(book: Book) -> None:
    book.add(Erased(book.at, ERASED))
    book.later(3)


def others_get_theirs(book: Book) -> None:
    """The first try of the erased one's queue was deferred. A failed copy shows its address."""
    book.write([(KEYS.client_webhooks("shop"), b"", 0)])
    found = book.posted("m1", ERASED, B, C)
    book.claim(found)
    book.receive(found, "m1", ERASED, B, committed=False)
    book.finish(found, DEFER)
    book.erase(found, ERASED)
    done(book)
    book.due(found)
    book.claim(found)
    book.receive(found, "m1", B)
    book.finish(found, DELIVER)
    book.claim(found, "two")
    book.receive(found, "m1", C)
    book.finish(found, DELIVER, "two")
    for sequence, type, whom in (
        (0, "accepted", (ERASED, B, C)),
        (1, "deferred", (MARK, B)),
        (2, "cancelled", (MARK,)),
        (3, "delivered", (B,)),
        (4, "delivered", (C,)),
    ):
        book.notified(found, sequence, type, *whom)


def erased_when_final_then_retried(book: Book) -> None:
    found = book.posted("m1", ERASED, B)
    book.claim(found)
    book.finish(found, BOUNCE)
    book.erase(found, ERASED)
    done(book)
    record = book.records[found]
    book.change(lifecycle.retry(record, now=book.now), before=record)
    book.claim(found)
    book.receive(found, "m1", B)
    book.finish(found, DELIVER)


def erased_while_its_worker_stalls(book: Book) -> None:
    """The result of the others counts: nobody has sent their mail meanwhile."""
    found = book.posted("m1", ERASED, B)
    book.claim(found)
    book.receive(found, "m1", ERASED, B)
    book.later(3)
    book.lose(found)
    book.erase(found, ERASED)
    done(book)
    book.finish(found, DELIVER)


def erased_in_the_log_only(book: Book) -> None:
    """A worker claims the queue before the record is erased, and its mail goes out."""
    found = book.posted("m1", ERASED, B)
    book.claim(found)
    book.finish(found, DEFER)
    book.erase_in_log(found, ERASED)
    book.due(found)
    book.claim(found)
    book.receive(found, "m1", ERASED, B)
    book.finish(found, DELIVER)


def entry_changes_beside_the_erased_address(book: Book) -> None:
    erased_in_the_log_only(book)
    [found] = book.records
    if book.is_wide:
        part = wide.parts_of(book.records[found])["one"]
        log = tuple(replace(entry, worker_id="w2") for entry in part.log)
        key = KEYS.part(JobRef(found, "one"))
        book.write([(key, codec.encode_state(replace(part, log=log)), 0)])
    for key, (value, lease) in book.log_of(found).items():
        entry = replace(codec.decode_log_entry(value), worker_id="w2")
        book.write([(key, codec.encode_state(entry), lease)])


def deleted_as_a_whole(book: Book) -> None:
    found = book.posted("m1", ERASED)
    book.cancel(found)
    book.delete(found)
    done(book)


def still_named_by_the_log(book: Book) -> None:
    """Only the record has lost the address."""
    found = book.posted("m1", ERASED, B, C)
    book.claim(found)
    book.finish(found, DEFER)
    log = book.log_of(found)
    book.erase(found, ERASED)
    book.write([(key, *value) for key, value in log.items()] or [_suppression()])
    done(book)


def named_by_a_key_again(book: Book) -> None:
    done(book)
    book.write([_suppression()])
    book.add(Reached(book.at, book.at, book.revision))
    book.write(gone=[_suppression()[0]])


def _suppression() -> tuple[bytes, bytes, int]:
    return KEYS.suppression("shop", "*", ERASED), b"", 0


def sent_after_its_erasure(book: Book) -> None:
    found = book.posted("m1", ERASED, B)
    book.erase(found, ERASED)
    done(book)
    book.claim(found)
    book.receive(found, "m1", ERASED, B)


def others_are_cancelled_too(book: Book) -> None:
    found = book.posted("m1", ERASED, B)
    before = book.records[found]
    transition = erase(before, ERASED, sending=(), now=book.now, size=before.size)
    recipients = tuple(replace(r, status="cancelled") for r in transition.email.recipients)
    email = replace(transition.email, recipients=recipients)
    book.change(replace(transition, email=email), before=before)


# --- daily limits and secrets ---


def accepted(book: Book, limit: int) -> None:
    """Two e-mails with three recipients, of a client with a limit."""
    client = Client("shop", "Shop", ("emails:send",), "", book.now, recipients_per_day=limit)
    book.write([(KEYS.client("shop"), codec.encode_state(client), 0)])
    for mark, addresses in (("m1", (B, C)), ("m2", (C,))):
        book.cancel(book.posted(mark, *addresses))


def limit_used_up(book: Book) -> None:
    accepted(book, 3)


def more_than_the_limit(book: Book) -> None:
    accepted(book, 2)


def tried(book: Book, statuses: Sequence[int], after: float) -> None:
    """All secrets are tried so many seconds after the newest was given; their graces are ten."""
    rotated = book.at
    for second in range(30):
        book.add(Reached(rotated + second - 5, rotated + second - 5.1, 0))
    book.later(after)
    for place, status in enumerate(statuses):
        book.add(SecretTried(book.at, book.at - 0.1, place, (rotated - 0.1, rotated), 10, status))


def secrets_as_promised(book: Book) -> None:
    tried(book, (200, 200, 200), 5)  # the answer of the one between may have been lost
    tried(book, (200, 401, 429), 15)


def changed_secret_is_not_known_yet(book: Book) -> None:
    tried(book, (401, 200, 200), 1)


def newest_secret_refused(book: Book) -> None:
    tried(book, (401,), 5)


def secret_refused_in_its_grace(book: Book) -> None:
    tried(book, (200, 401), 0.2)


def older_secret_refused_in_its_grace(book: Book) -> None:
    tried(book, (200, 200, 401), 5)


def secret_taken_after_its_grace(book: Book) -> None:
    tried(book, (200, 200), 15)


def older_secret_taken(book: Book) -> None:
    tried(book, (200, 401, 200), 15)


CLEAN: list[Happens] = [
    others_get_theirs,
    erased_when_final_then_retried,
    erased_while_its_worker_stalls,
    erased_in_the_log_only,
    deleted_as_a_whole,
    limit_used_up,
    secrets_as_promised,
    changed_secret_is_not_known_yet,
]
BROKEN: list[tuple[str, Happens]] = [
    ("one-log-entry", entry_changes_beside_the_erased_address),
    ("erased-is-gone", still_named_by_the_log),
    ("erased-is-gone", named_by_a_key_again),
    ("erased-is-gone", sent_after_its_erasure),
    ("cancelled-is-not-sent", sent_after_its_erasure),
    ("legal-transition", others_are_cancelled_too),
    ("daily-limit-holds", more_than_the_limit),
    ("old-secrets-end", newest_secret_refused),
    ("old-secrets-end", secret_refused_in_its_grace),
    ("old-secrets-end", older_secret_refused_in_its_grace),
    ("old-secrets-end", secret_taken_after_its_grace),
    ("old-secrets-end", older_secret_taken),
]
