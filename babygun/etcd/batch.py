"""Sends many transactions as one RPC, one raft entry and one fsync; each is decided on its own.

**When.** Transactions wait in a queue while an RPC is in flight. When it returns, those that wait
are sent as the next batch. So batches grow with the load. An idle batcher adds no delay: it sends
all that was submitted in one iteration of the event loop, right after that iteration.

An RPC costs as much CPU as a dozen transactions, so the batches of a busy batcher are paced. After
a batch of more than _FEW, the next one starts _PACE later at the earliest, or as soon as
_WORTH_ANOTHER transactions wait. With so many waiting, a second RPC may be in flight too.

**Which together.** Transactions that would meet in a key go in different batches
(:mod:`babygun.etcd.footprint`). One that waits for a later batch holds up only those that touch its
keys. Two batches in flight have no order: each transaction's own compares keep it safe.

**Errors.** A batch that etcd refuses as a whole wrote nothing. An example: one of its transactions
names a lease that is gone. The batch is halved and sent again, until each transaction has its own
result. If the outcome of the RPC is unknown, so is that of each transaction in it.

**Deadlines.** A transaction that has waited until its deadline is dropped, and never sent. One that
was sent by then has an unknown outcome. While the client's breaker holds requests back, or refuses
them, nothing is sent.
"""

from __future__ import annotations

import asyncio
import copy
import time
from collections import deque
from collections.abc import Iterable
from contextvars import Context
from itertools import chain

from msgspec import Struct

from babygun.errors import EtcdAway, EtcdError, EtcdUnavailable, OutcomeUnknown, OutOfSpace
from babygun.etcd.client import EtcdClient
from babygun.etcd.footprint import Footprint
from babygun.etcd.requests import describe
from babygun.etcd.txn import Txn, TxnResult
from babygun.etcd.wire import nest
from babygun.runtime import tracing
from babygun.runtime.metrics import ETCD_BATCH

# etcd's default --max-txn-ops: the outer operations and those of the largest nested transaction.
_MAX_OPS = 128
# Bytes that a batch is expected to bring back at most: one answer must not hold up the others.
_MAX_RESPONSE = 4 << 20
_WORTH_ANOTHER = 32  # waiting transactions that are worth one more RPC beside those in flight
_FEW = 4  # transactions of a batch that counts as idle: the next one is sent at once
_LOOK = 0.1  # s, between two looks for deadlines that have passed
_PACE = 0.008  # s, from the start of a larger batch to the start of the next
# Conflicting transactions passed over while making one batch: a hot key can't make that slow.
_MAX_SKIPPED = 256


class _Waiting(Struct, eq=False):
    txn: Txn
    future: asyncio.Future[TxnResult]
    response_bytes: int
    span: tracing.Span
    deadline: float | None
    sent: bool = False

    def expire(self, now: float) -> None:
        if self.deadline is None or self.deadline > now or self.future.done():
            return
        if self.sent:
            error: EtcdError = OutcomeUnknown("etcd did not answer in time")
        else:
            error = EtcdUnavailable("etcd did not take it in time")
        self.future.set_exception(error)


