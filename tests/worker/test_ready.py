"""The worker's pure parts: whose turn it is, how many at once, and whose slice."""

from __future__ import annotations

import itertools

from babygun.email.model import Job
from babygun.intake.ids import new_email_id
from babygun.store.keys import JobRef
from babygun.worker.ready import ReadyJobs, Slots
from babygun.worker.slices import NOTHING, Slice, slice_of

SMALL = Job(size=1, recipients=1)


def always(queue: str, job: Job) -> bool:
    return True


def drain(ready: ReadyJobs) -> list[str]:
    taken = []
    while item := ready.take(always):
        taken.append(item[0].email_id)
    return taken


def test_ready_jobs_of_several_queues_take_turns() -> None:
    ready = ReadyJobs(100)
    for name in ("a1", "a2", "a3", "b1", "c1", "c2"):
        ready.add(JobRef(name, name[0]), SMALL)
    assert drain(ready) == ["a1", "b1", "c1", "a2", "c2", "a3"]
    assert not ready and not ready.queues()


def test_ready_job_known_already_is_not_added_twice() -> None:
    ready = ReadyJobs(100)
    assert ready.add(JobRef("x", "a"), SMALL) and ready.add(JobRef("x", "a"), SMALL)
    assert drain(ready) == ["x"]


def test_ready_queue_that_is_full_is_truncated_and_others_are_not() -> None:
    ready = ReadyJobs(2)
    assert [ready.add(JobRef(f"a{n}", "a"), SMALL) for n in range(3)] == [True, True, False]
    assert ready.add(JobRef("b", "b"), SMALL)
    assert ready.truncated == {"a"} and len(ready) == 3


def test_ready_queue_that_may_not_start_is_passed_over() -> None:
    ready = ReadyJobs(10)
    ready.add(JobRef("a1", "a"), SMALL)
    ready.add(JobRef("b1", "b"), SMALL)
    taken = ready.take(lambda queue, job: queue == "b")
    assert taken and taken[0].email_id == "b1"
    assert ready.take(lambda queue, job: queue == "b") is None and ready.count("a") == 1


def test_slots_of_hanging_queues_leave_each_other_queue_its_part() -> None:
    slots = Slots(total=100, memory=1 << 30, limits=dict.fromkeys("abcde", 1000))
    held = 0
    for hanging in ("a", "b", "c", "d"):
        while slots.may_start(hanging, SMALL):
            slots.start(hanging, SMALL)
            held += 1
    own = 0
    while slots.may_start("e", SMALL):
        slots.start("e", SMALL)
        own += 1
    assert own == 10 and held + own == 100


def test_slots_of_a_single_queue_are_all_of_them_and_come_back() -> None:
    slots = Slots(total=100, memory=1 << 30, limits={"a": 1000})
    for _ in range(100):
        assert slots.may_start("a", SMALL)
        slots.start("a", SMALL)
    assert not slots.may_start("a", SMALL)
    for _ in range(100):
        slots.end("a", SMALL)
    for _ in range(100):
        assert slots.may_start("a", SMALL)
        slots.start("a", SMALL)


def test_slots_bound_the_memory_but_let_one_large_email_go_beside_what_fits() -> None:
    slots = Slots(total=10, memory=100, limits={"a": 10})
    large, half = Job(size=1000, recipients=1), Job(size=60, recipients=1)
    slots.start("a", half)
    assert not slots.may_start("a", half) and slots.may_start("a", SMALL)
    assert slots.may_start("a", large)
    slots.start("a", large)
    assert slots.may_start("a", SMALL) and not slots.may_start("a", large)
    slots.end("a", large)
    slots.end("a", half)
    assert slots.may_start("a", half) and slots.may_start("a", large)


def test_slots_of_a_queue_are_no_more_than_its_limit() -> None:
    slots = Slots(total=100, memory=1 << 30, limits={"a": 3, "b": 1000})
    for _ in range(3):
        assert slots.may_start("a", SMALL)
        slots.start("a", SMALL)
    assert not slots.may_start("a", SMALL) and slots.may_start("b", SMALL)


def test_slices_of_live_workers_cover_all_shards_once() -> None:
    for n in (1, 2, 3, 7, 256):
        live = {f"w{k:03d}" for k in range(n)}
        slices = [slice_of(worker, live) for worker in sorted(live)]
        assert slices[0].first == 0 and slices[-1].end == 256
        assert all(a.end == b.first for a, b in itertools.pairwise(slices))


def test_slice_of_a_worker_that_is_not_registered_is_nothing() -> None:
    assert slice_of("ghost", {"w1"}) == NOTHING and not NOTHING.holds(new_email_id())


def test_slice_with_more_workers_than_shards_leaves_some_idle() -> None:
    live = {f"w{k:03d}" for k in range(300)}
    assert sum(part.end - part.first for part in (slice_of(w, live) for w in live)) == 256


def test_slice_holds_the_ids_of_its_shards() -> None:
    assert Slice(0x80, 0x90).holds("01a21000-1b9b-7058-a863-be5a676c7d85") and not Slice(
        0, 0x80
    ).holds("01a21000-1b9b-7058-a863-be5a676c7d85")
