"""Transactions: what to compare, and what to do then. Pure.

An Op and a Compare are made by the functions here, and encoded at once. A Txn is immutable and
encoded once. Its bytes are sent alone, or nested in a batch (see :mod:`babygun.etcd.batch`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from aetcd import rpc
from msgspec import Struct

from babygun.etcd import wire

_PUT, _DELETE, _GET = range(3)
# A compare's result and target, as wire.compare wants them: EQUAL and VERSION are the defaults.
_EQUAL_VERSION, _GREATER_VERSION = b"", b"\x08\x01"
_EQUAL_CREATE, _EQUAL_MOD = b"\x10\x01", b"\x10\x02"
_LESS_CREATE = b"\x08\x02\x10\x01"
_GREATER_VALUE, _LESS_VALUE = b"\x08\x01\x10\x03", b"\x08\x02\x10\x03"
_LESS_MOD = b"\x08\x02\x10\x02"
_VERSION_0 = b"\x20\x00"
# So many operations may stand side by side in a transaction.
_FLAT = 127
# In a nested one, where there are more. The fewer, the more transactions fit into one batch.
NESTED = 20


class Op(Struct, frozen=True, eq=False, gc=False):
    """One operation of a transaction: encoded, and which key or [key, end) it is about.

    ``depth``: how many transactions it nests.
    """

    kind: int
    encoded: bytes
    key: bytes
    end: bytes = b""
    depth: int = 0


class Compare(Struct, frozen=True, eq=False, gc=False):
    """One condition of a transaction: encoded, and which key or [key, end) it is about."""

    encoded: bytes
    key: bytes
    end: bytes = b""


class KeyValue(NamedTuple):
    """One key as etcd has it; ``lease`` is 0 where it hangs on none.

    A delete event has the key and ``mod_revision`` only.
    """

    key: bytes
    value: bytes
    create_revision: int
    mod_revision: int
    version: int
    lease: int


def key_value(message: Any) -> KeyValue:
    """From etcd's message."""
    return KeyValue(
        message.key,
        message.value,
        message.create_revision,
        message.mod_revision,
        message.version,
        message.lease,
    )


def put(key: bytes, value: bytes, lease: int = 0) -> Op:
    """Writes a key. ``lease`` 0: it hangs on none, whatever it hung on before."""
    return Op(_PUT, wire.put_op(key, value, lease, False), key)


def keep(key: bytes, lease: int) -> Op:
    """Hangs a key on a lease (0: takes it off) without sending its value again.

    The key must exist, or etcd refuses the whole request.
    """
    return Op(_PUT, wire.put_op(key, b"", lease, True), key)


def delete(key: bytes) -> Op:
    """Deletes a key; a missing one is no error."""
    return Op(_DELETE, wire.delete_op(key, b""), key)


def delete_range(start: bytes, end: bytes) -> Op:
    """Deletes every key in [start, end)."""
    return Op(_DELETE, wire.delete_op(start, end), start, end)


def only_if(compares: Sequence[Compare], op: Op) -> Op:
    """``op`` if all of ``compares`` hold, as a nested transaction. All are about its key.

    The transaction around it succeeds in any case: see :meth:`TxnResult.done`.
    """
    request = wire.txn_request([c.encoded for c in compares], [op.encoded], ())
    return Op(op.kind, wire.txn_op(request), op.key, op.end, op.depth + 1)


def unless(compare: Compare, op: Op) -> Op:
    """As :func:`only_if`, but ``op`` if the compare does not hold."""
    request = wire.txn_request([compare.encoded], (), [op.encoded])
    return Op(op.kind, wire.txn_op(request), op.key, op.end, op.depth + 1)


def get(key: bytes, *, revision: int = 0) -> Op:
    """Reads a key, as it is or was at ``revision``."""
    if not revision:
        return Op(_GET, wire.get_op(key), key)
    request = rpc.RangeRequest(key=key, revision=revision)
    return Op(_GET, wire.range_op(request.SerializeToString()), key)