class Batcher:
    """Sends transactions in batches, on one event loop.

    ``in_flight``: RPCs at once. ``max_bytes``: of one request (etcd takes 1.5 MiB).
    ``most_waiting``: transactions, and further ones are refused; None: any number.
    ``rpcs`` and ``txns``: sent so far.
    """

    def __init__(
        self,
        client: EtcdClient,
        *,
        in_flight: int = 2,
        max_bytes: int = 1 << 20,
        most_waiting: int | None = None,
    ) -> None:
        self._client = client
        self._in_flight = in_flight
        self._max_bytes = max_bytes
        self._most_waiting = most_waiting
        self._queue: deque[_Waiting] = deque()
        self._out: dict[asyncio.Task[None], list[_Waiting]] = {}
        self._scheduled = False
        self._closed = False
        # Of the newest batch: how many transactions it had, and the loop's time at its start.
        self._last_size, self._last_start = 0, 0.0
        self._paced: asyncio.TimerHandle | None = None  # sends the next batch
        self._expiring: asyncio.TimerHandle | None = None  # looks for deadlines that have passed
        self.rpcs = 0
        self.txns = 0

    async def submit(
        self, txn: Txn, *, response_bytes: int = 0, deadline: float | None = None
    ) -> TxnResult:
        """Does one transaction. Raises what :meth:`EtcdClient.txn` raises.

        ``response_bytes``: about how much its reads will bring back. ``deadline``: when its caller
        gives up (time.monotonic()); then EtcdUnavailable if it was not sent, else OutcomeUnknown. A
        caller may be cancelled, too. The transaction is then dropped if it still waits, and done if
        it was sent already.
        """
        if self._closed:
            raise EtcdUnavailable("the batcher is closed")
        if self._most_waiting is not None and len(self._queue) >= self._most_waiting:
            raise EtcdAway("etcd is slow, and too many writes wait for it")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[TxnResult] = loop.create_future()
        span = tracing.child("etcd txn", "client")
        self._queue.append(_Waiting(txn, future, response_bytes, span, deadline))
        if not self._scheduled and self._may_send():
            self._schedule(loop)
        elif self._paced and len(self._queue) >= _WORTH_ANOTHER:
            self._flush()
        if deadline is not None and self._expiring is None:
            self._expiring = loop.call_later(_LOOK, self._expire)
        if span is tracing.OFF:
            return await future
        with span:
            return await future

    async def close(self) -> None:
        """Takes no more, and waits until all that was submitted has its result."""
        self._closed = True
        while self._out or self._queue:
            if self._out:
                await asyncio.wait(self._out)
            else:
                self._flush()
            await asyncio.sleep(0)

    def _expire(self) -> None:
        """Ends the waits whose deadline has passed. One timer for all: each costs microseconds."""
        now = time.monotonic()
        for waiting in chain(self._queue, *self._out.values()):
            waiting.expire(now)
        more = self._queue or self._out
        loop = asyncio.get_running_loop()
        self._expiring = loop.call_later(_LOOK, self._expire) if more else None

    def _may_send(self) -> bool:
        """Whether a batch may be sent now.

        A second one in flight must be large: a small one costs more than the wait saves.
        """
        return not self._out or (
            len(self._out) < self._in_flight and len(self._queue) >= _WORTH_ANOTHER
        )

    def _schedule(self, loop: asyncio.AbstractEventLoop) -> None:
        self._scheduled = True
        if (
            self._last_size > _FEW
            and len(self._queue) < _WORTH_ANOTHER
            and loop.time() < self._last_start + _PACE
        ):
            self._paced = loop.call_at(self._last_start + _PACE, self._flush)
        else:
            loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._scheduled = False
        if self._paced:
            self._paced.cancel()
            self._paced = None
        while self._queue and self._may_send():
            batch = self._next()
            if not batch:
                return
            self._last_size = len(batch)
            self._last_start = asyncio.get_running_loop().time()
            # In an empty context: a batch belongs to none of those that submitted it.
            task = asyncio.create_task(self._send(batch), name="etcd batch", context=Context())
            self._out[task] = batch
            task.add_done_callback(self._returned)

    def _returned(self, task: asyncio.Task[None]) -> None:
        self._out.pop(task, None)
        # Callers just answered run first, so that what they submit now is in the next batch.
        if self._queue and not self._scheduled:
            self._schedule(asyncio.get_running_loop())

    def _next(self) -> list[_Waiting]:
        """Takes the next batch off the queue."""
        queue, batch, skipped = self._queue, list[_Waiting](), list[_Waiting]()
        keys = Footprint()
        size = response = ops = 0
        while queue and len(skipped) < _MAX_SKIPPED:
            waiting = queue[0]
            if waiting.future.done():  # its caller was cancelled, or its deadline has passed
                queue.popleft()
                continue
            txn = waiting.txn
            if keys.meets(txn):
                skipped.append(queue.popleft())
                keys.add(txn)  # what touches its keys stays behind it
                continue
            size += len(txn.encoded) + 12  # its frame
            response += waiting.response_bytes
            ops = max(ops, txn.op_count)
            if batch and (
                len(batch) + 1 + ops > _MAX_OPS
                or size > self._max_bytes
                or response > _MAX_RESPONSE
            ):
                break
            batch.append(queue.popleft())
            keys.add(txn)
        queue.extendleft(reversed(skipped))
        return batch

    async def _send(self, batch: list[_Waiting]) -> None:
        try:
            await self._client.ready("txn")
        except EtcdUnavailable as error:
            _fail(batch, error)
            return
        batch = [waiting for waiting in batch if not waiting.future.done()]
        if not batch:
            return
        for waiting in batch:
            waiting.sent = True
        self.rpcs += 1
        self.txns += len(batch)
        if tracing.on():
            for waiting in batch:
                describe(waiting.span, "txn", batch_size=len(batch))
        ETCD_BATCH.observe(len(batch))
        try:
            if len(batch) == 1:
                results = [await self._client.txn(batch[0].txn)]
            else:
                response = await self._client.raw_txn(
                    nest([waiting.txn.encoded for waiting in batch])
                )
                revision = response.header.revision
                results = [
                    TxnResult(op.response_txn, revision, waiting.txn.groups_of)
                    for waiting, op in zip(batch, response.responses, strict=True)
                ]
        except EtcdError as error:
            await self._failed(batch, error)
        except BaseException as error:
            _fail(batch, OutcomeUnknown(f"the request ended with {error!r}"))
            raise
        else:
            for waiting, result in zip(batch, results, strict=True):
                if not waiting.future.done():
                    waiting.future.set_result(result)

    async def _failed(self, batch: list[_Waiting], error: EtcdError) -> None:
        if len(batch) == 1 or isinstance(error, EtcdUnavailable | OutcomeUnknown):
            _fail(batch, error)
        elif isinstance(error, OutOfSpace):
            _fail((w for w in batch if w.txn.puts), error)
            if rest := [w for w in batch if not w.txn.puts]:
                await self._send(rest)  # a full etcd still does what only deletes and reads
        else:
            middle = len(batch) // 2
            await asyncio.gather(self._send(batch[:middle]), self._send(batch[middle:]))


def _fail(batch: Iterable[_Waiting], error: EtcdError) -> None:
    for waiting in batch:
        if not waiting.future.done():
            # A copy for each, since raising one writes into it.
            waiting.future.set_exception(copy.copy(error))
