"""Encodes and decodes the values of etcd's keys: states as JSON, jobs and contents as msgpack.

A notice is JSON too; one of more than 4 KB is compressed (zlib, RFC 1950).

A job and a content are msgpack maps with readable field names; ``babygun decode`` prints them as
JSON. Unknown fields are ignored, so during a rolling update an older version can read a newer one's
data.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable
from functools import lru_cache
from typing import Any, TypeVar

import msgpack
import msgspec

from babygun.email.model import Content, Email, Job, LogEntry, Part, as_json
from babygun.email.suppression import Suppression
from babygun.etcd import KeyValue
from babygun.runtime.logs import get_logger
from babygun.store.records import IdempotencyRecord, Owner
from babygun.store.webhooks.records import Notice

log = get_logger("store")

_ADDRESS = re.compile(r"[^/]+@[^/]+")

# With a record of 1,000 recipients, a chunk of this size stays below etcd's 1.5 MiB a request.
CHUNK_BYTES = 768 * 1024

_COMPRESSED_ABOVE = 4096

T = TypeVar("T")

decode_email = msgspec.json.Decoder(Email).decode
decode_owner = msgspec.json.Decoder(Owner).decode
decode_part = msgspec.json.Decoder(Part).decode
decode_log_entry = msgspec.json.Decoder(LogEntry).decode
decode_idempotency = msgspec.json.Decoder(IdempotencyRecord).decode
decode_suppression = msgspec.json.Decoder(Suppression).decode
# Many ready jobs are alike, such as those of one mailing. A worker keeps one of each kind.
decode_job = lru_cache(maxsize=4096)(msgspec.msgpack.Decoder(Job).decode)
decode_content = msgspec.msgpack.Decoder(Content).decode
_decode_notice = msgspec.json.Decoder(Notice).decode
encode_state = as_json


def decode_state(data: bytes, kind: type[T]) -> T:
    """A state of any kind from its JSON. Raises msgspec.ValidationError, which is a ValueError."""
    return msgspec.json.decode(data, type=kind)


def encode_job(job: Job) -> bytes:
    return _pack(job)


def encode_content(content: Content) -> bytes:
    """The whole content as one msgpack map; :func:`chunked` splits it."""
    return _pack(content)


def chunked(data: bytes) -> list[bytes]:
    """``data`` in pieces of at most CHUNK_BYTES, at least one."""
    if 0 < len(data) <= CHUNK_BYTES:
        return [data]
    return [data[i : i + CHUNK_BYTES] for i in range(0, len(data), CHUNK_BYTES)] or [b""]


def encode_notice(notice: Notice) -> bytes:
    data = as_json(notice)
    return data if len(data) <= _COMPRESSED_ABOVE else zlib.compress(data, 1)


def decode_notice(data: bytes) -> Notice:
    """Raises ValueError."""
    return _decode_notice(decompressed(data))


def decompressed(data: bytes) -> bytes:
    """The JSON of a notice's value. Raises ValueError."""
    return data if data.startswith(b"{") else decompressed_first(data)[0]


def is_compressed(data: bytes) -> bool:
    """Whether ``data`` begins with a compressed value: no other begins like that."""
    return data.startswith(b"\x78\x01")


def decompressed_first(data: bytes) -> tuple[bytes, int]:
    """The compressed value that ``data`` begins with, and its length in ``data``.

    Raises ValueError.
    """
    whole = zlib.decompressobj()
    try:
        value = whole.decompress(data)
    except zlib.error as error:
        raise ValueError(f"not compressed JSON: {error}") from None
    if not whole.eof:
        raise ValueError("not a whole compressed value")
    return value, len(data) - len(whole.unused_data)


def decode_first(data: bytes) -> tuple[Any, int]:
    """The msgpack value that ``data`` begins with, as plain Python data, and its length in bytes.

    Raises ValueError.
    """
    unpacker = msgpack.Unpacker(max_buffer_size=len(data))
    unpacker.feed(data)
    try:
        value = unpacker.unpack()
    except (msgpack.OutOfData, msgpack.UnpackException) as error:
        raise ValueError(f"not a whole msgpack value: {error}") from None
    return value, unpacker.tell()


def edit_first_chunk(chunk: bytes, edit: Callable[[dict[str, Any]], dict[str, Any]]) -> bytes:
    """The first chunk of a content with other header fields; what follows them stays as it is.

    ``edit`` gets the sender, the subject, the recipients and the headers, as far as the content has
    them, and returns the same fields. Raises ValueError if they reach into the next chunk.
    """
    unpacker = msgpack.Unpacker(max_buffer_size=len(chunk))
    unpacker.feed(chunk)
    fields, rest = dict[str, Any](), 0
    try:
        count = unpacker.read_map_header()
        for _ in range(count):
            rest = unpacker.tell()
            if (name := unpacker.unpack()) not in _HEADER_FIELDS:
                break
            fields[name] = unpacker.unpack()
            rest = unpacker.tell()
    except (msgpack.OutOfData, msgpack.UnpackException) as error:
        raise ValueError(f"the header fields are not in the first chunk: {error}") from None
    packer = msgpack.Packer()
    head: bytes = packer.pack_map_header(count)
    for name, value in edit(fields).items():
        head += packer.pack(name) + packer.pack(value)
    return head + chunk[rest:]


# They come first, in this order (babygun.email.model.Content).
_HEADER_FIELDS = ("sender", "subject", "to", "cc", "bcc", "reply_to", "headers")

_pack = msgspec.msgpack.Encoder().encode


def state_of(kv: KeyValue, kind: type[T]) -> T | None:
    """The state that a key holds. None: it can't be read, which is logged."""
    try:
        return decode_state(kv.value, kind)
    except ValueError as error:
        log_unreadable(kv.key, error)
        return None


def log_unreadable(key: bytes, error: ValueError) -> None:
    """Says that a key, or its value, can't be read: somebody wrote it by hand.

    A key with an address is named without it.
    """
    named = _ADDRESS.sub("…", key.decode(errors="replace"))
    log.error("key unreadable", key=named, error=str(error))
