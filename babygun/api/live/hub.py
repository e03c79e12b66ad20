"""The one hub of an API process: what the mirror sees changing goes to all who listen, at most every COALESCE seconds, as the latest state of each e-mail.

It runs, and watches etcd, only while somebody listens to e-mails. What it told lately it keeps, for those who come back after
a broken connection; for others, who come from another process, :mod:`babygun.api.live.catch_up` asks etcd.

Where the history that it needs is gone (etcd was away for longer than that reaches back, or is another etcd), it starts over, and all begin anew.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from contextlib import suppress

from babygun.api.live.catch_up import BeginAnew, CatchUp
from babygun.api.live.listener import MOST_PENDING, Listener
from babygun.api.live.mirror import Mirror, TurnedBack, current_revision
from babygun.api.live.position import BEGINNING, Change, Frame, Position
from babygun.errors import Compacted, EtcdError, EtcdUnavailable
from babygun.runtime.logs import get_logger
from babygun.store import Store

log = get_logger("api")

COALESCE = 0.1  # s, for which changes of one e-mail become one event
_AT_ONCE = 0.01  # s, that the first change after a quiet while waits for others
_APART = 0.005  # s, that the two watches may be apart
_LOOK_AGAIN = 0.5  # s, after etcd refused
START = 2.0  # s, that a listener waits for the hub to start, and etcd_timeout at most
RING_BYTES = 8 << 20  # of events that were told


class Hub:
    """:meth:`join` and :meth:`leave` with each listener; :meth:`close` at the end."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._listeners: set[Listener] = set()
        self._wanted = 0  # how many listen, or are about to
        self._running: asyncio.Task[None] | None = None
        self._ending: set[asyncio.Task[None]] = set()
        self._mirror = Mirror(store)
        self._ready = asyncio.Event()
        self._ring: deque[tuple[Position, list[Frame]]] = deque()
        self._ring_bytes = 0
        self._last: dict[str, bytes] = {}  # of each e-mail in the ring, what was told last
        self._floor = BEGINNING  # the ring holds all that was told after it
        self.position = BEGINNING  # what has been told to all leads up to there

    @property
    def watching(self) -> bool:
        """Whether it watches etcd at this moment."""
        return self._running is not None

    async def join(self, listener: Listener, last_id: str) -> None:
        """From now on the listener hears of changes; first, of those after ``last_id`` (empty: of none). :meth:`leave` it in any case, also if this raises EtcdUnavailable."""
        self._wanted += 1
        if self._running is None:
            self._running = asyncio.create_task(self._run(), name="live hub")
        try:
            async with asyncio.timeout(min(START, self._store.settings.etcd_timeout)):
                await self._ready.wait()
        except TimeoutError:
            raise EtcdUnavailable("etcd does not answer: nothing can be followed") from None
        self._listeners.add(listener)
        if not last_id:
            listener.told = self.position
            return
        since = Position.parse(last_id)
        try:
            if since is None:
                raise BeginAnew("unknown-id")
            await self._resume(listener, since)
        except BeginAnew as reason:
            listener.begin_anew(str(reason))

    def leave(self, listener: Listener) -> None:
        """The listener hears no more."""
        self._listeners.discard(listener)
        self._wanted -= 1
        if not self._wanted and self._running is not None:
            self._stop()

    async def close(self) -> None:
        self._stop()
        await asyncio.gather(*self._ending, return_exceptions=True)

    def _stop(self) -> None:
        running, self._running = self._running, None
        if running is not None:
            self._ending.add(running)
            running.add_done_callback(self._ending.discard)
            running.cancel()
            self._stopped()

    async def _resume(self, listener: Listener, since: Position) -> None:
        """What was told, or would have been, after ``since``. The listener hears of what comes meanwhile, too; of one e-mail the newest counts."""
        listener.told = since
        if not self.position.covers(
            since
        ):  # another process was a moment faster; or it speaks of another etcd
            await self._check_known(since)
        if since.covers(self._floor):
            for _, frames in self._ring:
                for frame in frames:
                    listener.offer(frame)
            return
        changes = await CatchUp(self._store, self._mirror, listener.client_id, MOST_PENDING).missed(
            since, self.position
        )
        try:
            frames = await self._mirror.frames(changes)
        except EtcdError:
            raise BeginAnew("etcd-unavailable") from None
        listener.catch_up(frames)

    async def _check_known(self, since: Position) -> None:
        """Raises BeginAnew for a position that etcd itself has not come to."""
        try:
            known = max(since) <= await current_revision(self._store)
        except EtcdError:
            raise BeginAnew("etcd-unavailable") from None
        if not known:
            raise BeginAnew("unknown-id")

    async def _run(self) -> None:
        reason = ""
        while True:
            mirror = self._mirror = Mirror(self._store)
            try:
                self._begin(await mirror.start(), reason)
                await self._follow(mirror)
            except Compacted:
                log.warning("live stream restarted", reason="compacted")
                reason = "compacted"
            except TurnedBack:
                log.warning("live stream restarted", reason="unknown-id")
                reason = "unknown-id"
            except EtcdError as error:
                log.warning("live stream interrupted", error=str(error))
                reason = reason or "etcd-unavailable"
                await asyncio.sleep(_LOOK_AGAIN)
            except (
                Exception
            ) as error:  # a fault of ours must not leave all listeners in silence for ever
                log.error("live stream failed", exc=error)
                reason = "internal"
                await asyncio.sleep(_LOOK_AGAIN)
            self._stopped()

    async def _follow(self, mirror: Mirror) -> None:
        tasks = [
            asyncio.create_task(mirror.follow(), name="live mirror"),
            asyncio.create_task(self._tell(mirror), name="live telling"),
        ]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _tell(self, mirror: Mirror) -> None:
        told = 0.0
        while True:
            await mirror.stirred.wait()
            await asyncio.sleep(max(_AT_ONCE, told + COALESCE - time.monotonic()))
            told = time.monotonic()
            newest = mirror.newest
            await asyncio.sleep(_APART)
            changes, position = mirror.take(newest)
            self._offer(await self._frames(mirror, changes), position)

    async def _frames(self, mirror: Mirror, changes: dict[str, Change]) -> list[Frame]:
        while True:
            with suppress(EtcdError):
                return await mirror.frames(changes)
            await asyncio.sleep(_LOOK_AGAIN)

    def _offer(self, frames: list[Frame], position: Position) -> None:
        self.position = self.position.past(position)
        frames = [
            frame for frame in frames if self._last.get(frame.email_id) != frame.body
        ]  # a change that shows nowhere
        if not frames:
            return
        self._last.update((frame.email_id, frame.body) for frame in frames)
        for listener in self._listeners:
            for frame in frames:
                listener.offer(frame)
        self._ring.append((self.position, frames))
        self._ring_bytes += sum(len(frame.body) for frame in frames)
        while self._ring_bytes > RING_BYTES:
            self._floor, dropped = self._ring.popleft()
            for frame in dropped:
                self._ring_bytes -= len(frame.body)
                if self._last.get(frame.email_id) is frame.body:
                    del self._last[frame.email_id]

    def _begin(self, position: Position, reason: str) -> None:
        """``reason``: why it starts over. Whoever reloads its lists at that must find a hub that follows already."""
        self.position = self._floor = position
        for listener in self._listeners:
            listener.begin_anew(reason)
        self._ready.set()

    def _stopped(self) -> None:
        self._ready.clear()
        self._ring.clear()
        self._last.clear()
        self._ring_bytes = 0
