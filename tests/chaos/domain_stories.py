"""Stories of held domains, of what comes back, and of TLS policies, for the tests of the rules."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from babygun.email import late
from babygun.email.bounces import Bounce, Complaint
from babygun.email.return_path import local_part, of_queue, of_recipient
from babygun.email.sending_domains import Selector, SendingDomain
from babygun.email.tries import QueueResult, finish
from babygun.routing.sts import StsPolicy
from babygun.store import codec
from babygun.store.tls_policies.known import StoredPolicy
from scripts.chaos.history import KEYS, Reached, Reported, Returned
from scripts.chaos.mail_hosts import CEILING, NEW_SOURCE, TAIL_DOMAINS
from tests.chaos.book import DEFER, DELIVER, Book, Happens, three_tries

A, B = "a@two.example", "b@two.example"
HELD = "held0.example"
SIGNED = {"signatures": 1, "signed": (HELD,)}
_SECRET = b"k" * 32
_BOUNCE = Bounce(status_code=550, enhanced_code="5.2.1", reason="no")


def held_domain(book: Book) -> None:
    """A domain that signs is there, and mail comes from it."""
    selector = Selector("s1", "rsa2048", "", "signing", book.now, book.now, book.now)
    domain = SendingDomain(HELD, ("shop",), book.now, book.now, (selector,))
    book.write([(KEYS.domain(HELD), codec.encode_state(domain), 0)])
    book.later(2)
    book.sender = f"me@news.{HELD}"


def path_of(found: str, address: str, *, queue: str = "") -> str:
    path = of_queue(found, queue, 0, "shop") if queue else of_recipient(found, address, 0, "shop")
    return f"{local_part(path, _SECRET)}@bounces.{HELD}"


def received(book: Book, *addresses: str, **more: Any) -> str:
    """A message of the domain is delivered, as it should be but for ``more``; the e-mail's id."""
    held_domain(book)
    found = book.posted("m1", *addresses)
    book.claim(found, "two")
    for address in addresses:
        fields = {"sender": path_of(found, address), **SIGNED, **more}
        book.receive(found, "m1", address, relay="two", **fields)
    book.finish(found, DELIVER, "two")
    return found


def comes_back(
    book: Book,
    found: str,
    kind: Any = "bounce",
    reply: str = "250 OK",
    *,
    address: str = A,
    forged: bool = False,
) -> None:
    path = path_of(found, address)
    book.later(0.3)
    book.add(Returned(book.at, book.at - 0.2, kind, path, found, address, path, forged, reply))


def bounces_late(book: Book, found: str) -> None:
    email = book.records[found]
    book.change(late.bounce(email, email.recipients[0], _BOUNCE, now=book.now), before=email)


def signed_and_returned(book: Book) -> None:
    found = received(book, A)
    comes_back(book, found, reply="451 later")
    comes_back(book, found, reply="")
    bounces_late(book, found)
    comes_back(book, found)
    comes_back(book, found, forged=True, reply="550 nobody")


def complained(book: Book) -> None:
    found = received(book, A)
    comes_back(book, found, "complaint", reply="")
    email = book.records[found]
    complaint = late.complain(
        email, email.recipients[0], Complaint(), now=book.now, suppression=None
    )
    book.change(complaint, before=email)
    comes_back(book, found, "complaint")


def returned_after_deletion(book: Book) -> None:
    """The store was full: the record went before its time. The server gave up once."""
    found = received_and_deleted(book, A)
    comes_back(book, found, reply="")
    book.notified(found, 0, "bounced", A, status=503)
    book.notified(found, 0, "bounced", A)
    comes_back(book, found)
    comes_back(book, found, "complaint")
    book.notified(found, 0, "complained")  # the message names an address that is not ours


def received_and_deleted(book: Book, *addresses: str) -> str:
    book.write([(KEYS.client_webhooks("shop"), b"", 0)])
    found = received(book, *addresses)
    book.notified(found, 0, "accepted", *addresses)
    book.notified(found, 1, "delivered", *addresses)
    book.delete(found)
    book.later(2)
    return found


