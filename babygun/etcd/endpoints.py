"""The connections: one gRPC channel per endpoint, and the choice among them.

The channel used last stays preferred until a request on it fails. A request is given to a channel
only while that is connected. So "no connection" and "no answer" are certain to be
distinguished: the first was not applied, the second may have been. All channels that are not
connected try to connect at once, and the first that succeeds is used.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import grpc
from aetcd import rpc
from grpc import aio

from babygun.errors import EtcdUnavailable, SettingsError
from babygun.runtime.tasks import cancel_all

_MAX_MESSAGE = 512 << 20  # gRPC's own receive limit is 4 MiB, and a range of records is more
_READY = grpc.ChannelConnectivity.READY
_REASON = 0.2  # s, in which gRPC has to say why there is no connection
_OPTIONS: list[tuple[str, Any]] = [
    ("grpc.max_receive_message_length", _MAX_MESSAGE),
    ("grpc.max_send_message_length", _MAX_MESSAGE),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 2000),  # also the time that one attempt to connect is given
    ("grpc.max_reconnect_backoff_ms", 1000),
    ("grpc.http2.max_pings_without_data", 0),  # a quiet watch goes on being checked
    # Two clients of one process share no connection: one's close or failure is not the other's.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.service_config_disable_resolution", 1),  # no DNS record makes this client retry
]


@dataclass(frozen=True)
class Tls:
    """Paths of PEM files; empty: the system's CAs, no client certificate."""

    ca: str = ""
    cert: str = ""
    key: str = ""

    def credentials(self) -> grpc.ChannelCredentials:
        return grpc.ssl_channel_credentials(_read(self.ca), _read(self.key), _read(self.cert))


def _read(path: str) -> bytes | None:
    if not path:
        return None
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise SettingsError(f"{path} can't be read: {error.strerror}") from None


class Endpoint:
    """One etcd address: its channel, and the RPCs that this package uses."""

    def __init__(self, url: str, tls: Tls, keepalive: float) -> None:
        self.url = url
        try:
            parts = urlsplit(url if "://" in url else f"http://{url}")
            host, port = parts.hostname, parts.port or 2379
        except ValueError as error:
            raise SettingsError(f"{url!r} is not an etcd endpoint: {error}") from None
        if parts.scheme not in ("http", "https") or not host:
            raise SettingsError(f"{url!r} is not an etcd endpoint of the form http://host:port")
        target = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        options = [
            *_OPTIONS,
            ("grpc.keepalive_time_ms", int(keepalive * 1000)),
            ("grpc.keepalive_timeout_ms", int(keepalive * 500)),
            # A minute by default, and then the one above has no effect (measured, gRPC 1.85).
            ("grpc.http2.ping_timeout_ms", int(keepalive * 500)),
        ]
        if parts.scheme == "https":
            self.channel = aio.secure_channel(target, tls.credentials(), options=options)
        else:
            self.channel = aio.insecure_channel(target, options=options)
        kv, lease = rpc.KVStub(self.channel), rpc.LeaseStub(self.channel)
        maintenance = rpc.MaintenanceStub(self.channel)
        self._auth = rpc.AuthStub(self.channel)
        # The transaction comes encoded already.
        txn = self.channel.unary_unary(  # type: ignore[call-overload,unused-ignore]
            "/etcdserverpb.KV/Txn",
            request_serializer=None,
            response_deserializer=rpc.TxnResponse.FromString,
        )
        self._rpcs: dict[str, Callable[..., Any]] = {
            "range": kv.Range,
            "put": kv.Put,
            "delete": kv.DeleteRange,
            "compact": kv.Compact,
            "txn": txn,
            "read": txn,  # a transaction that only reads, and so may be sent again
            "grant": lease.LeaseGrant,
            "revoke": lease.LeaseRevoke,
            "time_to_live": lease.LeaseTimeToLive,
            "keep_alive": lease.LeaseKeepAlive,
            "watch": rpc.WatchStub(self.channel).Watch,
            "status": maintenance.Status,
            "alarm": maintenance.Alarm,
            "defragment": maintenance.Defragment,
        }

    def rpc(self, name: str) -> Callable[..., Any]:
        """The RPC of this name. ``access.`` is before the names of etcd's Auth service."""
        if name.startswith("access."):
            call: Callable[..., Any] = getattr(self._auth, name.removeprefix("access."))
            return call
        return self._rpcs[name]

    def connected(self) -> bool:
        """Whether the channel is connected; starts to connect it otherwise."""
        return self.channel.get_state(try_to_connect=True) is _READY


class Endpoints:
    """Several endpoints, one of them preferred."""

    def __init__(self, urls: tuple[str, ...], tls: Tls, keepalive: float) -> None:
        self._all = [Endpoint(url, tls, keepalive) for url in urls]
        self._preferred = 0

    def __len__(self) -> int:
        return len(self._all)

    def __iter__(self) -> Iterator[Endpoint]:
        return iter(self._all)

    async def ready(self, deadline: float) -> Endpoint:
        """A connected endpoint, the preferred one if it is connected.

        Waits until ``deadline`` (time.monotonic()); then EtcdUnavailable.
        """
        for step in range(len(self._all)):
            index = (self._preferred + step) % len(self._all)
            endpoint = self._all[index]
            if endpoint.connected():
                self._preferred = index
                return endpoint
        return await self._first(deadline)

    async def _first(self, deadline: float) -> Endpoint:
        waits = {
            asyncio.ensure_future(self.until_ready(endpoint)): index
            for index, endpoint in enumerate(self._all)
        }
        try:
            done, _ = await asyncio.wait(
                waits,
                timeout=max(0.0, deadline - time.monotonic()),
                return_when=asyncio.FIRST_COMPLETED,
            )
        finally:
            await cancel_all(*waits)
        for wait in done:
            if wait.exception() is None:
                self._preferred = waits[wait]
                return self._all[self._preferred]
        urls = ", ".join(endpoint.url for endpoint in self._all)
        raise EtcdUnavailable(f"no connection to etcd at {urls}: {await self._reason()}")

    @staticmethod
    async def until_ready(endpoint: Endpoint) -> None:
        channel = endpoint.channel
        while (state := channel.get_state(try_to_connect=True)) is not _READY:
            await channel.wait_for_state_change(state)

    async def _reason(self) -> str:
        """Why the preferred endpoint can't be connected, in gRPC's words; only an RPC gets them."""
        try:
            await self._all[self._preferred].rpc("status")(rpc.StatusRequest(), timeout=_REASON)
        except aio.AioRpcError as error:
            return (error.details() or "").rpartition("last error: ")[2] or error.code().name
        return "it answers now"

    def failed(self, endpoint: Endpoint) -> None:
        """A request on ``endpoint`` had no proper answer: the next one is preferred."""
        if self._all[self._preferred] is endpoint:
            self._preferred = (self._preferred + 1) % len(self._all)

    async def close(self) -> None:
        for endpoint in self._all:
            await endpoint.channel.close(None)
