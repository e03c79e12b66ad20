"""What a client's limits allow now, given what counts towards them. Pure.

The rate is a token bucket. It holds one second's worth, at least one e-mail, and its level may fall
below 0. A bucket is known by the time at which it is full again.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime, time, timedelta

from msgspec.structs import replace

from babygun.errors import DailyLimitReached, RateExceeded
from babygun.store.records import ClientUsage

_LARGEST_BATCH = 1000  # e-mails: a level never falls further below 0
_ROUNDING = 1e-3  # e-mails


def usage_now(usage: ClientUsage | None, now: datetime) -> ClientUsage:
    """What counts now: a day begins with no recipients.

    A process whose clock is ahead may have begun the next day: that one counts. A later day comes
    from a wrong clock. Its recipients count today.
    """
    today = now.date()
    if usage is None:
        return ClientUsage(today)
    if usage.day < today:
        return replace(usage, day=today, recipients=0)
    return replace(usage, day=today) if usage.day > today + timedelta(days=1) else usage


def take_emails(
    usage: ClientUsage,
    rate: float,
    emails: int,
    now: datetime,
    *,
    held: int = 0,
    more: int = 0,
    least: int = 0,
) -> tuple[ClientUsage, int]:
    """Takes ``emails`` from a client's bucket, less those that are ``held`` already.

    Takes up to ``more`` besides, if they are there; ``least`` of them must be. Returns what counts
    then, and how many were taken. A batch larger than the bucket is accepted if the bucket is full.
    Raises RateExceeded.
    """
    at = now.timestamp()
    size = max(1.0, rate)
    lowest = at + (_LARGEST_BATCH + size) / rate  # later, if a clock was wrong
    full_at = max(at, min(usage.full_at, lowest))
    level = size - (full_at - at) * rate
    missing = min(size, emails + least) - held - level
    if missing > _ROUNDING:
        raise RateExceeded(
            f"The client may send {rate:g} e-mails a second.",
            retry_after=math.ceil(missing / rate),
        )
    taken = max(0, emails - held)
    taken += max(0, min(more, math.floor(level - taken)))
    return replace(usage, full_at=full_at + taken / rate), taken


def give_emails_back(usage: ClientUsage, rate: float, emails: int) -> ClientUsage:
    """Puts back what was taken and not used. A bucket that is full stays so."""
    return replace(usage, full_at=usage.full_at - emails / rate)


def take_recipients(
    usage: ClientUsage, limit: int, recipients: int, now: datetime, *, held: int = 0, more: int = 0
) -> tuple[ClientUsage, int]:
    """Counts ``recipients`` towards a daily limit, less those that are ``held`` already.

    Counts up to ``more`` besides, of the half of what remains. Returns what counts then, and how
    many were taken. Raises DailyLimitReached.
    """
    left = limit - usage.recipients
    taken = max(0, recipients - held)
    if taken > left:
        remaining = max(0, left + held)
        raise DailyLimitReached(
            f"The client may send to {limit:,} recipients a day (UTC), of which {remaining:,}"
            " remain. An operator can raise the limit.",
            retry_after=_until_midnight(now),
            remaining=remaining,
        )
    taken += max(0, min(more, (left - taken) // 2))
    return replace(usage, recipients=usage.recipients + taken), taken


def add_recipients(usage: ClientUsage, recipients: int) -> ClientUsage:
    """Counts them without a limit. Below 0: they were counted and not used."""
    return replace(usage, recipients=max(0, usage.recipients + recipients))


def _until_midnight(now: datetime) -> int:
    """Seconds until the next day (UTC) begins."""
    midnight = datetime.combine(now.date() + timedelta(days=1), time(), UTC)
    return math.ceil((midnight - now).total_seconds())
