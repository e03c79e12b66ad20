"""Bounds the connections of one listening socket: all, and those of one address."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence

from babygun.api.http.problem_types import TOO_MANY_CONNECTIONS
from babygun.api.http.problems import Problem
from babygun.runtime.logs import get_logger
from babygun.runtime.networks import Network, is_in, network_of

log = get_logger("api")

_REPORT_EVERY = 10.0  # s, between two lines of the log


class ConnectionLimits:
    """``most``: connections in all. ``per_address``: those of one address.

    ``unlimited``: proxies, which make connections for many addresses. ``refused_open``: refused
    connections that are not closed yet.
    """

    def __init__(self, most: int, per_address: int, *, unlimited: Sequence[Network] = ()) -> None:
        self.most, self.per_address, self._unlimited = most, per_address, unlimited
        self.open: Counter[str] = Counter()
        self.refused_open = 0
        self._total = 0
        self._refused = 0
        self._report_at = float("-inf")

    def admit(self, address: str) -> str:
        """Counts a new connection; returns what :meth:`leave` needs. Raises the 503 problem."""
        network = network_of(address)
        if self._total >= self.most:
            self._report("api_connections", address)
            raise Problem(TOO_MANY_CONNECTIONS, TOO_MANY_CONNECTIONS.example)
        if self.open[network] >= self.per_address and not is_in(self._unlimited, address):
            self._report("api_connections_per_address", address)
            raise Problem(
                TOO_MANY_CONNECTIONS,
                "Your address has its most connections to this process"
                " (setting api_connections_per_address).",
            )
        self._total += 1
        self.open[network] += 1
        return network

    def leave(self, network: str) -> None:
        self._total -= 1
        self.open[network] -= 1
        if not self.open[network]:
            del self.open[network]

    def _report(self, setting: str, address: str) -> None:
        """Logs the refused connections, now and then."""
        self._refused += 1
        if (now := time.monotonic()) >= self._report_at:
            log.warning(
                "connections refused", refused=self._refused, setting=setting, address=address
            )
            self._refused, self._report_at = 0, now + _REPORT_EVERY
