"""Inflates compressed bodies (RFC 9110, 8.4.1) in steps that each take little time and memory."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

GZIP = frozenset({"gzip", "x-gzip"})  # two names of one coding (RFC 9110, 8.4.1.3)
ENCODINGS = GZIP | {"deflate"}
MAX_MEMBERS = 1000  # of one body: each needs tables of its own, and may hold nothing
_STEP = 64 << 10  # bytes that go in or come out at a time: less than a millisecond


class Inflater:
    """One body. ``encoding``: one of ENCODINGS.

    gzip may have several members behind each other (RFC 1952, 2.2). ``deflate`` is zlib's format;
    many clients send it without its header, and that is taken, too.
    """

    def __init__(self, encoding: str) -> None:
        self._gzip = encoding in GZIP
        self._members = 0
        self._stream: zlib._Decompress | None = None
        self._ended = True  # the last member, or there is none

    def pieces(self, data: bytes) -> Iterator[bytes]:
        """What the next bytes inflate to; a piece may be empty. Raises ValueError.

        Give the loop back between two pieces.
        """
        for start in range(0, len(data), _STEP):
            left, full = data[start : start + _STEP], False
            while left or full:
                stream = self._stream or self._begin(left)
                try:
                    piece = stream.decompress(left, _STEP)
                except zlib.error as error:
                    raise ValueError(str(error)) from None
                left, full = stream.unconsumed_tail, len(piece) == _STEP
                if stream.eof:
                    left, full = stream.unused_data, False
                    self._stream, self._ended = None, True
                yield piece

    def check_complete(self) -> None:
        """Raises ValueError if the bytes so far end in the middle."""
        if not self._ended:
            raise ValueError("it ends in the middle")

    def _begin(self, data: bytes) -> zlib._Decompress:
        """The stream of the next member, which begins with ``data``."""
        if self._members and not self._gzip:
            raise ValueError("there is more behind its end")
        if self._members == MAX_MEMBERS:
            raise ValueError("it has too many members")
        self._members += 1
        if self._gzip:
            bits = 16 + zlib.MAX_WBITS
        else:  # the low half of zlib's first byte is 8 (RFC 1950, 2.2)
            bits = zlib.MAX_WBITS if data[0] & 0x0F == 8 else -zlib.MAX_WBITS
        self._stream, self._ended = zlib.decompressobj(bits), False
        return self._stream
