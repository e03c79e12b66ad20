"""What one listener gets, and the ids that it can come back with. Pure: revisions are made up."""

from __future__ import annotations

import random
import re

import pytest

from babygun.api.live import listener as module
from babygun.api.live.event import Event
from babygun.api.live.listener import Listener
from babygun.store.changes.position import BEGINNING, Position


def event(
    email_id: str, records: int = 0, owners: int = 0, *, client_id: str = "c", size: int = 0
) -> Event:
    return Event(
        email_id,
        client_id,
        records,
        owners,
        f"{email_id}@{records}.{owners}{'x' * size} ".encode(),
    )


def listener(sent: tuple[int, int] = (10, 10)) -> Listener:
    made = Listener("c")
    made.sent = Position(*sent)
    return made


def events(data: bytes) -> list[tuple[str, str]]:
    """The data and the id of each; the id is empty where it has none."""
    found = []
    for block in data.decode().split("\n\n")[:-1]:
        value, at = re.search(r"^data: (\S*)", block, re.M), re.search(r"^id: (.*)$", block, re.M)
        found.append((value[1] if value else "", at[1] if at else ""))
    return found


def test_latest_state_of_each_email_is_sent_in_the_order_of_changes() -> None:
    mine = listener()
    for each in (event("a", 11), event("b", 12), event("a", 13)):
        mine.offer(each)
    assert events(mine.take(Position(13, 13))) == [("b@12.0", "12"), ("a@13.0", "13")]
    assert mine.take(Position(13, 13)) == b""


def test_what_was_sent_elsewhere_is_not_sent_again() -> None:
    mine = listener(Position(20, 15))
    mine.offer(event("a", 20))
    mine.offer(event("b", 0, 15))
    assert mine.take(Position(18, 18)) == b""
    mine.offer(event("c", 0, 19))
    assert events(mine.take(Position(19, 19))) == [("c@0.19", "20.19")]


def test_events_of_one_transaction_have_an_id_after_the_last_only() -> None:
    mine = listener()
    for each in (event("a", 11), event("b", 11), event("c", 12)):
        mine.offer(each)
    assert events(mine.take(Position(12, 12))) == [
        ("a@11.0", ""),
        ("b@11.0", "11"),
        ("c@12.0", "12"),
    ]


def test_emails_of_others_are_not_sent() -> None:
    mine = listener()
    mine.offer(event("a", 11, client_id="d"))
    assert mine.take(Position(11, 11)) == b""
    everybody = Listener(None, only="a")
    everybody.offer(event("a", 11, client_id="d"))
    everybody.offer(event("b", 12, client_id="d"))
    assert [data for data, _ in events(everybody.take(Position(12, 12)))] == ["a@11.0"]


@pytest.mark.parametrize(
    ("emails", "size"), [(module.MOST_PENDING + 1, 0), (5, module.MOST_BYTES // 4)]
)
def test_too_much_that_is_pending_becomes_a_reset(emails: int, size: int) -> None:
    mine = listener()
    for number in range(emails):
        mine.offer(event(f"e{number}", 11 + number, size=size))
    data = mine.take(Position(9999, 9999))
    assert events(data)[0] == ('{"reason":"fell-behind"}', "9999")
    assert len(data) < size + 1000


def test_what_was_caught_up_with_is_not_sent_again_by_the_hub() -> None:
    mine = listener()
    mine.catch_up([event("a", 11)])
    assert len(events(mine.take(Position(10, 10)))) == 1
    mine.offer(event("a", 11))
    assert mine.take(Position(11, 11)) == b""
    mine.offer(event("a", 11, 12))
    assert len(events(mine.take(Position(12, 12)))) == 1


def test_what_waits_is_taken_little_by_little(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_TAKEN", 200)
    mine = listener()
    for number in range(5):
        mine.offer(event(f"e{number}", 11 + number, size=110))
    found = []
    while mine.wake.is_set():
        mine.wake.clear()
        found.append(events(mine.take(Position(20, 20))))
    assert [len(part) for part in found] == [2, 2, 1]
    assert [at for part in found for _, at in part] == ["11", "12", "13", "14", "20"]


def test_events_that_wait_for_one_listener_alone_are_counted_until_it_has_them_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "MOST_TAKEN", 1)
    mine = listener()
    mine.catch_up([event("a", 11, size=100), event("b", 12, size=100)])
    assert mine.own_bytes > 200
    mine.take(Position(12, 12))
    assert mine.own_bytes > 200, "the second one waits"
    mine.take(Position(12, 12))
    assert mine.own_bytes == 0
    mine.catch_up([event("c", 13, size=module.MOST_BYTES)])
    assert mine.own_bytes == 0, "they were dropped for a reset"


@pytest.mark.parametrize("taken", [1, module.MOST_TAKEN])
def test_stream_that_breaks_off_behind_any_event_goes_on_without_gap_and_double(
    monkeypatch: pytest.MonkeyPatch, taken: int
) -> None:
    monkeypatch.setattr(module, "MOST_TAKEN", taken)
    for seed in range(50):
        every, heard, position = _stream(random.Random(seed))
        for stop in range(1, len(heard) + 1):
            last_id = next(at for _, at in reversed(heard[:stop]) if at)
            since = Position.parse(last_id)
            assert since is not None
            again = listener(since)
            for each in every:
                again.offer(each)
            rest = {_email(data) for data, _ in taken_from(again, position)}
            missed = {_email(data) for data, _ in heard[stop:]}
            assert rest >= missed, f"a gap (seed {seed})"
            # An id behind the last event says that the stream broke off between two transactions.
            assert rest == missed or not heard[stop - 1][1], f"a double (seed {seed})"


def taken_from(mine: Listener, position: Position) -> list[tuple[str, str]]:
    """All that waits."""
    found = []
    while data := mine.take(position):
        found += events(data)
    return found


def _email(data: str) -> str:
    return data.partition("@")[0]


def _stream(chance: random.Random) -> tuple[list[Event], list[tuple[str, str]], Position]:
    """Changes as two watches bring them to the hub, one sometimes late.

    Returns all of them, what one listener heard of them, and the last position.
    """
    waiting: dict[str, list[tuple[int, str]]] = {"records": [], "owners": []}
    seen = {"records": 10, "owners": 10}
    every: list[Event] = []
    mine, heard, position, revision = listener(), [("", "10")], Position(10, 10), 10
    for _ in range(60):
        for _ in range(chance.randrange(4)):
            revision += chance.randrange(1, 3)
            for email_id in chance.sample("abcdef", chance.randrange(1, 3)):
                for kind in chance.choice((["records"], ["owners"], ["records", "owners"])):
                    waiting[kind].append((revision, email_id))
        changes: dict[str, dict[str, int]] = {}
        for kind, queue in waiting.items():
            while queue and chance.random() < 0.8:
                at, _ = queue[0]
                for other in [each for each in queue if each[0] == at]:
                    queue.remove(other)
                    changes.setdefault(other[1], {})[kind] = at
                seen[kind] = at
        position = Position(seen["records"], seen["owners"])
        changed = sorted(
            (event(email_id, **change) for email_id, change in changes.items()),
            key=lambda each: each.latest,
        )
        every += changed
        for each in changed:
            mine.offer(each)
        if chance.random() < 0.6:
            heard += events(mine.take(position))
    heard += taken_from(mine, position)
    return every, heard, position


def test_beginning_is_before_everything() -> None:
    assert event("a", 1).is_new_at(BEGINNING) and event("a", 0, 1).is_new_at(BEGINNING)
