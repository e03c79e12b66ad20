"""What the door answers for an e-mail and for a batch."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from msgspec import Struct

from babygun.email.model import EmailStatus
from babygun.errors import BabygunError


def status_of(recipients: int, suppressed: Sequence[str]) -> EmailStatus:
    """The status of an e-mail that was just stored. With nobody to send to it is final."""
    return "failed" if recipients and len(suppressed) == recipients else "incomplete"


class Acceptance(Struct, frozen=True, gc=False):
    """An e-mail that is stored. ``recipients``: how many; duplicate addresses count once.

    ``suppressed``: the addresses of those that it does not go to. ``repeated``: an earlier call
    with the same Idempotency-Key has stored it.
    """

    email_id: str
    created_at: datetime
    recipients: int
    suppressed: tuple[str, ...] = ()
    repeated: bool = False

    @property
    def status(self) -> EmailStatus:
        return status_of(self.recipients, self.suppressed)


class BatchItem(Struct, frozen=True):
    """What became of one e-mail of a batch: it has an id, or the error with which it was refused.

    ``recipients``: None, too, if an earlier call stored an e-mail that breaks a rule by now.
    """

    email_id: str | None = None
    created_at: datetime | None = None
    recipients: int | None = None
    suppressed: tuple[str, ...] = ()
    error: BabygunError | None = None

    @property
    def status(self) -> EmailStatus:
        """Of an e-mail with an id."""
        return status_of(self.recipients or 0, self.suppressed)


class BatchAcceptance(Struct, frozen=True):
    """``items``: in the order of the batch. ``repeated``: the Idempotency-Key was known."""

    items: list[BatchItem]
    repeated: bool
