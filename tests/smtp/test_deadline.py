"""A time limit that is set again for each reply, on a loop whose clock the test turns."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

from babygun.smtp.deadline import Deadline


class Timer:
    def __init__(self, at: float, call: Callable[[], None]) -> None:
        self.at, self.call, self.cancelled = at, call, False

    def cancel(self) -> None:
        self.cancelled = True


class Clock:
    """As much of an event loop as a deadline uses."""

    def __init__(self) -> None:
        self.now = 0.0
        self.timers: list[Timer] = []

    def time(self) -> float:
        return self.now

    def call_at(self, at: float, call: Callable[[], None]) -> Timer:
        self.timers.append(Timer(at, call))
        return self.timers[-1]

    def turn_to(self, now: float) -> None:
        while due := [t for t in self.timers if t.at <= now and not t.cancelled]:
            first = min(due, key=lambda timer: timer.at)
            self.timers.remove(first)
            self.now = first.at
            first.call()
        self.now = now


def deadline_on(clock: Clock, passed: list[float], often: float = 5.0) -> Deadline:
    loop = cast(asyncio.AbstractEventLoop, cast(Any, clock))
    return Deadline(loop, lambda: passed.append(clock.now), often=often)


def test_deadline_passes_with_the_latest_limit() -> None:
    clock, passed = Clock(), list[float]()
    deadline = deadline_on(clock, passed)
    deadline.set(10.0)
    clock.turn_to(8.0)
    deadline.set(5.0)
    clock.turn_to(12.9)
    assert passed == []
    clock.turn_to(13.0)
    assert passed == [13.0]


def test_deadline_that_is_renewed_passes_so_much_later() -> None:
    clock, passed = Clock(), list[float]()
    deadline = deadline_on(clock, passed)
    deadline.set(3.0)
    clock.turn_to(2.0)
    deadline.renew()
    clock.turn_to(20.0)
    assert passed == [5.0]


def test_deadline_shorter_than_the_one_before_passes_in_time() -> None:
    clock, passed = Clock(), list[float]()
    deadline = deadline_on(clock, passed, often=60.0)
    deadline.set(60.0)
    deadline.set(1.0)
    clock.turn_to(2.0)
    assert passed == [1.0]


def test_deadline_that_is_cancelled_never_passes() -> None:
    clock, passed = Clock(), list[float]()
    deadline = deadline_on(clock, passed)
    deadline.set(1.0)
    deadline.cancel()
    clock.turn_to(100.0)
    assert passed == []


def test_thousand_limits_that_do_not_pass_take_few_timers() -> None:
    clock, passed = Clock(), list[float]()
    deadline = deadline_on(clock, passed)
    started = 0
    for n in range(1000):
        before = len(clock.timers)
        deadline.set(5.0)
        started += len(clock.timers) - before
        clock.turn_to(n * 0.001)
    assert started == 1 and passed == []
