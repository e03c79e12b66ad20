"""The etcd client: keys, transactions, leases, and the cluster's own state."""

# ruff: noqa: ASYNC109 (a timeout bounds all tries of a request together, and gRPC gets it too)
from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

from aetcd import rpc
from google.protobuf.unknown_fields import UnknownFieldSet

from babygun.errors import Compacted, EtcdError, EtcdUnavailable, LeaseNotFound
from babygun.etcd.endpoints import Endpoint, Endpoints
from babygun.etcd.requests import Requests
from babygun.etcd.txn import KeyValue, Op, Txn, TxnResult, get, key_value, range_request
from babygun.runtime.settings import Settings

# A field of StatusResponse since etcd 3.6; the generated messages don't have it yet.
_DB_SIZE_QUOTA = 12
# Keys that one request reads, and those that each transaction nested in it reads.
_READS, _NESTED = 1024, 32


@dataclass(frozen=True, slots=True)
class Range:
    """What a range read found. ``more``: the limit cut it short.

    ``count``: of all keys in the range, whatever the limit; ``revision``: of the store.
    """

    kvs: list[KeyValue]
    more: bool
    count: int
    revision: int


class Status(NamedTuple):
    """One member's own view. Sizes in bytes.

    ``quota``: 0 where the server does not report it (before 3.6). ``leader``: 0 for none.
    """

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


