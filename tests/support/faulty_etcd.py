"""A process whose requests to etcd go wrong one by one, at the place that a test names.

Requests that pass reach a real etcd. A request may be lost, stay unanswered, or come late: after
its sender gave it up. And the process may die before a request or after it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any, Literal, NamedTuple

from babygun.errors import EtcdError, EtcdUnavailable, OutcomeUnknown, OutOfSpace
from babygun.runtime.settings import Settings
from babygun.store import Store
from tests.support.processes import PATIENCE

# refused      never sent, and the sender knows
# lost         never applied; the sender does not know
# unanswered   applied; the sender does not know
# late         as lost, but it is applied when the test lets it arrive
# overtaken    as late, and it arrives just before the next request of the same operation
# full         applied; etcd says that it is full. A read is answered as ever
# dies_…       the process dies: before the request, or after one of the three kinds above
Fault = Literal[
    "refused",
    "lost",
    "unanswered",
    "late",
    "overtaken",
    "dies_before",
    "dies_after",
    "dies_late",
    "full",
]
# Those of a network and of processes.
FAULTS: tuple[Fault, ...] = Fault.__args__[:-1]  # type: ignore[attr-defined]


class Died(Exception):
    """The process died while it did the operation."""


class LateRequest(NamedTuple):
    """A request on its way."""

    rpc_name: str
    request: Any


class FaultyProcess:
    """A process with a store of its own. ``late``: its requests that have not arrived yet.

    ``doubt``: the error that a sender gets whose request may have been applied.
    """

    def __init__(self, settings: Settings) -> None:
        self.store = Store(settings)
        self.late: list[LateRequest] = []
        self.doubt: type[EtcdError] = OutcomeUnknown
        self._send = self.store.client._request
        self.store.client._request = self._request  # type: ignore[method-assign]
        self._faults: Mapping[int, Fault] = {}
        self._meanwhile: Mapping[int, Callable[[], Awaitable[None]]] = {}
        self._requests = 0
        self._overtaken: list[LateRequest] = []
        self._died, self._buried = asyncio.Event(), asyncio.Event()

    async def do(
        self,
        operation: Callable[[Store], Coroutine[Any, Any, Any]],
        *,
        faults: Mapping[int, Fault] | None = None,
        meanwhile: Mapping[int, Callable[[], Awaitable[None]]] | None = None,
    ) -> Any:
        """Does one operation; raises what it raises, or Died.

        ``faults``: of its requests, by number from 1. ``meanwhile``: done before that request.
        """
        self._faults, self._meanwhile, self._requests = faults or {}, meanwhile or {}, 0
        doing = asyncio.create_task(operation(self.store))
        died = asyncio.create_task(self._died.wait())
        await asyncio.wait({doing, died}, timeout=PATIENCE, return_when=asyncio.FIRST_COMPLETED)
        assert doing.done() or self._died.is_set(), f"it goes on for ever: {doing.get_stack()}"
        died.cancel()
        self._faults = self._meanwhile = {}
        self.late += self._overtaken
        self._overtaken = []
        if not doing.done():
            doing.cancel()
            await asyncio.wait({doing})
            raise Died
        return doing.result()

    async def arrive(self, late: LateRequest) -> None:
        """etcd gets a late request. Nobody waits for the answer."""
        with suppress(EtcdError):
            await self._send(*late, timeout=None, write=True, only=None)

    async def close(self) -> None:
        self._faults = self._meanwhile = {}
        self._buried.set()
        await self.store.close()

    async def _request(
        self,
        rpc_name: str,
        request: Any,
        timeout: Any,  # noqa: ASYNC109 (the signature of what it stands for)
        write: bool,
        only: Any,
    ) -> Any:
        self._requests += 1
        number = self._requests
        if other := self._meanwhile.get(number):
            await other()
        overtaken, self._overtaken = self._overtaken, []
        for one in overtaken:
            await self.arrive(one)
        fault = self._faults.get(number)
        if fault is None or (fault == "full" and not write):
            return await self._send(rpc_name, request, timeout, write, only)
        if fault == "refused" or (not write and not fault.startswith("dies")):
            raise EtcdUnavailable("refused by the test")
        if fault in ("unanswered", "dies_after", "full"):
            with suppress(EtcdError):
                await self._send(rpc_name, request, timeout, write, only)
        if fault in ("late", "dies_late") and write:
            self.late.append(LateRequest(rpc_name, request))
        if fault == "overtaken":
            self._overtaken.append(LateRequest(rpc_name, request))
        if fault.startswith("dies"):
            self._died.set()
            await self._buried.wait()
            raise asyncio.CancelledError
        if fault == "full":
            raise OutOfSpace
        raise self.doubt("the answer was lost by the test")


@asynccontextmanager
async def faulty(settings: Settings) -> AsyncIterator[FaultyProcess]:
    """One that is started, and closed at the end."""
    process = FaultyProcess(settings)
    await process.store.start()
    try:
        yield process
    finally:
        await process.close()
