"""An e-mail's state as an event of the stream."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from babygun.api.emails.documents import HoldOf, email_summary
from babygun.store.changes.feed import EmailState
from babygun.store.changes.position import Position

_encode = msgspec.json.Encoder().encode


class Event(NamedTuple):
    """``records`` and ``owners``: the revisions of the changes that it shows.

    ``shown``: the e-mail as a document up to its revision; empty for one that was removed.
    """

    email_id: str
    client_id: str | None
    records: int
    owners: int
    shown: bytes

    @property
    def body(self) -> bytes:
        """The event without the line of its id."""
        if not self.shown:
            return b'event: gone\ndata: {"id":"%b"}\n' % self.email_id.encode()
        return b"event: email\ndata: %b%d}\n" % (self.shown, self.latest)

    @property
    def latest(self) -> int:
        """The newer of the two revisions."""
        return max(self.records, self.owners)

    def is_new_at(self, position: Position) -> bool:
        """Whether it shows a change that a listener at this position has not got."""
        return self.records > position.records or self.owners > position.owners


def event_of(state: EmailState, hold_of: HoldOf) -> Event:
    """The event ``email`` of a changed e-mail, or ``gone`` of a removed one."""
    shown = b""
    if state.email is not None:
        summary = email_summary(state.email, state.sending, hold_of, revision=0)
        shown = _encode(summary).removesuffix(b"0}")
    return Event(state.email_id, state.client_id, state.change.records, state.change.owners, shown)
