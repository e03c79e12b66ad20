"""The etcd client: requests with failover, authentication and typed errors.

A read is sent again, within its timeout, until it is answered; then EtcdUnavailable. A write is sent again only when it was
certainly not applied (see :mod:`babygun.etcd.outcomes`): within the timeout, then EtcdUnavailable. A write whose answer is lost
raises OutcomeUnknown, and the caller reads back. Every other refusal is an EtcdError of its own type. No gRPC error leaves this package.
"""

# ruff: noqa: ASYNC109 (a timeout here bounds all tries of a request together, and gRPC is told of it)
from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, NamedTuple, Self

import grpc
from aetcd import rpc
from google.protobuf.unknown_fields import UnknownFieldSet
from grpc import aio

from babygun.errors import Compacted, EtcdError, EtcdUnavailable, LeaseNotFound, OutcomeUnknown
from babygun.etcd.auth import LEADER, Credentials, Metadata
from babygun.etcd.endpoints import Endpoint, Endpoints, Tls
from babygun.etcd.outcomes import RpcFailed, Verdict, judge, plain, refusal
from babygun.etcd.txn import KeyValue, Op, Txn, TxnResult, key_value, range_request
from babygun.runtime import metrics, tracing
from babygun.runtime.settings import Settings

_END: type = vars(aio)["EOF"].__class__  # what read() returns at a stream's end
_PAUSE = 0.05  # s, between two tries of one request
_DB_SIZE_QUOTA = (
    12  # a field of StatusResponse since etcd 3.6, which the generated messages don't have yet
)


@dataclass(frozen=True, slots=True)
class Range:
    """What a range read found; ``count``: of all keys in the range, ``more``: whether the limit cut it short, ``revision``: of the store."""

    kvs: list[KeyValue]
    more: bool
    count: int
    revision: int


class Status(NamedTuple):
    """One member's own view. Sizes in bytes; ``quota`` 0: the server does not tell (before 3.6); ``leader`` 0: none."""

    endpoint: str
    version: str
    db_size: int
    db_size_in_use: int
    quota: int
    leader: int
    errors: list[str]
    is_learner: bool
    member: int = 0  # its own id, as ``leader`` names one
    revision: int = 0  # of the store, as far as this member has it


