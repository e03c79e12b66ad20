"""Sites to which there is no connection to be had: they pause in this worker.

Other workers have those that the site takes, and let them go when they need them no more. Or this
machine lacks what a connection takes. After a pause one job of the site goes first. The others
follow once a server has taken its connection.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from msgspec import Struct

from babygun.consumer.pause import GrowingPause
from babygun.email.reasons import quoted_to_others
from babygun.runtime.logs import get_logger
from babygun.smtp.replies import Reply
from babygun.worker.slots import Slots

log = get_logger("worker")

LEAST, MOST = 1.0, 16.0  # s


class _Crowded(Struct):
    pause: GrowingPause
    timer: asyncio.TimerHandle | None = None


class CrowdedSites:
    """``go_on``: called with the site when its jobs may start again."""

    def __init__(self, slots: Slots, go_on: Callable[[str], None]) -> None:
        self._slots, self._go_on = slots, go_on
        self._sites: dict[str, _Crowded] = {}

    def turned_away(self, site: str, reply: Reply) -> None:
        """A try of the site got no connection. Without a code, the reason is this machine."""
        loop = asyncio.get_running_loop()
        crowded = self._sites.get(site)
        if crowded is None:
            crowded = self._sites[site] = _Crowded(GrowingPause(LEAST, MOST))
        if seconds := crowded.pause.unanswered(loop.time()):
            _log_pause(site, reply, seconds)
            self._slots.allow(site, 0)
            crowded.timer = loop.call_later(seconds, self._let_one_go, site)

    def _let_one_go(self, site: str) -> None:
        self._sites[site].timer = None
        self._slots.allow(site, 1)
        self._go_on(site)

    def ended(self, site: str) -> None:
        """A try of the site ended, and was not turned away."""
        if crowded := self._sites.pop(site, None):
            if crowded.timer is not None:
                crowded.timer.cancel()
            self._slots.allow(site, None)
            self._go_on(site)

    def close(self) -> None:
        for crowded in self._sites.values():
            if crowded.timer is not None:
                crowded.timer.cancel()


def _log_pause(site: str, reply: Reply, seconds: float) -> None:
    if reply.code is None:
        log.warning(
            "out of resources", queue=site, seconds=seconds, text=quoted_to_others(reply.text, 200)
        )
    else:
        log.warning(
            "too many connections",
            queue=site,
            seconds=seconds,
            code=reply.code,
            text=quoted_to_others(reply.text, 200),
        )
