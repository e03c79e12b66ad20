"""One slot: the right to one connection to a site; as a permit, once a connection has it.

A slow slot's connection carries one message. Nobody waits in an open session for a minute; the next
connection is opened when the next message may go.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Protocol

from babygun.routing.providers import Limits
from babygun.smtp.envelope import NotSent
from babygun.store.cluster.checkin import Identity
from babygun.worker.sites.pace import SLOW, Pace, interval


class Site(Protocol):
    """The slots of a site together. ``count``: how many connections the limits allow."""

    limits: Limits

    @property
    def count(self) -> int: ...

    def is_enough(self, slot: Slot, messages: int) -> bool:
        """Whether a slot's connection is to be closed after so many messages."""

    def given_back(self, slot: Slot) -> None:
        """A slot's connection is closed."""


class Slot:
    """One of a site's slots. A connection that has it uses it as its permit.

    ``created`` and ``identity``: the key's create revision, and whose lease it hangs on. Without
    them, it is of this worker's own part.
    """

    __slots__ = (
        "_messages",
        "_site",
        "asked",
        "busy",
        "created",
        "ending",
        "identity",
        "in_use",
        "lost",
        "number",
        "pool",
        "rest_since",
        "since",
        "wanted",
        "way",
    )

    def __init__(
        self,
        site: Site,
        number: int,
        *,
        now: float,
        created: int = 0,
        identity: Identity | None = None,
    ) -> None:
        self._site, self.number, self.since = site, number, now
        self.created, self.identity = created, identity
        pause = interval(site.limits, number)
        self.way = Pace(pause, now if identity is not None else now - pause)
        self.in_use = self.busy = self.ending = self.lost = False
        self.asked = False  # whether its connection was asked to close
        self.pool: object = None  # that has it
        self.wanted: Callable[[], None] | None = None
        self.rest_since = now  # since when no message goes over it
        self._messages = 0  # over this connection

    def take(self, wanted: Callable[[], None], now: float, pool: object = None) -> None:
        self.in_use, self.wanted, self.rest_since = True, wanted, now
        self.pool = pool
        self.asked, self._messages = False, 0

    def ready(self, now: float) -> bool:
        """Whether a connection may be opened with it."""
        free = self.trusted and not (self.in_use or self.ending)
        allowed = self.number <= self._site.count
        return free and allowed and (not self.slow or self.way.next_at <= now)

    @property
    def trusted(self) -> bool:
        """Whether it is ours for sure; another worker may have it once our lease has ended."""
        return self.identity is None or self.identity.trusted

    @property
    def slow(self) -> bool:
        return self.way.interval >= SLOW

    def ask_back(self) -> None:
        """Its connection is to close: at once if it is idle, else after its message."""
        if self.wanted is not None and (self.lost or not self.asked):
            self.asked = True
            self.wanted()

    # --- as a permit ---

    async def pace(self) -> None:
        """Waits until the next message may go. Raises NotSent where the slot may be gone."""
        self.busy = True
        while (wait := self.way.next_at - time.monotonic()) > 0:  # noqa: ASYNC110
            await asyncio.sleep(wait)
        if self.lost or not self.trusted:
            raise NotSent("the lease of the connection's slot can't be trusted")
        self.way.sent(time.monotonic())

    def used(self) -> bool:
        self.busy = False
        self._messages += 1
        self.rest_since = time.monotonic()
        return self._site.is_enough(self, self._messages)

    def give_back(self) -> None:
        self.in_use = self.busy = False
        self.wanted = None
        self.rest_since = time.monotonic()
        self._site.given_back(self)
