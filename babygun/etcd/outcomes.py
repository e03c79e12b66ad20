"""What a failed RPC means: pure decisions on gRPC's status code and etcd's text, no I/O.

The one question that matters for a write is whether it may have been applied. NOT_APPLIED is said only where that is certain:
the request never left, or etcd turned it away before it was proposed to raft. The texts are those of etcd's
``api/v3rpc/rpctypes``; they are part of its API in practice, since its own client tells errors apart by them.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import Self

import grpc
from grpc import aio

from babygun.errors import Compacted, EtcdError, LeaseNotFound, OutOfSpace, PermissionDenied

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


class Verdict(Enum):
    """What may be done about a failed RPC."""

    NOT_APPLIED = (
        "the request was certainly not applied: it may be sent again, to another endpoint too"
    )
    TOKEN = "the request was turned away because of its token: renew that, then send it again"  # noqa: S105
    UNKNOWN = (
        "the request may have been applied: a read may be sent again, a write must be read back"
    )
    REFUSED = "etcd decided against the request: sending it again would not help"


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
_TOO_LARGE = "grpc: received message larger than max"  # the server's gRPC (in Go) says it of a request; ours, of an answer, in other words
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


def judge(failed: RpcFailed) -> Verdict:
    """Whether the request that failed with this status may have been applied, and what helps."""
    code, text = failed.code, failed.details.lower()
    if text.startswith(_NOT_APPLIED):
        return Verdict.NOT_APPLIED
    if text.startswith(_TOKEN):
        return Verdict.TOKEN
    if (
        code in _REFUSING_CODES
        or text.startswith((*_DENIED, _TOO_LARGE))
        or (code is _Code.RESOURCE_EXHAUSTED and "database space exceeded" in text)
    ):
        return Verdict.REFUSED
    # What is left of RESOURCE_EXHAUSTED is gRPC's own: an answer over the receive limit, so the request was served.
    return Verdict.UNKNOWN


def refusal(failed: RpcFailed) -> EtcdError:
    """The typed error of a request judged REFUSED, or TOKEN where a new token did not help."""
    code, details, text = failed.code, failed.details, failed.details.lower()
    if "lease not found" in text:
        return LeaseNotFound()
    if "database space exceeded" in text:
        return OutOfSpace()
    if "has been compacted" in text:
        return Compacted()
    if code in (_Code.PERMISSION_DENIED, _Code.UNAUTHENTICATED) or text.startswith(
        _DENIED + _TOKEN
    ):
        return PermissionDenied(plain(details))
    return EtcdError(plain(details))


def plain(details: str) -> str:
    """etcd's own words, without its prefixes."""
    return re.sub(r"^(?:etcdserver: )?(?:mvcc: )?", "etcd: ", details, count=1)
