"""What the lanes of a worker share: the store, the time, memory, and the share of the CPU."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime

from babygun.dns import Resolver
from babygun.runtime.clock import at_ms
from babygun.store import Store
from babygun.webhooks.backlog import Room
from babygun.webhooks.cpu_share import CpuShare

_MEMORY = 64 << 20  # bytes of notices, of all lanes together


class Shared:
    """``may_send``: whether the worker's lease can be trusted."""

    def __init__(self, store: Store, share: CpuShare, may_send: Callable[[], bool]) -> None:
        self.store, self.share, self.may_send = store, share, may_send
        self.resolver = Resolver(store.settings.resolvers)
        self.room = Room(_MEMORY)
        self._ahead = 0.0  # of the steady clock before the monotonic one

    async def set_clock(self) -> None:
        """Call it now and then: steps of the machine's clock count only as etcd sees them."""
        self._ahead = (await self.store.clock.now()).timestamp() - time.monotonic()

    def now(self) -> datetime:
        return at_ms(int((time.monotonic() + self._ahead) * 1000))