class EtcdClient(Requests):
    """An etcd cluster, through any of its endpoints."""

    @classmethod
    def from_settings(cls, settings: Settings, *, breaker: bool = False) -> Self:
        return cls(
            settings.etcd_endpoints,
            user=settings.etcd_user,
            password=settings.etcd_password,
            ca=settings.etcd_ca,
            cert=settings.etcd_cert,
            key=settings.etcd_key,
            timeout=settings.etcd_timeout,
            breaker=breaker,
        )

    # Keys

    async def get(self, key: bytes, *, revision: int = 0) -> KeyValue | None:
        """One key as it is now, or was at ``revision``. Raises Compacted where that is gone."""
        response = await self._read("range", rpc.RangeRequest(key=key, revision=revision))
        return key_value(response.kvs[0]) if response.kvs else None

    async def range(
        self,
        start: bytes,
        end: bytes,
        *,
        limit: int = 0,
        revision: int = 0,
        keys_only: bool = False,
    ) -> Range:
        """The keys in [start, end), at most ``limit`` (0: all), now or at ``revision``."""
        request = range_request(start, end, limit, revision, keys_only)
        response = await self._read("range", request)
        return Range(
            [key_value(message) for message in response.kvs],
            response.more,
            response.count,
            response.header.revision,
        )

    async def txn(self, txn: Txn) -> TxnResult:
        """Does one transaction. That its compares don't hold is a result, not an error."""
        response = await self.raw_txn(txn.encoded)
        return TxnResult(response, response.header.revision, txn.groups_of)

    async def read(self, ops: Sequence[Op], *, timeout: float | None = None) -> TxnResult:
        """Reads several ranges at one revision, 128 at most.

        Unlike a transaction it is sent again until it is answered.
        """
        response = await self._read("read", Txn([], ops).encoded, timeout)
        return TxnResult(response, response.header.revision)

    async def get_many(
        self, keys: Sequence[bytes], *, timeout: float | None = None
    ) -> dict[bytes, KeyValue]:
        """Those of the keys that exist. Each thousand is read at one revision of its own."""
        found: dict[bytes, KeyValue] = {}
        for start in range(0, len(keys), _READS):
            some = [get(key) for key in keys[start : start + _READS]]
            response = await self._read("read", Txn([], some, nested=_NESTED).encoded, timeout)
            nested = len(some) > _NESTED
            groups = (op.response_txn for op in response.responses) if nested else (response,)
            for group in groups:
                for op in group.responses:
                    for message in op.response_range.kvs:
                        found[message.key] = key_value(message)
        return found

    async def raw_txn(self, encoded: bytes) -> Any:
        """:meth:`txn` for an encoded TxnRequest; returns etcd's TxnResponse."""
        return await self._write("txn", encoded)

    async def put(self, key: bytes, value: bytes, lease: int = 0) -> int:
        """Writes one key, whatever it held; returns the revision of that."""
        response = await self._write("put", rpc.PutRequest(key=key, value=value, lease=lease))
        revision: int = response.header.revision
        return revision

    async def delete(self, key: bytes) -> int:
        """Deletes one key; returns how many there were, 0 or 1."""
        response = await self._write("delete", rpc.DeleteRangeRequest(key=key))
        deleted: int = response.deleted
        return deleted

    async def compact(self, revision: int, *, timeout: float) -> None:
        """Removes the history before ``revision``; one that is gone already is fine.

        Returns when the space is free, on the member asked. etcd reads every key for it: a second
        for each 100,000, and more while it is busy. After ``timeout`` etcd goes on all the same.
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

    async def grant_lease(self, ttl: int) -> tuple[int, int]:
        """A new lease: its id, and the seconds granted."""
        response = await self._write("grant", rpc.LeaseGrantRequest(TTL=ttl))
        return response.ID, response.TTL

    async def revoke(self, lease_id: int) -> None:
        """Ends a lease and deletes its keys; one that is gone already is fine."""
        try:
            await self._write("revoke", rpc.LeaseRevokeRequest(ID=lease_id))
        except LeaseNotFound:
            pass

    async def keep_alive(self, lease_id: int, *, timeout: float | None = None) -> int:
        """Renews a lease; returns its seconds from now. Raises LeaseNotFound where it is gone.

        Renewing twice does no harm, so it is retried like a read.
        """
        response = await self._read("keep_alive", rpc.LeaseKeepAliveRequest(ID=lease_id), timeout)
        if response.TTL <= 0:
            raise LeaseNotFound
        ttl: int = response.TTL
        return ttl

    async def granted(self, lease_id: int) -> int:
        """The seconds that a lease was granted for. Raises LeaseNotFound where it is gone."""
        response = await self._read("time_to_live", rpc.LeaseTimeToLiveRequest(ID=lease_id))
        if response.TTL < 0:
            raise LeaseNotFound
        seconds: int = response.grantedTTL
        return seconds

    # The cluster

    async def status(self) -> Status:
        """The status of the member in use."""
        deadline = time.monotonic() + self.timeout
        endpoint = await self._open().ready(deadline)
        return await self._status(endpoint, deadline)

    async def statuses(self, *, timeout: float | None = None) -> dict[str, Status | EtcdError]:
        """The status of every endpoint, or why there is none."""
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

    async def disarm_nospace(self) -> bool:
        """Lifts the NOSPACE alarm of every member. Returns whether there was one."""
        request = rpc.AlarmRequest(action=rpc.AlarmRequest.GET, alarm=rpc.AlarmType.NOSPACE)
        raised = [
            alarm
            for alarm in (await self._read("alarm", request)).alarms
            if alarm.alarm == rpc.AlarmType.NOSPACE
        ]
        for alarm in raised:
            lift = rpc.AlarmRequest(
                action=rpc.AlarmRequest.DEACTIVATE, memberID=alarm.memberID, alarm=alarm.alarm
            )
            await self._write("alarm", lift)
        return bool(raised)

    async def defragment(self, url: str, *, timeout: float) -> None:
        """Gives the free pages of one member's file back. The member stands still meanwhile."""
        endpoint = next(one for one in self._open() if one.url == url)
        await self._write("defragment", rpc.DefragmentRequest(), timeout, only=endpoint)

    async def access(self, rpc_name: str, request: Any) -> Any:
        """One RPC of etcd's Auth service (:mod:`babygun.etcd.access`), treated as a write."""
        return await self._write(f"access.{rpc_name}", request)
