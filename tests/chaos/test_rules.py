"""The rules, on histories written by hand: clean ones pass, and each rule finds its broken one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from msgspec import Raw
from msgspec.structs import replace

from babygun.email import lifecycle, wide
from babygun.email.edit import Edit, edit
from babygun.email.email_events import event_id
from babygun.email.transition import Transition
from babygun.email.tries import QueueResult, RecipientResult, finish
from babygun.routing.providers import Rate
from babygun.runtime.clock import utc_now
from babygun.store import codec
from babygun.store.keys import JobRef, NoticeRef
from babygun.store.records import Lowered, SomeLimits
from babygun.store.webhooks.records import SHORT_OF_ROOM, Notice
from scripts.chaos.history import (
    KEYS,
    Footprint,
    Gap,
    Greylisted,
    Healed,
    Injected,
    Leftovers,
    Linked,
    ProcessEnded,
    ProcessPaused,
    ProcessWoken,
    Reached,
)
from scripts.chaos.mail_hosts import FORBIDDEN, PROVIDER
from scripts.chaos.rules import all_rules
from scripts.chaos.rules.duplicates import (
    ENDED,
    LEASE_LOST,
    PAUSED,
    REPLY_CUT,
    REPLY_LATE,
    REPLY_LOST,
)
from tests.chaos import client_stories, domain_stories
from tests.chaos.book import BOUNCE, DEFER, DELIVER, HOLD, LEFT_OUT, LOST, Book, three_tries

A, B, C = "a@one.example", "b@one.example", "c@two.example"


@pytest.fixture
def book(tmp_path: Path) -> Iterator[Book]:
    with closing(Book(tmp_path)) as book:
        yield book


# --- clean stories ---


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


def _stalled(book: Book) -> str:
    """The first worker's lease runs out after the message was sent."""
    found = _sent_by_the_first(book)
    book.later(3)
    book.lose(found)
    return found


def stalled_result_counts(book: Book) -> None:
    """The lease ran out after the message was sent, and nobody has touched the queue since."""
    found = _stalled(book)
    book.later(1)
    book.finish(found, DELIVER)


def stalled_result_counts_after_another_stall(book: Book) -> None:
    """Another worker has claimed the job meanwhile, and lost it as well."""
    found = _stalled(book)
    book.claim(found, worker="w2")
    book.later(3)
    book.lose(found)
    book.finish(found, DELIVER)


def stalled_result_counts_after_a_hold(book: Book) -> None:
    """Another worker's session was refused meanwhile: it has sent nothing."""
    found = _stalled(book)
    book.claim(found, worker="w2")
    book.finish(found, HOLD, worker="w2")
    book.finish(found, DELIVER)


def stalled_result_overwrites_a_later_try(book: Book) -> None:
    """Another worker has tried it meanwhile, and it is due again."""
    found = _stalled(book)
    book.claim(found, worker="w2")
    book.finish(found, DEFER, worker="w2")
    book.due(found)
    book.finish(found, DELIVER)


def taken_over_from_a_killed_worker(book: Book) -> None:
    found = book.posted("m1", A)
    book.claim(found)
    book.receive(found, "m1", A)
    book.add(ProcessEnded(book.at, "worker", 1, 101, "SIGKILL"))
    book.later(4)
    book.lose(found)
    _taken_over(book, found)


def unanswered_post_is_stored(book: Book) -> None:
    mail = book.mail("m1", A)
    first = book.ask("send", mail, key="k")
    found = book.store("m1", A, key="k")
    book.answer(first, 0, problem="timed out")
    book.answer(book.ask("send", mail, key="k"), 202, found)
    book.claim(found)
    book.receive(found, "m1", A)
    book.finish(found, DELIVER)


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


def upload_given_up_ends_with_its_lease(book: Book) -> None:
    key = KEYS.chunk("x", 1)
    book.write([(key, b"", 55)])
    book.add(Leftovers(book.at, "after", (key,), {55: 1}, ()))


WEBHOOK = KEYS.client_webhooks("shop"), b"", 0
DEAD = RecipientResult("fail", "bad_mailbox", 550, "5.1.1")


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


def bounced_and_suppressed(book: Book) -> None:
    found = book.posted("m1", A)
    book.claim(found)
    book.revision -= 1  # the next two writes are one revision
    book.write([(KEYS.suppression("shop", "*", A), b"", 0)])
    book.finish(found, DEAD)


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


def edit_uses_up_a_try(book: Book) -> None:
    found, transition = waiting_and_edited(book)
    email = transition.email
    states = {"one": replace(email.queues["one"], tries=1)}
    changed = replace(transition, email=replace(email, queues=states))
    book.change(changed, before=book.records[found])


