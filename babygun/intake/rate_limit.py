"""How many e-mails a second a client may send, where an operator has set it: a token bucket per client and API process."""

from __future__ import annotations

import math
import time

from babygun.api.http.problem_types import TOO_MANY_REQUESTS
from babygun.api.http.problems import Problem
from babygun.store.records import Client


class RateLimits:
    """A bucket holds one second's worth of the client's rate, at least one, so a burst of that size passes."""

    def __init__(self) -> None:
        self._buckets: dict[
            str, tuple[float, float]
        ] = {}  # client id: what is left, as of (monotonic)

    def take(self, client: Client, now: float | None = None, *, emails: int = 1) -> None:
        """Takes so many e-mails' worth; raises the 429 problem. ``now``: monotonic seconds, for tests.

        More than a bucket holds are let through when it is full, and what they take beyond it has to come back first. None at all
        (0) take nothing, and are refused where one would be.
        """
        if client.rate is None:
            return
        now = time.monotonic() if now is None else now
        if client.rate <= 0:
            raise Problem(
                TOO_MANY_REQUESTS,
                "The client's rate is 0: an operator has stopped it.",
                retry_after=60,
            )
        left, since = self._buckets.get(client.id, (math.inf, now))
        most = max(1.0, client.rate)
        left = min(most, left + (now - since) * client.rate)
        needed = min(most, max(1, emails))
        if left < needed:
            self._buckets[client.id] = (left, now)
            raise Problem(
                TOO_MANY_REQUESTS,
                f"The client may send {client.rate:g} e-mails a second.",
                retry_after=math.ceil((needed - left) / client.rate),
            )
        self._buckets[client.id] = (left - emails, now)
