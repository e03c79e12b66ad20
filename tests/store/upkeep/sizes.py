"""Sizes that a test gives to a Fullness."""

from __future__ import annotations

from babygun.store.upkeep.fullness import Fullness, Size

MIB = 1 << 20
QUOTA = 256 * MIB


def add(fullness: Fullness, *in_use: float, begin: float = 100.0, size: float = 0) -> None:
    """A size each second, in MiB; the revision is ten times the second."""
    for second, mib in enumerate(in_use):
        fullness.add(
            Size(
                begin + second,
                int(mib * MIB),
                int((size or max(in_use)) * MIB),
                int(10 * (begin + second)),
            )
        )
