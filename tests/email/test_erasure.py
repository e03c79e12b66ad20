"""What erasing a recipient makes of each state of an e-mail to several."""

from __future__ import annotations

import pytest
from msgspec import structs

from babygun.email import erasure, lifecycle, wide
from babygun.email.email_events import events_of
from babygun.email.erasure import MARK, erase, is_alone, marking, without_recipient
from babygun.email.events import EVENTS
from babygun.email.model import Email, as_json
from babygun.email.transition import Transition
from babygun.errors import Conflict
from tests.email.steps import HARD, LATER, OK, SOFT, email, finish

ANN = "a0@example.com"


def erased(before: Email, mailbox: str = ANN, sending: frozenset[str] = frozenset()) -> Transition:
    transition = erase(
        before, mailbox, sending=sending, now=LATER, size=7, client_id="admin", request_id="r9"
    )
    after, entry = transition.email, transition.entry
    assert mailbox.encode() not in as_json(after) + as_json(transition.keyed)
    assert entry.event == "erased" and entry.seq == after.log_seq == before.log_seq + 1
    filled = {n for n, value in structs.asdict(entry).items() if value not in (None, (), False)}
    assert filled - {"seq", "at", "event"} <= set(EVENTS["erased"].holds)
    others = [r for r in before.recipients if r.email != mailbox and not r.erased_at]
    assert [r for r in after.recipients if not r.erased_at] == others, "others stay as they are"
    assert after.size == 7 and after.updated_at == entry.at > before.updated_at
    for queue, state in after.queues.items():
        assert state.final == all(r.final for r in after.recipients if r.queue == queue)
    return transition


@pytest.mark.parametrize(
    ("before", "status", "of_email", "ends"),
    [
        (email(a=2), "cancelled", "incomplete", ()),
        (email(a=1, b=1), "cancelled", "incomplete", ("a",)),
        (finish(email(a=2), "a", SOFT, SOFT).email, "cancelled", "incomplete", ()),
        (finish(email(a=2), "a", OK, SOFT).email, "delivered", "incomplete", ()),
        (finish(email(a=2), "a", SOFT, OK).email, "cancelled", "cancelled", ("a",)),
        (finish(email(a=2), "a", OK, HARD).email, "delivered", "failed", ()),
        (finish(email(a=2), "a", HARD, OK).email, "bounced", "failed", ()),
    ],
    ids=["pending", "alone in its queue", "deferred", "delivered", "last", "final", "bounced"],
)
def test_erased_recipient_is_a_mark_and_is_cancelled_if_it_was_not_final(
    before: Email, status: str, of_email: str, ends: tuple[str, ...]
) -> None:
    transition = erased(before)
    (one,) = [r for r in transition.email.recipients if r.erased_at]
    assert (one.email, one.status, transition.email.status) == (MARK, status, of_email)
    assert transition.final == ends and not transition.ready and not transition.waiting
    (event,) = events_of(transition) or (None,)
    assert (event is not None) == (status == "cancelled")
    if event is not None:
        assert event.type == "cancelled" and [r.email for r in event.data.recipients] == [MARK]
    with pytest.raises(Conflict):
        erased(transition.email)


def test_recipient_whose_queue_is_being_sent_is_not_erased_yet() -> None:
    with pytest.raises(Conflict, match="is being sent to this address"):
        erased(email(a=2), sending=frozenset({"a"}))
    erased(email(a=1, b=1), sending=frozenset({"b"}))


def test_erased_recipient_is_not_tried_again() -> None:
    after = erased(finish(email(a=2), "a", HARD, HARD).email).email
    again = lifecycle.retry(after, now=LATER)
    assert [r.status for r in again.email.recipients] == ["bounced", "pending"]
    alone = erased(erased(finish(email(a=2), "a", HARD, HARD).email).email, "a1@example.com").email
    with pytest.raises(Conflict, match="suppressed or erased"):
        lifecycle.retry(alone, now=LATER)


def test_end_that_the_record_held_gets_a_key_without_the_address() -> None:
    transition = erased(finish(email(a=2), "a", OK, HARD).email)
    end, _ = transition.keyed
    assert [r.email for r in end.attempts[0].replies] == [MARK, "a1@example.com"]
    assert transition.email.claimed_at == {}


def test_wide_email_counts_what_its_parts_are_after_an_erasure() -> None:
    view = wide.begun(email(**{f"q{n}": 1 for n in range(17)}))
    record = wide.record_of(view)
    part = wide.with_parts(record, wide.parts_of(view, {"q0"}))
    transition = erased(part, "q00@example.com")
    assert transition.email.wide is not None and transition.email.wide.first == MARK
    parts = {**wide.parts_of(view), **wide.parts_of(transition.email, transition.changed)}
    assert wide.is_whole(wide.with_parts(wide.record_of(transition.email), parts))
    assert parts["q0"].log[-1].event == "erased" and not parts["q1"].log


def test_texts_of_servers_and_clients_lose_the_address_in_any_case() -> None:
    reply = structs.replace(HARD, reason=f"<{ANN.upper()}> unknown; not x{ANN}, {ANN}.org")
    before = structs.replace(
        finish(email(a=2), "a", reply, OK).email,
        subject=f"For {ANN}",
        metadata={"to": ANN, ANN: "x"},
        sender=ANN,
    )
    after = erase(before, ANN, sending=(), now=LATER, size=7).email
    assert after.recipients[0].status_reason == f"<{MARK}> unknown; not x{ANN}, {ANN}.org"
    assert after.subject == f"For {MARK}" and after.metadata == {"to": MARK, MARK: "x"}
    assert after.sender == ANN, "mail would come back to nobody"


def test_addresses_of_one_mailbox_are_one_person() -> None:
    found = erasure.recipient_of(
        structs.replace(
            email(a=1),
            recipients=(structs.replace(email(a=1).recipients[0], email="Zoë@BÜCHER.example"),),
        ),
        "zoë@xn--bcher-kva.example",
    )
    assert found is not None
    texts = ["Ann <A0@example.com>", "b@example.com", "not an address"]
    assert without_recipient(texts, ANN) == texts[1:]
    assert marking([ANN])(f"{ANN}, b{ANN}") == f"{MARK}, b{ANN}"


def test_email_is_for_nobody_else_if_the_others_are_erased() -> None:
    assert is_alone(email(a=1), ANN) and not is_alone(email(a=2), ANN)
    assert is_alone(erased(email(a=2), "a1@example.com").email, ANN)
