"""This machine's clock, without steps that etcd's clocks did not make.

A retry, a probe and an e-mail for later wait until a time that is stored. If a worker's clock is
wrong for a minute, and a month ahead, the e-mail would wait for a month. So a step of the clock
counts only once a member of etcd agrees with it, as after a wrong start or a laptop's sleep.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from datetime import datetime

from babygun.etcd import clock_ahead
from babygun.runtime.clock import at_ms
from babygun.runtime.settings import Settings

_STEP = 2.0  # s, between the wall clock and the monotonic one; less is a correction
_ASK_AGAIN = 10.0  # s, while etcd's clocks do not agree


class SteadyClock:
    """Ask :meth:`now`. A clock that is wrong from the start stays wrong: nobody knows whose is."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._difference = _difference()
        self._ask_at = 0.0  # monotonic
        self._asking = asyncio.Lock()

    async def now(self) -> datetime:
        """Now, in UTC, cut to a millisecond. Waits for etcd's clocks after a step alone."""
        if abs((difference := _difference()) - self._difference) <= _STEP:
            self._difference = difference
        else:
            async with self._asking:
                await self._judge_step()
        return at_ms(int((time.monotonic() + self._difference) * 1000))

    async def _judge_step(self) -> None:
        if time.monotonic() < self._ask_at:
            return
        found = await asyncio.gather(
            *(clock_ahead(self._settings, one) for one in self._settings.etcd_endpoints)
        )
        self._ask_at = time.monotonic() + _ASK_AGAIN
        ahead = [one for one in found if one is not None]
        step = _difference() - self._difference
        if ahead and abs(statistics.median(ahead)) < abs(statistics.median(ahead) - step):
            self._difference += step
            self._ask_at = 0.0


def _difference() -> float:
    """Seconds of the wall clock beyond the monotonic one."""
    return time.time() - time.monotonic()
