"""A watch that goes on by itself: after a lost connection, a lost leader or a restart, without a gap and without a double.

Where to resume: after the last event delivered. While a watcher catches up, the header of a response already carries the store's
current revision though older events are still to come, so a header counts only in a progress notification, which etcd sends to a
watcher that has caught up. A response in fragments is delivered when its last one is here: events of one revision stay together.

A connection that dies in silence is noticed by gRPC's pings; a member cut off from its leader ends the stream, since we ask for one.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from types import TracebackType
from typing import Any, Literal, NamedTuple, Self

import grpc
from aetcd import rpc
from grpc import aio

from babygun.errors import Compacted, EtcdUnavailable
from babygun.etcd.client import EtcdClient, answer
from babygun.etcd.endpoints import Endpoint
from babygun.etcd.outcomes import RpcFailed, Verdict, judge, refusal
from babygun.etcd.txn import KeyValue, key_value

_PAUSE = 0.1  # s, before a broken watch is made again
_ANSWER = 5.0  # s, for etcd to confirm a new watch
_DELETE = rpc.Event.DELETE


class Event(NamedTuple):
    """What happened to one key; of a delete, ``kv`` has the key and the revision (``mod_revision``) only.

    ``previous``: of a delete, the key as it was before, where the watch asks for that and etcd still knows it.
    """

    type: Literal["put", "delete"]
    kv: KeyValue
    previous: KeyValue | None = None


class WatchBatch(NamedTuple):
    """Some events in order, whole revisions only; ``revision``: of the last. A watch from the next one goes on without a gap.

    Without events it is a progress notification: all that happened up to ``revision`` has been delivered.
    """

    events: list[Event]
    revision: int


class Watch:
    """An async iterator of WatchBatch; close it (``aclose``, or ``async with``). ``created`` is set while etcd has the watch.

    It waits as long as etcd is away. Raises Compacted where the revision to go on from is gone (list again, watch from there),
    PermissionDenied, or EtcdError where etcd refuses the watch; it is over then. ``previous``: deletes bring it along; ``progress``: progress
    notifications are delivered too (:meth:`ask_progress`).
    """

    def __init__(
        self,
        client: EtcdClient,
        start: bytes,
        end: bytes,
        *,
        revision: int,
        puts: bool = True,
        deletes: bool = True,
        previous: bool = False,
        progress: bool = False,
    ) -> None:
        self._client = client
        self._start, self._end = start, end
        self._filters = [
            f
            for f, wanted in (
                (rpc.WatchCreateRequest.NOPUT, puts),
                (rpc.WatchCreateRequest.NODELETE, deletes),
            )
            if not wanted
        ]
        self._previous, self._progress = previous, progress
        self._next = revision
        self._events: list[Event] = []  # of fragments so far
        self._endpoint: Endpoint | None = None
        self._call: Any = None
        self._closed = False
        self._renewed = False
        self.created = asyncio.Event()

    @property
    def next_revision(self) -> int:
        """Where it would go on: what happened before this revision was delivered, or was not for it. 0: not known yet."""
        return self._next

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> WatchBatch:
        """The next events. A cancelled wait loses none: the next call goes on from there."""
        while not self._closed:
            try:
                batch = self._take(await self._response())
            except (RpcFailed, EtcdUnavailable, TimeoutError) as error:
                self._drop()
                if self._closed:
                    break
                if not self._client.started:
                    raise EtcdUnavailable("the etcd client is closed") from None
                self._judge(error)
                await asyncio.sleep(_PAUSE)
            except asyncio.CancelledError:
                self._drop()
                raise
            except BaseException:
                self._close()
                raise
            else:
                if batch is not None:
                    return batch
        raise StopAsyncIteration

    async def ask_progress(self) -> None:
        """Asks etcd for a progress notification. It gives none while the watch catches up; and before 3.5.8 (3.4.25) one that runs ahead of the events."""
        if self._call is not None and self.created.is_set():
            with suppress(
                aio.AioRpcError, aio.UsageError, asyncio.InvalidStateError
            ):  # whoever reads the stream is told of that
                await self._call.write(
                    rpc.WatchRequest(progress_request=rpc.WatchProgressRequest())
                )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Ends the watch."""
        self._close()

    def _close(self) -> None:
        self._closed = True
        self._drop()

    def _drop(self) -> None:
        """Forgets the stream, and what of a fragmented response came on it."""
        self.created.clear()
        self._events = []
        call, self._call = self._call, None
        if call is not None:
            call.cancel()

    async def _response(self) -> Any:
        if self._call is None:
            self._endpoint, self._call = await self._client.open_watch(
                rpc.WatchRequest(create_request=self._request())
            )
        async with asyncio.timeout(None if self.created.is_set() else _ANSWER):
            return await answer(self._call)

    def _request(self) -> Any:
        return rpc.WatchCreateRequest(
            key=self._start,
            range_end=self._end,
            start_revision=self._next,
            filters=self._filters,
            progress_notify=True,
            fragment=True,
            prev_kv=self._previous,
        )

    def _take(self, response: Any) -> WatchBatch | None:
        """What a response adds: a batch when it is the last of its fragments."""
        if response.compact_revision:
            raise Compacted(response.compact_revision)
        if response.canceled:
            raise RpcFailed(grpc.StatusCode.UNKNOWN, _reason(response.cancel_reason))
        if response.created:
            self.created.set()
            self._renewed = False
            self._next = self._next or response.header.revision + 1
            return None
        if self._previous:
            self._events += [_with_previous(event) for event in response.events]
        else:
            self._events += [
                Event("delete" if event.type == _DELETE else "put", key_value(event.kv))
                for event in response.events
            ]
        if response.fragment:
            return None
        if not self._events:  # a progress notification
            self._next = max(self._next, response.header.revision + 1)
            return WatchBatch([], response.header.revision) if self._progress else None
        events, self._events = self._events, []
        revision = events[-1].kv.mod_revision
        self._next = revision + 1
        return WatchBatch(events, revision)

    def _judge(self, error: Exception) -> None:
        """Raises where making the watch again would not help."""
        if isinstance(error, RpcFailed):
            verdict = judge(error)
            if verdict is Verdict.REFUSED or (verdict is Verdict.TOKEN and self._renewed):
                self._close()
                raise refusal(error) from None
            if verdict is Verdict.TOKEN:
                self._renewed = True
                self._client.renew_token()
                return
        if self._endpoint is not None:
            self._client.failed(self._endpoint)


def _with_previous(event: Any) -> Event:
    if event.type == _DELETE:
        return Event(
            "delete", key_value(event.kv), key_value(event.prev_kv) if event.prev_kv.key else None
        )
    return Event("put", key_value(event.kv))  # what it was before is of no use to anybody here


def _reason(text: str) -> str:
    """etcd's words, out of "rpc error: code = … desc = …"."""
    return text.rpartition("desc = ")[2] or "the watch was cancelled"


def watch(
    client: EtcdClient,
    start: bytes,
    end: bytes,
    *,
    revision: int,
    puts: bool = True,
    deletes: bool = True,
    previous: bool = False,
    progress: bool = False,
) -> Watch:
    """Watches [start, end) from ``revision`` on, inclusive (0: from when etcd has the watch); see :class:`Watch`."""
    return Watch(
        client,
        start,
        end,
        revision=revision,
        puts=puts,
        deletes=deletes,
        previous=previous,
        progress=progress,
    )
