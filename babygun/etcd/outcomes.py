"""What a failed RPC means, decided by gRPC's status code and etcd's text. Pure.

The question that matters for a write is whether it may have been applied. NOT_APPLIED is said only
where that is certain: the request never left, or etcd refused it before it was proposed to raft.
The texts are those of etcd's ``api/v3rpc/rpctypes``. They are stable in practice: etcd's own client
distinguishes errors by them.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import Self

import grpc
from grpc import aio

from babygun.errors import (
    Compacted,
    EtcdError,
    FutureRevision,
    LeaseNotFound,
    OutOfSpace,
    PermissionDenied,
)

_Code = grpc.StatusCode


class RpcFailed(Exception):
    """An RPC or a stream ended with this status; it stays inside this package."""

    def __init__(self, code: grpc.StatusCode, details: str) -> None:
        super().__init__(f"{code.name}: {details}")
        self.code = code
        self.details = details or code.name

    @classmethod
    def of(cls, error: aio.AioRpcError) -> Self:
        return cls(error.code(), error.details() or "")


class Outcome(Enum):
    """What became of a failed RPC, and what may be done about it."""

    NOT_APPLIED = "certainly not applied: it may be sent again, to another endpoint too"
    TOKEN = "refused because of its token: renew that, then send it again"  # noqa: S105
    UNKNOWN = "perhaps applied: a read may be sent again, a write must be read back"
    REFUSED = "etcd decided against it: sending it again would not help"


_NOT_APPLIED = (
    "failed to connect",  # gRPC: no connection could be made
    "dns resolution failed",
    "etcdserver: no leader",  # said before a proposal, since every request asks for a leader
    "etcdserver: too many requests",
    "raft proposal dropped",
    "etcdserver: rpc not supported for learner",
    "etcdserver: not capable",
)
_TOKEN = ("etcdserver: invalid auth token", "etcdserver: revision of auth store is old")
_DENIED = (
    "etcdserver: permission denied",
    "etcdserver: authentication failed",
    "etcdserver: user name is empty",
    "etcdserver: user name not found",
    "etcdserver: role is not granted",
    "etcdserver: permission is not granted",
)
# The server's gRPC (in Go) says this of a request. Ours says it of an answer, in other words.
_TOO_LARGE = "grpc: received message larger than max"
_REFUSING_CODES = frozenset(
    (
        _Code.INVALID_ARGUMENT,
        _Code.NOT_FOUND,
        _Code.ALREADY_EXISTS,
        _Code.PERMISSION_DENIED,
        _Code.FAILED_PRECONDITION,
        _Code.OUT_OF_RANGE,
        _Code.UNIMPLEMENTED,
        _Code.UNAUTHENTICATED,
    )
)


def outcome_of(failed: RpcFailed) -> Outcome:
    """What became of the request that failed with this status."""
    code, text = failed.code, failed.details.lower()
    if text.startswith(_NOT_APPLIED):
        return Outcome.NOT_APPLIED
    if text.startswith(_TOKEN):
        return Outcome.TOKEN
    if (
        code in _REFUSING_CODES
        or text.startswith((*_DENIED, _TOO_LARGE))
        or (code is _Code.RESOURCE_EXHAUSTED and "database space exceeded" in text)
    ):
        return Outcome.REFUSED
    # Any other RESOURCE_EXHAUSTED is gRPC's own: an answer over the receive limit. So the request
    # was served.
    return Outcome.UNKNOWN


def refusal(failed: RpcFailed) -> EtcdError:
    """The typed error of a request that is REFUSED, or TOKEN where a new token did not help."""
    code, text = failed.code, failed.details.lower()
    if "lease not found" in text:
        return LeaseNotFound()
    if "database space exceeded" in text:
        return OutOfSpace()
    if "has been compacted" in text:
        return Compacted()
    if "future revision" in text:
        return FutureRevision()
    denied = code in (_Code.PERMISSION_DENIED, _Code.UNAUTHENTICATED)
    if denied or text.startswith(_DENIED + _TOKEN):
        return PermissionDenied(plain(failed))
    return EtcdError(plain(failed))


def plain(failed: RpcFailed) -> str:
    """etcd's own words, without its prefixes."""
    return re.sub(r"^(?:etcdserver: )?(?:mvcc: )?", "etcd: ", failed.details, count=1)
