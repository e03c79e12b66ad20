"""Warm-up: how much a new source may send to each provider on a day. Pure, but for the settings.

A *source* is an address of ours or a sending domain. Providers distrust a new one that sends much
at once. So it has a ceiling of recipients for each site and day (UTC), which grows by a table. A
source is *warm* once the table has no more days: then there is no ceiling.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple

from babygun.email.domains import ascii_domain
from babygun.errors import SettingsError
from babygun.routing.destination import ranked_sources
from babygun.routing.sites import MX
from babygun.runtime.settings import Settings

# Recipients that a worker takes from a day's ceiling at a time. The last ones are taken in smaller
# parts, so that no worker has some to spare while another one has none.
MOST_TAKEN = 50


class Plan(NamedTuple):
    """What the settings say. ``ceilings``: recipients a day, by day of the warm-up, from the first.

    ``addresses``, ``domains``: which sources warm up. ``began``: by source, its first day, where
    the operator says it.
    """

    ceilings: tuple[int, ...]
    addresses: bool
    domains: bool
    began: Mapping[str, date]

    def ceiling(self, began: date, today: date) -> int | None:
        """How many recipients of one site a source may have today. None: it is warm."""
        day = day_of(began, today)
        return self.ceilings[day - 1] if day <= len(self.ceilings) else None


def read_plan(settings: Settings) -> Plan | None:
    """The warm-up of the settings. None: there is none. Raises SettingsError."""
    if not settings.warm_up_table or not all(settings.warm_up_table):
        raise SettingsError(
            "warm_up_table must have numbers above 0, such as 50, 100, 200; warm_up = off is how to"
            " have no warm-up"
        )
    began = {}
    for source, day in settings.warm_up_began.items():
        try:
            began[_source_name(source)] = day
        except ValueError as error:
            raise SettingsError(f"warm_up_began: {source}: {error}") from None
    which = settings.warm_up
    if which == "off":
        return None
    return Plan(
        settings.warm_up_table, which in ("addresses", "both"), which in ("domains", "both"), began
    )


def _source_name(given: str) -> str:
    """An address or a domain as keys and records have it. Raises ValueError."""
    if is_address(given):
        return str(ipaddress.ip_address(given))
    return ascii_domain(given).lower().removesuffix(".")


def day_of(began: date, today: date) -> int:
    """The day of a warm-up, from 1. A clock that is behind makes it no earlier than the first."""
    return max(1, (today - began).days + 1)


def is_address(source: str) -> bool:
    """Whether a source is an address of ours, and no domain."""
    try:
        ipaddress.ip_address(source)
    except ValueError:
        return False
    return True


def share(ceiling: int, taken: int, wanted: int, workers: int) -> int:
    """How many recipients a worker takes from what is left of a ceiling; 0: there is none left.

    ``wanted``: it has so many now. It takes more for those that follow, but leaves most of it to
    the other workers.
    """
    left = ceiling - taken
    return max(0, min(left, max(wanted, min(MOST_TAKEN, left // (2 * max(1, workers))))))


def seconds_left(now: datetime) -> float:
    """How long the day still lasts."""
    tomorrow = datetime.combine(now.date() + timedelta(days=1), datetime.min.time(), UTC)
    return (tomorrow - now).total_seconds()


def older_sources(
    sources: Sequence[str], for_email: str, began_of: Callable[[str], date]
) -> dict[int, list[str]]:
    """From which of our addresses an e-mail may go, the best one first, by version of IP.

    That is the e-mail's own (:func:`babygun.routing.destination.picked_sources`). Where that one
    may send no more today, an older one takes its mail, or one of the same age.
    """
    found: dict[int, list[str]] = {}
    for source in ranked_sources(sources, for_email):
        of_version = found.setdefault(6 if ":" in source else 4, [])
        if not of_version or began_of(source) <= began_of(of_version[0]):
            of_version.append(source)
    return found


def why_full(source: str, day: int, ceiling: int, site: str) -> str:
    """Why mail waits for the next day, in a sentence for people."""
    to = site.removeprefix(MX)
    return f"warm-up of {source}: day {day}, {ceiling:,} of {ceiling:,} to {to} today"
