"""What the mailbox does with mail to test addresses."""

from __future__ import annotations

import pytest

from babygun.dev.mailbox.behaviours import TABLE, Behaviour, Counts, behaviour_of


@pytest.mark.parametrize(
    ("address", "reply"),
    [
        ("bounce@any.test", "550 5.1.1"),
        ("Bounce+1@a.b.TEST", "550 5.1.1"),
        ("bounce@test", "550 5.1.1"),
        ("reject-421-4.7.0@any.test", "421 4.7.0"),
        ("reject-554@any.test", "554 5.0.0"),
        ("mailbox-full@any.test", "452 4.2.2"),
    ],
)
def test_address_is_refused_with_the_reply_that_its_name_says(address: str, reply: str) -> None:
    behaviour = behaviour_of(address)
    assert behaviour and behaviour.refusal.startswith(f"{reply} ") and not behaviour.times


def test_number_says_how_often_or_how_long() -> None:
    for name, times in (("defer", 1), ("defer-3", 3), ("defer-0", 1), ("defer-99", 60)):
        behaviour = behaviour_of(f"{name}@any.test")
        assert behaviour and behaviour.times == times
    for name, seconds in (("slow", 10), ("slow-0", 0), ("slow-3", 3)):
        assert behaviour_of(f"{name}@any.test") == Behaviour(seconds=seconds)


@pytest.mark.parametrize(
    "address",
    [
        "bounce@example.org",
        "bounce@any.test.example",
        "bounce@anytest",
        "reject-250@any.test",
        "reject-550-4.7@any.test",
        "ann@any.test",
        "",
    ],
)
def test_other_addresses_are_taken_as_usual(address: str) -> None:
    assert behaviour_of(address) is None


def test_every_address_of_the_table_does_something() -> None:
    assert all(behaviour_of(address) for address, _ in TABLE)


def test_refusals_are_counted_by_sender_and_address_until_it_is_taken() -> None:
    counts = Counts()
    assert [counts.refuses("a@example.com", "defer@any.test", 2) for _ in range(4)] == [
        True,
        True,
        False,
        True,
    ]
    assert counts.refuses("b@example.com", "defer@any.test", 2)
    assert all(counts.refuses("a@example.com", "full@any.test", 0) for _ in range(9))
