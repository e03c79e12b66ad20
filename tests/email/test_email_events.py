"""The events of transitions: their types, the recipients they concern, their ids."""

from __future__ import annotations

from datetime import timedelta

import msgspec
import pytest
from msgspec.structs import replace

from babygun.email import lifecycle, tries, wide
from babygun.email.email_events import EmailEvent, bare, event_id, events_of, shortened
from babygun.email.events import EVENT_TYPES, EventType
from babygun.email.model import Email, as_json
from babygun.email.tries import RecipientResult
from tests.email.steps import (
    HARD,
    HELD,
    LATER,
    NOW,
    OK,
    SOFT,
    email,
    finish,
    result,
    schedule,
    submitted,
)


def _concerned(events: tuple[EmailEvent, ...]) -> dict[str, list[str]]:
    return {event.type: [r.email for r in event.data.recipients] for event in events}


def test_accept_gives_one_event_with_all_recipients_and_what_the_client_wrote() -> None:
    accepted = submitted(a=2, b=1, send_at=LATER)
    tagged = replace(accepted.email, tags=("order",), metadata={"order": "17"})
    (event,) = events_of(replace(accepted, email=tagged))
    assert (event.type, event.timestamp) == ("accepted", NOW)
    data = event.data
    assert data.event_id == "id-0000-accepted" and data.sequence == 0
    assert [r.email for r in data.recipients] == [
        "a0@example.com",
        "a1@example.com",
        "b0@example.com",
    ]
    assert data.tags == ("order",) and data.metadata == {"order": "17"}
    assert (data.send_at, data.request_id, data.client_id) == (LATER, "r1", "shop")


def test_accept_names_the_client_without_its_serial() -> None:
    accepted = submitted(a=1)
    (event,) = events_of(replace(accepted, email=replace(accepted.email, client_id="shop:0123")))
    assert event.data.client_id == "shop"


def test_try_with_mixed_results_gives_an_event_of_each_type() -> None:
    events = events_of(finish(email(a=4), "a", OK, SOFT, HARD, OK))
    assert _concerned(events) == {
        "delivered": ["a0@example.com", "a3@example.com"],
        "deferred": ["a1@example.com"],
        "bounced": ["a2@example.com"],
    }
    assert {event.data.sequence for event in events} == {1}
    assert {event.data.try_number for event in events} == {1}
    deferred, bounced = events[1].data, events[2].data
    assert deferred.not_before == LATER + timedelta(seconds=600) and not deferred.held
    assert bounced.not_before is None
    assert bounced.recipients[0].enhanced_code == "5.1.1"
    assert bounced.recipients[0].reply_class == "bad_mailbox"


def test_later_try_concerns_only_those_it_was_for() -> None:
    first = finish(email(a=2), "a", OK, SOFT)
    second = finish(first.email, "a", OK)
    (event,) = events_of(second)
    assert _concerned((event,)) == {"delivered": ["a1@example.com"]}
    assert event.data.event_id == "id-0002-delivered" and event.data.try_number == 2


def test_first_tries_that_end_the_email_give_events_though_the_record_is_their_entry() -> None:
    transition = finish(email(a=1), "a", OK)
    assert not transition.keyed
    assert _concerned(events_of(transition)) == {"delivered": ["a0@example.com"]}


def test_last_try_gives_an_expired_event() -> None:
    last = finish(finish(finish(email(a=1), "a", SOFT).email, "a", SOFT).email, "a", SOFT)
    assert _concerned(events_of(last)) == {"expired": ["a0@example.com"]}


def test_held_session_gives_a_deferred_event_that_says_so() -> None:
    (event,) = events_of(finish(email(a=1), "a", HELD))
    assert (event.type, event.data.held) == ("deferred", True)


def test_finish_of_one_queue_leaves_the_recipients_of_others_out() -> None:
    first = finish(email(a=1, b=1), "a", OK)
    second = finish(first.email, "b", HARD)
    assert _concerned(events_of(first)) == {"delivered": ["a0@example.com"]}
    assert _concerned(events_of(second)) == {"bounced": ["b0@example.com"]}


