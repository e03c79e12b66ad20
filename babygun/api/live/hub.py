"""The one hub of an API process: it sends what changes to all listeners.

Every COALESCE seconds at most, it sends the latest state of each e-mail that changed. It watches
etcd only while somebody listens to e-mails.

A listener may come back after a broken connection. The hub then sends it what it missed: from the
ring of recent events, or, if the ring begins too late, from etcd's history.

The history that the hub itself needs may be gone: etcd was away for too long, or is another etcd.
Then the hub starts over, and all listeners get ``reset``.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Mapping
from contextlib import suppress

from babygun.api.emails.documents import HoldOf
from babygun.api.live.event import Event, event_of
from babygun.api.live.listener import MOST_PENDING, Listener
from babygun.errors import EtcdError, EtcdUnavailable
from babygun.runtime.logs import get_logger
from babygun.runtime.tasks import run_together
from babygun.store import Store
from babygun.store.changes.feed import ChangeFeed, ResetReason, current_revision
from babygun.store.changes.history import History, ResetNeeded
from babygun.store.changes.position import BEGINNING, Change, Position

log = get_logger("api")

COALESCE = 0.1  # s, for which changes of one e-mail become one event
_FIRST_WAIT = 0.01  # s, that the first change after a quiet while waits for others
_APART = 0.005  # s, that the two watches may be apart
_RETRY_PAUSE = 0.5  # s, after etcd refused
START_TIMEOUT = 2.0  # s, that a listener waits for the hub to start; etcd_timeout at most
RING_BYTES = 8 << 20  # of recent events
CAUGHT_UP_BYTES = 64 << 20  # of events from etcd's history that wait, of all listeners together


class Hub:
    """Call :meth:`join` and :meth:`leave` with each listener, :meth:`close` at the end."""

    def __init__(self, store: Store, hold_of: HoldOf) -> None:
        self._store, self._hold_of = store, hold_of
        self._listeners: set[Listener] = set()
        self._wanted = 0  # how many listen, or are about to
        self._running: asyncio.Task[None] | None = None
        self._ending: set[asyncio.Task[None]] = set()
        self._feed = self._new_feed()
        self._ready = asyncio.Event()
        self._failed = False  # a fault of ours ended it, and it has not started over yet
        self._ring: deque[tuple[Position, list[Event]]] = deque()
        self._ring_bytes = 0
        self._last: dict[str, bytes] = {}  # of each e-mail in the ring, what the newest event shows
        self._ring_start = BEGINNING  # the ring holds all events after it
        self.position = BEGINNING  # everything up to there has been offered to all listeners

    @property
    def watching(self) -> bool:
        """Whether it watches etcd at this moment."""
        return self._running is not None

    async def join(self, listener: Listener, last_id: str) -> None:
        """Offers the listener all changes from now on; before them those after event ``last_id``.

        ``last_id`` is empty for a new listener. Raises EtcdUnavailable. Call :meth:`leave` in any
        case.
        """
        self._wanted += 1
        if self._running is None:
            self._running = asyncio.create_task(self._run(), name="live hub")
        try:
            async with asyncio.timeout(min(START_TIMEOUT, self._store.settings.etcd_timeout)):
                await self._ready.wait()
        except TimeoutError:
            raise EtcdUnavailable("etcd does not answer: no change can be followed") from None
        self._listeners.add(listener)
        if not last_id:
            listener.sent = self.position
            return
        since = Position.parse(last_id)
        try:
            if since is None:
                raise ResetNeeded("unknown-id")
            await self._resume(listener, since)
        except ResetNeeded as reason:
            listener.reset(str(reason))

    def leave(self, listener: Listener) -> None:
        """Offers the listener nothing more. The last one's leave ends the watches."""
        self._listeners.discard(listener)
        self._wanted -= 1
        if not self._wanted and self._running is not None:
            self._stop()

    async def close(self) -> None:
        """Stops, and waits for the end of all tasks."""
        self._stop()
        await asyncio.gather(*self._ending, return_exceptions=True)

    def _stop(self) -> None:
        running, self._running = self._running, None
        if running is not None:
            self._ending.add(running)
            running.add_done_callback(self._ending.discard)
            running.cancel()
            self._clear()

    async def _resume(self, listener: Listener, since: Position) -> None:
        """Offers what changed after ``since``.

        The hub goes on offering meanwhile; the newest state of an e-mail counts.
        """
        listener.sent = since
        # Another process may have been a moment faster. Or the position is of another etcd.
        if not self.position.covers(since):
            await self._check_known(since)
        if since.covers(self._ring_start):
            for _, events in self._ring:
                for event in events:
                    listener.offer(event)
            return
        history = History(self._store, self._feed, listener.client_id, MOST_PENDING)
        changes = await history.changes(since, self.position)
        try:
            states = await self._feed.states(changes)
        except EtcdError:
            raise ResetNeeded("etcd-unavailable") from None
        missed: list[Event] = []
        size = sum(each.own_bytes for each in self._listeners)
        for state in states:
            missed.append(event_of(state, self._hold_of))
            size += len(missed[-1].shown)
            if size > CAUGHT_UP_BYTES:
                raise ResetNeeded("fell-behind")
        listener.catch_up(missed)

    async def _check_known(self, since: Position) -> None:
        """Raises ResetNeeded for a position that etcd itself has not come to."""
        try:
            is_known = max(since) <= await current_revision(self._store)
        except EtcdError:
            raise ResetNeeded("etcd-unavailable") from None
        if not is_known:
            raise ResetNeeded("unknown-id")

    async def _run(self) -> None:
        while True:
            try:
                await self._follow()
            except Exception as error:  # a fault of ours must not silence all listeners for ever
                log.error("live stream failed", exc=error)
                self._clear()
                self._failed = True
                await asyncio.sleep(_RETRY_PAUSE)

    async def _follow(self) -> None:
        feed = self._feed = self._new_feed()
        await run_together("live feed", feed.run(), self._offer_changes(feed))

    def _new_feed(self) -> ChangeFeed:
        return ChangeFeed(self._store, self._begin, self._clear)

    async def _offer_changes(self, feed: ChangeFeed) -> None:
        offered = 0.0
        while True:
            await feed.changed.wait()
            await asyncio.sleep(max(_FIRST_WAIT, offered + COALESCE - time.monotonic()))
            offered = time.monotonic()
            newest = feed.newest
            await asyncio.sleep(_APART)
            changes, position = feed.take(newest)
            self._offer(await self._events(feed, changes), position)

    async def _events(self, feed: ChangeFeed, changes: Mapping[str, Change]) -> list[Event]:
        while True:
            with suppress(EtcdError):
                states = await feed.states(changes)
                return [event_of(state, self._hold_of) for state in states]
            await asyncio.sleep(_RETRY_PAUSE)

    def _offer(self, events: list[Event], position: Position) -> None:
        self.position = self.position.joined(position)
        # A change that shows nowhere makes no event.
        events = [event for event in events if self._last.get(event.email_id) != event.shown]
        if not events:
            return
        self._last.update((event.email_id, event.shown) for event in events)
        for listener in self._listeners:
            for event in events:
                listener.offer(event)
        self._ring.append((self.position, events))
        self._ring_bytes += sum(len(event.shown) for event in events)
        while self._ring_bytes > RING_BYTES:
            self._ring_start, dropped = self._ring.popleft()
            for event in dropped:
                self._ring_bytes -= len(event.shown)
                if self._last.get(event.email_id) is event.shown:
                    del self._last[event.email_id]

    def _begin(self, position: Position, reason: ResetReason | None) -> None:
        """The feed begins at ``position``, or begins again for ``reason``."""
        self.position = self._ring_start = position
        if self._failed:
            reason, self._failed = "internal", False
        if reason:
            log.warning("live stream restarted", reason=reason)
            for listener in self._listeners:
                listener.reset(reason)
        self._ready.set()

    def _clear(self) -> None:
        self._ready.clear()
        self._ring.clear()
        self._last.clear()
        self._ring_bytes = 0
