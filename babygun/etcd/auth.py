"""etcd's authentication: a name and a password for a token, renewed when etcd refuses it."""

from __future__ import annotations

import asyncio
import time

from aetcd import rpc
from grpc import aio

from babygun.errors import EtcdUnavailable, PermissionDenied
from babygun.etcd.endpoints import Endpoint
from babygun.etcd.outcomes import Outcome, RpcFailed, outcome_of, plain

Metadata = tuple[tuple[str, str], ...]
# With it a member without a leader refuses a request at once, instead of holding it.
LEADER = ("hasleader", "true")


class Credentials:
    """The metadata of requests. Without a user it is always the same."""

    def __init__(self, user: str, password: str) -> None:
        self._user = user
        self._password = password
        self._metadata: Metadata | None = None if user else (LEADER,)
        self._lock = asyncio.Lock()

    async def metadata(self, endpoint: Endpoint, deadline: float) -> Metadata:
        """The metadata of one request. Without a token, asks ``endpoint`` for one.

        Raises PermissionDenied, EtcdUnavailable.
        """
        if self._metadata is not None:
            return self._metadata
        async with self._lock:
            if self._metadata is None:
                token = await self._authenticate(endpoint, deadline)
                self._metadata = (LEADER, ("token", token)) if token else (LEADER,)
            return self._metadata

    def forget(self, metadata: Metadata) -> None:
        """etcd refused the token in ``metadata``: the next request gets a new one.

        Does nothing where another request has renewed it already.
        """
        if self._metadata is metadata:
            self.forget_any()

    def forget_any(self) -> None:
        """etcd refused the present token."""
        if self._user:
            self._metadata = None

    async def _authenticate(self, endpoint: Endpoint, deadline: float) -> str:
        request = rpc.AuthenticateRequest(name=self._user, password=self._password)
        try:
            response = await endpoint.rpc("access.Authenticate")(
                request, timeout=max(0.0, deadline - time.monotonic())
            )
        except aio.AioRpcError as error:
            failed = RpcFailed.of(error)
            if "authentication is not enabled" in failed.details:
                return ""
            if outcome_of(failed) is Outcome.REFUSED:
                raise PermissionDenied(plain(failed)) from None
            raise EtcdUnavailable(f"etcd at {endpoint.url}: {plain(failed)}") from None
        token: str = response.token
        return token
