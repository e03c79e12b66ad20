"""The times of an e-mail: when it is sent, and until when it may be tried."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated

from msgspec import Meta

from babygun.intake.broken_rules import BrokenRules
from babygun.runtime.clock import utc_now

MAX_AHEAD = timedelta(days=366)

SendAt = Annotated[
    datetime,
    Meta(
        tz=True,
        description="When to send: RFC 3339 with an offset, "
        f"at most {MAX_AHEAD.days} days ahead. A time in the past means now.",
    ),
]


def check_send_at(at: datetime | None, broken: BrokenRules) -> datetime | None:
    """The time in whole milliseconds of UTC; None for now."""
    if at is None or at <= (now := utc_now()):
        return None
    if at > now + MAX_AHEAD:
        broken.report("send_at", f"It lies more than {MAX_AHEAD.days} days ahead.")
        return None
    return whole_ms(at)


def check_expires_at(
    at: datetime | None, send_at: datetime | None, broken: BrokenRules
) -> datetime | None:
    """The time in whole milliseconds of UTC; None for no end."""
    if at is None:
        return None
    if at <= (send_at or utc_now()):
        when = "the time of send_at" if send_at else "now"
        broken.report("expires_at", f"It must be later than {when}, or the e-mail is never sent.")
        return None
    return whole_ms(at)


def whole_ms(at: datetime) -> datetime:
    at = at.astimezone(UTC)
    return at.replace(microsecond=at.microsecond // 1000 * 1000)
