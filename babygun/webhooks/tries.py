"""What follows from a try of a notice: it is sent, waits for its next try, or has failed. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from msgspec import Struct
from msgspec.structs import replace

from babygun.store.webhooks.notices import Outcome, StoredNotice
from babygun.store.webhooks.records import Notice, NoticeResult
from babygun.webhooks.answers import Answer

GONE = 410  # RFC 9110, 15.5.11: the endpoint wants no more requests
_PAUSING = (429, 503)  # with Retry-After: for all requests, not only for this one
_LONGEST_WAIT = 24 * 3600.0  # s, that Retry-After may ask for
_LONGEST_PAUSE = 3600.0  # s, of a whole webhook
_SHOWN = 512  # bytes of an answer's body that are kept


class Judged(Struct, frozen=True, gc=False):
    """``pause``: seconds for which the endpoint asks for no request at all.

    ``gone``: it wants no more requests. The notice waits all the same, and ends with its webhook:
    an endpoint that took this one's place meanwhile gets it.
    """

    outcome: Outcome
    success: bool = False
    gone: bool = False
    pause: float = 0.0


def judge(
    stored: StoredNotice,
    notice: Notice,
    answer: Answer | None,
    error: str,
    *,
    now: datetime,
    intervals: Sequence[float],
) -> Judged:
    """``error``: why there is no answer. ``intervals``: seconds between tries."""
    tries = notice.tries + 1
    if answer is None:
        result = NoticeResult(now, error=error)
        return Judged(_again(stored, notice, tries, result, intervals, now, 0.0))
    status = answer.status
    success = 200 <= status < 300
    result = NoticeResult(
        now,
        status_code=status,
        answer=answer.body[:_SHOWN].decode(errors="replace"),
        error="redirects are not followed" if 300 <= status < 400 else None,
    )
    if success:
        sent = replace(notice, tries=tries, last=result, state="sent")
        return Judged(Outcome(stored, sent), success)
    wait = retry_after(answer.retry_after, now)
    outcome = _again(stored, notice, tries, result, intervals, now, wait)
    pause = min(wait, _LONGEST_PAUSE) if status in _PAUSING else 0.0
    return Judged(outcome, gone=status == GONE, pause=pause)


def given_up(stored: StoredNotice, notice: Notice, reason: str, now: datetime) -> Outcome:
    """The end of a notice without another try."""
    return Outcome(stored, notice.given_up(reason, now))


def retry_after(text: str, now: datetime) -> float:
    """Seconds that ``Retry-After`` asks for (RFC 9110, 10.2.3): a number, or a date; 0: nothing."""
    if text.isascii() and text.isdigit():
        return min(float(text), _LONGEST_WAIT)
    try:
        at = parsedate_to_datetime(text)
    except (ValueError, IndexError, TypeError, OverflowError):
        return 0.0
    if at.tzinfo is None:
        at = at.replace(tzinfo=UTC)
    return max(0.0, min((at - now).total_seconds(), _LONGEST_WAIT))


def _again(
    stored: StoredNotice,
    notice: Notice,
    tries: int,
    result: NoticeResult,
    intervals: Sequence[float],
    now: datetime,
    wait: float,
) -> Outcome:
    """``wait``: seconds that it waits at least."""
    if tries > len(intervals):
        return Outcome(stored, replace(notice, tries=tries, last=result, state="failed"))
    due = now + timedelta(seconds=max(wait, intervals[tries - 1]))
    return Outcome(stored, replace(notice, tries=tries, last=result), due)
