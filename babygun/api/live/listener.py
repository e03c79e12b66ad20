"""What one listener has not got yet. Pure: :mod:`babygun.api.live.stream` does the I/O.

Of each e-mail only the latest state waits. Beyond a limit the waiting events are dropped, and the
listener gets a reset: it must load its lists again. All listeners share the events that wait for
them. What one takes is its own: so it takes little at a time.
"""

from __future__ import annotations

import asyncio
from itertools import zip_longest

from babygun.api.live.event import Event
from babygun.store.changes.position import BEGINNING, Position

MOST_PENDING = 2000  # e-mails
MOST_BYTES = 2 << 20  # of their events
MOST_TAKEN = 128 << 10  # bytes at a time, about


class Listener:
    """One open stream.

    ``client_id``: whose e-mails it sees; None: everybody's. ``only``: the one e-mail it listens to.
    ``emails``, ``overview``: what it listens to. ``sent``: the position it has come to.
    ``own_bytes``: of events that wait for it alone, at most. ``wake`` is set when there is
    something to :meth:`take`, or it has ``ended``.
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
        self.sent = BEGINNING
        self.wake = asyncio.Event()
        self.ended = False
        self.own_bytes = 0
        self._pending: dict[str, Event] = {}
        self._pending_bytes = 0
        self._reset = ""
        self._overview = b""
        # By e-mail, the hash of what catch_up() brought, until the hub offers another state of it.
        self._caught_up: dict[str, int] = {}

    def may_see(self, event: Event) -> bool:
        """Whether the event is for this listener."""
        return (self.client_id is None or event.client_id == self.client_id) and (
            self.only is None or event.email_id == self.only
        )

    def catch_up(self, events: list[Event]) -> None:
        """Adds events that it has missed.

        They show e-mails as they are by now. The hub may be about to offer the same state: it is
        not sent twice.
        """
        self.own_bytes = sum(len(event.shown) for event in events)
        for event in events:
            if event.email_id not in self._pending:
                self.offer(event)
                self._caught_up[event.email_id] = hash(event.shown)

    def offer(self, event: Event) -> None:
        """Adds an event, if it is for this listener and new to it."""
        if (
            not self.may_see(event)
            or not event.is_new_at(self.sent)
            or self._caught_up.pop(event.email_id, None) == hash(event.shown)
        ):
            return
        if before := self._pending.get(event.email_id):
            if event.latest < before.latest:
                return
            self._pending_bytes -= len(before.shown)
        self._pending[event.email_id] = event
        self._pending_bytes += len(event.shown)
        if len(self._pending) > MOST_PENDING or self._pending_bytes > MOST_BYTES:
            self.reset("fell-behind")
        self.wake.set()

    def offer_overview(self, body: bytes) -> None:
        """Adds the overview, as an event; only the latest waits."""
        self._overview = body
        self.wake.set()

    def reset(self, reason: str) -> None:
        """Drops what waits, and asks the listener to load its lists again."""
        self._pending.clear()
        self._pending_bytes = self.own_bytes = 0
        self._reset = reason
        self.sent = BEGINNING
        self.wake.set()

    def end(self) -> None:
        """Ends the stream."""
        self.ended = True
        self.wake.set()

    def take(self, position: Position) -> bytes:
        """Takes what waits, as the text of the stream. It wakes again if that was not all.

        ``position``: everything up to there has been offered. An event gets an id only where
        everything up to it has been sent before: a stream that breaks behind it can go on there.
        """
        parts: list[bytes] = []
        size = 0
        if self._reset:
            self.sent = position
            parts.append(
                b'event: reset\ndata: {"reason":"%b"}\nid: %b\n\n'
                % (self._reset.encode(), str(position).encode())
            )
            self._reset = ""
        events = sorted(self._pending.values(), key=lambda event: event.latest)
        for event, following in zip_longest(events, events[1:]):
            parts.append(event.body)
            size += len(event.shown)
            del self._pending[event.email_id]
            if following is None:
                parts.append(b"id: %b\n\n" % str(self.sent.joined(position)).encode())
            elif following.latest == event.latest:  # of one transaction: no id in between
                parts.append(b"\n")
            else:
                reached = Position(
                    min(position.records, event.latest), min(position.owners, event.latest)
                )
                self.sent = self.sent.joined(reached)
                parts.append(b"id: %b\n\n" % str(self.sent).encode())
            if size >= MOST_TAKEN and following is not None:
                self.wake.set()
                break
        else:
            self.sent = self.sent.joined(position)
            self.own_bytes = 0
        self._pending_bytes -= size
        if self._overview:
            parts.append(self._overview)
            self._overview = b""
        return b"".join(parts)
