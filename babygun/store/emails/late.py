"""What comes back after the delivery: late bounces and complaints."""

from __future__ import annotations

from typing import Literal

from babygun.email.bounces import Bounce, Complaint
from babygun.email.return_path import ReturnPath
from babygun.store.store import Store

# applied    it is written: record, log, suppression, notices
# already    nothing to write: it was written before, or the recipient is final and not delivered
# too_early  the try that the message tells of has not ended yet. Ask the server to come again (451)
# no_record  the e-mail's record is gone: the event alone is written, if a webhook wants it
# unknown    there is no such client any more, or no such recipient
Outcome = Literal["applied", "already", "too_early", "no_record", "unknown"]


async def late_bounce(store: Store, address: ReturnPath, report: Bounce) -> Outcome:
    """A bounce message has come for a return path. Returns when its outcome is committed.

    It can be repeated: a second call writes nothing. Raises EtcdError if etcd does not answer, or
    the outcome is unknown: then the server is asked to come again.
    """
    raise NotImplementedError


async def complaint(store: Store, address: ReturnPath, report: Complaint) -> Outcome:
    """A recipient has called the e-mail spam. As :func:`late_bounce`."""
    raise NotImplementedError
