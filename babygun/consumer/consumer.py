"""What a worker runs: consumers, each of another kind of keys of its slice. Mail's jobs are one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from babygun.consumer.membership import Membership
from babygun.consumer.slices import Slice
from babygun.store import Store


class Consumer(Protocol):
    """:meth:`run` is a task as long as the worker lives. If it fails, the worker ends.

    At the end come :meth:`stop`, :meth:`drain` and :meth:`close`, in this order.
    """

    def follow(self, part: Slice) -> None:
        """The worker's slice is now this one."""

    async def run(self) -> None:
        """Consumes until cancelled."""

    def stop(self) -> None:
        """Starts nothing more."""

    async def drain(self) -> None:
        """Waits for what is under way, ``drain_timeout`` at most."""

    async def close(self) -> None:
        """Ends what still runs."""


# Makes a consumer. The last argument says whether the worker is sending mail now.
ConsumerFactory = Callable[[Store, Membership, Callable[[], bool]], Consumer]
