"""Which servers did not work a moment ago, and where IPv6 does not work. Pure.

A process remembers it for a while, so that the next message does not wait for the same again. All
servers are still tried where nothing else is left.
"""

from __future__ import annotations

import errno
from collections import OrderedDict
from typing import Literal

from babygun.routing.server import Server

FAILED = 300.0  # s, for which a server that could not be used is tried last
NO_ROUTE = 600.0  # s, for which IPv6 is tried last everywhere: this machine does not have it
REFUSES_IPV6 = 86_400.0  # s, for which a site that refuses our IPv6 addresses gets IPv4 only
MOST = 20_000  # servers and sites known at once; the oldest is forgotten first

# now: in its turn. last: after the others. instead: only where there is no other.
Turn = Literal["now", "last", "instead"]

# Some systems without IPv6 say that the host is unreachable, not the network.
_HAS_NO_IPV6 = (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)


class Reachability:
    """What one process knows. Times are seconds of one clock."""

    def __init__(self) -> None:
        self._failed = _Until()  # by server
        self._refuses_ipv6 = _Until()  # by the site's name
        self._no_ipv6_until = 0.0

    def turn_of(self, server: Server, site: str, now: float) -> Turn:
        """When a server is tried, among those of one destination."""
        if server.ipv6:
            if self._refuses_ipv6.holds(site, now):
                return "instead"
            if now < self._no_ipv6_until:
                return "last"
        return "last" if self._failed.holds(server.endpoint, now) else "now"

    def failed(self, server: Server, number: int, now: float) -> None:
        """A server could not be used. ``number``: the system's errno; 0 without one."""
        if server.ipv6 and not server.source and number in _HAS_NO_IPV6:
            self._no_ipv6_until = now + NO_ROUTE
        else:
            self._failed.put(server.endpoint, now + FAILED)

    def worked(self, server: Server) -> None:
        """A server took a connection."""
        self._failed.drop(server.endpoint)
        if server.ipv6:
            self._no_ipv6_until = 0.0

    def refused_ipv6(self, site: str, now: float) -> bool:
        """A site's server refused our IPv6 address. False: that was known."""
        known = self._refuses_ipv6.holds(site, now)
        self._refuses_ipv6.put(site, now + REFUSES_IPV6)
        return not known


class _Until:
    """Names, each until a time."""

    def __init__(self) -> None:
        self._times: OrderedDict[str, float] = OrderedDict()

    def holds(self, name: str, now: float) -> bool:
        until = self._times.get(name)
        if until is None:
            return False
        if now < until:
            return True
        del self._times[name]
        return False

    def put(self, name: str, until: float) -> None:
        self._times[name] = until
        self._times.move_to_end(name)
        if len(self._times) > MOST:
            self._times.popitem(last=False)

    def drop(self, name: str) -> None:
        self._times.pop(name, None)
