"""The encoding is that of etcd's own messages, and a transaction knows which keys it touches."""

from __future__ import annotations

import pytest
from aetcd import rpc

from babygun.etcd import (
    Compare,
    Op,
    Txn,
    absent,
    all_created_before,
    created_at,
    delete,
    delete_range,
    get,
    get_range,
    keep,
    modified_at,
    modified_before,
    nesting,
    only_if,
    present,
    put,
    range_absent,
    unless,
    value_above,
    value_below,
)
from babygun.etcd.wire import nest, varint

LONG = b"k" * 300
BIG = 1 << 62


def range_op(**fields: object) -> rpc.RequestOp:
    return rpc.RequestOp(request_range=rpc.RangeRequest(**fields))


def put_op(**fields: object) -> rpc.RequestOp:
    return rpc.RequestOp(request_put=rpc.PutRequest(**fields))


def txn_op(**fields: object) -> rpc.RequestOp:
    return rpc.RequestOp(request_txn=rpc.TxnRequest(**fields))


OPS: list[tuple[Op, rpc.RequestOp]] = [
    (put(b"k", b"v"), put_op(key=b"k", value=b"v")),
    (put(b"k", b""), put_op(key=b"k")),
    (put(LONG, bytes(100_000), BIG), put_op(key=LONG, value=bytes(100_000), lease=BIG)),
    (keep(b"k", 0), put_op(key=b"k", ignore_value=True)),
    (keep(LONG, BIG), put_op(key=LONG, lease=BIG, ignore_value=True)),
    (delete(LONG), rpc.RequestOp(request_delete_range=rpc.DeleteRangeRequest(key=LONG))),
    (
        delete_range(b"a", LONG),
        rpc.RequestOp(request_delete_range=rpc.DeleteRangeRequest(key=b"a", range_end=LONG)),
    ),
    (get(LONG), range_op(key=LONG)),
    (get_range(b"a", b"b"), range_op(key=b"a", range_end=b"b")),
    (
        get_range(b"a", b"b", limit=1000, keys_only=True, revision=7),
        range_op(key=b"a", range_end=b"b", limit=1000, keys_only=True, revision=7),
    ),
    (
        only_if([absent(LONG), present(LONG)], put(LONG, b"v")),
        txn_op(
            compare=[
                rpc.Compare(result="EQUAL", target="VERSION", key=LONG, version=0),
                rpc.Compare(result="GREATER", target="VERSION", key=LONG, version=0),
            ],
            success=[put_op(key=LONG, value=b"v")],
        ),
    ),
    (
        unless(absent(b"k"), unless(absent(b"k"), put(b"k", b"v"))),
        txn_op(
            compare=[rpc.Compare(result="EQUAL", target="VERSION", key=b"k", version=0)],
            failure=[
                txn_op(
                    compare=[rpc.Compare(result="EQUAL", target="VERSION", key=b"k", version=0)],
                    failure=[put_op(key=b"k", value=b"v")],
                )
            ],
        ),
    ),
]
COMPARES: list[tuple[Compare, rpc.Compare]] = [
    (absent(LONG), rpc.Compare(result="EQUAL", target="VERSION", key=LONG, version=0)),
    (present(b"k"), rpc.Compare(result="GREATER", target="VERSION", key=b"k", version=0)),
    (
        created_at(b"k", 5),
        rpc.Compare(result="EQUAL", target="CREATE", key=b"k", create_revision=5),
    ),
    (
        created_at(b"k", 0),
        rpc.Compare(result="EQUAL", target="CREATE", key=b"k", create_revision=0),
    ),
    (
        all_created_before(b"a", LONG, 5),
        rpc.Compare(result="LESS", target="CREATE", key=b"a", create_revision=5, range_end=LONG),
    ),
    (modified_at(b"k", BIG), rpc.Compare(result="EQUAL", target="MOD", key=b"k", mod_revision=BIG)),
    (
        modified_before(b"k", BIG),
        rpc.Compare(result="LESS", target="MOD", key=b"k", mod_revision=BIG),
    ),
    (
        value_above(LONG, LONG),
        rpc.Compare(result="GREATER", target="VALUE", key=LONG, value=LONG),
    ),
    (
        value_below(b"k", b"v"),
        rpc.Compare(result="LESS", target="VALUE", key=b"k", value=b"v"),
    ),
    (
        range_absent(b"a", LONG),
        rpc.Compare(result="EQUAL", target="VERSION", key=b"a", version=0, range_end=LONG),
    ),
]


