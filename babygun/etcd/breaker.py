"""Refuses requests at once while etcd is known not to answer, so that nobody waits for nothing.

A request without an answer raises a doubt. Then etcd is asked by one cheap read, which needs a
quorum, and other requests are held back. An answer ends the doubt: one slow answer refuses nothing,
and neither does one member that is away. Without an answer for as long as a request may take, all
requests are refused until etcd answers that read.

What is held back or refused was not sent.
"""

# ruff: noqa: ASYNC109 (a timeout bounds all tries of a request together)
from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextvars import Context

from babygun.errors import EtcdAway, EtcdError, EtcdUnavailable, OutcomeUnknown
from babygun.runtime.logs import get_logger
from babygun.runtime.tasks import cancel_all

log = get_logger("etcd")

_LEAST = 0.5  # s, that etcd is given to answer the read before others are refused
_PAUSE = 0.05  # s, between two of these reads


class Breaker:
    """Between a client's requests and etcd.

    ``ask``: the read; it gets its seconds. ``timeout``: seconds that a request may take.
    ``refusing``: whether requests are refused.
    """

    def __init__(self, ask: Callable[[float], Awaitable[object]], timeout: float) -> None:
        self._ask, self._timeout = ask, timeout
        self._asking: asyncio.Task[None] | None = None
        self._decided = asyncio.Event()
        self.refusing = False

    async def admit(self, deadline: float | None = None) -> None:
        """Returns when a request may be sent.

        Raises EtcdAway while requests are refused, and EtcdUnavailable after a doubt that lasts
        until ``deadline`` (time.monotonic()).
        """
        while self._asking is not None:
            if self.refusing:
                raise EtcdAway("etcd has not answered for a while")
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            try:
                async with asyncio.timeout(left):
                    await self._decided.wait()
            except TimeoutError:
                raise EtcdUnavailable("etcd does not answer") from None

    def failed(self, began: float) -> None:
        """A request that began then (time.monotonic()) has had no answer."""
        if self._asking is None:
            self._decided.clear()
            # In an empty context: it belongs to none of the requests.
            self._asking = asyncio.create_task(
                self._until_answered(began), name="etcd breaker", context=Context()
            )

    async def close(self) -> None:
        """Asks no more."""
        if self._asking is not None:
            await cancel_all(self._asking)

    async def _until_answered(self, began: float) -> None:
        now = time.monotonic()
        patience = max(began + self._timeout - now, min(_LEAST, self._timeout))
        try:
            while not await self._answers(patience):
                if not self.refusing:
                    log.warning("etcd away", seconds=round(time.monotonic() - began, 1))
                self.refusing, patience = True, self._timeout
                self._decided.set()
            if self.refusing:
                log.info("etcd answers again", seconds=round(time.monotonic() - began, 1))
        finally:
            self.refusing, self._asking = False, None
            self._decided.set()

    async def _answers(self, timeout: float) -> bool:
        try:
            await self._ask(timeout)
        except (EtcdUnavailable, OutcomeUnknown):
            await asyncio.sleep(_PAUSE)
            return False
        except EtcdError:  # an answer too, such as that our user must not read that key
            pass
        return True
