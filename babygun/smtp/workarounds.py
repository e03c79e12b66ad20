"""What servers were seen not to manage, though they offer it: TLS, pipelining, BDAT. Pure.

It is not used with such a server for a while. Then it is tried once more. The same goes for a TLS
policy that only tests: whether a server violates it takes a connection that carries no mail.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Literal, NamedTuple

from babygun.routing.tls_policy import TlsPolicy, Violation

Extension = Literal["pipelining", "chunking"]
Feature = Literal["tls"] | Extension
REMEMBERED = 3600.0  # s
REMEMBERED_TLS = 3 * 86_400.0  # s, for TLS of a mail host: nobody there knows that it is broken
MOST_SERVERS = 20_000  # known at once; the one that was asked for longest ago is forgotten first
BREAKS = 2  # in a row, after which commands go one at a time


class _Avoided(NamedTuple):
    until: float
    why: str


class _Violated(NamedTuple):
    until: float
    policy: TlsPolicy
    violation: Violation


class Workarounds:
    """Those of one server. Times are seconds of one clock."""

    __slots__ = ("_avoided", "_breaks", "_violated")  # there are many

    def __init__(self) -> None:
        self._avoided: dict[Feature, _Avoided] = {}
        self._breaks = 0
        self._violated: _Violated | None = None

    def avoid(
        self, feature: Feature, why: str, now: float, *, remembered: float = REMEMBERED
    ) -> None:
        self._avoided[feature] = _Avoided(now + remembered, why)

    def why_not(self, feature: Feature, now: float) -> str:
        """Why a feature is not used, for people; empty: it is used."""
        avoided = self._avoided.get(feature)
        if avoided is None:
            return ""
        if now < avoided.until:
            return avoided.why
        del self._avoided[feature]
        return ""

    def violates(self, policy: TlsPolicy, violation: Violation, now: float) -> None:
        """``policy``: one that only tests. The last one is remembered: they are mostly alike."""
        self._violated = _Violated(now + REMEMBERED, policy, violation)

    def violation_of(self, policy: TlsPolicy, now: float) -> Violation | None:
        """How the server violated the policy a while ago; None: it is to be tried."""
        known = self._violated
        if known is None or known.policy != policy or now >= known.until:
            return None
        return known.violation

    def pipelining_broke(self) -> bool:
        """The server broke off when commands were pipelined. True: it did so too often."""
        self._breaks += 1
        if self._breaks < BREAKS:
            return False
        self._breaks = 0
        return True

    def pipelining_worked(self) -> None:
        self._breaks = 0


class WorkaroundsByServer:
    """Those of the servers that were used last, by their endpoints."""

    def __init__(self) -> None:
        self._servers: OrderedDict[str, Workarounds] = OrderedDict()

    def __len__(self) -> int:
        return len(self._servers)

    def of(self, address: str) -> Workarounds:
        found = self._servers.pop(address, None) or Workarounds()
        self._servers[address] = found
        if len(self._servers) > MOST_SERVERS:
            self._servers.popitem(last=False)
        return found
