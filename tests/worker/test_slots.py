"""Slots: how many sends may run at once, in all and of each queue."""

from __future__ import annotations

from babygun.email.model import Job
from babygun.worker.slots import KEPT_QUEUES, Slots

SMALL = Job(size=1, recipients=1)


def slots_of(total: int, limits: dict[str, int], memory: int = 1 << 30) -> Slots:
    return Slots(total=total, memory=memory, queues=len(limits), limit=limits.__getitem__)


def may_start(slots: Slots, queue: str, job: Job = SMALL) -> bool:
    return slots.obstacle(queue, job) is None


def test_slots_of_hanging_queues_leave_each_other_queue_its_part() -> None:
    slots = slots_of(100, dict.fromkeys("abcde", 1000))
    held = 0
    for hanging in ("a", "b", "c", "d"):
        while may_start(slots, hanging):
            slots.start(hanging, SMALL)
            held += 1
    own = 0
    while may_start(slots, "e"):
        slots.start("e", SMALL)
        own += 1
    assert own == 10 and held + own == 100
    assert slots.full


def test_slots_of_a_single_queue_are_all_of_them_and_come_back() -> None:
    slots = slots_of(100, {"a": 1000})
    for _ in range(100):
        assert may_start(slots, "a") and not slots.full
        slots.start("a", SMALL)
    assert not may_start(slots, "a") and slots.full
    for _ in range(100):
        slots.end("a", SMALL)
    for _ in range(100):
        assert may_start(slots, "a")
        slots.start("a", SMALL)


def test_slots_bound_the_memory_but_let_one_large_email_go_beside_what_fits() -> None:
    slots = slots_of(10, {"a": 10}, memory=100)
    large, half = Job(size=1000, recipients=1), Job(size=60, recipients=1)
    slots.start("a", half)
    assert not may_start(slots, "a", half) and may_start(slots, "a", SMALL)
    assert may_start(slots, "a", large)
    slots.start("a", large)
    assert may_start(slots, "a", SMALL) and not may_start(slots, "a", large)
    slots.end("a", large)
    slots.end("a", half)
    assert may_start(slots, "a", half) and may_start(slots, "a", large)


def test_slots_of_a_queue_are_no_more_than_its_limit() -> None:
    slots = slots_of(100, {"a": 3, "b": 1000})
    for _ in range(3):
        assert may_start(slots, "a")
        slots.start("a", SMALL)
    assert slots.obstacle("a", SMALL) == "limit" and may_start(slots, "b")


def test_slots_of_many_known_queues_are_for_those_in_use() -> None:
    slots = Slots(total=1000, memory=1 << 30, queues=100_000, limit=lambda queue: 1000)
    held = 0
    while may_start(slots, "hangs"):
        slots.start("hangs", SMALL)
        held += 1
    assert held == 500 // KEPT_QUEUES + (1000 - 500 // KEPT_QUEUES * KEPT_QUEUES)
    # The others share what is left, however many they are.
    queues = [f"q{n}" for n in range(200)]
    for queue in queues:
        assert may_start(slots, queue)
        slots.start(queue, SMALL)
    started = sum(slots.in_use.values())
    assert started == held + 200 and not slots.full


def test_slots_of_more_queues_than_slots_are_never_more_than_all() -> None:
    slots = Slots(total=100, memory=1 << 30, queues=100_000, limit=lambda queue: 1000)
    started = 0
    for n in range(1000):
        if not slots.full and may_start(slots, f"q{n}"):
            slots.start(f"q{n}", SMALL)
            started += 1
    assert started == 100 and slots.full
    slots.end("q0", SMALL)
    assert not slots.full and may_start(slots, "q999") and "q0" not in slots.in_use