def event_after_deletion_of_nothing(book: Book) -> None:
    found = received_and_deleted(book, A)
    book.notified(found, 0, "complained", A)


def event_after_deletion_of_a_forged_message(book: Book) -> None:
    found = received_and_deleted(book, A)
    comes_back(book, found, forged=True, reply="550 nobody")
    book.notified(found, 0, "bounced", A)


def event_after_deletion_names_another(book: Book) -> None:
    found = received_and_deleted(book, A)
    comes_back(book, found)
    book.notified(found, 0, "bounced", A)
    book.notified(found, 0, "bounced", B)


def event_without_an_entry_while_the_record_is_there(book: Book) -> None:
    book.write([(KEYS.client_webhooks("shop"), b"", 0)])
    signed_and_returned(book)
    found = next(iter(book.records))
    for sequence, type in ((0, "accepted"), (1, "delivered"), (2, "bounced"), (0, "bounced")):
        book.notified(found, sequence, type, A)


def returned_after_deletion_without_an_event(book: Book) -> None:
    found = received_and_deleted(book, A)
    comes_back(book, found)
    book.notified(found, 0, "bounced", A, status=503)


def two_returned_after_deletion_with_one_event(book: Book) -> None:
    found = received_and_deleted(book, A, B)
    for address in (A, B):
        comes_back(book, found, address=address)
    book.notified(found, 0, "bounced", A)
    book.notified(found, 0, "bounced", A)


def stalled_result_counts_after_a_complaint(book: Book) -> None:
    """The lease ran out after the message was sent, and the recipient has complained meanwhile."""
    held_domain(book)
    found = book.posted("m1", A)
    book.claim(found, "two")
    book.receive(found, "m1", A, relay="two", sender=path_of(found, A), **SIGNED)
    comes_back(book, found, "complaint", reply="")
    email = book.records[found]
    complaint = late.complain(
        email, email.recipients[0], Complaint(), now=book.now, suppression=None
    )
    book.change(complaint, before=email)
    book.later(3)
    book.lose(found, "two")
    book.finish(found, DELIVER, "two")


def sent_in_rounds(book: Book) -> None:
    """Each recipient gets a copy. The first round has one of two."""
    held_domain(book)
    found = book.posted("m1", A, B)
    for address in (A, B):
        book.claim(found, "two")
        round_of(book, found, address)


def stalled_result_counts_after_a_late_bounce(book: Book) -> None:
    """The lease ran out in the second round. A recipient of the first one has bounced meanwhile."""
    held_domain(book)
    found = book.posted("m1", A, B)
    book.claim(found, "two")
    round_of(book, found, A)
    book.claim(found, "two")
    comes_back(book, found, reply="")
    bounces_late(book, found)
    book.later(3)
    book.lose(found, "two")
    round_of(book, found, B)


def round_of(book: Book, found: str, address: str) -> None:
    """One recipient gets the message, and that is written."""
    fields = {"sender": path_of(found, address), **SIGNED}
    book.receive(found, "m1", address, relay="two", **fields)
    result = QueueResult("two", "w1", book.now, {address: DELIVER}, in_rounds=True)
    transition = finish(book.records[found], [result], now=book.now, schedule=three_tries)
    book.change(transition, gone=[book.owner_key(found, "two")])


def unsigned(book: Book) -> None:
    received(book, A, signatures=0, signed=())


def signature_that_does_not_fit(book: Book) -> None:
    received(book, A, signed=())


def signed_by_another_domain(book: Book) -> None:
    received(book, A, signed=("held1.example",))


def without_its_return_path(book: Book) -> None:
    received(book, A, sender=f"me@{HELD}")


def with_the_return_path_of_another(book: Book) -> None:
    received(book, A, sender=path_of("0" * 8 + "-0000-7000-8000-" + "0" * 12, B))


def accepted_and_not_written(book: Book) -> None:
    comes_back(book, received(book, A))


def accepted_before_it_is_written(book: Book) -> None:
    found = received(book, A)
    comes_back(book, found)
    book.later(1)
    book.add(Reached(book.at, book.at - 0.1, book.revision))
    bounces_late(book, found)


def complaint_accepted_and_not_written(book: Book) -> None:
    comes_back(book, received(book, A), "complaint")


