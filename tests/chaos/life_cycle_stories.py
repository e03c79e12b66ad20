"""Stories of what etcd holds of an e-mail: its record, log, jobs and content."""

from __future__ import annotations

from datetime import timedelta

from msgspec.structs import replace

from babygun.email import lifecycle, wide
from babygun.email.edit import Edit, edit
from babygun.email.transition import Transition
from babygun.email.tries import QueueResult, finish
from babygun.store import codec
from babygun.store.keys import JobRef
from scripts.chaos.history import KEYS, Gap
from tests.chaos.book import (
    BOUNCE,
    DEFER,
    DELIVER,
    HOLD,
    LEFT_OUT,
    A,
    B,
    Book,
    C,
    Happens,
    three_tries,
)


def delivered(book: Book) -> str:
    found = book.posted("m1", A)
    book.claim(found)
    book.receive(found, "m1", A)
    book.finish(found, DELIVER)
    return found


def deferred_then_bounced(book: Book) -> None:
    found = book.posted("m1", A)
    book.claim(found)
    book.receive(found, "m1", A, committed=False)
    book.finish(found, DEFER)
    book.due(found)
    book.claim(found, worker="w2")
    book.finish(found, BOUNCE, worker="w2")


def held_then_delivered(book: Book) -> None:
    found = book.posted("m1", A)
    book.claim(found)
    book.finish(found, HOLD)
    book.claim(found)
    book.receive(found, "m1", A)
    book.finish(found, DELIVER)


def two_queues(book: Book) -> None:
    found = book.posted("m1", A, B, C)
    book.claim(found, "one")
    book.claim(found, "two", "w2")
    book.receive(found, "m1", A, B)
    book.receive(found, "m1", C)
    book.finish(found, DELIVER, "two", "w2")
    book.finish(found, DELIVER, "one")


def cancelled_while_one_queue_is_sent(book: Book) -> None:
    found = book.posted("m1", A, C)
    book.claim(found, "two")
    number = book.ask("cancel", about=found)
    book.cancel(found, "two")
    book.answer(number, 200)
    book.receive(found, "m1", C)
    book.finish(found, DELIVER, "two")


def left_out_of_its_second_try(book: Book) -> None:
    found = book.posted("m1", A, C)
    book.claim(found)
    book.receive(found, "m1", A, committed=False)
    book.finish(found, DEFER)
    book.claim(found, "two")
    book.receive(found, "m1", C)
    book.finish(found, DELIVER, "two")
    book.due(found)
    book.claim(found)
    book.finish(found, LEFT_OUT)


def cancelled_then_retried(book: Book) -> None:
    found = book.posted("m1", A)
    book.cancel(found)
    record = book.records[found]
    book.later(2)
    book.change(lifecycle.retry(record, now=book.now), before=record)
    book.claim(found)
    book.receive(found, "m1", A)
    book.finish(found, DELIVER)


def released_then_delivered(book: Book) -> None:
    found = book.posted("m1", A)
    book.claim(found)
    book.release(found)
    book.claim(found, worker="w2")
    book.receive(found, "m1", A)
    book.finish(found, DELIVER, worker="w2")


def state_read_again_after_a_gap(book: Book) -> None:
    """Between acceptance and end the watch lost all revisions."""
    found = book.posted("m1", A)
    at, after = book.at, book.revision
    book.receive(found, "m1", A)
    book.add(Gap(at, after, after + 2))
    book.revision = after + 1
    book.claim(found)
    book.revision = after + 1
    book.finish(found, DELIVER)


def waiting_and_edited(book: Book) -> tuple[str, Transition]:
    number = book.ask("send", book.mail("m1", A))
    found = book.store("m1", A, later=5.0)
    book.answer(number, 202, found)
    wanted = Edit(book.now + timedelta(seconds=9), ("vip",))
    transition = edit(book.records[found], wanted, sending=(), now=book.now)
    assert transition is not None
    return found, transition


def edited_then_delivered(book: Book) -> None:
    found, transition = waiting_and_edited(book)
    book.change(transition, before=book.records[found])
    book.later(9.0)
    book.due(found)
    book.claim(found)
    tags = edit(book.records[found], Edit(tags=()), sending=("one",), now=book.now)
    assert tags is not None
    book.change(tags, before=book.records[found])
    book.receive(found, "m1", A)
    book.finish(found, DELIVER)


# --- broken ---


def left_incomplete(book: Book) -> None:
    book.posted("m1", A)


def record_of_an_incomplete_email_deleted(book: Book) -> None:
    found = book.posted("m1", A)
    keys = [KEYS.email(found), *(key for key in book.live if found.encode() in key)]
    book.write(gone=list(dict.fromkeys(keys)))