def get_range(
    start: bytes, end: bytes, *, limit: int = 0, keys_only: bool = False, revision: int = 0
) -> Op:
    """Reads the keys in [start, end), at most ``limit`` (0: all), now or at ``revision``."""
    request = range_request(start, end, limit, revision, keys_only)
    return Op(_GET, wire.range_op(request.SerializeToString()), start, end)


def count_range(start: bytes, end: bytes) -> Op:
    """Counts the keys in [start, end), and reads none."""
    request = rpc.RangeRequest(key=start, range_end=end, count_only=True)
    return Op(_GET, wire.range_op(request.SerializeToString()), start, end)


def range_request(start: bytes, end: bytes, limit: int, revision: int, keys_only: bool) -> Any:
    """etcd's range message. Its order is ascending; asking for that would make etcd sort again."""
    return rpc.RangeRequest(
        key=start, range_end=end, limit=limit, keys_only=keys_only, revision=revision
    )


def absent(key: bytes) -> Compare:
    """The key does not exist."""
    return Compare(wire.compare(_EQUAL_VERSION, key, _VERSION_0), key)


def present(key: bytes) -> Compare:
    """The key exists."""
    return Compare(wire.compare(_GREATER_VERSION, key, _VERSION_0), key)


def created_at(key: bytes, revision: int) -> Compare:
    """The key exists, and is the one created at this revision."""
    return Compare(wire.compare(_EQUAL_CREATE, key, b"\x28" + wire.varint(revision)), key)


def all_created_before(start: bytes, end: bytes, revision: int) -> Compare:
    """Every key in [start, end), if there is any, was created before this revision."""
    value = b"\x28" + wire.varint(revision)
    return Compare(wire.compare(_LESS_CREATE, start, value, end), start, end)


def modified_at(key: bytes, revision: int) -> Compare:
    """The key exists, and was last written at this revision."""
    return Compare(wire.compare(_EQUAL_MOD, key, b"\x30" + wire.varint(revision)), key)


def unchanged(key: bytes, found: KeyValue | None) -> Compare:
    """The key is as it was read. ``found``: what was read; None: it was not there."""
    return modified_at(key, found.mod_revision) if found else absent(key)


def value_above(key: bytes, value: bytes) -> Compare:
    """The key exists, and its value comes after this one."""
    return Compare(wire.compare(_GREATER_VALUE, key, b"\x3a" + wire.framed(value)), key)


def value_below(key: bytes, value: bytes) -> Compare:
    """The key exists, and its value comes before this one."""
    return Compare(wire.compare(_LESS_VALUE, key, b"\x3a" + wire.framed(value)), key)


def modified_before(key: bytes, revision: int) -> Compare:
    """The key was last written before this revision, or does not exist."""
    return Compare(wire.compare(_LESS_MOD, key, b"\x30" + wire.varint(revision)), key)


def range_absent(start: bytes, end: bytes) -> Compare:
    """No key exists in [start, end).

    A compare over a range holds when it holds for each key there, and no key has version 0.
    """
    return Compare(wire.compare(_EQUAL_VERSION, start, _VERSION_0, end), start, end)


def nesting(ops: Sequence[Op]) -> int:
    """How many operations a nested transaction gets, so that etcd takes all of them; 0: none.

    etcd counts the nested transactions and the operations of the largest one: 128 at most.
    """
    deepest = max((op.depth for op in ops), default=0)
    return 0 if len(ops) + deepest <= _FLAT else max(NESTED, math.isqrt(len(ops)) + 1)


