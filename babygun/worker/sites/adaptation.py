"""How limits follow what a site says: less when it asks for less, more step by step. Pure.

A reply that a provider's table knows counts within an hour; then the table says what holds. Other
replies halve. After some messages that were taken, and not at once, the limits go up by one step.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterator
from typing import Generic, Literal, TypeVar

from msgspec.structs import replace

from babygun.routing.providers import Limits, Rate

COUNTED = 3600.0  # s, within which a table's replies count together
LASTS = 1800.0  # s, for which halved limits hold at most
SETTLE = 10.0  # s, for which replies are about what was sent before the limits changed
MOST_COUNTED = 10_000
STEP_AFTER = 60.0  # s, from one change to the next step up
STEP_SUCCESSES = 10  # messages taken in a row before a step up
FAILED_CONNECTS = 3  # in a row, with no success between, before a site is held

_SLOWEST = Rate(1, 60.0)

Less = Literal["connections", "rate"]
K = TypeVar("K", bound=Hashable)


def halved(limits: Limits, what: Less) -> Limits:
    """Half of the connections, or half of the rate."""
    if what == "connections":
        return replace(limits, connections=max(1, limits.connections // 2))
    return replace(limits, rate=_half(limits.rate))


def _half(rate: Rate) -> Rate:
    if rate.messages > 1:
        return Rate(rate.messages // 2, rate.seconds)
    if rate.seconds < _SLOWEST.seconds:
        return Rate(max(1, int(_SLOWEST.seconds / rate.seconds / 2)), _SLOWEST.seconds)
    return rate


def lowest(limits: Limits) -> Limits:
    """What a site gets that mail has just begun to reach again."""
    rate = limits.rate
    if rate.messages / rate.seconds > 1:
        rate = Rate(1, 1.0)
    return replace(limits, connections=1, rate=rate)


def step_up(limits: Limits, ceiling: Limits) -> Limits:
    """One connection more and twice the rate, up to the ceiling."""
    more = Limits(
        limits.connections + 1,
        limits.messages_per_connection * 2,
        Rate(limits.rate.messages * 2, limits.rate.seconds),
    )
    return more.within(ceiling)


class Progress:
    """Counts what speaks for a step up. Times in seconds of one monotonic clock."""

    __slots__ = ("_changed_at", "_successes")

    def __init__(self, now: float) -> None:
        self._changed_at, self._successes = now, 0

    def settled(self, now: float) -> bool:
        """Whether replies are about the present limits by now."""
        return now >= self._changed_at + SETTLE

    def asked_for_less(self) -> None:
        self._successes = 0

    def succeeded(self, now: float) -> bool:
        """A message was taken. True: a step up is due."""
        self._successes += 1
        return self._successes >= STEP_SUCCESSES and now >= self._changed_at + STEP_AFTER


class Counts(Generic[K]):
    """How often each of some things happened within an hour. At most MOST_COUNTED are counted."""

    def __init__(self) -> None:
        self._times: dict[K, deque[float]] = {}

    def add(self, what: K, now: float) -> int:
        """It happens now. Returns how often it has happened within the hour."""
        seen = self._times.get(what)
        if seen is None:
            if len(self._times) >= MOST_COUNTED:
                del self._times[next(iter(self._times))]
            seen = self._times[what] = deque()
        seen.append(now)
        return self.of(what, now)

    def of(self, what: K, now: float) -> int:
        """How often it has happened within the hour."""
        seen = self._times.get(what)
        while seen and seen[0] <= now - COUNTED:
            seen.popleft()
        return len(seen) if seen else 0

    def begin_again(self, what: K) -> None:
        self._times.pop(what, None)

    def all(self, now: float) -> Iterator[tuple[K, int]]:
        """What has happened within the hour, and how often."""
        for what in list(self._times):
            if count := self.of(what, now):
                yield what, count
            else:
                del self._times[what]
