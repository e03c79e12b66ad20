"""How many e-mails a second a client may send, where an operator has set it.

A token bucket for each client, of this process alone.
"""

from __future__ import annotations

import time

from babygun.errors import RateExceeded
from babygun.runtime.token_buckets import TokenBuckets
from babygun.store.records import Client

_STOPPED = 60  # seconds that a client with the rate 0 is asked to wait
_MOST_CLIENTS = 100_000


class RateLimits:
    """A bucket holds one second's worth of the client's rate, at least one e-mail."""

    def __init__(self) -> None:
        self._buckets = TokenBuckets(seconds=1.0, most=_MOST_CLIENTS)

    def take(self, client: Client, now: float | None = None, *, emails: int = 1) -> None:
        """Takes ``emails`` from the client's bucket. Raises RateExceeded.

        A batch larger than the bucket is accepted if the bucket is full. The next e-mail then
        waits until the bucket is above 0 again. ``emails`` 0 takes nothing, and raises where one
        e-mail would be refused. ``now``: monotonic seconds, for tests.
        """
        if client.rate is None:
            return
        if client.rate <= 0:
            raise RateExceeded(
                "The client's rate is 0: an operator has stopped it.", retry_after=_STOPPED
            )
        now = time.monotonic() if now is None else now
        if wait := self._buckets.wait(client.id, client.rate, now, count=max(1, emails)):
            raise RateExceeded(
                f"The client may send {client.rate:g} e-mails a second.", retry_after=wait
            )
        self._buckets.take(client.id, client.rate, now, count=emails)
