"""A watch that goes on after a lost connection, a lost leader or a restart, without gap or repeat.

It resumes after the last event delivered. While a watch catches up, a response's header already has
the store's current revision, though older events are still to come. So a header counts only in a
progress notification, which etcd sends to a watch that has caught up. A response in fragments is
delivered when its last one is here: events of one revision stay together.

gRPC's pings notice a connection that dies in silence. A member cut off from its leader ends the
stream, since we ask for one with a leader.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any, Literal, NamedTuple, Self

import grpc
from aetcd import rpc
from grpc import aio

from babygun.errors import Compacted, EtcdUnavailable
from babygun.etcd.endpoints import Endpoint
from babygun.etcd.outcomes import Outcome, RpcFailed, outcome_of, refusal
from babygun.etcd.requests import Requests, answer
from babygun.etcd.txn import KeyValue, key_value

_PAUSE = 0.1  # s, before a broken watch is made again
_ANSWER = 5.0  # s, for etcd to confirm a new watch
_DELETE = rpc.Event.DELETE


class Event(NamedTuple):
    """What happened to one key. A delete's ``kv`` has the key and ``mod_revision`` only.

    ``previous``: of a delete, the key as it was before, where the watch asks for that and etcd
    still knows it.
    """

    type: Literal["put", "delete"]
    kv: KeyValue
    previous: KeyValue | None = None


class WatchBatch(NamedTuple):
    """Some events in order, whole revisions only; ``revision``: of the last one.

    A watch from the next revision goes on without a gap. Without events it is a progress
    notification: all that happened up to ``revision`` has been delivered.
    """

    events: list[Event]
    revision: int


class Watch:
    """Watches [start, end) from ``revision`` on (0: from when etcd has the watch).

    An async iterator of WatchBatch; close it (``aclose``, or ``async with``). ``created`` is set
    while etcd has the watch. It waits as long as etcd is away. It ends with Compacted where the
    revision to go on from is gone, and with PermissionDenied or EtcdError where etcd refuses it.

    ``deletes``: whether it brings them. ``previous``: deletes have the key as it was before.
    ``progress``: progress notifications are delivered too (:meth:`ask_progress`).
    """

    def __init__(
        self,
        client: Requests,
        start: bytes,
        end: bytes,
        *,
        revision: int,
        deletes: bool = True,
        previous: bool = False,
        progress: bool = False,
    ) -> None:
        self._client = client
        self._start, self._end = start, end
        self._filters = [] if deletes else [rpc.WatchCreateRequest.NODELETE]
        self._previous, self._progress = previous, progress
        self._next = revision  # where it goes on
        self._events: list[Event] = []  # of fragments so far
        self._endpoint: Endpoint | None = None
        self._call: Any = None
        self._closed = False
        self._renewed = False
        self.created = asyncio.Event()

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
                self._recover(error)
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
        """Asks etcd for a progress notification.

        etcd sends none while the watch catches up. Before 3.5.8 (3.4.25) it may be ahead of events.
        """
        if self._call is not None and self.created.is_set():
            # Who reads the stream gets these errors too.
            with suppress(aio.AioRpcError, aio.UsageError, asyncio.InvalidStateError):
                await self._call.write(
                    rpc.WatchRequest(progress_request=rpc.WatchProgressRequest())
                )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Ends the watch."""
        self._close()

    def _close(self) -> None:
        self._closed = True
        self._drop()

    def _drop(self) -> None:
        """Drops the stream, and the fragments of a response that came on it."""
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
        self._events += [_event(event) for event in response.events]
        if response.fragment:
            return None
        if not self._events:  # a progress notification
            self._next = max(self._next, response.header.revision + 1)
            return WatchBatch([], response.header.revision) if self._progress else None
        events, self._events = self._events, []
        revision = events[-1].kv.mod_revision
        self._next = revision + 1
        return WatchBatch(events, revision)

    def _recover(self, error: Exception) -> None:
        """Prepares to make the watch again; raises where that would not help."""
        if isinstance(error, RpcFailed):
            outcome = outcome_of(error)
            if outcome is Outcome.REFUSED or (outcome is Outcome.TOKEN and self._renewed):
                self._close()
                raise refusal(error) from None
            if outcome is Outcome.TOKEN:
                self._renewed = True
                self._client.renew_token()
                return
        if self._endpoint is not None:
            self._client.failed(self._endpoint)


def _event(event: Any) -> Event:
    """From etcd's message. What a put replaced is of no use to anybody here."""
    if event.type != _DELETE:
        return Event("put", key_value(event.kv))
    previous = key_value(event.prev_kv) if event.prev_kv.key else None
    return Event("delete", key_value(event.kv), previous)


def _reason(text: str) -> str:
    """etcd's words, out of "rpc error: code = … desc = …"."""
    return text.rpartition("desc = ")[2] or "the watch was cancelled"
