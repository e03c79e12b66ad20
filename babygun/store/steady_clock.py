"""This machine's clock, without steps that etcd's clocks did not make.

A retry, a probe and an e-mail for later wait until a time that is stored. If a worker's clock is
wrong for a minute, and a month ahead, the e-mail would wait for a month. So a step of the clock
counts only once a member of etcd agrees with it, as after a wrong start or a laptop's sleep.

No member may say its time at all: its port may speak gRPC alone. After some minutes in which the
clock ran steadily, the step counts all the same. It is judged again once a member says its time.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from datetime import datetime

from babygun.etcd import clock_ahead
from babygun.runtime.clock import at_ms
from babygun.runtime.logs import get_logger
from babygun.runtime.settings import Settings

log = get_logger("store")

_STEP = 2.0  # s, between the wall clock and the monotonic one; less is a correction
_ASK_AGAIN = 10.0  # s, while etcd's clocks do not agree
# s, without a word of etcd's clocks, until a step counts. Then they are asked again.
_SILENT = 180.0


class SteadyClock:
    """Ask :meth:`now`. A clock that is wrong from the start stays wrong: nobody knows whose is."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._difference = _difference()
        self._ask_at = self._judge_at = 0.0  # monotonic: of a step; of one that nobody confirmed
        self._asking = asyncio.Lock()
        self._unheard: tuple[float, float] | None = None  # a difference, and since when (monotonic)
        self._unsure: float | None = None  # the difference before a step that nobody has confirmed

    async def now(self) -> datetime:
        """Now, in UTC, cut to a millisecond. Waits for etcd's clocks after a step alone."""
        if abs((difference := _difference()) - self._difference) <= _STEP:
            self._difference, self._unheard = difference, None
            if self._unsure is not None:
                async with self._asking:
                    await self._judge_again()
        else:
            async with self._asking:
                await self._judge_step()
        return at_ms(int((time.monotonic() + self._difference) * 1000))

    async def _judge_step(self) -> None:
        if time.monotonic() < self._ask_at:
            return
        ahead = await self._ahead()
        self._ask_at = time.monotonic() + _ASK_AGAIN
        step = _difference() - self._difference
        if ahead is None:
            self._hear_nothing(step)
            return
        self._unheard = None
        if _agree(ahead, step):
            self._difference += step
            self._ask_at, self._unsure = 0.0, None

    def _hear_nothing(self, step: float) -> None:
        """The step counts once the clock has run steadily for a while since."""
        now, difference = time.monotonic(), self._difference + step
        if self._unheard is None or abs(self._unheard[0] - difference) > _STEP:
            self._unheard = difference, now
        elif now - self._unheard[1] >= _SILENT:
            if self._unsure is None:
                self._unsure = self._difference
            self._difference, self._unheard = difference, None
            self._ask_at, self._judge_at = 0.0, now + _SILENT
            log.warning("clock stepped", seconds=round(step, 1))

    async def _judge_again(self) -> None:
        """Takes back a step that no member confirmed, if one that answers by now does not agree."""
        if self._unsure is None or time.monotonic() < self._judge_at:
            return
        ahead = await self._ahead()
        self._judge_at = time.monotonic() + _SILENT
        if ahead is not None and self._unsure is not None:
            if not _agree(ahead, self._difference - self._unsure):
                self._difference = self._unsure
            self._unsure, self._ask_at = None, 0.0

    async def _ahead(self) -> float | None:
        """Seconds that this machine's clock is ahead of etcd's; None: no member says its time."""
        found = await asyncio.gather(
            *(clock_ahead(self._settings, one) for one in self._settings.etcd_endpoints)
        )
        known = [one for one in found if one is not None]
        return statistics.median(known) if known else None


def _agree(ahead: float, step: float) -> bool:
    """Whether the clock is nearer to etcd's after the step than before."""
    return abs(ahead) < abs(ahead - step)


def _difference() -> float:
    """Seconds of the wall clock beyond the monotonic one."""
    return time.time() - time.monotonic()
