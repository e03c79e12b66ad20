"""How often one process answers to ids and secrets: token buckets, by address and by client id.

Right secrets and wrong ones have buckets of their own. So nobody locks a client out by wrong
secrets under its id, or from its address. Guessing needs no lock: a secret has 256 random bits.
"""

from __future__ import annotations

import time

from babygun.errors import RateExceeded
from babygun.runtime.networks import network_of
from babygun.runtime.token_buckets import TokenBuckets

_BURST = 10.0  # s, for which a full bucket lasts
_REFUSED = 0.1  # of the rate is that of wrong secrets
_MOST_BUCKETS = 10_000  # of one kind
_READS = 50.0  # a second, of etcd, for ids and secrets that are not known here
_LONGEST_ID = 64  # characters; a longer id is no client's


class SignInLimits:
    """``rate``: tokens and sign-ins a second for one client."""

    def __init__(self, rate: float) -> None:
        self._granted_rate, self._refused_rate = rate, rate * _REFUSED
        self._granted, self._by_address, self._by_id, self._reads = (
            TokenBuckets(seconds=_BURST, most=_MOST_BUCKETS) for _ in range(4)
        )

    def granted(self, client_id: str) -> None:
        """Counts a right secret. Raises RateExceeded."""
        now = time.monotonic()
        if wait := self._granted.wait(client_id, self._granted_rate, now):
            raise RateExceeded(
                "The client asks for too many tokens: use each until it expires."
                " An operator can raise the setting token_rate.",
                retry_after=wait,
            )
        self._granted.take(client_id, self._granted_rate, now)

    def check_refused(self, address: str, client_id: str) -> None:
        """Raises RateExceeded where there were too many wrong secrets."""
        rate, now = self._refused_rate, time.monotonic()
        wait = max(
            self._by_address.wait(network_of(address), rate, now),
            self._by_id.wait(client_id[:_LONGEST_ID], rate, now),
        )
        if wait:
            raise RateExceeded(
                "There were too many wrong ids and secrets from this address or for this id.",
                retry_after=wait,
            )

    def refused(self, address: str, client_id: str) -> None:
        """Counts a wrong secret or id."""
        rate, now = self._refused_rate, time.monotonic()
        self._by_address.take(network_of(address), rate, now)
        self._by_id.take(client_id[:_LONGEST_ID], rate, now)

    def may_read_etcd(self) -> bool:
        """Whether etcd may be asked for a client now, for all callers together. Counts that."""
        now = time.monotonic()
        if self._reads.wait("", _READS, now):
            return False
        self._reads.take("", _READS, now)
        return True
