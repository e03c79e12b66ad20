"""What a failed RPC means. The texts are what etcd 3.6 and gRPC say."""

from __future__ import annotations

import pytest
from grpc import StatusCode

from babygun.errors import (
    Compacted,
    EtcdError,
    FutureRevision,
    LeaseNotFound,
    OutOfSpace,
    PermissionDenied,
)
from babygun.etcd.outcomes import Outcome, RpcFailed, outcome_of, refusal


@pytest.mark.parametrize(
    ("code", "details", "outcome"),
    [
        (
            StatusCode.UNAVAILABLE,
            "failed to connect to all addresses;"
            " last error: UNKNOWN: ipv4:127.0.0.1:1: Failed to connect to remote host",
            Outcome.NOT_APPLIED,
        ),
        (
            StatusCode.UNAVAILABLE,
            "DNS resolution failed for etcd.invalid:2379",
            Outcome.NOT_APPLIED,
        ),
        (StatusCode.UNAVAILABLE, "etcdserver: no leader", Outcome.NOT_APPLIED),
        (StatusCode.RESOURCE_EXHAUSTED, "etcdserver: too many requests", Outcome.NOT_APPLIED),
        (StatusCode.UNKNOWN, "raft proposal dropped", Outcome.NOT_APPLIED),
        (StatusCode.UNAUTHENTICATED, "etcdserver: invalid auth token", Outcome.TOKEN),
        (StatusCode.INVALID_ARGUMENT, "etcdserver: revision of auth store is old", Outcome.TOKEN),
        (
            StatusCode.UNAVAILABLE,
            "Stream removed (recvmsg:Connection reset by peer (104))",
            Outcome.UNKNOWN,
        ),
        (StatusCode.UNAVAILABLE, "Socket closed", Outcome.UNKNOWN),
        (StatusCode.UNAVAILABLE, "etcdserver: request timed out", Outcome.UNKNOWN),
        (StatusCode.UNAVAILABLE, "etcdserver: leader changed", Outcome.UNKNOWN),
        (StatusCode.UNAVAILABLE, "etcdserver: server stopped", Outcome.UNKNOWN),
        (StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded", Outcome.UNKNOWN),
        (StatusCode.CANCELLED, "", Outcome.UNKNOWN),
        (
            StatusCode.RESOURCE_EXHAUSTED,
            "CLIENT: Received message larger than max (5 vs. 4)",
            Outcome.UNKNOWN,
        ),
        (
            StatusCode.RESOURCE_EXHAUSTED,
            "grpc: received message larger than max (5 vs. 4)",
            Outcome.REFUSED,
        ),
        (
            StatusCode.RESOURCE_EXHAUSTED,
            "etcdserver: mvcc: database space exceeded",
            Outcome.REFUSED,
        ),
        (StatusCode.NOT_FOUND, "etcdserver: requested lease not found", Outcome.REFUSED),
        (
            StatusCode.INVALID_ARGUMENT,
            "etcdserver: duplicate key given in txn request",
            Outcome.REFUSED,
        ),
        (StatusCode.UNKNOWN, "etcdserver: permission denied", Outcome.REFUSED),
    ],
)
def test_failed_rpc_raises_by_whether_it_may_have_been_applied(
    code: StatusCode, details: str, outcome: Outcome
) -> None:
    assert outcome_of(RpcFailed(code, details)) is outcome


@pytest.mark.parametrize(
    ("code", "details", "error"),
    [
        (StatusCode.NOT_FOUND, "etcdserver: requested lease not found", LeaseNotFound),
        (StatusCode.RESOURCE_EXHAUSTED, "etcdserver: mvcc: database space exceeded", OutOfSpace),
        (
            StatusCode.OUT_OF_RANGE,
            "etcdserver: mvcc: required revision has been compacted",
            Compacted,
        ),
        (
            StatusCode.OUT_OF_RANGE,
            "etcdserver: mvcc: required revision is a future revision",
            FutureRevision,
        ),
        (StatusCode.PERMISSION_DENIED, "etcdserver: permission denied", PermissionDenied),
        (
            StatusCode.INVALID_ARGUMENT,
            "etcdserver: authentication failed, invalid user ID or password",
            PermissionDenied,
        ),
        (StatusCode.INVALID_ARGUMENT, "etcdserver: user name is empty", PermissionDenied),
        (StatusCode.UNAUTHENTICATED, "etcdserver: invalid auth token", PermissionDenied),
        (StatusCode.INVALID_ARGUMENT, "etcdserver: key is not provided", EtcdError),
    ],
)
def test_refusal_has_the_type_of_its_reason(
    code: StatusCode, details: str, error: type[EtcdError]
) -> None:
    assert type(refusal(RpcFailed(code, details))) is error