def test_end_of_an_email_gives_an_expired_event_for_those_not_reached_alone() -> None:
    tried = finish(email(a=2), "a", OK, SOFT).email
    outcome = RecipientResult("fail", "expired", reason="its end has come")
    ended = lifecycle.expire(tried, "a", sending=(), worker_id="w1", now=LATER, outcome=outcome)
    (event,) = events_of(ended)
    assert _concerned((event,)) == {"expired": ["a1@example.com"]}
    assert event.data.reason == "its end has come"


def test_cancel_and_retry_concern_those_they_stop_and_try_again() -> None:
    delivered = finish(email(a=1, b=1, c=1), "a", OK).email
    stopped = lifecycle.cancel(delivered, sending=["b"], now=LATER, request_id="r2")
    (event,) = events_of(stopped)
    assert _concerned((event,)) == {"cancelled": ["c0@example.com"]}
    assert event.data.request_id == "r2"
    ended = finish(stopped.email, "b", OK).email
    (again,) = events_of(lifecycle.retry(ended, now=LATER))
    assert _concerned((again,)) == {"retried": ["c0@example.com"]}
    assert again.data.event_id == "id-0004-retried"


def test_retry_of_an_end_that_the_record_held_does_not_repeat_its_events() -> None:
    failed = finish(email(a=1), "a", HARD).email
    retried = lifecycle.retry(failed, now=LATER)
    assert len(retried.keyed) == 2
    assert _concerned(events_of(retried)) == {"retried": ["a0@example.com"]}


def test_claim_that_is_taken_over_gives_no_event() -> None:
    taken = lifecycle.reclaim(email(a=1), "a", worker_id="w2", previous_worker_id="w1", now=LATER)
    assert events_of(taken) == ()


def _wide_email() -> Email:
    return wide.begun(email(**{f"q{n}": 1 for n in range(20)}))


def test_tries_of_a_wide_email_give_events_of_the_queues_at_hand() -> None:
    parts = wide.parts_of(_wide_email(), ("q1", "q2"))
    view = wide.with_parts(wide.record_of(_wide_email()), parts)
    results = [result("q1", view, OK), result("q2", view, HARD)]
    transition = tries.finish(view, results, now=LATER, schedule=schedule)
    assert _concerned(events_of(transition)) == {
        "delivered": ["q10@example.com"],
        "bounced": ["q20@example.com"],
    }


def test_wide_email_is_accepted_and_cancelled_with_the_recipients_at_hand() -> None:
    accepted = lifecycle.accept(_wide_email())
    assert len(_concerned(events_of(accepted))["accepted"]) == 20
    record = wide.record_of(_wide_email())
    for page in (("q1", "q2"), ("q3",)):
        view = wide.with_parts(record, wide.parts_of(_wide_email(), page))
        stopped = lifecycle.cancel(view, sending=(), now=LATER)
        assert _concerned(events_of(stopped)) == {
            "cancelled": [f"{queue}0@example.com" for queue in page]
        }
        record = wide.record_of(stopped.email)


def test_events_of_a_log_sort_as_the_log() -> None:
    assert event_id("id", 9, "bounced") < event_id("id", 10, "accepted")


def test_shortened_event_says_how_many_recipients_are_left_out() -> None:
    (event,) = events_of(submitted(a=5))
    short = shortened(shortened(event, 3), 1)
    assert [r.email for r in short.data.recipients] == ["a0@example.com"]
    assert short.data.recipients_omitted == 4
    assert bare(event).data.recipients_omitted == 5 and not bare(event).data.subject


def test_event_is_json_with_type_timestamp_and_data() -> None:
    (event,) = events_of(submitted(a=1))
    document = msgspec.json.decode(as_json(event))
    assert document.keys() == {"type", "timestamp", "data"}
    assert document["data"]["tags"] == [] and document["data"]["metadata"] == {}
    assert "try" not in document["data"]
    (tried,) = events_of(finish(email(a=1), "a", OK))
    assert msgspec.json.decode(as_json(tried))["data"]["try"] == 1


@pytest.mark.parametrize("type", EVENT_TYPES)
def test_event_types_have_a_meaning_each(type: EventType) -> None:
    assert EVENT_TYPES[type].endswith(".")
