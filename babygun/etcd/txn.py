"""Transactions: what to compare, what to do. Pure construction, no I/O.

An Op and a Compare are etcd's protobuf messages; treat them as opaque. A Txn is immutable: it is encoded once, and the bytes
are what travels, alone or nested in a batch (see :mod:`babygun.etcd.batch`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

from aetcd import rpc

Op: TypeAlias = Any  # rpc.RequestOp
Compare: TypeAlias = Any  # rpc.Compare

_EQUAL = rpc.Compare.EQUAL
_GREATER = rpc.Compare.GREATER
_VERSION = rpc.Compare.VERSION
_CREATE = rpc.Compare.CREATE
_MOD = rpc.Compare.MOD
_DESCEND = rpc.RangeRequest.DESCEND
_BY_KEY = rpc.RangeRequest.KEY
_RequestOp = rpc.RequestOp
_PutRequest = rpc.PutRequest
_DeleteRangeRequest = rpc.DeleteRangeRequest
_RangeRequest = rpc.RangeRequest
_Compare = rpc.Compare


class KeyValue(NamedTuple):
    """One key as etcd keeps it; ``lease`` is 0 where it hangs on none. A delete event has the key and mod_revision only."""

    key: bytes
    value: bytes
    create_revision: int
    mod_revision: int
    version: int
    lease: int


def key_value(message: Any) -> KeyValue:
    """From etcd's message."""
    return KeyValue(message.key, message.value, message.create_revision, message.mod_revision, message.version, message.lease)


def put(key: bytes, value: bytes, lease: int = 0) -> Op:
    """Writes a key; ``lease`` 0: it hangs on none, whatever it hung on before."""
    return _RequestOp(request_put=_PutRequest(key=key, value=value, lease=lease))


def keep(key: bytes, lease: int) -> Op:
    """Hangs a key on a lease (0: takes it off) without sending its value again. The key must exist, or etcd refuses the whole request."""
    return _RequestOp(request_put=_PutRequest(key=key, lease=lease, ignore_value=True))


def delete(key: bytes) -> Op:
    """Deletes a key; that there is none is no error."""
    return _RequestOp(request_delete_range=_DeleteRangeRequest(key=key))


def delete_range(start: bytes, end: bytes) -> Op:
    """Deletes every key in [start, end)."""
    return _RequestOp(request_delete_range=_DeleteRangeRequest(key=start, range_end=end))


def get(key: bytes) -> Op:
    """Reads a key."""
    return _RequestOp(request_range=_RangeRequest(key=key))


def get_range(start: bytes, end: bytes, *, limit: int = 0, keys_only: bool = False, descending: bool = False) -> Op:
    """Reads the keys in [start, end), at most ``limit`` of them (0: all)."""
    return _RequestOp(request_range=range_request(start, end, limit=limit, keys_only=keys_only, descending=descending))


def range_request(start: bytes, end: bytes, *, limit: int = 0, keys_only: bool = False, descending: bool = False, revision: int = 0) -> Any:
    """etcd's range message. Ascending is its natural order; asking for it would only make it sort again."""
    request = _RangeRequest(key=start, range_end=end, limit=limit, keys_only=keys_only, revision=revision)
    if descending:
        request.sort_order = _DESCEND
        request.sort_target = _BY_KEY
    return request


def absent(key: bytes) -> Compare:
    """The key does not exist."""
    return _Compare(result=_EQUAL, target=_VERSION, key=key, version=0)


def present(key: bytes) -> Compare:
    """The key exists."""
    return _Compare(result=_GREATER, target=_VERSION, key=key, version=0)


def created_at(key: bytes, revision: int) -> Compare:
    """The key exists, and is the one created at this revision."""
    return _Compare(result=_EQUAL, target=_CREATE, key=key, create_revision=revision)


def modified_at(key: bytes, revision: int) -> Compare:
    """The key exists, and was last written at this revision."""
    return _Compare(result=_EQUAL, target=_MOD, key=key, mod_revision=revision)


def range_absent(start: bytes, end: bytes) -> Compare:
    """No key exists in [start, end): a compare over a range holds when it holds for each key there, and no key has version 0."""
    return _Compare(result=_EQUAL, target=_VERSION, key=start, range_end=end, version=0)


class Txn:
    """If all of ``compares`` hold, ``success`` is done, else ``failure``; atomically.

    The footprint says which keys the transaction may write (in either branch) and which it compares or reads, so that the
    batcher can keep apart what must not meet; keys and [start, end) ranges are listed apart.
    """

    __slots__ = ("compares", "encoded", "failure", "puts", "read", "read_ranges", "success", "written", "written_ranges")

    def __init__(self, compares: Sequence[Compare], success: Sequence[Op], failure: Sequence[Op] = ()) -> None:
        self.compares = compares
        self.success = success
        self.failure = failure
        self.encoded: bytes = rpc.TxnRequest(compare=compares, success=success, failure=failure).SerializeToString()
        """etcd's TxnRequest on the wire."""
        self.puts = False
        """Whether it may put a key: one that only deletes and reads is let through when etcd is out of space."""
        self.written: list[bytes] = []
        self.read: list[bytes] = []
        self.written_ranges: list[tuple[bytes, bytes]] = []
        self.read_ranges: list[tuple[bytes, bytes]] = []
        for op in success:
            self._note(op)
        for op in failure:
            self._note(op)
        for compare in compares:
            if end := compare.range_end:
                self.read_ranges.append((compare.key, end))
            elif (key := compare.key) not in self.written:
                self.read.append(key)

    def _note(self, op: Op) -> None:
        kind = op.WhichOneof("request")
        if kind == "request_put":
            self.puts = True
            self.written.append(op.request_put.key)
        elif kind == "request_delete_range":
            request = op.request_delete_range
            if request.range_end:
                self.written_ranges.append((request.key, request.range_end))
            else:
                self.written.append(request.key)
        elif kind == "request_range":
            request = op.request_range
            if request.range_end:
                self.read_ranges.append((request.key, request.range_end))
            else:
                self.read.append(request.key)
        else:
            raise ValueError("a transaction takes put, delete and get operations only")

    @property
    def size(self) -> int:
        """Bytes on the wire."""
        return len(self.encoded)

    @property
    def op_count(self) -> int:
        """What etcd's --max-txn-ops is held against."""
        return max(len(self.compares), len(self.success), len(self.failure))


class TxnResult:
    """What became of a transaction. ``revision``: of the store after it (and after the rest of its batch)."""

    __slots__ = ("_responses", "revision", "succeeded")

    def __init__(self, response: Any, revision: int) -> None:
        self.succeeded: bool = response.succeeded
        self.revision = revision
        self._responses = response.responses

    def kvs(self, index: int) -> list[KeyValue]:
        """What the ``index``-th operation of the branch taken read; it must be a get."""
        return [key_value(message) for message in self._responses[index].response_range.kvs]

    def more(self, index: int) -> bool:
        """Whether that get was cut short by its limit."""
        more: bool = self._responses[index].response_range.more
        return more

    def __repr__(self) -> str:
        return f"TxnResult(succeeded={self.succeeded}, revision={self.revision})"
