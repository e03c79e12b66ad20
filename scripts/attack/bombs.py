"""Requests that cost their sender little and a careless server much."""

from __future__ import annotations

import gzip
import zlib

MB = 1 << 20
_MEMBER = gzip.compress(bytes(MB), 9)


def gzip_bomb(mb: int = 1024) -> bytes:
    """A kilobyte for each MiB that it inflates to: one gzip stream without an end in sight."""
    packer = zlib.compressobj(9, wbits=16 + zlib.MAX_WBITS)
    return b"".join(packer.compress(bytes(MB)) for _ in range(mb)) + packer.flush()


def many_members(mb: int = 1024) -> bytes:
    """The same as gzip members behind each other (RFC 1952, 2.2), made at once."""
    return _MEMBER * mb


def request(
    body: bytes,
    *,
    method: str = "POST",
    path: str = "/emails",
    encoding: str = "identity",
    token: str = "",
    length: int | None = None,
) -> bytes:
    """The bytes of a request. ``length``: what it announces, by default what it has."""
    authorization = f"Authorization: Bearer {token}\r\n" if token else ""
    head = (
        f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n{authorization}"
        "Content-Type: application/json\r\n"
        f"Content-Encoding: {encoding}\r\n"
        f"Content-Length: {len(body) if length is None else length}\r\n\r\n"
    )
    return head.encode() + body


def compressed_request(
    body: bytes, *, method: str = "POST", path: str = "/emails", token: str = ""
) -> bytes:
    """The same for a gzip stream."""
    return request(body, method=method, path=path, encoding="gzip", token=token)


def many_keys(field: str, count: int = 2_000_000) -> bytes:
    """An e-mail with so many entries in an object, such as ``metadata``."""
    entries = ",".join(f'"{number:x}":""' for number in range(count))
    return f'{{"sender":"a@example.com","to":"b@example.org","{field}":{{{entries}}}}}'.encode()


def many_values(field: str, value: str, count: int = 2_000_000) -> bytes:
    """An e-mail with a list of so many values (as JSON) in a field, such as ``tags``."""
    entries = ",".join([value] * count)
    return f'{{"sender":"a@example.com","to":"b@example.org","{field}":[{entries}]}}'.encode()
