"""The time by which e-mails are deleted or expire. One wrong clock must not do it early.

The present time is the earliest of this machine's clock and the clocks of etcd's members, where
those can be read. The time of a sample is the slowest member's: a sample that names too early a
time makes what was there look older than it is.

After the start, and after each jump of the clock, there is no time until the clock has gone
steadily for a while: a machine may start with a wrong clock, and correct it a little later.
"""

from __future__ import annotations

import asyncio
import time
from datetime import datetime, timedelta
from typing import NamedTuple

from babygun.etcd import clock_ahead
from babygun.runtime.clock import utc_now
from babygun.runtime.settings import Settings

_STEADY = 120.0  # s, at most
_JUMP = 2.0  # s, between the wall clock and the monotonic one
_SKEW = 2.0  # s, ahead of etcd's or behind it that do not matter
_ASK_AGAIN = 60.0  # s


class Now(NamedTuple):
    """``earliest``: by the clock that is furthest behind. ``sampled``: for the timeline."""

    earliest: datetime
    sampled: datetime


class TrustedClock:
    """Ask :meth:`now`. ``steady``: seconds without a jump that it takes to be trusted."""

    def __init__(self, settings: Settings, steady: float) -> None:
        self._settings, self._steady = settings, min(_STEADY, steady)
        self._difference: float | None = None  # of wall clock and monotonic clock
        self._since = self._asked = 0.0  # monotonic
        self._ahead = 0.0

    async def now(self) -> Now | None:
        """The time; None while no clock is to be trusted."""
        wall, monotonic = utc_now().timestamp(), time.monotonic()
        difference = wall - monotonic
        jumped = self._difference is None or abs(difference - self._difference) > _JUMP
        self._difference = difference
        if jumped:
            self._since = monotonic
        if jumped or monotonic - self._asked >= _ASK_AGAIN:
            self._asked, self._ahead = monotonic, await self._ahead_of_etcd()
        if monotonic - self._since < self._steady:
            return None
        own = utc_now()
        sampled = own - timedelta(seconds=self._ahead)
        return Now(min(own, sampled), sampled)

    async def _ahead_of_etcd(self) -> float:
        """Seconds that this machine's clock is ahead of the slowest member's; negative: behind."""
        endpoints = self._settings.etcd_endpoints
        found = await asyncio.gather(*(clock_ahead(self._settings, one) for one in endpoints))
        ahead = max((one for one in found if one is not None), default=0.0)
        return ahead if abs(ahead) > _SKEW else 0.0
