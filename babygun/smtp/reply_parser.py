"""A server's replies, taken out of the bytes as they come (RFC 5321, 4.2). No I/O."""

from __future__ import annotations

from typing import NamedTuple

MAX_LINE = 8192  # bytes; RFC 5321 allows 512, some servers write more
MAX_LINES = (
    500  # of one reply: no honest server comes near, and it bounds what a stranger makes us read
)
FAMILIAR = (
    8  # replies that are recognised without being taken apart; a connection mostly hears four
)
FAMILIAR_LINE = 128  # bytes of the longest of them
TEXT_MAX = 1000  # characters of a reply that are kept


class ServerReply(NamedTuple):
    code: int
    raw: bytes  # the lines without the code, joined by line feeds; of a long reply the first ones

    @property
    def text(self) -> str:
        """Cut to TEXT_MAX characters. Made when asked for: of most replies only the code matters."""
        return self.raw.decode(errors="replace")[:TEXT_MAX]


class ReplyParser:
    """Keeps what is not complete yet: at most a line, and TEXT_MAX characters of the reply it belongs to.

    ``violation`` says what was wrong with what came, once it was no reply; what comes after that is not looked at.
    """

    def __init__(self) -> None:
        self.violation = ""
        self._rest = b""
        self._code = b""  # of the reply whose last line has not come
        self._lines: list[bytes] = []
        self._count = 0
        self._size = 0
        self._familiar: dict[
            bytes, ServerReply
        ] = {}  # whole replies of one line: a server says the same few again and again

    def feed(self, data: bytes) -> list[ServerReply]:
        """The replies that ``data`` completes."""
        if self.violation:
            return []
        if self._rest:
            data = self._rest + data
        lines = data.split(b"\n")
        self._rest = lines.pop()
        replies: list[ServerReply] = []
        for line in lines:
            if not self._code and (familiar := self._familiar.get(line)) is not None:
                replies.append(familiar)
                continue
            self._line(line, replies)
            if self.violation:
                return replies
        if len(self._rest) > MAX_LINE:
            self._wrong(f"a line of more than {MAX_LINE} bytes")
        return replies

    def _line(self, line: bytes, replies: list[ServerReply]) -> None:
        code, separator, text = line[:3], line[3:4], line[4:]
        if (
            len(line) > MAX_LINE
            or len(code) != 3
            or not code.isdigit()
            or not b"2" <= code < b"6"
            or separator not in (b" ", b"-", b"\r", b"")
        ):
            self._wrong(f"not a reply: {line[:80].decode(errors='replace').strip()!r}")
        elif self._code and code != self._code:
            self._wrong(f"a reply of two minds: {self._code.decode()} and {code.decode()}")
        elif separator == b"-":
            self._code = code
            self._count += 1
            self._keep(text)
            if self._count > MAX_LINES:
                self._wrong(f"a reply of more than {MAX_LINES} lines")
        elif self._code:
            self._keep(text)
            replies.append(ServerReply(int(code), b"\n".join(self._lines)))
            self._code, self._lines, self._count, self._size = b"", [], 0, 0
        else:
            reply = ServerReply(int(code), text.rstrip(b"\r"))
            replies.append(reply)
            if len(line) <= FAMILIAR_LINE and len(self._familiar) < FAMILIAR:
                self._familiar[line] = reply

    def _keep(self, text: bytes) -> None:
        if self._size < 4 * TEXT_MAX:  # a character has at most four bytes
            self._lines.append(text.rstrip(b"\r"))
            self._size += len(text)

    def _wrong(self, what: str) -> None:
        self.violation = self.violation or what
        self._rest = b""
