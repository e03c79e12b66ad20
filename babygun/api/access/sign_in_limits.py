"""How often one process answers to ids and secrets: token buckets, by address and by client id.

Right secrets and wrong ones have buckets of their own. So nobody locks a client out by wrong
secrets under its id, or from its address. Guessing needs no lock: a secret has 256 random bits.
"""

from __future__ import annotations

import math
import time
from collections import OrderedDict

from babygun.errors import RateExceeded
from babygun.runtime.networks import network_of

_BURST = 10.0  # s, for which a full bucket lasts
_REFUSED = 0.1  # of the rate is that of wrong secrets
_MOST_BUCKETS = 10_000  # of one kind
_READS = 50.0  # a second, of etcd, for ids and secrets that are not known here
_LONGEST_ID = 64  # characters; a longer id is no client's


class SignInLimits:
    """``rate``: tokens and sign-ins a second for one client."""

    def __init__(self, rate: float) -> None:
        self._granted = _Buckets(rate)
        self._by_address = _Buckets(rate * _REFUSED)
        self._by_id = _Buckets(rate * _REFUSED)
        self._reads = _Buckets(_READS)

    def granted(self, client_id: str) -> None:
        """Counts a right secret. Raises RateExceeded."""
        if wait := self._granted.wait(client_id):
            raise RateExceeded(
                "The client asks for too many tokens: use each until it expires."
                " An operator can raise the setting token_rate.",
                retry_after=wait,
            )
        self._granted.take(client_id)

    def check_refused(self, address: str, client_id: str) -> None:
        """Raises RateExceeded where there were too many wrong secrets."""
        wait = max(
            self._by_address.wait(network_of(address)), self._by_id.wait(client_id[:_LONGEST_ID])
        )
        if wait:
            raise RateExceeded(
                "There were too many wrong ids and secrets from this address or for this id.",
                retry_after=wait,
            )

    def refused(self, address: str, client_id: str) -> None:
        """Counts a wrong secret or id."""
        self._by_address.take(network_of(address))
        self._by_id.take(client_id[:_LONGEST_ID])

    def may_read_etcd(self) -> bool:
        """Whether etcd may be asked for a client now, for all callers together. Counts that."""
        if self._reads.wait(""):
            return False
        self._reads.take("")
        return True


class _Buckets:
    """One bucket for each key, full at first. The key that was used longest ago is forgotten."""

    def __init__(self, rate: float) -> None:
        self._rate, self._size = rate, max(1.0, rate * _BURST)
        # With the monotonic time of the level.
        self._levels: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait(self, key: str) -> int:
        """Seconds until there is one to take; 0: there is."""
        level = self._level(key, time.monotonic())
        return 0 if level >= 1 else math.ceil((1 - level) / self._rate)

    def take(self, key: str) -> None:
        now = time.monotonic()
        self._levels[key] = (self._level(key, now) - 1, now)
        self._levels.move_to_end(key)
        if len(self._levels) > _MOST_BUCKETS:
            self._levels.popitem(last=False)

    def _level(self, key: str, now: float) -> float:
        level, since = self._levels.get(key, (self._size, now))
        return min(self._size, level + (now - since) * self._rate)
