"""What one listener still has to be told. Pure: who writes it to whom is another matter (:mod:`babygun.api.live.stream`).

Of each e-mail only the latest state waits. Where more e-mails wait than a listener may keep others waiting for, they are dropped, and it is told to begin anew.
"""

from __future__ import annotations

import asyncio
from itertools import zip_longest

from babygun.api.live.position import BEGINNING, Frame, Position

MOST_PENDING = 2000  # e-mails
MOST_BYTES = 4 << 20  # of their events


class Listener:
    """``client_id``: whose e-mails it sees, None: everybody's. ``only``: the one e-mail it wants to hear of. ``emails``, ``overview``: what it wants to hear.

    ``told``: all up to there has been told, or is pending. ``wake`` is set when there is something to :meth:`take`, or it has ``ended``.
    """

    def __init__(
        self,
        client_id: str | None,
        *,
        only: str | None = None,
        emails: bool = True,
        overview: bool = False,
    ) -> None:
        self.client_id, self.only, self.emails, self.overview = client_id, only, emails, overview
        self.told = BEGINNING
        self.wake = asyncio.Event()
        self.ended = False
        self._pending: dict[str, Frame] = {}
        self._size = 0
        self._reset = ""
        self._glance = b""
        self._caught_up: dict[str, bytes] = {}  # each until the hub tells of that e-mail

    def may_see(self, frame: Frame) -> bool:
        return (self.client_id is None or frame.client_id == self.client_id) and (
            self.only is None or frame.email_id == self.only
        )

    def catch_up(self, frames: list[Frame]) -> None:
        """Events that it has missed. They show e-mails as they are by now, which the hub may be about to tell, too: that is not told twice."""
        for frame in frames:
            if frame.email_id not in self._pending:
                self.offer(frame)
                self._caught_up[frame.email_id] = frame.body

    def offer(self, frame: Frame) -> None:
        """An event that it hears of, if it may and has not yet."""
        if (
            not self.may_see(frame)
            or not frame.is_news_to(self.told)
            or self._caught_up.pop(frame.email_id, None) == frame.body
        ):
            return
        if before := self._pending.get(frame.email_id):
            if frame.latest < before.latest:
                return
            self._size -= len(before.body)
        self._pending[frame.email_id] = frame
        self._size += len(frame.body)
        if len(self._pending) > MOST_PENDING or self._size > MOST_BYTES:
            self.begin_anew("fell-behind")
        self.wake.set()

    def glance(self, body: bytes) -> None:
        """The overview, as an event; only the latest waits."""
        self._glance = body
        self.wake.set()

    def begin_anew(self, reason: str) -> None:
        """Whatever it knows is not to be relied on: it must load its lists again."""
        self._pending.clear()
        self._size = 0
        self._reset = reason
        self.told = BEGINNING
        self.wake.set()

    def end(self) -> None:
        self.ended = True
        self.wake.set()

    def take(self, position: Position) -> bytes:
        """All that is pending, as the events of a stream. ``position``: what has been offered leads up to there.

        An event has an id where everything up to it has been told before: then a stream that breaks off behind it goes on from it.
        """
        parts: list[bytes] = []
        if self._reset:
            self.told = position
            parts.append(
                b'event: reset\ndata: {"reason":"%b"}\nid: %b\n\n'
                % (self._reset.encode(), str(position).encode())
            )
            self._reset = ""
        frames = sorted(self._pending.values(), key=lambda frame: frame.latest)
        for frame, following in zip_longest(frames, frames[1:]):
            parts.append(frame.body)
            if following is None:
                parts.append(b"id: %b\n\n" % str(self.told.past(position)).encode())
            elif (
                following.latest == frame.latest
            ):  # of one transaction: half of it is no place to go on from
                parts.append(b"\n")
            else:
                self.told = self.told.past(
                    Position(
                        min(position.records, frame.latest), min(position.owners, frame.latest)
                    )
                )
                parts.append(b"id: %b\n\n" % str(self.told).encode())
        self.told = self.told.past(position)
        self._pending.clear()
        self._size = 0
        if self._glance:
            parts.append(self._glance)
            self._glance = b""
        return b"".join(parts)
