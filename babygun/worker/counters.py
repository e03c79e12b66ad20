"""What a worker has done since it started, as its key tells it at each check-in: the API makes rates of that."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Tally:
    """Recipients by what a try did; one is deferred as often as it is tried in vain."""

    delivered: int = 0
    deferred: int = 0
    failed: int = 0
