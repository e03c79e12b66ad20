"""Reads the answers of webhooks (HTTP/1.1, RFC 9112), as far as they matter here. Pure.

What matters: the status, ``Retry-After``, the first bytes of the body, and where the answer ends,
so that the connection can be used again. A stranger's server may send anything, so all is bounded.
"""

from __future__ import annotations

import re

from msgspec import Struct

MOST_BODY = 64 * 1024
_MOST_HEAD = 16 * 1024
_STATUS = re.compile(rb"HTTP/1\.([01]) ([1-5]\d\d)(?:[ \t]|$)")
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,8})[ \t]*(?:;|$)")
_NO_BODY = (204, 304)


class BadAnswer(Exception):
    """This is not an answer of HTTP/1.1, for the reason in the text."""


class Answer(Struct, frozen=True, gc=False):
    """``body``: its first MOST_BODY bytes. ``again``: the connection can be used again."""

    status: int
    retry_after: str
    body: bytes
    again: bool


class AnswerReader:
    """Reads one answer: :meth:`feed` it what arrives, and say if it :meth:`end` s."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._answer: Answer | None = None  # its head, once that is there
        self._left = 0  # of the body, or of the present chunk; -1: up to the end of the connection
        self._chunked = False
        self._framing = 0  # bytes between the chunks
        self._body = bytearray()

    @property
    def began(self) -> bool:
        """Whether anything has arrived."""
        return bool(self._data) or self._answer is not None

    def feed(self, data: bytes) -> Answer | None:
        """The answer, once it is complete, or too long to wait for its end. Raises BadAnswer."""
        self._data += data
        while self._answer is None:
            end = _head_end(self._data)
            if end is None:
                if len(self._data) > _MOST_HEAD:
                    raise BadAnswer("the head of the answer is too long")
                return None
            self._read_head(bytes(self._data[: end[0]]))
            del self._data[: end[1]]
        if self._chunked:
            return self._read_chunks()
        take = len(self._data) if self._left < 0 else min(len(self._data), self._left)
        self._take(take)
        if self._left < 0:
            return self._done(again=False) if len(self._body) >= MOST_BODY else None
        self._left -= take
        if self._left == 0:
            return self._done(again=self._answer.again and not self._data)
        return self._done(again=False) if len(self._body) >= MOST_BODY else None

    def end(self) -> Answer | None:
        """The answer, if the end of the connection is also its end."""
        return self._done(again=False) if self._answer is not None and self._left < 0 else None

    def _take(self, count: int) -> None:
        self._body += self._data[: min(count, MOST_BODY - len(self._body))]
        del self._data[:count]

    def _done(self, *, again: bool) -> Answer:
        head = self._answer
        assert head is not None
        return Answer(head.status, head.retry_after, bytes(self._body), again)

    def _read_head(self, head: bytes) -> None:
        first, *lines = head.replace(b"\r\n", b"\n").split(b"\n")
        match = _STATUS.match(first)
        if match is None:
            raise BadAnswer("the server does not answer in HTTP/1.1")
        status = int(match[2])
        if status < 200:  # an interim answer (RFC 9110, 15.2); another follows
            return
        fields: dict[bytes, bytes] = {}
        for line in lines:
            name, colon, value = line.partition(b":")
            if colon:
                fields.setdefault(name.strip().lower(), value.strip())
        connection = fields.get(b"connection", b"").lower()
        again = match[1] == b"1" and b"close" not in connection
        if status in _NO_BODY:
            self._left = 0
        elif (coding := fields.get(b"transfer-encoding")) is not None:
            self._chunked = coding.lower().endswith(b"chunked")
            self._left = 0 if self._chunked else -1
        elif (length := fields.get(b"content-length")) is not None:
            if not length.isdigit() or len(length) > 15:
                raise BadAnswer("the answer has no valid Content-Length")
            self._left = int(length)
        else:
            self._left = -1
        retry_after = fields.get(b"retry-after", b"").decode("latin-1")
        self._answer = Answer(status, retry_after, b"", again)

    def _read_chunks(self) -> Answer | None:
        """RFC 9112, 7.1."""
        assert self._answer is not None
        while True:
            if self._left:  # the rest of a chunk, and the end of its line
                take = min(self._left, len(self._data))
                body = min(take, max(0, self._left - 2))
                self._take(body)
                del self._data[: take - body]
                self._left -= take
                if len(self._body) >= MOST_BODY:
                    return self._done(again=False)
                if self._left:
                    return None
            end = self._data.find(b"\r\n", 0, _MOST_HEAD)
            if end < 0:
                if len(self._data) >= _MOST_HEAD:
                    raise BadAnswer("a chunk of the answer has no valid length")
                return None
            match = _CHUNK.match(self._data[:end])
            if match is None:
                raise BadAnswer("a chunk of the answer has no valid length")
            size = int(match[1], 16)
            if size == 0:
                return self._read_trailers(bytes(self._data[end:]))
            del self._data[: end + 2]
            self._left = size + 2
            self._framing += end + 2
            if self._framing >= MOST_BODY:  # each chunk takes time, however short it is
                return self._done(again=False)

    def _read_trailers(self, rest: bytes) -> Answer | None:
        """``rest``: what follows the last chunk's length."""
        assert self._answer is not None
        end = rest.find(b"\r\n\r\n")
        if end < 0:
            return self._done(again=False) if len(rest) > _MOST_HEAD else None
        return self._done(again=self._answer.again and end + 4 == len(rest))


def _head_end(data: bytearray) -> tuple[int, int] | None:
    """Where the head ends, and where the body begins. Lines may end with LF alone."""
    end = data.find(b"\r\n\r\n")
    if end >= 0:
        return end, end + 4
    end = data.find(b"\n\n")
    return (end, end + 2) if end >= 0 else None
