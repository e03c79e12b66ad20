"""etcd also answers HTTP on its gRPC port. That shows what gRPC does not: a clock, a TLS error."""

from __future__ import annotations

import asyncio
import email.utils
import re
import ssl
import time
from contextlib import suppress
from urllib.parse import urlsplit

from babygun.runtime.settings import Settings
from babygun.runtime.tls import client_context

PATIENCE = 2.0  # s, for a connection and an answer
_DATE = re.compile(rb"^Date: *([^\r\n]+)", re.IGNORECASE | re.MULTILINE)


async def clock_ahead(settings: Settings, endpoint: str) -> float | None:
    """Seconds that this machine's clock is ahead of an etcd member's, to about half a second.

    Negative where it is behind; None where the member does not say.
    """
    url = urlsplit(endpoint)
    try:
        async with asyncio.timeout(PATIENCE):
            asked = time.time()
            context = tls_context(settings) if url.scheme == "https" else None
            said = await ask(url.hostname or "", url.port or 0, context)
            answered = time.time()
        date = _DATE.search(said)
        if date is None:
            return None
        theirs = email.utils.parsedate_to_datetime(date[1].decode("ascii")).timestamp()
    except (OSError, TimeoutError, ValueError):  # among them SSLError and UnicodeDecodeError
        return None
    return (asked + answered) / 2 - (theirs + 0.5)  # the header has whole seconds


def tls_context(settings: Settings) -> ssl.SSLContext:
    """TLS as the settings say. Raises OSError where a file can't be used."""
    context = client_context(settings.etcd_ca)
    if settings.etcd_cert:
        context.load_cert_chain(settings.etcd_cert, settings.etcd_key)
    return context


async def ask(
    host: str, port: int, context: ssl.SSLContext | None, *, listen: float = 0.0
) -> bytes:
    """The beginning of the answer to a GET.

    With TLS 1.3 etcd refuses a client certificate only after the handshake. The alert that says
    why is lost where our request crosses it: etcd then resets the connection. ``listen``: seconds
    to wait for it before the request is sent.
    """
    reader, writer = await asyncio.open_connection(
        host, port, ssl=context, server_hostname=host if context else None
    )
    try:
        if listen:
            with suppress(TimeoutError):
                async with asyncio.timeout(listen):
                    return await reader.read(4096)
        name = re.sub(r"[^A-Za-z0-9.:\[\]-]", "", host)
        writer.write(f"GET /version HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n".encode())
        return await reader.read(4096)
    finally:
        writer.transport.abort()  # a graceful end would wait for the server
