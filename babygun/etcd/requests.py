"""Requests to an etcd cluster, with failover, authentication and typed errors.

A read is sent again, within its timeout, until it is answered; then EtcdUnavailable. A write is
sent again only when it was certainly not applied (see :mod:`babygun.etcd.outcomes`). A write whose
answer is lost raises OutcomeUnknown, and the caller reads back. Every other refusal is an EtcdError
of its own type. No gRPC error leaves this package.

A client with a :class:`~babygun.etcd.breaker.Breaker` refuses requests while etcd is away.
"""

# ruff: noqa: ASYNC109 (a timeout bounds all tries of a request together, and gRPC gets it too)
from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any, Self

import grpc
from aetcd import rpc
from grpc import aio

from babygun.errors import EtcdUnavailable, OutcomeUnknown
from babygun.etcd.auth import LEADER, Credentials, Metadata
from babygun.etcd.breaker import Breaker
from babygun.etcd.endpoints import Endpoint, Endpoints, Tls
from babygun.etcd.outcomes import Outcome, RpcFailed, outcome_of, plain, refusal
from babygun.runtime import metrics, tracing

_END: type = vars(aio)["EOF"].__class__  # what read() returns at a stream's end
_PAUSE = 0.05  # s, between two tries of one request
_ANY_KEY = b"breaker"  # a key that the breaker reads; it need not exist


class Requests:
    """Sends requests to any of the ``endpoints``. Paths are of PEM files.

    ``timeout``: seconds that one request may take in all, its tries together. ``keepalive``:
    seconds of silence after which a connection in use is checked. It counts as lost if it does not
    answer within half of that. etcd hangs up on a client that checks more often than its
    ``--grpc-keepalive-min-time``, 5 s by default. ``breaker``: refuse requests while etcd is away.
    """

    def __init__(
        self,
        endpoints: Sequence[str],
        *,
        user: str = "",
        password: str = "",
        ca: str = "",
        cert: str = "",
        key: str = "",
        timeout: float = 5.0,
        keepalive: float = 10.0,
        breaker: bool = False,
    ) -> None:
        self._urls = tuple(endpoints)
        self._tls = Tls(ca, cert, key)
        self._credentials = Credentials(user, password)
        self._endpoints: Endpoints | None = None
        self._keepalive = keepalive
        self._breaker = Breaker(self._ask, timeout) if breaker else None
        self.timeout = timeout

    async def start(self) -> None:
        """Opens the channels; etcd need not be up.

        Raises SettingsError where an endpoint or a PEM file can't be used.
        """
        if self._endpoints is None:
            self._endpoints = Endpoints(self._urls, self._tls, self._keepalive)

    async def close(self) -> None:
        """Closes the channels; requests under way fail as if the connection were lost."""
        if self._breaker is not None:
            await self._breaker.close()
        endpoints, self._endpoints = self._endpoints, None
        if endpoints is not None:
            await endpoints.close()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @property
    def started(self) -> bool:
        """Whether it is started and not closed."""
        return self._endpoints is not None

    def _open(self) -> Endpoints:
        if self._endpoints is None:
            raise EtcdUnavailable("the etcd client is not started, or closed")
        return self._endpoints

    async def _read(
        self,
        rpc_name: str,
        request: Any,
        timeout: float | None = None,
        *,
        only: Endpoint | None = None,
    ) -> Any:
        """etcd's answer to a request that changes nothing. ``only``: the endpoint to ask."""
        return await self._request(rpc_name, request, timeout, False, only)

    async def _write(
        self,
        rpc_name: str,
        request: Any,
        timeout: float | None = None,
        *,
        only: Endpoint | None = None,
    ) -> Any:
        """etcd's answer to a request that may change something. ``only``: the endpoint to ask."""
        return await self._request(rpc_name, request, timeout, True, only)

    async def open_watch(self, request: Any) -> tuple[Endpoint, Any]:
        """A watch stream on a connected endpoint, with ``request`` sent.

        The caller cancels the call, and reports an endpoint that :meth:`failed`.
        """
        deadline = time.monotonic() + self.timeout
        endpoint = await self._open().ready(deadline)
        try:
            metadata = await self._credentials.metadata(endpoint, deadline)
            call = endpoint.rpc("watch")(metadata=metadata)
        except aio.UsageError:
            raise EtcdUnavailable("the etcd client is closed") from None
        try:
            await call.write(request)
        except aio.AioRpcError as error:
            raise RpcFailed.of(error) from None
        except BaseException:
            call.cancel()
            raise
        return endpoint, call

    def failed(self, endpoint: Endpoint) -> None:
        """A stream on ``endpoint`` broke: another endpoint is preferred, where there is one."""
        if self._endpoints is not None:
            self._endpoints.failed(endpoint)

    def renew_token(self) -> None:
        """etcd did not take the token on a stream: the next request gets a new one."""
        self._credentials.forget_any()

    async def ready(self, rpc_name: str) -> None:
        """Returns when a request can be sent at once. Raises EtcdUnavailable where none can."""
        began = time.monotonic()
        if self._breaker is not None:
            await self._breaker.admit()
            began = time.monotonic()
        try:
            await self._open().ready(began + self.timeout)
        except EtcdUnavailable:
            metrics.ETCD_RPC_ERRORS[rpc_name, "no_connection"].inc()
            if self._breaker is not None:
                self._breaker.failed(began)
            raise

    async def _ask(self, timeout: float) -> None:
        """A read that only a member with a quorum answers, past the breaker."""
        request = rpc.RangeRequest(key=_ANY_KEY, count_only=True)
        await self._until_answered("range", request, time.monotonic() + timeout, False, None)

    # One request

    async def _request(
        self,
        rpc_name: str,
        request: Any,
        timeout: float | None,
        write: bool,
        only: Endpoint | None,
    ) -> Any:
        with tracing.child(f"etcd {rpc_name}", "client") as span:
            describe(span, rpc_name)
            deadline = time.monotonic() + (self.timeout if timeout is None else timeout)
            breaker = self._breaker
            if breaker is None or only is not None:  # one member says little of the cluster
                return await self._until_answered(rpc_name, request, deadline, write, only)
            try:
                await breaker.admit(deadline)
            except EtcdUnavailable:
                metrics.ETCD_RPC_ERRORS[rpc_name, "refused"].inc()
                raise
            began = time.monotonic()
            try:
                return await self._until_answered(rpc_name, request, deadline, write, only)
            except (EtcdUnavailable, OutcomeUnknown):
                breaker.failed(began)
                raise

    async def _until_answered(
        self, rpc_name: str, request: Any, deadline: float, write: bool, only: Endpoint | None
    ) -> Any:
        renewed = False
        while True:
            endpoints = self._open()
            try:
                endpoint = only or await endpoints.ready(deadline)
            except EtcdUnavailable:
                metrics.ETCD_RPC_ERRORS[rpc_name, "no_connection"].inc()
                raise
            try:
                metadata = await self._credentials.metadata(endpoint, deadline)
                timeout = max(0.0, deadline - time.monotonic())
                if not write and not only and len(endpoints) > 1:
                    # A read leaves time to ask another member when this one is silent.
                    timeout = max(timeout / 2, min(timeout, 0.2))
                return await _call(endpoint, rpc_name, request, timeout, metadata)
            except RpcFailed as failed:
                outcome, problem = outcome_of(failed), f"etcd at {endpoint.url}: {plain(failed)}"
                if outcome is Outcome.REFUSED or (outcome is Outcome.TOKEN and renewed):
                    raise refusal(failed) from None
            except EtcdUnavailable as error:  # no token from this member: the request never left
                outcome, problem = Outcome.NOT_APPLIED, str(error)
            if outcome is Outcome.TOKEN:
                renewed = True
                self._credentials.forget(metadata)
                continue
            endpoints.failed(endpoint)
            if write and outcome is Outcome.UNKNOWN:
                raise OutcomeUnknown(problem)
            if time.monotonic() + _PAUSE >= deadline:
                raise EtcdUnavailable(problem)
            await asyncio.sleep(_PAUSE)


