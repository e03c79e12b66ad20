"""Bounds the connections of one listening socket: all, and those of one address.

A connection counts from the moment that it is accepted, before its TLS.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence

from babygun.api.http.problem_types import TOO_MANY_CONNECTIONS
from babygun.api.http.problems import Problem
from babygun.runtime.logs import get_logger
from babygun.runtime.networks import Network, is_in, network_of

log = get_logger("api")

_REFUSALS = 50  # connections that get an answer why they are refused, at a time
_REPORT_EVERY = 10.0  # s, between two lines of the log


class ConnectionLimits:
    """``most``: connections in all. ``per_address``: those of one address.

    ``unlimited``: proxies, which make connections for many addresses.
    """

    def __init__(self, most: int, per_address: int, *, unlimited: Sequence[Network] = ()) -> None:
        self.most, self.per_address, self._unlimited = most, per_address, unlimited
        self.open: Counter[str] = Counter()
        self.refused = 0  # and not closed yet
        self._total = 0
        self._unreported = 0
        self._report_at = float("-inf")

    def admit(self, address: str) -> Admission:
        """Counts a new connection, until :meth:`Admission.leave`."""
        network = network_of(address)
        problem = self._problem(network, address)
        if problem is None:
            self._total += 1
            self.open[network] += 1
        else:
            self.refused += 1
        return Admission(self, network, problem, silent=self.refused > _REFUSALS)

    def leave(self, network: str) -> None:
        self._total -= 1
        self.open[network] -= 1
        if not self.open[network]:
            del self.open[network]

    def _problem(self, network: str, address: str) -> Problem | None:
        """Why one more connection is too many."""
        if self._total >= self.most:
            self._report("api_connections", address)
            return Problem(TOO_MANY_CONNECTIONS, TOO_MANY_CONNECTIONS.example)
        if self.open[network] >= self.per_address and not is_in(self._unlimited, address):
            self._report("api_connections_per_address", address)
            return Problem(
                TOO_MANY_CONNECTIONS,
                "Your address has its most connections to this process"
                " (setting api_connections_per_address).",
            )
        return None

    def _report(self, setting: str, address: str) -> None:
        """Logs the refused connections, now and then."""
        self._unreported += 1
        if (now := time.monotonic()) >= self._report_at:
            log.warning(
                "connections refused", refused=self._unreported, setting=setting, address=address
            )
            self._unreported, self._report_at = 0, now + _REPORT_EVERY


class Admission:
    """One connection. ``problem``: why it is refused; None: it is not.

    ``silent``: it is refused, and so many others are that it gets no answer.
    """

    def __init__(
        self, limits: ConnectionLimits, network: str, problem: Problem | None, *, silent: bool
    ) -> None:
        self.problem, self.silent = problem, silent and problem is not None
        self._limits, self._network = limits, network
        self._left = False

    def leave(self) -> None:
        """The connection is closed. A second call does nothing."""
        if self._left:
            return
        self._left = True
        if self.problem is None:
            self._limits.leave(self._network)
        else:
            self._limits.refused -= 1
