"""The answer to the one call that comes by the thousand."""

from __future__ import annotations

import time
from email.utils import formatdate
from functools import lru_cache

from aiohttp import HttpVersion11, web
from aiohttp.abc import AbstractStreamWriter


class ShortAnswer(web.Response):
    """What :class:`web.Response` sends of a body of some bytes, in one step where nothing is asked of it but that: no cookies, no compression, no
    signal before it is sent. aiohttp's own way leads through nine coroutines, which look for those."""

    _sent = False

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        # What ends the connection has to say so, and the answer to HEAD has no body: the usual way.
        if (
            not request.keep_alive
            or request.version != HttpVersion11
            or request.method != "POST"
            or self.keep_alive is not None
        ):
            return await super().prepare(request)
        body = self.body
        assert isinstance(body, bytes)
        headers = self.headers
        headers["Content-Length"] = str(len(body))
        headers["Date"] = _date(int(time.time()))
        self._sent = True
        await request.writer.write_headers(f"HTTP/1.1 {self.status} {self.reason}", headers)
        await request.writer.write_eof(body)
        return request.writer

    async def write_eof(self, data: bytes = b"") -> None:
        if not self._sent:
            await super().write_eof(data)

    @property
    def keep_alive(self) -> bool | None:
        return True if self._sent else super().keep_alive


@lru_cache(maxsize=2)
def _date(second: int) -> str:
    return formatdate(second, usegmt=True)