def due_leaves_the_not_before_key(book: Book) -> None:
    found = book.posted("m1", A)
    book.claim(found)
    book.finish(found, DEFER)
    book.due(found, leave=True)


def record_changed_without_a_log_entry(book: Book) -> None:
    found = book.posted("m1", A)
    book.edit(found, tries=1)


def log_entry_dropped(book: Book) -> None:
    found = book.posted("m1", A)
    book.claim(found)
    book.finish(found, DEFER)
    if book.is_wide:
        part = wide.parts_of(book.records[found])["one"]
        key = KEYS.part(JobRef(found, "one"))
        book.write([(key, codec.encode_state(replace(part, log=())), 0)])
    book.write(gone=[key for key in book.live if key.startswith(KEYS.logs)])


def result_of_one_queue_overwrites_another(book: Book) -> None:
    """Both were decided on the same record: a compare was left out."""
    found = book.posted("m1", A, C)
    book.claim(found, "one")
    book.claim(found, "two", "w2")
    stale = book.records[found]
    book.receive(found, "m1", A)
    book.finish(found, DELIVER, "one")
    book.records[found] = stale
    book.finish(found, DEFER, "two", "w2")


def result_is_counted_by_a_record_that_has_changed(book: Book) -> None:
    """The same of a wide e-mail: each part is right, and the record counts one result only."""
    book.is_wide = True
    result_of_one_queue_overwrites_another(book)


def bounced_becomes_delivered(book: Book) -> None:
    found = book.posted("m1", A, C)
    book.claim(found)
    book.finish(found, BOUNCE)
    record = book.records[found]
    recipients = [replace(record.recipients[0], status="delivered"), record.recipients[1]]
    book.edit(found, recipients=tuple(recipients), log_seq=record.log_seq + 1)


def hold_uses_up_a_try(book: Book) -> None:
    found = book.posted("m1", A)
    book.claim(found)
    record = book.records[found]
    result = QueueResult("one", "w1", book.now, {A: HOLD})
    held = finish(record, [result], now=book.now, schedule=three_tries)
    states = {"one": replace(held.email.queues["one"], tries=1)}
    book.change(
        replace(held, email=replace(held.email, queues=states)), gone=[book.owner_key(found)]
    )


def edit_uses_up_a_try(book: Book) -> None:
    found, transition = waiting_and_edited(book)
    email = transition.email
    states = {"one": replace(email.queues["one"], tries=1)}
    changed = replace(transition, email=replace(email, queues=states))
    book.change(changed, before=book.records[found])


def job_vanishes(book: Book) -> None:
    found = book.posted("m1", A)
    book.write(gone=[key for key in book.live if key.startswith(KEYS.jobs) and found])


def incomplete_on_a_lease(book: Book) -> None:
    found = book.posted("m1", A)
    book.claim(found)
    result = QueueResult("one", "w1", book.now, {A: DEFER})
    transition = finish(book.records[found], [result], now=book.now, schedule=three_tries)
    book.change(transition, gone=[book.owner_key(found)], lease=99)


def content_of_an_incomplete_email_deleted(book: Book) -> None:
    book.posted("m1", A)
    book.write(gone=[key for key in book.live if key.startswith(KEYS.contents)])


CLEAN: list[Happens] = [
    delivered,
    deferred_then_bounced,
    held_then_delivered,
    two_queues,
    cancelled_while_one_queue_is_sent,
    left_out_of_its_second_try,
    cancelled_then_retried,
    released_then_delivered,
    state_read_again_after_a_gap,
    edited_then_delivered,
]
BROKEN: list[tuple[str, Happens]] = [
    ("parts-are-counted", result_is_counted_by_a_record_that_has_changed),
    ("all-final", left_incomplete),
    ("all-final", record_of_an_incomplete_email_deleted),
    ("one-place", due_leaves_the_not_before_key),
    ("one-place", job_vanishes),
    ("one-log-entry", record_changed_without_a_log_entry),
    ("one-log-entry", log_entry_dropped),
    ("legal-transition", result_of_one_queue_overwrites_another),
    ("legal-transition", hold_uses_up_a_try),
    ("legal-transition", edit_uses_up_a_try),
    ("one-log-entry", bounced_becomes_delivered),
    ("keys-move", job_vanishes),
    ("keys-move", due_leaves_the_not_before_key),
    ("kept-until-final", incomplete_on_a_lease),
    ("kept-until-final", content_of_an_incomplete_email_deleted),
]
