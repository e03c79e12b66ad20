"""A connection to a destination, up to the point where it takes mail: TCP, EHLO, TLS, login. aiosmtplib does this part."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import Callable
from typing import cast

import aiosmtplib

from babygun.errors import BabygunError
from babygun.routing.destination import Destination
from babygun.smtp.connection import Capabilities, Connection
from babygun.smtp.replies import Reply, make_reply
from babygun.smtp.reply_parser import TEXT_MAX


class ConnectFailed(BabygunError):
    """The destination can't be used.

    ``reply`` has phase "connect", and a code where the server gave one. ``busy``: it turned us away in a way that often means
    too many connections, a 4xx or a door shut at once.
    """

    def __init__(self, reply: Reply, *, busy: bool = False) -> None:
        super().__init__(
            " ".join(str(part) for part in (reply.code, reply.enhanced, reply.text) if part)
        )
        self.reply = reply
        self.busy = busy


def tls_context(destination: Destination) -> ssl.SSLContext | None:
    """What the destination's TLS policy asks for; None: no TLS. Reads files. Raises OSError and ssl.SSLError for a CA file that can't be used."""
    if destination.tls == "none":
        return None
    if (
        destination.tls == "opportunistic"
    ):  # better than nothing against who only listens; the certificate proves nothing here
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context
    return ssl.create_default_context(cafile=destination.tls_ca or None)


async def connect(
    destination: Destination,
    context: ssl.SSLContext | None,
    *,
    hostname: str,
    connect_timeout: float,
    timeout: float,  # noqa: ASYNC109 (handed on)
    data_timeout: float,
    on_lost: Callable[[Connection], None],
) -> Connection:
    """A connection that is ready for MAIL. ``connect_timeout``, in seconds, is for all of it. Raises ConnectFailed."""
    stage = _Stage(f"connecting to {destination.host}:{destination.port}")
    client = aiosmtplib.SMTP(
        hostname=destination.host,
        port=destination.port,
        local_hostname=hostname,
        timeout=None,  # one time limit for the whole, below
        use_tls=destination.tls == "implicit",
        start_tls=False,  # below
        tls_context=context if destination.tls == "implicit" else None,
    )
    try:
        async with asyncio.timeout(connect_timeout):
            await _shake_hands(client, destination, context, stage)
        transport = client.transport
        if not client.is_connected or transport is None:
            raise aiosmtplib.SMTPServerDisconnected("connection lost")
        return Connection(
            cast(asyncio.Transport, transport),
            _capabilities(client, destination),
            timeout=timeout,
            data_timeout=data_timeout,
            on_lost=on_lost,
        )
    except BaseException as error:
        client.close()
        if isinstance(error, (aiosmtplib.SMTPException, OSError, ssl.SSLError, TimeoutError)):
            raise _failed(error, stage.name, connect_timeout) from error
        raise


async def check_destination(destination: Destination, *, hostname: str, timeout: float) -> str:  # noqa: ASYNC109 (handed on)
    """Connects, logs in, says goodbye. Returns what the destination offers, for people. Raises ConnectFailed."""
    hostname = hostname or await asyncio.to_thread(socket.getfqdn)
    context = await load_tls_context(destination)
    connection = await connect(
        destination,
        context,
        hostname=hostname,
        connect_timeout=timeout,
        timeout=timeout,
        data_timeout=timeout,
        on_lost=lambda connection: None,
    )
    offered = connection.capabilities
    await connection.quit()
    names = [
        ("TLS", connection.encrypted),
        ("login", bool(destination.username)),
        ("PIPELINING", offered.pipelining),
        ("CHUNKING", offered.chunking),
        ("8BITMIME", offered.eight_bit),
        ("SMTPUTF8", offered.smtputf8),
        (f"SIZE {offered.size}", offered.size > 0),
    ]
    return ", ".join(name for name, has in names if has) or "no extensions"


async def load_tls_context(destination: Destination) -> ssl.SSLContext | None:
    """:func:`tls_context` off the loop, since the system's CAs take a while to read. Raises ConnectFailed."""
    try:
        return await asyncio.to_thread(tls_context, destination)
    except OSError as error:  # ssl.SSLError is one
        raise ConnectFailed(
            Reply("connect", None, None, f"tls_ca: {destination.tls_ca}: {error}")
        ) from error


class _Stage:
    """Which part of the handshake is going on, for errors."""

    def __init__(self, name: str) -> None:
        self.name = name


async def _shake_hands(
    client: aiosmtplib.SMTP, destination: Destination, context: ssl.SSLContext | None, stage: _Stage
) -> None:
    await client.connect()
    stage.name = "EHLO"
    await _hello(client)
    if destination.tls in ("opportunistic", "required"):
        if client.supports_extension("starttls"):
            stage.name = "STARTTLS"
            await client.starttls(tls_context=context)
            stage.name = "EHLO"
            await _hello(client)
        elif destination.tls == "required":
            raise aiosmtplib.SMTPNotSupported(
                "the server does not offer STARTTLS, which tls = 'required' asks for"
            )
    if destination.username:
        stage.name = "login"
        await client.login(destination.username, destination.password)


async def _hello(client: aiosmtplib.SMTP) -> None:
    try:
        await client.ehlo()
    except aiosmtplib.SMTPHeloError as error:
        if error.code < 500 or not client.is_connected:
            raise
        await client.helo()  # a server of before 1995 (RFC 1869)


def _capabilities(client: aiosmtplib.SMTP, destination: Destination) -> Capabilities:
    offered = client.esmtp_extensions
    size = offered.get("size", "").strip()
    return Capabilities(
        pipelining="pipelining" in offered,
        chunking="chunking" in offered and destination.chunking,
        eight_bit="8bitmime" in offered,
        smtputf8="smtputf8" in offered,
        size_offered="size" in offered,
        size=int(size) if size.isascii() and size.isdigit() else 0,
    )


def _failed(error: BaseException, stage: str, connect_timeout: float) -> ConnectFailed:
    if isinstance(error, aiosmtplib.SMTPResponseException) and 200 <= error.code <= 599:
        return ConnectFailed(
            make_reply("connect", error.code, error.message[:TEXT_MAX]),
            busy=400 <= error.code <= 499 and stage != "login",
        )
    chain = _chain(error)
    tls = next((link for link in chain if isinstance(link, ssl.SSLError)), None)
    if tls is not None:
        return _network(
            f"TLS handshake failed: {getattr(tls, 'verify_message', '') or tls.reason or tls}"
        )
    if isinstance(error, TimeoutError):
        return _network(f"{stage}: timed out after {connect_timeout:g} s")
    cause = next(
        (link for link in reversed(chain) if isinstance(link, OSError) and link.strerror), error
    )
    errno = getattr(cause, "errno", None) or 0  # negative: of the resolver
    said = os.strerror(errno) if errno > 0 else getattr(cause, "message", "") or str(cause)
    text = f"{stage}: {said}"
    refused = (
        not isinstance(error, aiosmtplib.SMTPNotSupported)
        and stage != "login"
        and isinstance(error, (OSError, aiosmtplib.SMTPServerDisconnected))
    )
    return ConnectFailed(
        Reply("connect", None, None, text[:TEXT_MAX]),
        busy=refused and not isinstance(cause, socket.gaierror),
    )


def _network(text: str) -> ConnectFailed:
    return ConnectFailed(Reply("connect", None, None, text[:TEXT_MAX]))


def _chain(error: BaseException) -> list[BaseException]:
    links: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and link not in links:
        links.append(link)
        link = link.__cause__ or link.__context__
    return links
