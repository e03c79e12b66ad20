"""When a route's mail is tried again: what its settings make of it."""

from __future__ import annotations

from itertools import chain, repeat
from typing import Any

from babygun.email.retry import Schedule
from babygun.errors import SettingsError
from babygun.runtime.setting_types import DURATIONS, parse_duration

# For the mail hosts of strangers: soon after greylisting, then for as long as servers are away.
_MX_INTERVALS = (300.0, 900.0, 1800.0, 3600.0, 7200.0, 14400.0, 21600.0)
_MX_EXPIRES_AFTER = 5 * 86400.0
_MX_JITTER = 0.2
_MOST_TRIES = 1000


def relay_schedule(value: dict[str, Any], usual: tuple[float, ...], where: str) -> Schedule:
    """Of a relay. ``value``: its settings; ``usual``: the intervals of relays without their own.

    Raises SettingsError.
    """
    return Schedule(_intervals(value, usual, None, where))


def mx_schedule(value: dict[str, Any], where: str) -> Schedule:
    """Of mail that goes straight to its domains. Raises SettingsError."""
    own = "retry_intervals" in value
    return Schedule(
        _intervals(value, _MX_INTERVALS, None if own else _MX_EXPIRES_AFTER, where), _MX_JITTER
    )


def _intervals(
    value: dict[str, Any], usual: tuple[float, ...], usual_end: float | None, where: str
) -> tuple[float, ...]:
    """With an end, the last interval is repeated until all of them add up to it."""
    intervals, end = usual, usual_end
    try:
        if "retry_intervals" in value:
            given = value["retry_intervals"]
            text = ", ".join(map(str, given)) if isinstance(given, list) else str(given)
            intervals = DURATIONS.parse(text)
        if "expires_after" in value:
            end = parse_duration(str(value["expires_after"]))
    except ValueError as error:
        raise SettingsError(f"{where}: {error}") from None
    if not all(wait > 0 for wait in intervals):
        raise SettingsError(f"{where}: retry_intervals has a wait of 0")
    if end is None or not intervals:
        return intervals
    if intervals[-1] * _MOST_TRIES < end:
        raise SettingsError(
            f"{where}: expires_after makes more than {_MOST_TRIES} tries of"
            " retry_intervals: let the last wait be longer"
        )
    found: list[float] = []
    total = 0.0
    for wait in chain(intervals, repeat(intervals[-1])):
        total += wait
        if total > end:
            break
        found.append(wait)
    return tuple(found)
