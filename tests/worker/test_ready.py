"""Ready jobs: whose turn it is, and what is known of each queue."""

from __future__ import annotations

import pytest

from babygun.email.model import Job
from babygun.store.keys import JobRef
from babygun.worker.ready import ReadyJobs
from babygun.worker.slots import Obstacle, Slots

SMALL = Job(size=1, recipients=1)


def nothing(queue: str, job: Job) -> Obstacle | None:
    return None


def drain(ready: ReadyJobs) -> list[str]:
    taken = []
    while item := ready.take(nothing):
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


@pytest.mark.parametrize("kind", ["limit", "share", "memory"])
def test_ready_queue_that_may_not_start_is_passed_over(kind: Obstacle) -> None:
    ready = ReadyJobs(10)
    ready.add(JobRef("a1", "a"), SMALL)
    ready.add(JobRef("b1", "b"), SMALL)
    taken = ready.take(lambda queue, job: None if queue == "b" else kind)
    assert taken and taken[0].email_id == "b1"
    assert (
        ready.take(lambda queue, job: None if queue == "b" else kind) is None
        and ready.count("a") == 1
    )


def test_ready_queue_at_its_limit_is_asked_again_when_a_job_of_it_has_ended() -> None:
    ready = ReadyJobs(10)
    ready.add(JobRef("a1", "a"), SMALL)
    assert ready.take(lambda queue, job: "limit") is None
    assert ready.take(nothing) is None, "nothing of this queue has ended"
    ready.ask_again("a")
    assert drain(ready) == ["a1"]


def test_ready_queues_that_wait_for_memory_or_a_share_go_first_and_in_order() -> None:
    ready = ReadyJobs(10)
    for name in ("a1", "b1", "c1"):
        ready.add(JobRef(name, name[0]), SMALL)
    kinds: dict[str, Obstacle] = {"a": "share", "b": "memory", "c": "memory"}
    assert ready.take(lambda queue, job: kinds[queue]) is None
    ready.add(JobRef("d1", "d"), SMALL)
    assert drain(ready) == ["a1", "b1", "c1", "d1"]


def test_ready_queue_whose_obstacle_changes_does_not_hold_up_those_behind_it() -> None:
    ready = ReadyJobs(10)
    for name in ("a1", "b1"):
        ready.add(JobRef(name, name[0]), SMALL)
    assert ready.take(lambda queue, job: "memory") is None
    now: dict[str, Obstacle | None] = {"a": "share", "b": None}
    taken = ready.take(lambda queue, job: now[queue])
    assert taken and taken[0].email_id == "b1"


def test_ready_truncated_queue_is_to_be_read_on_when_few_names_are_left() -> None:
    ready = ReadyJobs(8)
    for n in range(9):
        ready.add(JobRef(f"a{n}", "a"), SMALL)
    for _ in range(6):
        assert not ready.to_read
        ready.take(nothing)
    ready.take(nothing)
    assert ready.to_read == {"a"}
    unread = ready.begin_read("a")
    assert not ready.to_read and not ready.truncated
    ready.read_failed(unread)
    assert ready.to_read == ready.truncated == {"a"}
    assert ready.begin_read(None) == {"a"} and not ready.to_read


class Asked:
    """Counts how often it is asked for an obstacle."""

    def __init__(self, slots: Slots) -> None:
        self._slots, self.times = slots, 0

    def __call__(self, queue: str, job: Job) -> Obstacle | None:
        self.times += 1
        return self._slots.obstacle(queue, job)


@pytest.mark.parametrize(("limit", "memory"), [(1000, 1 << 30), (1, 1 << 30), (1000, 50)])
def test_job_of_100_000_queues_is_taken_without_asking_them_all(limit: int, memory: int) -> None:
    """Also where most of them can't start: for their limit, for want of a slot or of memory."""
    ready = ReadyJobs(100)
    for n in range(200_000):
        ready.add(JobRef(f"e{n}", f"q{n % 100_000}"), SMALL)
    slots = Slots(total=100, memory=memory, queues=100_000, limit=lambda queue: limit)
    asked = Asked(slots)
    running: list[tuple[str, Job]] = []

    def start_all() -> None:
        while not slots.full and (taken := ready.take(asked)):
            slots.start(taken[0].queue, taken[1])
            running.append((taken[0].queue, taken[1]))

    start_all()
    assert len(running) == min(100, memory)
    asked.times = 0
    for _ in range(10_000):
        queue, job = running.pop(0)
        slots.end(queue, job)
        ready.ask_again(queue)
        start_all()
    assert len(running) == min(100, memory) and asked.times <= 40_000


def test_queues_that_hang_hold_up_no_other_of_100_000() -> None:
    ready = ReadyJobs(100)
    slots = Slots(total=200, memory=1 << 30, queues=100_000, limit=lambda queue: 1000)
    for n in range(1000):
        ready.add(JobRef(f"h{n}", f"hangs{n % 10}"), SMALL)
    ended = 0
    for n in range(100_000):
        ready.add(JobRef(f"e{n}", f"q{n}"), SMALL)
        while not slots.full and (taken := ready.take(slots.obstacle)):
            queue = taken[0].queue
            slots.start(queue, taken[1])
            if not queue.startswith("hangs"):
                slots.end(queue, taken[1])
                ready.ask_again(queue)
                ended += 1
    assert ended == 100_000
