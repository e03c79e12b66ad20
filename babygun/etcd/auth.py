"""etcd's authentication: a name and a password for a token, renewed when etcd no longer takes it."""

from __future__ import annotations

import asyncio
import time

from aetcd import rpc
from grpc import aio

from babygun.errors import EtcdUnavailable, PermissionDenied
from babygun.etcd.endpoints import Endpoint
from babygun.etcd.outcomes import RpcFailed, Verdict, judge, plain

Metadata = tuple[tuple[str, str], ...]
LEADER = (
    "hasleader",
    "true",
)  # a member without a leader refuses at once, instead of holding the request


class Credentials:
    """What requests carry in their metadata. Without a user that is always the same."""

    def __init__(self, user: str, password: str) -> None:
        self._user = user
        self._password = password
        self._token = ""
        self._metadata: Metadata | None = None if user else (LEADER,)
        self._lock = asyncio.Lock()

    async def metadata(self, endpoint: Endpoint, deadline: float) -> Metadata:
        """For one request; asks ``endpoint`` for a token where there is none. Raises PermissionDenied, EtcdUnavailable."""
        if self._metadata is not None:
            return self._metadata
        async with self._lock:
            if self._metadata is None:
                token = await self._authenticate(endpoint, deadline)
                self._metadata = (LEADER, ("token", token)) if token else (LEADER,)
            return self._metadata

    def forget(self, metadata: Metadata) -> None:
        """etcd did not take the token in ``metadata``: the next request gets a new one, unless another request has seen to that."""
        if self._user and self._metadata is metadata:
            self._metadata = None

    def forget_any(self) -> None:
        """etcd did not take the present token."""
        if self._user:
            self._metadata = None

    async def _authenticate(self, endpoint: Endpoint, deadline: float) -> str:
        request = rpc.AuthenticateRequest(name=self._user, password=self._password)
        try:
            response = await endpoint.authenticate(
                request, timeout=max(0.0, deadline - time.monotonic())
            )
        except aio.AioRpcError as error:
            failed = RpcFailed.of(error)
            if "authentication is not enabled" in failed.details:
                return ""
            if judge(failed) is Verdict.REFUSED:
                raise PermissionDenied(plain(failed.details)) from None
            raise EtcdUnavailable(f"etcd at {endpoint.url}: {plain(failed.details)}") from None
        token: str = response.token
        return token
