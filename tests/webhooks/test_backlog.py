"""The notices that a lane knows: in order, bounded, none forgotten."""

from __future__ import annotations

import random

from babygun.store.webhooks.notices import StoredNotice
from babygun.webhooks.backlog import FEW, MOST, Backlog, Room


def stored(email: int, seq: int = 1, *, prefix: str = "ready", value: bytes = b"x") -> StoredNotice:
    event_id = f"{email:036d}-{seq:04x}-delivered"
    return StoredNotice(f"{prefix}/{event_id}".encode(), 1, event_id, value)


def filled(*notices: StoredNotice, room: Room | None = None) -> Backlog:
    """One that has read all there is."""
    backlog = Backlog(room or Room(1 << 30))
    backlog.begin_read()
    backlog.missed = False
    backlog.end_read(notices, more=False)
    return backlog


def test_notices_are_taken_in_their_order_and_one_of_an_email_at_a_time() -> None:
    first, second, other = stored(1, 1), stored(1, 2), stored(2, 1)
    backlog = filled(first, second, other)
    assert backlog.take() == first and backlog.take() == other and backlog.take() is None
    backlog.ended(first)
    assert backlog.take() == second


def test_notice_that_was_put_back_comes_first_again() -> None:
    first, second = stored(1), stored(2)
    backlog = filled(first, second)
    assert backlog.take() == first
    backlog.put_back(first)
    assert backlog.take() == first


def test_arrival_is_taken_in_while_all_is_known_and_left_to_a_read_otherwise() -> None:
    backlog = filled(stored(1))
    backlog.arrived(stored(2))
    assert len(backlog) == 2 and not backlog.more
    backlog.more = True
    backlog.arrived(stored(3))
    assert len(backlog) == 2 and backlog.missed


def test_arrival_during_a_read_comes_behind_what_the_read_finds() -> None:
    backlog = filled()
    backlog.begin_read()
    backlog.arrived(stored(3))
    backlog.end_read([stored(1), stored(2)], more=False)
    assert [backlog.take() for _ in range(3)] == [stored(1), stored(2), stored(3)]
    assert not backlog.more


def test_backlog_knows_no_more_than_its_most_and_reads_the_rest_later() -> None:
    backlog = filled()
    for email in range(MOST + 10):
        backlog.arrived(stored(email))
    assert len(backlog) == MOST and backlog.more and not backlog.is_low
    while backlog.take() is not None:
        pass
    assert backlog.is_low


def test_read_that_goes_on_behind_others_and_finds_nothing_is_followed_by_one_of_all() -> None:
    """What becomes ready in front of it, while the webhook is off, is found by that alone."""
    backlog = filled(stored(5))
    backlog.look_again()
    backlog.begin_read(from_first=False)
    backlog.end_read([], more=False)
    assert backlog.more and backlog.is_low
    backlog.begin_read()
    backlog.end_read([stored(5)], more=False)
    assert not backlog.is_low, "that one has brought nothing new, so there is no third"
    backlog.look_again()
    assert backlog.is_low


def test_read_says_how_much_of_it_had_room() -> None:
    backlog = filled()
    backlog.begin_read()
    assert backlog.end_read([stored(n) for n in range(MOST + 5)], more=False) == MOST
    assert backlog.more


def test_backlog_of_a_webhook_that_only_fails_forgets_all_but_a_few() -> None:
    room = Room(1 << 30)
    backlog = filled(*(stored(n, value=b"12345") for n in range(100)), room=room)
    backlog.limit(few=True)
    assert len(backlog) == FEW and backlog.more and room.used == 5 * FEW
    assert backlog.take() == stored(0, value=b"12345"), "the first ones stay"


def test_room_that_is_used_up_leaves_a_few_to_each() -> None:
    room = Room(50)
    filled(*(stored(n, value=b"1234567890") for n in range(5)), room=room)
    assert room.is_short
    other = filled(*(stored(n) for n in range(20)), room=room)
    assert len(other) == FEW and other.more


