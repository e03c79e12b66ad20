"""Which revision etcd had at which time: how old a key is, whatever clock named its time. Pure.

A key's create revision comes from etcd. A time in a key comes from the clock of the process that
wrote it, and a lease's time begins again when an etcd without checkpoints is restarted. So neither
decides when something is deleted. The timeline does: a key is old enough if it was created at or
before the revision that etcd had so long ago.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated

import msgspec

# The samples around an age are this part of it apart. Things are deleted so much later at most.
FINENESS = 16

_Sample = tuple[Annotated[datetime, msgspec.Meta(tz=True)], int]


class Timeline:
    """Samples of time and revision, the oldest first. ``longest``: seconds to look back at most.

    Raises ValueError where ``value`` is no timeline.
    """

    def __init__(self, longest: float, value: bytes = b"[]") -> None:
        self._longest = longest
        self.samples = msgspec.json.decode(value, type=list[_Sample])

    @property
    def value(self) -> bytes:
        """The samples as they are stored."""
        return msgspec.json.encode(self.samples)

    def revision_before(self, at: datetime) -> int:
        """A revision that etcd had at ``at`` or before; 0 where none is known."""
        return next((revision for when, revision in reversed(self.samples) if when <= at), 0)

    def wants(self, now: datetime, seconds: float) -> bool:
        """Whether the newest sample is ``seconds`` old, or wrong."""
        return not self.samples or not (
            timedelta(0) <= now - self.samples[-1][0] < timedelta(seconds=seconds)
        )

    def add(self, now: datetime, revision: int) -> None:
        """Adds a sample, and drops those that are needed no more.

        A sample from the future came from a wrong clock, and goes too.
        """
        samples = [sample for sample in self.samples if sample[0] < now]
        kept = list[tuple[datetime, int]]()
        for index, (when, known) in enumerate(samples):
            after = samples[index + 1][0] if index + 1 < len(samples) else now
            if (now - after).total_seconds() > self._longest:
                continue  # the next one is old enough, too
            if kept and after - kept[-1][0] <= (now - after) / FINENESS:
                continue
            kept.append((when, known))
        self.samples = [*kept, (now, revision)]
