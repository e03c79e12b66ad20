"""How often one process answers to links: token buckets, by address.

Right links and wrong ones have buckets of their own. So nobody keeps others from unsubscribing by
wrong links. A large provider sends the clicks of all its users from few addresses, so right links
have a high rate.
"""

from __future__ import annotations

import time

from babygun.runtime.networks import network_of
from babygun.runtime.token_buckets import TokenBuckets

_BURST = 10.0  # s, for which a full bucket lasts
_RIGHT, _WRONG = 200.0, 10.0  # a second, for one address
_MOST_BUCKETS = 10_000  # of one kind


class LinkLimits:
    """Seconds to wait; 0: the call may go on, and counts."""

    def __init__(self) -> None:
        self._right, self._wrong = (
            TokenBuckets(seconds=_BURST, most=_MOST_BUCKETS) for _ in range(2)
        )

    def right(self, address: str) -> int:
        return _take(self._right, address, _RIGHT)

    def wrong(self, address: str) -> int:
        return _take(self._wrong, address, _WRONG)


def _take(buckets: TokenBuckets, address: str, rate: float) -> int:
    network, now = network_of(address), time.monotonic()
    wait = buckets.wait(network, rate, now)
    if not wait:
        buckets.take(network, rate, now)
    return wait