def refused_for_good(book: Book) -> None:
    comes_back(book, received(book, A), reply="550 nobody")


def forged_and_accepted(book: Book) -> None:
    comes_back(book, received(book, A), forged=True)


def bounces_by_nothing(book: Book) -> None:
    bounces_late(book, received(book, A))


def bounces_by_a_forged_message(book: Book) -> None:
    found = received(book, A)
    comes_back(book, found, forged=True, reply="550 nobody")
    bounces_late(book, found)


def other_recipient_bounces(book: Book) -> None:
    found = received(book, B, A)
    comes_back(book, found, reply="")
    bounces_late(book, found)


def plain_text(book: Book) -> None:
    stored = StoredPolicy(
        domain="two.example",
        id="a1",
        policy=StsPolicy("enforce", ("mx.two.example",), 86400),
        fetched_at=book.now,
        until=book.now + timedelta(days=1),
        used_at=book.now,
    )
    book.write([(KEYS.tls_policy(stored.domain), codec.encode_state(stored), 0)])
    book.later(60)
    found = book.posted("m1", A)
    book.claim(found, "two")
    book.receive(found, "m1", A, tls=True)
    book.finish(found, DEFER, "two")
    book.receive(found, "m1", A)


def above_the_ceiling(book: Book) -> None:
    for number in range(CEILING + 1):
        address = f"ok.m{number}@{TAIL_DOMAINS[0]}"
        found = book.posted(f"m{number}", address)
        book.claim(found, "d0")
        book.receive(found, f"m{number}", address, relay="mx0.tail.example", source=NEW_SOURCE)
        book.finish(found, DELIVER, "d0")


def reported(book: Book, report_id: str = "r1", sessions: int = 6, status: int = 201) -> None:
    book.later(1)
    day = "2026-11-29T00:00:00Z"
    book.add(Reported(book.at, report_id, "p0.policy.example", day, sessions, status))


def reported_once(book: Book) -> None:
    reported(book, status=503)
    reported(book)


def two_reports_of_a_day(book: Book) -> None:
    reported(book)
    reported(book, "r2")


def report_sent_twice(book: Book) -> None:
    reported(book)
    reported(book)


def report_of_one_worker_only(book: Book) -> None:
    reported(book, sessions=3)


CLEAN: list[Happens] = [
    signed_and_returned,
    complained,
    stalled_result_counts_after_a_complaint,
    returned_after_deletion,
    sent_in_rounds,
    stalled_result_counts_after_a_late_bounce,
    reported_once,
]
BROKEN: list[tuple[str, Happens]] = [
    ("held-is-signed", unsigned),
    ("held-is-signed", signature_that_does_not_fit),
    ("held-is-signed", signed_by_another_domain),
    ("return-path-names-its-mail", without_its_return_path),
    ("return-path-names-its-mail", with_the_return_path_of_another),
    ("what-comes-back-counts", accepted_and_not_written),
    ("what-comes-back-counts", accepted_before_it_is_written),
    ("what-comes-back-counts", complaint_accepted_and_not_written),
    ("what-comes-back-counts", refused_for_good),
    ("only-its-own-comes-back", forged_and_accepted),
    ("only-its-own-comes-back", bounces_by_nothing),
    ("only-its-own-comes-back", bounces_by_a_forged_message),
    ("only-its-own-comes-back", other_recipient_bounces),
    ("events-after-deletion", event_after_deletion_of_nothing),
    ("events-after-deletion", event_after_deletion_of_a_forged_message),
    ("events-after-deletion", event_after_deletion_names_another),
    ("events-after-deletion", event_without_an_entry_while_the_record_is_there),
    ("events-after-deletion", returned_after_deletion_without_an_event),
    ("events-after-deletion", two_returned_after_deletion_with_one_event),
    ("never-plain-under-enforce", plain_text),
    ("warm-up-ceilings-hold", above_the_ceiling),
    ("tls-report-is-made-once", two_reports_of_a_day),
    ("tls-report-is-made-once", report_sent_twice),
    ("tls-report-is-made-once", report_of_one_worker_only),
]
