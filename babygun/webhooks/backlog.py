"""The first few ready notices of one webhook, in their order, as its owner knows them. Pure.

etcd has all of them. More are read when few are left. So memory is bounded, however many there are.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from babygun.email.ids import ID_LENGTH
from babygun.store.webhooks.notices import StoredNotice

MOST, FEW = 256, 8  # of one webhook; of one that answers no request, or where memory is short


class Room:
    """What the notices that a worker knows take, in bytes, and how much they should at most."""

    def __init__(self, most: int) -> None:
        self._most, self.used = most, 0

    @property
    def is_short(self) -> bool:
        return self.used >= self._most


class Backlog:
    """``more``: etcd may have ready notices that are not known here.

    ``missed``: some of them were passed over, so that a read has to begin at the first again.
    ``read_at``: the revision of the last read that did. The watch may bring older news later.
    """

    def __init__(self, room: Room) -> None:
        self._room = room
        self._ready: deque[StoredNotice] = deque()
        self._known: dict[str, StoredNotice] = {}  # by event, up to the end of its write
        # E-mails whose notice is being sent, with those that wait for it: they keep their order.
        self._in_flight: dict[str, deque[StoredNotice]] = {}
        self._aside: list[StoredNotice] | None = None  # what arrives during a read
        # What is written during a read, which may still find it: its revision, by event.
        self._gone: dict[str, int] = {}
        self._from_first = True  # the read that is under way, or the last one
        self._fruitless = False  # that read began at the first, and brought nothing new
        self._most = MOST
        self.more = self.missed = True
        self.read_at = 0

    def __len__(self) -> int:
        return len(self._ready)

    @property
    def known(self) -> int:
        """How many it knows, with those that are being sent or written."""
        return len(self._known)

    @property
    def first(self) -> StoredNotice | None:
        return self._ready[0] if self._ready else None

    @property
    def most(self) -> int:
        """How many may be ready here."""
        return FEW if self._room.is_short else self._most

    @property
    def is_low(self) -> bool:
        """Whether a read is worth it: few are left, and it may bring others."""
        return len(self._ready) <= self.most // 4 and not self._fruitless

    def limit(self, *, few: bool) -> None:
        """``few``: the webhook answers no request. Forgets what is too much then."""
        self._most = FEW if few else MOST
        while len(self._ready) > self._most:
            self._forget(self._ready.pop())
            self.more = self.missed = True

    def arrived(self, stored: StoredNotice) -> None:
        """Takes in a notice that has just become ready, or leaves it for a read."""
        if self._aside is not None and len(self._aside) < self._most:
            self._aside.append(stored)
        elif stored.revision <= self.read_at:
            pass
        elif self.more or stored.event_id in self._known or len(self._ready) >= self.most:
            self.look_again()
        else:
            self._add(stored)

    # --- reads ---

    def look_again(self) -> None:
        """Some ready notices may not be known here: a read begins at the first again."""
        self.more = self.missed = True
        self._fruitless = False

    def begin_read(self, *, from_first: bool = True) -> None:
        """A read of ready notices begins. What arrives meanwhile comes behind what it finds."""
        self._aside, self.more, self._gone = [], False, {}
        self._from_first = from_first

    def end_read(self, found: Sequence[StoredNotice], *, more: bool) -> int:
        """Takes in what a read has found; returns how many of them, from the first, are known now.

        ``more``: there is more in etcd behind them.
        """
        before = len(self._known)
        taken = self._take_in(found)
        whole = taken == len(found) and not more
        aside = [one for one in self._aside or () if one.revision > self.read_at]
        self._aside = None
        if not whole or self._take_in(aside) < len(aside):
            self.missed |= bool(aside)
        self.more |= not whole or self.missed
        # What was written meanwhile ends no wait later. A read that went on behind others has not
        # seen those that were passed over.
        self._fruitless = (
            self.more and self._from_first and not self._gone and len(self._known) == before
        )
        return taken

    def begin_due(self) -> None:
        """A read of what is due begins."""
        self._gone = {}

    def add_due(self, found: Sequence[StoredNotice]) -> bool:
        """Takes in what waited and is due by now; returns whether all of it had room."""
        before = len(self._known)
        whole = self._take_in(found) == len(found)
        self._fruitless = not whole and not self._gone and len(self._known) == before
        return whole

    def stop_read(self) -> None:
        """A read has failed."""
        self._aside, self.more, self.missed = None, True, True

    def _take_in(self, found: Sequence[StoredNotice]) -> int:
        """As many as have room, and those that are known already."""
        for count, stored in enumerate(found):
            known = self._known.get(stored.event_id)
            if known is None and self._gone.get(stored.event_id) == stored.revision:
                continue
            if known is None:
                if len(self._ready) >= self.most:
                    return count
                self._add(stored)
            elif known.key != stored.key:  # it was replayed while it is being sent
                self.missed = True
        return len(found)

    # --- tries ---

    def take(self) -> StoredNotice | None:
        """The next one to send. Its e-mail has none that is being sent."""
        while self._ready:
            stored = self._ready.popleft()
            email_id = stored.event_id[:ID_LENGTH]
            waiting = self._in_flight.get(email_id)
            if waiting is None:
                self._in_flight[email_id] = deque()
                return stored
            waiting.append(stored)
        return None

    def put_back(self, stored: StoredNotice) -> None:
        """It was taken, and has not been sent."""
        self.ended(stored)
        self._ready.appendleft(stored)

    def ended(self, stored: StoredNotice) -> None:
        """Its try has ended: the next notice of the e-mail may go."""
        waiting = self._in_flight.pop(stored.event_id[:ID_LENGTH], ())
        self._ready.extendleft(reversed(waiting))

    def written(self, stored: StoredNotice) -> None:
        """Its result is in etcd."""
        self._forget(stored)
        self._gone[stored.event_id] = stored.revision
        self._fruitless = False

    def clear(self) -> None:
        """Forgets all: another worker may have the webhook."""
        for stored in list(self._known.values()):
            self._forget(stored)
        self._ready.clear()
        self._in_flight.clear()

    def _add(self, stored: StoredNotice) -> None:
        self._ready.append(stored)
        self._known[stored.event_id] = stored
        self._room.used += len(stored.value)

    def _forget(self, stored: StoredNotice) -> None:
        if (known := self._known.pop(stored.event_id, None)) is not None:
            self._room.used -= len(known.value)
