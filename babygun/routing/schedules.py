"""When a route's mail is tried again: what the settings make of it."""

from __future__ import annotations

from itertools import chain, repeat
from typing import Any

from babygun.email.retry import Schedule
from babygun.errors import SettingsError
from babygun.runtime.setting_types import DURATIONS, parse_duration
from babygun.runtime.settings import Settings

_MX_JITTER = 0.2
_MOST_TRIES = 1000


def relay_schedule(value: dict[str, Any], settings: Settings, where: str) -> Schedule:
    """Of a relay. ``value``: the route's own settings. Raises SettingsError."""
    return Schedule(_intervals(value, settings.retry_intervals, None, where))


def mx_schedule(value: dict[str, Any], settings: Settings, where: str) -> Schedule:
    """Of mail that goes straight to its domains. Raises SettingsError."""
    own = "retry_intervals" in value
    end = None if own else settings.mx_expires_after
    return Schedule(_intervals(value, settings.mx_retry_intervals, end, where), _MX_JITTER)


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
    if not intervals:
        raise SettingsError(
            f"{where}: retry_intervals is empty: leave it out for the usual waits. For a single"
            " try, let expires_after be shorter than the first wait"
        )
    if not all(wait > 0 for wait in intervals):
        raise SettingsError(f"{where}: retry_intervals has a wait of 0")
    if end is None:
        return intervals
    if end <= 0:
        raise SettingsError(f"{where}: expires_after is 0: give the time that all tries may take")
    if intervals[-1] * _MOST_TRIES < end:
        name = "expires_after" if "expires_after" in value else "mx_expires_after"
        raise SettingsError(
            f"{where}: {name} makes more than {_MOST_TRIES} tries of"
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