class Txn:
    """If all of ``compares`` hold, ``success`` is done, else ``failure``; atomically.

    ``nested``: with more operations than this, ``success`` goes as nested transactions of so many
    each. So it may have more than the 128 that etcd takes in one.

    ``written`` and ``written_ranges``: the keys and [start, end) ranges that it may write, in
    either branch. ``read`` and ``read_ranges``: what it compares or reads. By these the batcher
    keeps transactions apart that must not be in one batch.
    """

    __slots__ = (
        "compares",
        "encoded",
        "failure",
        "groups_of",
        "op_count",
        "read",
        "read_ranges",
        "success",
        "written",
        "written_ranges",
    )

    def __init__(
        self,
        compares: Sequence[Compare],
        success: Sequence[Op],
        failure: Sequence[Op] = (),
        *,
        nested: int = 0,
    ) -> None:
        self.compares = compares
        self.success = success
        self.failure = failure
        done = [op.encoded for op in success]
        depth = max((op.depth for op in success), default=0)
        # How many operations each nested transaction of ``success`` has; 0: they stand flat.
        self.groups_of = nested if 0 < nested < len(done) else 0
        if self.groups_of:
            done = [
                wire.txn_op(wire.txn_request((), done[i : i + nested], ()))
                for i in range(0, len(done), nested)
            ]
            depth += nested
        self.encoded = wire.txn_request(
            [c.encoded for c in compares], done, [op.encoded for op in failure]
        )
        """etcd's TxnRequest on the wire."""
        self.op_count = max(len(compares), len(done) + depth, len(failure))
        """What etcd's --max-txn-ops is held against."""
        written: list[bytes] = []
        read: list[bytes] = []
        written_ranges: list[tuple[bytes, bytes]] = []
        read_ranges: list[tuple[bytes, bytes]] = []
        for op in (*success, *failure) if failure else success:
            if op.end:
                (read_ranges if op.kind == _GET else written_ranges).append((op.key, op.end))
            else:
                (read if op.kind == _GET else written).append(op.key)
        for compare in compares:
            if compare.end:
                read_ranges.append((compare.key, compare.end))
            else:
                read.append(compare.key)
        self.written, self.written_ranges = written, written_ranges
        self.read, self.read_ranges = read, read_ranges

    @property
    def puts(self) -> bool:
        """Whether it may put a key. A full etcd still does what only deletes and reads."""
        return any(op.kind == _PUT for op in (*self.success, *self.failure))


class TxnResult:
    """What became of a transaction. ``revision``: of the store after it, and after its batch.

    ``index``, in its methods: of an operation in the branch taken.
    """

    __slots__ = ("_groups_of", "_responses", "revision", "succeeded")

    def __init__(self, response: Any, revision: int, groups_of: int = 0) -> None:
        self.succeeded: bool = response.succeeded
        self.revision = revision
        self._responses = response.responses
        self._groups_of = groups_of if response.succeeded else 0

    def kvs(self, index: int) -> list[KeyValue]:
        """What the ``index``-th operation read; it must be a get."""
        return [key_value(message) for message in self._response(index).response_range.kvs]

    def values(self, index: int) -> list[bytes]:
        """The values that the ``index``-th operation read."""
        return [message.value for message in self._response(index).response_range.kvs]

    def more(self, index: int) -> bool:
        """Whether its limit cut the ``index``-th operation short."""
        more: bool = self._response(index).response_range.more
        return more

    def count(self, index: int) -> int:
        """How many keys the range of the ``index``-th operation holds, whatever its limit."""
        count: int = self._response(index).response_range.count
        return count

    def done(self, index: int) -> bool:
        """Whether the ``index``-th operation was done: one with compares of its own may not be."""
        response = self._response(index)
        while response.HasField("response_txn"):
            inner = response.response_txn.responses  # one, of the branch that has the operation
            if not inner:
                return False
            response = inner[0]
        return True

    def _response(self, index: int) -> Any:
        if not self._groups_of:
            return self._responses[index]
        group, place = divmod(index, self._groups_of)
        return self._responses[group].response_txn.responses[place]

    def __repr__(self) -> str:
        return f"TxnResult(succeeded={self.succeeded}, revision={self.revision})"
