"""A server's replies, taken out of the bytes as they come (RFC 5321, 4.2). No I/O."""

from __future__ import annotations

from typing import NamedTuple

MAX_LINE = 8192  # bytes; RFC 5321 allows 512, some servers write more
MAX_LINES = 500  # of one reply: no honest server comes near, and it bounds what a stranger makes us read
TEXT_MAX = 1000  # characters of a reply that are kept


class ServerReply(NamedTuple):
    """``text``: the reply's lines without the code, joined by line feeds, cut to TEXT_MAX characters."""

    code: int
    text: str


class ProtocolViolation(Exception):
    """What came is not an SMTP reply."""


class ReplyParser:
    """Keeps what is not complete yet: at most a line, and TEXT_MAX characters of the reply it belongs to."""

    def __init__(self) -> None:
        self._rest = b""
        self._code = b""  # of the reply whose last line has not come
        self._lines: list[bytes] = []
        self._count = 0
        self._size = 0

    def feed(self, data: bytes) -> list[ServerReply]:
        """The replies that ``data`` completes. Raises ProtocolViolation, after which the parser is of no more use."""
        if self._rest:
            data = self._rest + data
        lines = data.split(b"\n")
        self._rest = lines.pop()
        if len(self._rest) > MAX_LINE:
            raise ProtocolViolation(f"a line of more than {MAX_LINE} bytes")
        replies = []
        for line in lines:
            code, separator = line[:3], line[3:4]
            if not (code.isdigit() and b"2" <= code < b"6" and separator in (b" ", b"-", b"\r", b"")) or len(code) != 3 or len(line) > MAX_LINE:
                raise ProtocolViolation(f"not a reply: {line[:80].decode(errors='replace').strip()!r}")
            if self._code and code != self._code:
                raise ProtocolViolation(f"a reply of two minds: {self._code.decode()} and {code.decode()}")
            if separator == b"-":
                self._continued(code, line[4:])
            elif self._code:
                self._keep(line[4:])
                replies.append(ServerReply(int(code), _text(b"\n".join(self._lines))))
                self._code, self._lines, self._count, self._size = b"", [], 0, 0
            else:
                replies.append(ServerReply(int(code), _text(line[4:])))
        return replies

    def _continued(self, code: bytes, text: bytes) -> None:
        self._code = code
        self._count += 1
        if self._count > MAX_LINES:
            raise ProtocolViolation(f"a reply of more than {MAX_LINES} lines")
        self._keep(text)

    def _keep(self, text: bytes) -> None:
        if self._size < 4 * TEXT_MAX:  # a character has at most four bytes
            self._lines.append(text.rstrip(b"\r"))
            self._size += len(text)


def _text(raw: bytes) -> str:
    return raw.rstrip(b"\r").decode(errors="replace")[:TEXT_MAX]
