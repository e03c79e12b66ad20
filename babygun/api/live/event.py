"""An e-mail's state as an event of the stream."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from babygun.api.emails.documents import HoldOf, email_summary
from babygun.store.changes.feed import EmailState
from babygun.store.changes.position import Position

_encode = msgspec.json.Encoder().encode


class Event(NamedTuple):
    """``records`` and ``owners``: the revisions of the changes that it shows."""

    email_id: str
    client_id: str | None
    records: int
    owners: int
    body: bytes  # without the line of its id

    @property
    def latest(self) -> int:
        """The newer of the two revisions."""
        return max(self.records, self.owners)

    def is_new_at(self, position: Position) -> bool:
        """Whether it shows a change that a listener at this position has not got."""
        return self.records > position.records or self.owners > position.owners


def event_of(state: EmailState, hold_of: HoldOf) -> Event:
    """The event ``email`` of a changed e-mail, or ``gone`` of a removed one."""
    if state.email is None:
        body = b'event: gone\ndata: {"id":"%b"}\n' % state.email_id.encode()
    else:
        summary = email_summary(state.email, state.sending, hold_of)
        body = b"event: email\ndata: %b\n" % _encode(summary)
    return Event(state.email_id, state.client_id, state.change.records, state.change.owners, body)
