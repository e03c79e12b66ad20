"""The plan of a run: pure, by its seed."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import pytest

from scripts.chaos.faults import all_faults
from scripts.chaos.plan import FIRST, LAST, TooShort, Turn, plan


@dataclass(frozen=True)
class Shape:
    name: str
    seconds: tuple[float, float] = (1.0, 3.0)
    touches: frozenset[str] = frozenset()
    alone: bool = False


def shapes(count: int, *touches: str) -> list[Shape]:
    return [Shape(f"fault-{n}", touches=frozenset(touches)) for n in range(count)]


def overlaps(turns: list[Turn]) -> list[tuple[Turn, Turn]]:
    return [
        (one, other)
        for place, one in enumerate(turns)
        for other in turns[place + 1 :]
        if one.at < other.heal_at and other.at < one.heal_at
    ]


def test_plan_of_the_same_seed_is_the_same() -> None:
    assert plan(7, 60, shapes(9)) == plan(7, 60, shapes(9))
    assert plan(7, 60, shapes(9)) != plan(8, 60, shapes(9))


@pytest.mark.parametrize("seed", range(5))
def test_plan_of_ten_minutes_has_every_fault_of_the_folder(seed: int) -> None:
    turns = plan(seed, 600, all_faults())
    assert {turn.fault for turn in turns} == {fault.name for fault in all_faults()}


def test_plan_of_a_long_run_repeats_faults() -> None:
    assert len(plan(1, 120, shapes(3))) > 6


def test_turns_heal_before_the_load_ends() -> None:
    turns = plan(3, 30, shapes(5))
    assert min(turn.at for turn in turns) == FIRST
    assert max(turn.heal_at for turn in turns) <= 30 - LAST


def test_faults_that_touch_the_same_part_never_overlap() -> None:
    assert not overlaps(plan(1, 300, shapes(9, "etcd")))


def test_fault_that_wants_to_be_alone_never_overlaps() -> None:
    lonely = [Shape("lonely", alone=True), Shape("other"), Shape("third")]
    met = overlaps(plan(1, 600, lonely))
    assert met
    assert all("lonely" not in (one.fault, other.fault) for one, other in met)


def test_plan_that_has_no_room_for_all_faults_says_how_long_is_enough() -> None:
    with pytest.raises(TooShort, match=r"10 s are too short for 9 faults\. 24 s are enough"):
        plan(1, 10, shapes(9, "etcd"))
    plan(1, 25, shapes(9, "etcd"))


def test_plan_without_faults_is_empty() -> None:
    assert plan(1, 60, []) == []


def test_plan_with_long_pauses_has_what_there_is_time_for() -> None:
    turns = plan(1, 120, shapes(30), pauses=(20.0, 40.0))
    assert 1 < len(turns) < 10
    for one, other in pairwise(turns):
        assert other.at < one.heal_at or other.at >= one.heal_at + 20
