"""How often something may happen: token buckets, one for each key."""

from __future__ import annotations

import math
from collections import OrderedDict


class TokenBuckets:
    """A bucket is full at first. The key that was used longest ago is forgotten.

    ``seconds``: how long a full bucket lasts at its rate; it holds at least one token.
    ``most``: keys. A rate is in tokens a second, and may change. Times are seconds of one clock.
    """

    def __init__(self, *, seconds: float, most: int) -> None:
        self._seconds, self._most = seconds, most
        self._levels: OrderedDict[str, tuple[float, float]] = OrderedDict()  # with their time

    def wait(self, key: str, rate: float, now: float, *, count: int = 1) -> int:
        """Seconds until there are ``count`` tokens, or the bucket is full; 0: so it is."""
        size = self._size(rate)
        missing = min(size, count) - self._level(key, rate, size, now)
        return math.ceil(missing / rate) if missing > 0 else 0

    def take(self, key: str, rate: float, now: float, *, count: int = 1) -> None:
        """Takes ``count`` tokens, whether they are there or not: the level may fall below 0."""
        self._levels[key] = (self._level(key, rate, self._size(rate), now) - count, now)
        self._levels.move_to_end(key)
        if len(self._levels) > self._most:
            self._levels.popitem(last=False)

    def _size(self, rate: float) -> float:
        return max(1.0, rate * self._seconds)

    def _level(self, key: str, rate: float, size: float, now: float) -> float:
        level, since = self._levels.get(key, (math.inf, now))
        return min(size, level + (now - since) * rate)