def test_event_that_is_replayed_while_it_is_sent_is_read_after_its_result_is_written() -> None:
    due = stored(1, prefix="due")
    backlog = filled(due)
    assert backlog.take() == due
    backlog.arrived(stored(1))
    assert backlog.more and backlog.missed
    backlog.begin_read()
    backlog.end_read([stored(1)], more=False)
    assert not backlog.is_low, "it would read the same again and again"
    backlog.ended(due)
    backlog.written(due)
    assert backlog.is_low and backlog.more
    backlog.begin_read()
    backlog.missed = False
    backlog.end_read([stored(1)], more=False)
    assert backlog.take() == stored(1) and not backlog.more


def test_notice_whose_result_is_written_during_a_read_is_not_taken_again() -> None:
    backlog = filled(stored(1))
    assert backlog.take() == stored(1)
    backlog.begin_read()
    backlog.ended(stored(1))
    backlog.written(stored(1))
    backlog.end_read([stored(1), stored(2)], more=False)
    assert backlog.take() == stored(2) and backlog.take() is None


def test_late_news_of_what_a_read_has_found_is_not_taken_again() -> None:
    backlog = filled(stored(1))
    backlog.read_at = 1
    assert backlog.take() == stored(1)
    backlog.ended(stored(1))
    backlog.written(stored(1))
    backlog.arrived(stored(1))
    assert backlog.take() is None and not backlog.more


def test_backlog_that_is_cleared_gives_its_memory_back() -> None:
    room = Room(100)
    backlog = filled(stored(1, 1), stored(1, 2), stored(2), room=room)
    backlog.take(), backlog.take()
    backlog.clear()
    assert room.used == 0 and backlog.take() is None


def test_every_notice_is_taken_whatever_arrives_and_fails_meanwhile() -> None:
    """Against a plain model of etcd: a set of keys, from which a read sees the first ones."""
    chance = random.Random(11)
    for _ in range(200):
        keys: dict[bytes, StoredNotice] = {}
        backlog, sent, flying = Backlog(Room(1 << 30)), set[str](), list[StoredNotice]()
        made = 0
        for step in range(600):
            action = chance.random()
            if action < 0.35 and step < 400:
                made += 1
                new = stored(chance.randint(1, 30), made)
                keys[new.key] = new
                backlog.arrived(new)
            elif action < 0.6 and backlog.is_low and backlog.more:
                found = sorted(keys.values())
                limit = chance.choice([3, 10]) + backlog.known
                backlog.missed = False
                backlog.begin_read()
                backlog.end_read(found[:limit], more=len(found) > limit)
            elif action < 0.8 and (one := backlog.take()) is not None:
                flying.append(one)
            elif flying:
                ended = flying.pop(chance.randrange(len(flying)))
                backlog.ended(ended)
                del keys[ended.key]
                backlog.written(ended)
                sent.add(ended.event_id)
        while keys:
            if (one := backlog.take()) is not None:
                flying.append(one)
            elif flying:
                ended = flying.pop()
                backlog.ended(ended)
                del keys[ended.key]
                backlog.written(ended)
                sent.add(ended.event_id)
            else:
                assert backlog.more and backlog.is_low, "something is forgotten"
                backlog.missed = False
                backlog.begin_read()
                backlog.end_read(sorted(keys.values()), more=False)
        assert len(sent) == made


def test_read_that_finds_only_what_was_written_meanwhile_is_followed_by_another() -> None:
    first, second = stored(1), stored(2)
    backlog = filled(first)
    assert backlog.take() == first
    backlog.more = True
    backlog.begin_read()
    backlog.ended(first)
    backlog.written(first)
    assert backlog.end_read([first], more=True) == 1
    assert backlog.more and backlog.is_low, "nothing else would begin a read"
    backlog.begin_read()
    backlog.end_read([second], more=False)
    assert backlog.take() == second