class EtcdClient:
    """An etcd cluster, through any of its ``endpoints``. ``timeout``: seconds that one request may take in all; paths are of PEM files.

    ``keepalive``: seconds of silence after which a connection in use is checked; lost if it does not answer within half of that. etcd
    hangs up on a client that checks more often than its ``--grpc-keepalive-min-time``, 5 s by default.
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
    ) -> None:
        self._urls = tuple(endpoints)
        self._tls = Tls(ca, cert, key)
        self._credentials = Credentials(user, password)
        self._endpoints: Endpoints | None = None
        self._keepalive = keepalive
        self.timeout = timeout

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        s = settings
        return cls(
            s.etcd_endpoints,
            user=s.etcd_user,
            password=s.etcd_password,
            ca=s.etcd_ca,
            cert=s.etcd_cert,
            key=s.etcd_key,
            timeout=s.etcd_timeout,
        )

    async def start(self) -> None:
        """Opens the channels; etcd need not be up. Raises SettingsError where an endpoint or a PEM file can't be used."""
        if self._endpoints is None:
            self._endpoints = Endpoints(self._urls, self._tls, self._keepalive)

    async def close(self) -> None:
        """Closes the channels; requests under way fail as if the connection were lost."""
        endpoints, self._endpoints = self._endpoints, None
        if endpoints is not None:
            await endpoints.close()

    @property
    def started(self) -> bool:
        """Whether it is started and not closed."""
        return self._endpoints is not None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    # Keys

    async def get(self, key: bytes, *, revision: int = 0) -> KeyValue | None:
        """One key as it is now, or was at ``revision``; Compacted where that is gone."""
        response = await self._read("range", rpc.RangeRequest(key=key, revision=revision))
        return key_value(response.kvs[0]) if response.kvs else None

    async def range(
        self,
        start: bytes,
        end: bytes,
        *,
        limit: int = 0,
        revision: int = 0,
        descending: bool = False,
        keys_only: bool = False,
    ) -> Range:
        """The keys in [start, end), at most ``limit`` (0: all), now or at ``revision``.

        Descending costs etcd a read of the whole range, whatever the limit: it sorts what it has read.
        """
        request = range_request(
            start, end, limit=limit, revision=revision, descending=descending, keys_only=keys_only
        )
        response = await self._read("range", request)
        return Range(
            [key_value(message) for message in response.kvs],
            response.more,
            response.count,
            response.header.revision,
        )

    async def txn(self, txn: Txn, *, timeout: float | None = None) -> TxnResult:
        """Carries out one transaction; that its compares don't hold is a result, not an error."""
        response = await self.raw_txn(txn.encoded, timeout=timeout)
        return TxnResult(response, response.header.revision)

    async def read(self, ops: Sequence[Op], *, timeout: float | None = None) -> TxnResult:
        """Reads several ranges at one revision; at most 128. Unlike a transaction it is sent again until it is answered."""
        response = await self._read("read", Txn([], ops).encoded, timeout)
        return TxnResult(response, response.header.revision)

    async def raw_txn(self, encoded: bytes, *, timeout: float | None = None) -> Any:
        """The same for an encoded TxnRequest; returns etcd's TxnResponse."""
        return await self._write("txn", encoded, timeout)

    async def put(self, key: bytes, value: bytes, lease: int = 0) -> int:
        """Writes one key, whatever it held; returns the revision of that."""
        revision: int = (
            await self._write("put", rpc.PutRequest(key=key, value=value, lease=lease))
        ).header.revision
        return revision

    async def delete(self, key: bytes) -> int:
        """Deletes one key; returns how many that were, 0 or 1."""
        deleted: int = (await self._write("delete", rpc.DeleteRangeRequest(key=key))).deleted
        return deleted

    async def compact(self, revision: int, *, timeout: float) -> None:
        """Forgets what was before ``revision``; returns when the room is free again, on the member asked. A revision that is gone already is fine.

        etcd looks at every key for it: a second for each 100,000, and more where it is busy. Given up at its ``timeout``, it goes on all the same.
        """
        try:
            await self._write(
                "compact", rpc.CompactionRequest(revision=revision, physical=True), timeout
            )
        except Compacted:
            pass

    # Leases

    async def grant(self, ttl: int) -> int:
        """A new lease of ``ttl`` seconds; returns its id. etcd may grant a longer one."""
        return (await self.grant_lease(ttl))[0]

    async def grant_lease(self, ttl: int, *, timeout: float | None = None) -> tuple[int, int]:
        """A new lease: its id, and the seconds granted."""
        response = await self._write("grant", rpc.LeaseGrantRequest(TTL=ttl), timeout)
        return response.ID, response.TTL

    async def revoke(self, lease_id: int) -> None:
        """Ends a lease and deletes its keys; one that is gone already is fine."""
        try:
            await self._write("revoke", rpc.LeaseRevokeRequest(ID=lease_id))
        except LeaseNotFound:
            pass

    async def keep_alive(self, lease_id: int, *, timeout: float | None = None) -> int:
        """Renews a lease; returns its seconds from now. Raises LeaseNotFound where it is gone. Renewing twice does no harm, so it is retried."""
        response = await self._read("keep_alive", rpc.LeaseKeepAliveRequest(ID=lease_id), timeout)
        if response.TTL <= 0:
            raise LeaseNotFound
        ttl: int = response.TTL
        return ttl

    async def lease_ttl(self, lease_id: int) -> int:
        """The seconds that a lease has left; raises LeaseNotFound where it is gone."""
        response = await self._read("lease_ttl", rpc.LeaseTimeToLiveRequest(ID=lease_id))
        if response.TTL < 0:
            raise LeaseNotFound
        ttl: int = response.TTL
        return ttl

    # The cluster

    async def status(self) -> Status:
        """What the member in use says of itself."""
        deadline = time.monotonic() + self.timeout
        endpoint = await self._open().ready(deadline)
        return await self._status(endpoint, deadline)

    async def statuses(self, *, timeout: float | None = None) -> dict[str, Status | EtcdError]:
        """Of every endpoint its status, or why there is none."""
        deadline = time.monotonic() + (self.timeout if timeout is None else timeout)

        async def one(endpoint: Endpoint) -> Status | EtcdError:
            try:
                async with asyncio.timeout_at(
                    asyncio.get_running_loop().time() + deadline - time.monotonic()
                ):
                    await Endpoints.until_ready(endpoint)
                return await self._status(endpoint, deadline)
            except TimeoutError:
                return EtcdUnavailable(f"no connection to etcd at {endpoint.url}")
            except EtcdError as error:
                return error

        endpoints = list(self._open())
        return dict(
            zip([e.url for e in endpoints], await asyncio.gather(*map(one, endpoints)), strict=True)
        )

    async def _status(self, endpoint: Endpoint, deadline: float) -> Status:
        response = await self._read(
            "status", rpc.StatusRequest(), deadline - time.monotonic(), only=endpoint
        )
        quota = next(
            (f.data for f in UnknownFieldSet(response) if f.field_number == _DB_SIZE_QUOTA), 0
        )
        return Status(
            endpoint=endpoint.url,
            version=response.version,
            db_size=response.dbSize,
            db_size_in_use=response.dbSizeInUse,
            quota=quota,
            leader=response.leader,
            errors=list(response.errors),
            is_learner=response.isLearner,
            member=response.header.member_id,
            revision=response.header.revision,
        )

    async def alarms(self, *, timeout: float | None = None) -> list[str]:
        """The alarms raised by any member, each once: ``NOSPACE``, ``CORRUPT``."""
        response = await self._read("alarm", rpc.AlarmRequest(action=rpc.AlarmRequest.GET), timeout)
        return sorted({rpc.AlarmType.Name(alarm.alarm) for alarm in response.alarms})

    async def access(self, rpc_name: str, request: Any) -> Any:
        """One RPC of etcd's Auth service (users, roles, permissions), treated as a write. See :mod:`babygun.etcd.access`."""
        return await self._write(f"access.{rpc_name}", request)

    # One request

    async def _read(
        self,
        rpc_name: str,
        request: Any,
        timeout: float | None = None,
        *,
        only: Endpoint | None = None,
    ) -> Any:
        if tracing.on():
            return await self._traced(rpc_name, request, timeout, write=False, only=only)
        return await self._request(rpc_name, request, timeout, write=False, only=only)

    async def _write(self, rpc_name: str, request: Any, timeout: float | None = None) -> Any:
        if tracing.on():
            return await self._traced(rpc_name, request, timeout, write=True)
        return await self._request(rpc_name, request, timeout, write=True)

    async def _traced(
        self,
        rpc_name: str,
        request: Any,
        timeout: float | None,
        *,
        write: bool,
        only: Endpoint | None = None,
    ) -> Any:
        with tracing.child(f"etcd {rpc_name}", "client") as span:
            describe(span, rpc_name)
            return await self._request(rpc_name, request, timeout, write=write, only=only)

    async def _request(
        self,
        rpc_name: str,
        request: Any,
        timeout: float | None,
        *,
        write: bool,
        only: Endpoint | None = None,
    ) -> Any:
        deadline = time.monotonic() + (self.timeout if timeout is None else timeout)
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
                remaining = max(0.0, deadline - time.monotonic())
                # A read leaves itself time to ask another member when this one is silent.
                patience = (
                    remaining
                    if write or only or len(endpoints) == 1
                    else max(remaining / 2, min(remaining, 0.2))
                )
                return await self._call(endpoint, rpc_name, request, patience, metadata)
            except RpcFailed as failed:
                verdict, problem = judge(failed), f"etcd at {endpoint.url}: {plain(failed.details)}"
                if verdict is Verdict.REFUSED or (verdict is Verdict.TOKEN and renewed):
                    raise refusal(failed) from None
            except (
                EtcdUnavailable
            ) as error:  # no token to be had from this member: the request itself never left
                verdict, problem = Verdict.NOT_APPLIED, str(error)
            if verdict is Verdict.TOKEN:
                renewed = True
                self._credentials.forget(metadata)
                continue
            endpoints.failed(endpoint)
            if write and verdict is Verdict.UNKNOWN:
                raise OutcomeUnknown(problem)
            if time.monotonic() + _PAUSE >= deadline:
                raise EtcdUnavailable(problem)
            await asyncio.sleep(_PAUSE)

    async def _call(
        self, endpoint: Endpoint, rpc_name: str, request: Any, timeout: float, metadata: Metadata
    ) -> Any:
        """One RPC, once, counted. A cancelled caller cancels it; one cancelled by close() fails like one whose connection is lost."""
        started = time.perf_counter()
        try:
            response = await self._send(endpoint, rpc_name, request, timeout, metadata)
        except RpcFailed as failed:
            metrics.ETCD_RPC[rpc_name].observe(time.perf_counter() - started)
            metrics.ETCD_RPC_ERRORS[rpc_name, failed.code.name.lower()].inc()
            raise
        metrics.ETCD_RPC[rpc_name].observe(time.perf_counter() - started)
        return response

    async def _send(
        self, endpoint: Endpoint, rpc_name: str, request: Any, timeout: float, metadata: Metadata
    ) -> Any:
        try:
            if rpc_name.startswith("access."):
                return await getattr(endpoint.access, rpc_name.removeprefix("access."))(
                    request, timeout=timeout, metadata=metadata
                )
            if rpc_name == "keep_alive":
                return await _exchange(
                    endpoint.keep_alive(timeout=timeout, metadata=metadata), request
                )
            if rpc_name == "status":  # asked of this very member, leader or not
                metadata = tuple(pair for pair in metadata if pair is not LEADER)
            return await getattr(endpoint, rpc_name)(request, timeout=timeout, metadata=metadata)
        except aio.AioRpcError as error:
            raise RpcFailed.of(error) from None
        except aio.UsageError:  # the channel was closed before the RPC could begin
            raise EtcdUnavailable("the etcd client is closed") from None
        except asyncio.CancelledError:
            if _cancelled():
                raise
            raise RpcFailed(grpc.StatusCode.CANCELLED, "the etcd client was closed") from None

    def _open(self) -> Endpoints:
        if self._endpoints is None:
            raise EtcdUnavailable("the etcd client is not started, or closed")
        return self._endpoints

    async def open_watch(self, request: Any) -> tuple[Endpoint, Any]:
        """A watch stream on a connected endpoint, with ``request`` sent. The caller cancels the call, and reports a failed endpoint."""
        deadline = time.monotonic() + self.timeout
        endpoint = await self._open().ready(deadline)
        try:
            call = endpoint.watch(metadata=await self._credentials.metadata(endpoint, deadline))
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
        """A stream on ``endpoint`` broke: go elsewhere, where there is an elsewhere."""
        if self._endpoints is not None:
            self._endpoints.failed(endpoint)

    def renew_token(self) -> None:
        """etcd did not take the token on a stream: get a new one."""
        self._credentials.forget_any()


def describe(span: tracing.Span, rpc_name: str, *, batch_size: int = 1) -> None:
    """``batch_size``: transactions that go as one RPC."""
    if span.recording:
        span.set("db.system.name", "etcd")
        span.set("db.operation.name", rpc_name)
        if batch_size > 1:
            span.set("db.operation.batch.size", batch_size)


async def _exchange(call: Any, request: Any) -> Any:
    """One question and one answer on a stream."""
    try:
        await call.write(request)
        return await answer(call)
    finally:
        call.cancel()


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


def _cancelled() -> bool:
    """gRPC raises CancelledError both where our task is cancelled and where somebody closed the RPC: whether it is the first."""
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0
