"""A connection to a webhook: one request at a time, over HTTP/1.1.

An HTTP client of its own: a general one takes several times as much CPU for a request, and mail
wants that CPU. It follows no redirects, keeps no cookies and takes no proxy from the environment.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import cast

from babygun.routing.host_addresses import Address
from babygun.webhooks.answers import Answer, AnswerReader, BadAnswer
from babygun.webhooks.endpoint import Endpoint, Unreachable

_MOST_ADDRESSES = 3  # of one host that are tried
# Gets the connection, and the answer or why there is none.
Answered = Callable[["Connection", Answer | None, str], None]


class Connection(asyncio.Protocol):
    """Give :meth:`send` a request while there is none under way. ``answered`` is called for each.

    ``closed`` is called when the connection has ended without a request. ``stale``: the server had
    closed it after an earlier answer, and has not seen the last request.
    """

    def __init__(self, answered: Answered, closed: Callable[[Connection], None]) -> None:
        self._answered, self._closed = answered, closed
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._reader: AnswerReader | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timeout = 0.0
        self._used = False
        self.stale = False
        self.idle_since = 0.0  # the loop's time

    def send(self, request: bytes, timeout: float) -> None:
        """``timeout``: seconds for the whole answer."""
        assert self._reader is None
        self._reader, self._timeout = AnswerReader(), timeout
        if self._transport is None:
            self._loop.call_soon(self._lost, None)
            return
        self._timer = self._loop.call_later(timeout, self._too_late)
        self._transport.write(request)

    def close(self) -> None:
        """Ends it at once. A request under way gets no answer, and ``answered`` no call."""
        self._reader = None
        self._stop_timer()
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if self._reader is None:  # nobody asked
            self.close()
            return
        try:
            answer = self._reader.feed(data)
        except BadAnswer as error:
            self._end(None, str(error))
            return
        if answer is not None:
            self._end(answer, "")

    def eof_received(self) -> None:
        if self._reader is not None and (answer := self._reader.end()) is not None:
            self._end(answer, "")

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        if self._reader is not None:
            self._lost(error)
        else:
            self._closed(self)

    def _lost(self, error: Exception | None) -> None:
        self.stale = self._used and self._reader is not None and not self._reader.began
        reason = f": {error}" if error else ""
        self._end(None, f"the server closed the connection without a whole answer{reason}")

    def _too_late(self) -> None:
        self._end(None, f"no answer within {round(self._timeout, 1):g} s")

    def _end(self, answer: Answer | None, error: str) -> None:
        if self._reader is None:
            return
        self._reader = None
        self._stop_timer()
        if self._transport is not None and (answer is None or not answer.again):
            self._transport.abort()
        self._used = True
        self._answered(self, answer, error)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


async def connect(
    endpoint: Endpoint,
    addresses: Sequence[Address],
    make: Callable[[], Connection],
    seconds: float,
) -> Connection:
    """Connects to one of the addresses, in their order. Raises Unreachable.

    ``seconds``: in all; each address gets its part. The certificate is checked against the
    host of the URL, not against the address.
    """
    loop = asyncio.get_running_loop()
    chosen, reason = addresses[:_MOST_ADDRESSES], ""
    for address in chosen:
        try:
            async with asyncio.timeout(seconds / len(chosen)):
                _, connection = await loop.create_connection(
                    make,
                    str(address),
                    endpoint.port,
                    ssl=_tls() if endpoint.tls else None,
                    server_hostname=endpoint.host.rstrip(".") if endpoint.tls else None,
                )
        except ssl.SSLError as error:
            raise Unreachable(f"TLS failed: {getattr(error, 'verify_message', error)}") from None
        except TimeoutError:
            reason = f"no connection to {address} within {seconds / len(chosen):g} s"
        except OSError as error:
            reason = f"no connection to {address}: {error.strerror or error}"
        else:
            return connection
    raise Unreachable(reason)


@lru_cache
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()