def describe(span: tracing.Span, rpc_name: str, *, batch_size: int = 1) -> None:
    """Sets a span's attributes. ``batch_size``: transactions that go as one RPC."""
    span.set("db.system.name", "etcd")
    span.set("db.operation.name", rpc_name)
    if batch_size > 1:
        span.set("db.operation.batch.size", batch_size)


async def answer(call: Any) -> Any:
    """The next message of a stream; RpcFailed where it ends."""
    try:
        response = await call.read()
        if response.__class__ is _END:
            raise RpcFailed(await call.code(), await call.details() or "the stream ended")
        return response
    except aio.AioRpcError as error:
        raise RpcFailed.of(error) from None
    except asyncio.CancelledError:
        if _cancelled():
            raise
        raise RpcFailed(grpc.StatusCode.CANCELLED, "the stream was closed") from None


async def _call(
    endpoint: Endpoint, rpc_name: str, request: Any, timeout: float, metadata: Metadata
) -> Any:
    """One RPC, once, counted. A cancelled caller cancels it; a closed client makes it fail."""
    started = time.perf_counter()
    try:
        response = await _send(endpoint, rpc_name, request, timeout, metadata)
    except RpcFailed as failed:
        metrics.ETCD_RPC[rpc_name].observe(time.perf_counter() - started)
        metrics.ETCD_RPC_ERRORS[rpc_name, failed.code.name.lower()].inc()
        raise
    metrics.ETCD_RPC[rpc_name].observe(time.perf_counter() - started)
    return response


async def _send(
    endpoint: Endpoint, rpc_name: str, request: Any, timeout: float, metadata: Metadata
) -> Any:
    call = endpoint.rpc(rpc_name)
    try:
        if rpc_name == "keep_alive":
            stream = call(timeout=timeout, metadata=metadata)
            try:
                await stream.write(request)
                return await answer(stream)
            finally:
                stream.cancel()
        if rpc_name == "status":  # asked of this very member, whether it has a leader or not
            metadata = tuple(pair for pair in metadata if pair is not LEADER)
        return await call(request, timeout=timeout, metadata=metadata)
    except aio.AioRpcError as error:
        raise RpcFailed.of(error) from None
    except aio.UsageError:  # the channel was closed before the RPC could begin
        raise EtcdUnavailable("the etcd client is closed") from None
    except asyncio.CancelledError:
        if _cancelled():
            raise
        raise RpcFailed(grpc.StatusCode.CANCELLED, "the etcd client was closed") from None


def _cancelled() -> bool:
    """Whether our own task was cancelled.

    gRPC raises CancelledError also where somebody closed the RPC.
    """
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0