CLEAN = [
    edited_then_delivered,
    webhook_gets_every_event,
    event_is_given_up_for_room,
    upload_given_up_ends_with_its_lease,
    delivered,
    deferred_then_bounced,
    held_then_delivered,
    two_queues,
    cancelled_while_one_queue_is_sent,
    cancelled_then_retried,
    left_out_of_its_second_try,
    released_then_delivered,
    stalled_result_counts,
    stalled_result_counts_after_another_stall,
    stalled_result_counts_after_a_hold,
    taken_over_from_a_killed_worker,
    unanswered_post_is_stored,
    state_read_again_after_a_gap,
    *domain_stories.CLEAN,
    *client_stories.CLEAN,
]


@pytest.mark.parametrize("is_wide", [False, True], ids=["usual", "wide"])
@pytest.mark.parametrize("happens", CLEAN)
def test_rules_on_a_clean_story_find_nothing(
    book: Book, happens: Callable[[Book], None], is_wide: bool
) -> None:
    book.is_wide = is_wide
    happens(book)
    verdict = book.judged()
    assert verdict.clean, verdict.text()


# --- broken stories, each with the rule that finds it ---


def acknowledged_and_never_stored(book: Book) -> None:
    book.answer(book.ask("send", book.mail("m1", A)), 202, "0" * 8)


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


def result_under_anothers_claim(book: Book) -> None:
    found = book.posted("m1", A)
    book.claim(found, worker="w1")
    book.lose(found)
    book.claim(found, worker="w2")
    book.receive(found, "m1", A)
    book.finish(found, DELIVER, worker="w1")


def release_before_finish(book: Book) -> None:
    found = book.posted("m1", A)
    book.claim(found)
    book.receive(found, "m1", A)
    book.release(found)
    book.finish(found, DELIVER)


def claim_over_a_claim(book: Book) -> None:
    found = book.posted("m1", A)
    book.claim(found, worker="w1")
    book.claim(found, worker="w2")


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


def delivered_without_a_message(book: Book) -> None:
    found = book.posted("m1", A)
    book.claim(found)
    book.receive(found, "m1", A, committed=False)
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


def cancel_answered_and_not_made(book: Book) -> None:
    found = delivered(book)
    book.answer(book.ask("cancel", about=found), 200)


def key_stores_twice(book: Book) -> None:
    book.posted("m1", A, key="k")
    book.posted("m1", A, key="k")


def key_taken_for_another_request(book: Book) -> None:
    found = book.posted("m1", A, key="k")
    book.answer(book.ask("send", book.mail("m2", B), key="k"), 202, found)


def refused_and_stored(book: Book) -> None:
    number = book.ask("send", book.mail("m1", A))
    book.store("m1", A)
    book.answer(number, 503, problem="not-stored")


def second_copy_without_a_reason(book: Book) -> None:
    found = book.posted("m1", A)
    book.claim(found)
    book.receive(found, "m1", A)
    book.later(1)
    book.receive(found, "m1", A)
    book.finish(found, DELIVER)


def sent_without_a_claim(book: Book) -> None:
    found = book.posted("m1", A)
    book.claim(found)
    book.lose(found)
    book.later(5)
    book.receive(found, "m1", A)


def sent_early(book: Book) -> None:
    number = book.ask("send", book.mail("m1", A, send_at=60.0))
    found = book.store("m1", A, later=50)
    book.answer(number, 202, found)
    book.receive(found, "m1", A)


def taken_over_late(book: Book, *, after: float = 5.0) -> None:
    found = book.posted("m1", A)
    book.claim(found)
    book.add(ProcessEnded(book.at, "worker", 1, 101, "SIGKILL"))
    book.later(4)
    book.lose(found)
    book.later(after)
    book.claim(found, worker="w2")


def taken_over_late_behind_others(book: Book) -> None:
    """Too late for the five others of its queue that wait. Thirty more have ended before."""
    for number in range(30):
        other = book.posted(f"n{number}", A)
        book.claim(other)
        book.receive(other, f"n{number}", A)
        book.finish(other, DELIVER)
    for number in range(5):
        book.posted(f"w{number}", A)
    taken_over_late(book, after=2.2)


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


def third_connection_to_a_site_that_takes_two(book: Book) -> None:
    for number in range(3):
        book.add(Linked(book.at, PROVIDER, number, "open", 101))
        book.later(0.1)


def messages_faster_than_the_site_takes_them(book: Book) -> None:
    book.add(Linked(book.at, PROVIDER, 1, "open", 101))
    for _ in range(60):
        book.add(Linked(book.at, PROVIDER, 1, "mail", 101))
        book.later(0.15)


def private_address_dialled(book: Book) -> None:
    book.add(Linked(book.at, FORBIDDEN, 1, "open", 101))


def held_mail_claimed(book: Book) -> None:
    """The first claim is the probe, for which the hold is written."""
    for _ in range(2):
        book.write([(KEYS.hold("one"), b"{}", 99)])
    book.later(5)
    for mark in ("m1", "m2"):
        book.claim(book.posted(mark, A))


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


def greylisted_mail_comes_from_elsewhere(book: Book) -> None:
    for source in ("127.0.3.1", "127.0.3.2"):
        book.add(Greylisted(book.at, "mx1.tail.example", "grey.m@d1.tail.example", source))


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


