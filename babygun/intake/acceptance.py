"""What the door answers for an e-mail and for a batch."""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct

from babygun.errors import BabygunError


class Acceptance(Struct, frozen=True, gc=False):
    """An e-mail that is stored. ``recipients``: how many; duplicate addresses count once.

    ``repeated``: an earlier call with the same Idempotency-Key has stored it.
    """

    email_id: str
    created_at: datetime
    recipients: int
    repeated: bool = False


class BatchItem(Struct, frozen=True):
    """What became of one e-mail of a batch: it has an id, or the error with which it was refused.

    ``recipients``: None, too, if an earlier call stored an e-mail that breaks a rule by now.
    """

    email_id: str | None = None
    created_at: datetime | None = None
    recipients: int | None = None
    error: BabygunError | None = None


class BatchAcceptance(Struct, frozen=True):
    """``items``: in the order of the batch. ``repeated``: the Idempotency-Key was known."""

    items: list[BatchItem]
    repeated: bool
