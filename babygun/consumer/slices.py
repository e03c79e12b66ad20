"""Which shards are a worker's: the k-th of n live workers, sorted by id, takes the k-th part. Pure.

A slice only keeps workers out of each other's way. The compare of a claim is what keeps them safe.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from babygun.email.ids import SHARDS, shard_of


class Slice(NamedTuple):
    """Shards [first, end); empty where both are equal."""

    first: int
    end: int

    @property
    def empty(self) -> bool:
        return self.first == self.end

    def holds(self, email_id: str) -> bool:
        return self.first <= int(shard_of(email_id), 16) < self.end


NOTHING = Slice(0, 0)


def slice_of(worker_id: str, live: Collection[str]) -> Slice:
    """The slice of one worker; nothing where it is not among the ``live`` ones.

    With more workers than shards some have nothing.
    """
    order = sorted(live)
    if worker_id not in live:
        return NOTHING
    k, n = order.index(worker_id), len(order)
    return Slice(SHARDS * k // n, SHARDS * (k + 1) // n)