def bounced_and_not_suppressed(book: Book) -> None:
    found = book.posted("m1", A)
    book.claim(found)
    book.finish(found, DEAD)


def accepted_though_suppressed(book: Book) -> None:
    book.write([(KEYS.suppression("shop", "*", A), b"", 0)])
    book.later(2)
    delivered(book)


BROKEN = [
    ("events-are-sent", webhook_misses_an_event),
    ("events-are-sent", webhook_gets_an_event_that_never_was),
    ("events-are-sent", webhook_gets_others_than_it_concerns),
    ("events-are-sent", event_left_behind),
    ("bounced-is-suppressed", bounced_and_not_suppressed),
    ("bounced-is-suppressed", accepted_though_suppressed),
    ("greylisted-comes-from-the-same-address", greylisted_mail_comes_from_elsewhere),
    ("lowered-limits-hold", lowered_limits_ignored),
    ("site-limits-hold", third_connection_to_a_site_that_takes_two),
    ("site-limits-hold", messages_faster_than_the_site_takes_them),
    ("never-dialled", private_address_dialled),
    ("held-mail-rests", held_mail_claimed),
    ("parts-are-counted", result_is_counted_by_a_record_that_has_changed),
    ("acknowledged-is-stored", acknowledged_and_never_stored),
    ("all-final", left_incomplete),
    ("all-final", record_of_an_incomplete_email_deleted),
    ("one-place", due_leaves_the_not_before_key),
    ("one-place", job_vanishes),
    ("only-owner-writes", result_under_anothers_claim),
    ("only-owner-writes", release_before_finish),
    ("only-owner-writes", claim_over_a_claim),
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
    ("sent-by-an-owner", sent_without_a_claim),
    ("not-before-its-time", sent_early),
    ("only-owner-writes", stalled_result_overwrites_a_later_try),
    ("recovers-in-time", taken_over_late),
    ("recovers-in-time", taken_over_late_behind_others),
    ("nothing-left-behind", job_left_behind),
    ("nothing-left-behind", leases_left_behind),
    ("nothing-left-behind", content_without_a_record),
    ("nothing-left-behind", descriptors_left_behind),
    *domain_stories.BROKEN,
    *client_stories.BROKEN,
]


@pytest.mark.parametrize("is_wide", [False, True], ids=["usual", "wide"])
@pytest.mark.parametrize(("rule", "happens"), BROKEN)
def test_rule_on_its_broken_story_finds_it(
    book: Book, rule: str, happens: Callable[[Book], None], is_wide: bool
) -> None:
    book.is_wide = is_wide
    happens(book)
    assert rule in book.broken()


def test_every_rule_has_a_broken_story() -> None:
    assert {rule.name for rule in all_rules()} == {name for name, _ in BROKEN}


# --- sites ---


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


# --- duplicates and their reasons ---


def _taken_over(book: Book, found: str) -> None:
    """The other worker sends a second copy."""
    book.claim(found, worker="w2")
    record = book.records[found]
    transition = lifecycle.reclaim(
        record, "one", worker_id="w2", previous_worker_id="w1", now=book.now
    )
    book.change(transition)
    book.receive(found, "m1", A)
    book.finish(found, DELIVER, worker="w2")


def _sent_by_the_first(book: Book) -> str:
    found = book.posted("m1", A)
    book.claim(found)
    book.receive(found, "m1", A)
    return found


def test_duplicate_after_a_kill_is_explained_by_it(book: Book) -> None:
    taken_over_from_a_killed_worker(book)
    verdict = book.judged()
    assert verdict.figures.duplicates == {ENDED: 1}
    assert verdict.figures.recovery is not None and 4 < verdict.figures.recovery < 6


def test_killed_workers_job_may_wait_for_its_turn_behind_others_of_its_queue(book: Book) -> None:
    for number in range(90):
        book.posted(f"n{number}", A)
    taken_over_late(book, after=3.0)
    assert "recovers-in-time" not in book.broken()


def test_duplicate_after_a_pause_past_the_lease_is_explained_by_it(book: Book) -> None:
    found = _sent_by_the_first(book)
    book.add(ProcessPaused(book.at, "worker", 1, 101))
    book.later(5)
    book.lose(found)
    _taken_over(book, found)
    book.add(ProcessWoken(book.at, "worker", 1, 101))
    assert book.judged().figures.duplicates == {PAUSED: 1}


@pytest.mark.parametrize(
    ("fault", "reason"),
    [("etcd-away", LEASE_LOST), ("relay-away", "unexplained"), ("", "unexplained")],
)
def test_duplicate_after_a_lost_lease_needs_a_fault_that_can_lose_it(
    book: Book, fault: str, reason: str
) -> None:
    found = _sent_by_the_first(book)
    if fault:
        book.add(Injected(book.at, 1, fault))
    book.later(5)
    book.lose(found)
    _taken_over(book, found)
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
    found = _sent_by_the_first(book)
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