@pytest.mark.parametrize(("op", "message"), OPS)
def test_op_is_encoded_as_etcd_reads_it(op: Op, message: rpc.RequestOp) -> None:
    assert rpc.TxnRequest.FromString(Txn([], [op]).encoded) == rpc.TxnRequest(success=[message])
    assert rpc.TxnRequest.FromString(Txn([], [], [op]).encoded) == rpc.TxnRequest(failure=[message])


@pytest.mark.parametrize(("compare", "message"), COMPARES)
def test_compare_is_encoded_as_etcd_reads_it(compare: Compare, message: rpc.Compare) -> None:
    assert rpc.TxnRequest.FromString(Txn([compare], []).encoded) == rpc.TxnRequest(
        compare=[message]
    )


def test_txn_and_batch_are_encoded_as_etcd_reads_them() -> None:
    ops, compares = [op for op, _ in OPS], [compare for compare, _ in COMPARES]
    whole = rpc.TxnRequest(
        compare=[m for _, m in COMPARES],
        success=[m for _, m in OPS],
        failure=[m for _, m in reversed(OPS)],
    )
    txn, empty = Txn(compares, ops, ops[::-1]), Txn([], [])
    assert rpc.TxnRequest.FromString(txn.encoded) == whole
    batch = rpc.TxnRequest(
        success=[rpc.RequestOp(request_txn=whole), rpc.RequestOp(request_txn=rpc.TxnRequest())]
    )
    assert rpc.TxnRequest.FromString(nest([txn.encoded, empty.encoded])) == batch
    assert (len(txn.encoded), txn.op_count) == (whole.ByteSize(), len(OPS) + 2)


def test_nested_operation_counts_with_what_is_around_it() -> None:
    """etcd takes 128: the outer operations and those of the largest nested transaction."""
    deep = unless(absent(b"k"), unless(absent(b"k"), put(b"k", b"v")))
    assert Txn([], [put(b"a", b""), deep]).op_count == 4
    assert (nesting([deep] * 125), nesting([put(b"k", b"")] * 127)) == (0, 0)
    assert 0 < nesting([deep] * 126) < 126


def test_more_operations_than_are_wanted_side_by_side_are_nested_in_their_order() -> None:
    ops, compares = [op for op, _ in OPS], [compare for compare, _ in COMPARES]
    txn, messages = Txn(compares, ops, ops[:1], nested=4), [m for _, m in OPS]
    parts = [
        rpc.RequestOp(request_txn=rpc.TxnRequest(success=messages[i : i + 4]))
        for i in range(0, len(messages), 4)
    ]
    assert rpc.TxnRequest.FromString(txn.encoded) == rpc.TxnRequest(
        compare=[m for _, m in COMPARES], success=parts, failure=messages[:1]
    )
    assert (len(txn.encoded), txn.op_count) == (
        len(txn.encoded),
        max(len(COMPARES), 3 + 4 + 2),
    ) and txn.written == Txn(compares, ops, ops[:1]).written
    assert Txn(compares, ops, nested=len(ops)).encoded == Txn(compares, ops).encoded


@pytest.mark.parametrize("number", [0, 1, 127, 128, 2047, 2048, 16383, 16384, (1 << 63) - 1])
def test_varint_is_what_protobuf_writes(number: int) -> None:
    assert rpc.PutRequest.FromString(b"\x18" + varint(number)).lease == number


def test_negative_number_is_refused() -> None:
    with pytest.raises(ValueError):
        created_at(b"k", -1)


def test_footprint_names_what_is_written_and_what_is_read() -> None:
    txn = Txn(
        [absent(b"c"), range_absent(b"ra", b"rb")],
        [put(b"p", b""), keep(b"k", 1), get(b"g")],
        [delete(b"d"), delete_range(b"wa", b"wb"), get_range(b"ga", b"gb")],
    )
    assert (txn.written, txn.written_ranges) == ([b"p", b"k", b"d"], [(b"wa", b"wb")])
    assert (txn.read, txn.read_ranges) == ([b"g", b"c"], [(b"ga", b"gb"), (b"ra", b"rb")])
    assert txn.puts
    assert not Txn([absent(b"c")], [delete(b"d"), get(b"g")]).puts
