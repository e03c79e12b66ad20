"""Bounds the connections of mail servers: all, and those of one address."""

from __future__ import annotations

import time
from collections import Counter

from babygun.runtime.logs import get_logger
from babygun.runtime.networks import network_of

log = get_logger("bounced")

_SHARE = 10  # one address gets the tenth part
_REPORT_EVERY = 10.0  # s, between two lines of the log


class ConnectionCount:
    """The open connections by address: of IPv6 by what one host has for itself."""

    def __init__(self, most: int) -> None:
        self.total = 0
        self._most, self._of_one = most, max(1, most // _SHARE)
        self._by_network: Counter[str] = Counter()
        self._unreported, self._report_at = 0, float("-inf")

    def enter(self, address: str) -> bool:
        """Counts a connection until :meth:`leave`; false if it is one too many."""
        network = network_of(address)
        if self.total >= self._most or self._by_network[network] >= self._of_one:
            self._report(address)
            return False
        self.total += 1
        self._by_network[network] += 1
        return True

    def leave(self, address: str) -> None:
        network = network_of(address)
        self.total -= 1
        self._by_network[network] -= 1
        if not self._by_network[network]:
            del self._by_network[network]

    def _report(self, address: str) -> None:
        """Logs the refused connections, now and then."""
        self._unreported += 1
        if (now := time.monotonic()) >= self._report_at:
            log.warning(
                "connections refused",
                refused=self._unreported,
                setting="bounce_connections",
                address=address,
            )
            self._unreported, self._report_at = 0, now + _REPORT_EVERY
