"""Protocol Buffers as etcd's transactions need them, written by hand: bytes in, bytes out.

Transactions are the hot path. To build one of two compares and six puts out of generated messages costs some 27 µs, since each
is copied into the next and then serialized; the same bytes joined here cost a third of that. Answers, and all other requests, are
the generated messages. A test holds every encoding to what those say.

A field is its tag (number << 3 | wire type; type 0: varint, 2: bytes) and its value; bytes have their length before them. What has
its default value is left out. Numbers are never negative here.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

_SMALL = [bytes((n,)) if n < 0x80 else bytes((n & 0x7F | 0x80, n >> 7)) for n in range(2048)]


def varint(number: int) -> bytes:
    """A number of any size; ValueError for a negative one."""
    if 0 <= number < 2048:
        return _SMALL[number]
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


@lru_cache(maxsize=256)
def _lease(lease: int) -> bytes:
    """A lease's id has nine bytes, and a few leases hold everything."""
    return varint(lease)


def framed(message: bytes) -> bytes:
    """A message with its length before it, as one field holds another."""
    return varint(len(message)) + message


def _nested(tag: bytes, message: bytes) -> bytes:
    """A message as the one field of another, framed."""
    length = varint(len(message))
    return b"%b%b%b%b" % (varint(1 + len(length) + len(message)), tag, length, message)


def put_op(key: bytes, value: bytes, lease: int, ignore_value: bool) -> bytes:
    """RequestOp{request_put = 2: PutRequest{key = 1, value = 2, lease = 3, ignore_value = 5}}, framed."""
    request = b"\x0a%b%b" % (varint(len(key)), key)
    if value:
        request += b"\x12%b%b" % (varint(len(value)), value)
    if lease:
        request += b"\x18" + _lease(lease)
    if ignore_value:
        request += b"\x28\x01"
    return _nested(b"\x12", request)


def delete_op(key: bytes, end: bytes) -> bytes:
    """RequestOp{request_delete_range = 3: DeleteRangeRequest{key = 1, range_end = 2}}, framed."""
    return _nested(b"\x1a", _range(key, end))


def range_op(request: bytes) -> bytes:
    """RequestOp{request_range = 1: RangeRequest}, framed."""
    return _nested(b"\x0a", request)


def get_op(key: bytes) -> bytes:
    """The same for one key: RangeRequest{key = 1}."""
    return range_op(_range(key, b""))


def _range(key: bytes, end: bytes) -> bytes:
    request = b"\x0a%b%b" % (varint(len(key)), key)
    return b"%b\x12%b%b" % (request, varint(len(end)), end) if end else request


def compare(head: bytes, key: bytes, value: bytes, end: bytes = b"") -> bytes:
    """Compare{result = 1, target = 2, key = 3, version = 4 | create_revision = 5 | mod_revision = 6, range_end = 64}, framed.

    ``head``: the fields 1 and 2; ``value``: one of 4 to 6; both encoded.
    """
    message = b"%b\x1a%b%b%b" % (head, varint(len(key)), key, value)
    if end:
        message += b"\x82\x04%b%b" % (varint(len(end)), end)
    return framed(message)


def txn_request(compares: Sequence[bytes], success: Sequence[bytes], failure: Sequence[bytes]) -> bytes:
    """TxnRequest{compare = 1, success = 2, failure = 3} of framed parts."""
    request = b"\x0a" + b"\x0a".join(compares) if compares else b""
    if success:
        request += b"\x12" + b"\x12".join(success)
    if failure:
        request += b"\x1a" + b"\x1a".join(failure)
    return request


def nest(requests: Sequence[bytes]) -> bytes:
    """TxnRequest{success = 2: RequestOp{request_txn = 4: TxnRequest}} of encoded TxnRequests: a batch."""
    parts: list[bytes] = []
    for request in requests:
        head = b"\x22" + varint(len(request))
        parts += (b"\x12", varint(len(head) + len(request)), head, request)
    return b"".join(parts)
