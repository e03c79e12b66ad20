"""The id of a new e-mail."""

from __future__ import annotations

import time

from babygun.email.ids import email_id
from babygun.runtime.identifiers import new_short_id


def new_email_id(now_ns: int | None = None) -> str:
    """A new e-mail id for this instant, or for ``now_ns`` (nanoseconds since the epoch)."""
    return email_id(time.time_ns() if now_ns is None else now_ns, new_short_id())
