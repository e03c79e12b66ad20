"""Dates of header fields (RFC 5322, 3.3), also from what people give instead of one."""

from __future__ import annotations

import re
from datetime import date

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
# RFC 5322, 4.3, and UTC. Other letters have no certain meaning.
_ZONES = {
    "UT": "+0000",
    "GMT": "+0000",
    "UTC": "+0000",
    "EST": "-0500",
    "EDT": "-0400",
    "CST": "-0600",
    "CDT": "-0500",
    "MST": "-0700",
    "MDT": "-0600",
    "PST": "-0800",
    "PDT": "-0700",
}
_FORM = (
    "must be of the form Sun, 29 Nov 2026 08:30:00 +0100 (RFC 5322)"
    " or 2026-11-29T08:30:00+01:00 (RFC 3339)"
)

_rfc_5322 = re.compile(
    rf"(?:({'|'.join(_DAYS)})[ \t]*,)?[ \t]*([0-9]{{1,2}})[ \t]+({'|'.join(_MONTHS)})"
    r"[ \t]+([0-9]{2,4})[ \t]+([0-9]{2}):([0-5][0-9])(?::([0-5][0-9]|60))?"
    r"[ \t]+([+-][0-9]{2}[0-5][0-9]|[A-Z]+)(?:[ \t]*\([ -'*-\[\]-~]*\))?",
    re.IGNORECASE | re.ASCII,
).fullmatch
_rfc_3339 = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})[T ]([0-9]{2}):([0-5][0-9]):([0-5][0-9]|60)(?:\.[0-9]+)?"
    r"(Z|[+-][0-2][0-9]:[0-5][0-9])",
    re.IGNORECASE | re.ASCII,
).fullmatch
# Of what the first pattern matches: no obsolete form of RFC 5322, 4.3.
_is_current = re.compile(
    r"(?:[A-Z][a-z]{2}, )?[0-9]{1,2} [A-Z][a-z]{2} [0-9]{4} [0-9:]+ [+-][0-9]{4}(?: \(.*\))?"
).fullmatch


def rfc_5322_date(text: str) -> str:
    """The date as RFC 5322 has it.

    Takes that form, its obsolete forms (two digits of a year, names of zones), and RFC 3339. Raises
    ValueError for other text and for times that don't exist. It says what is wrong, as the end of a
    sentence.
    """
    weekday = None
    if match := _rfc_5322(text):
        weekday, day, month, year, hour, minute, second, zone = match.groups()
        number = _MONTHS.index(month.title()) + 1
        zone = _ZONES.get(zone.upper(), zone)
    elif match := _rfc_3339(text):
        year, month, day, hour, minute, second, zone = match.groups()
        number = int(month)
        zone = "+0000" if zone in "Zz" else zone.replace(":", "")
    else:
        raise ValueError(_FORM)
    if zone[0] not in "+-":
        raise ValueError(f"{_FORM}: {zone} is no offset")
    at = _day(year, number, day)
    if hour > "23":
        raise ValueError(f"has the hour {hour}; the last one is 23")
    name = _DAYS[at.weekday()]
    if weekday and weekday.title() != name:
        raise ValueError(f"says {weekday}, and that day is a {at:%A}")
    if _is_current(text):
        return text
    clock = f"{hour}:{minute}:{second or '00'}"
    return f"{name}, {at.day:02d} {_MONTHS[number - 1]} {at.year} {clock} {zone}"


def _day(year: str, month: int, day: str) -> date:
    """Two digits of a year before 50 belong to this century; other short ones count from 1900."""
    century = 0 if len(year) == 4 else 2000 if len(year) == 2 and year < "50" else 1900
    try:
        at = date(int(year) + century, month, int(day))
    except ValueError:
        raise ValueError(f"has a day that does not exist: {year}-{month:02d}-{day}") from None
    if at.year < 1900:
        raise ValueError(f"has the year {year}; the first one is 1900")
    return at
