"""How many reports of one day a receiver gets. Pure.

The owner of a domain may name the places of others in its DNS record, and may have many domains. So
no mailbox gets more than some, and neither do a mail domain and a web server.
"""

from __future__ import annotations

from collections import Counter
from urllib.parse import urlsplit

from babygun.email.addresses import comparable
from babygun.tls_reports.record import ReportUri

_MOST_TO_MAILBOX = 100
_MOST_TO_HOST = 1000  # also to a mail domain: some collect the reports of many others


class Receivers:
    """Those of the reports of one day."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def add(self, place: ReportUri) -> str:
        """Counts a report that goes to a place. Returns why it can't; empty: it can."""
        limits = _limits(place)
        for receiver, most in limits.items():
            if self._counts[receiver] >= most:
                return f"{most} reports of this day go to {receiver} already"
        self._counts.update(limits.keys())
        return ""


def _limits(place: ReportUri) -> dict[str, int]:
    """The most reports of a day, by receiver: a mailbox without its tag, a host."""
    if place.kind == "https":
        host = (urlsplit(place.target).hostname or "").removesuffix(".")
        return {host: _MOST_TO_HOST}
    local, _, domain = comparable(place.target).rpartition("@")
    mailbox = f"{local.partition('+')[0]}@{domain}"
    return {mailbox: _MOST_TO_MAILBOX, f"@{domain}": _MOST_TO_HOST}
