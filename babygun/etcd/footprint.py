"""Which transactions may go as one: the keys that they touch. No I/O.

etcd decides ALL compares of a transaction, the nested ones' too, before it applies any of it. It
refuses a transaction that puts one key twice. So two transactions share a batch only if neither
writes what the other writes, compares or reads. Then the batch does the same as the two would, one
after the other.
"""

from __future__ import annotations

from collections.abc import Iterable

from babygun.etcd.txn import Txn


class Footprint:
    """The keys that the transactions of a batch write, and those they touch at all."""

    __slots__ = ("touched", "touched_ranges", "written", "written_ranges")

    def __init__(self) -> None:
        self.written: set[bytes] = set()
        self.touched: set[bytes] = set()
        self.written_ranges: list[tuple[bytes, bytes]] = []
        self.touched_ranges: list[tuple[bytes, bytes]] = []

    def meets(self, txn: Txn) -> bool:
        """Whether ``txn`` writes what is touched, or touches what is written."""
        if not (self.touched.isdisjoint(txn.written) and self.written.isdisjoint(txn.read)):
            return True
        ranged = self.touched_ranges or txn.written_ranges or txn.read_ranges
        return bool(ranged) and self._meets_by_range(txn)

    def _meets_by_range(self, txn: Txn) -> bool:
        if _any_within(txn.written, self.touched_ranges) or _any_within(
            txn.read, self.written_ranges
        ):
            return True
        for ranges, others, other_ranges in (
            (txn.written_ranges, self.touched, self.touched_ranges),
            (txn.read_ranges, self.written, self.written_ranges),
        ):
            if ranges and (
                _any_within(others, ranges)
                or any(a < d and c < b for a, b in ranges for c, d in other_ranges)
            ):
                return True
        return False

    def add(self, txn: Txn) -> None:
        self.written.update(txn.written)
        self.touched.update(txn.written, txn.read)
        if txn.written_ranges:
            self.written_ranges += txn.written_ranges
            self.touched_ranges += txn.written_ranges
        if txn.read_ranges:
            self.touched_ranges += txn.read_ranges


def _any_within(keys: Iterable[bytes], ranges: list[tuple[bytes, bytes]]) -> bool:
    return any(start <= key < end for key in keys for start, end in ranges)
