"""How many connections a site's limits are worth, and the time between two messages. Pure.

The messages of a rate are divided among the slots, in whole numbers. So all slots together stay
within the rate in any window of its length, no matter who has them.
"""

from __future__ import annotations

import math

from babygun.routing.providers import Limits, Rate

# The pause between two messages is longer by this factor: messages travel for different times.
MARGIN = 1.03
# s, that a message may take over a connection. The rate is worth no more connections than that.
MESSAGE_TIME = 2.0
# s between two messages, from which on a connection is not kept open for the next one.
SLOW = 10.0


def part_of(limits: Limits, workers: int) -> Limits:
    """What each of so many workers takes for itself of limits that cost etcd nothing."""
    workers = max(1, workers)
    return Limits(
        math.ceil(limits.connections / workers),
        limits.messages_per_connection,
        Rate(limits.rate.messages, limits.rate.seconds * workers),
    )


def slot_count(limits: Limits) -> int:
    """How many connections may be open at once: no more than the rate is worth."""
    rate = limits.rate
    worth = math.ceil(rate.messages / rate.seconds * MESSAGE_TIME)
    return max(1, min(limits.connections, rate.messages, worth))


def interval(limits: Limits, number: int) -> float:
    """Seconds between two messages over the slot of this number, from 1 to :func:`slot_count`."""
    rate, count = limits.rate, slot_count(limits)
    messages = rate.messages // count + (number <= rate.messages % count)
    return rate.seconds / max(1, messages) * MARGIN


class Pace:
    """When the next message may go over one slot. Times in seconds of one monotonic clock.

    Its owner before may have used the slot right before ``now``.
    """

    __slots__ = ("_last", "interval")

    def __init__(self, interval: float, now: float) -> None:
        self.interval, self._last = interval, now

    @property
    def next_at(self) -> float:
        """When the next message may go."""
        return self._last + self.interval

    def sent(self, now: float) -> None:
        """A message goes now."""
        self._last = now
