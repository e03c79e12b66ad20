"""Connects to a server until it takes mail: TCP, EHLO, TLS, login. aiosmtplib does this."""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import re
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from typing import cast

import aiosmtplib
from msgspec.structs import replace

from babygun.routing.server import Server
from babygun.runtime.local_faults import is_local_fault
from babygun.smtp.connect_failed import ConnectFailed, explained
from babygun.smtp.connection import QUIT_TIMEOUT, Capabilities, Connection
from babygun.smtp.deadline import time_limit
from babygun.smtp.replies import Phase
from babygun.smtp.tls_contexts import TlsContexts

_SIZE_DIGITS = 20  # of the number after SIZE (RFC 1870, 3)


async def connect(
    server: Server,
    context: ssl.SSLContext | None,
    *,
    hostname: str,
    connect_timeout: float,
    timeout: float,  # noqa: ASYNC109 (handed on)
    data_timeout: float,
    on_lost: Callable[[Connection], None],
    plain_because: str = "",
) -> Connection:
    """A connection that is ready for MAIL. Raises ConnectFailed.

    Where opportunistic TLS fails, it connects once more, in plain text. ``plain_because``: why it
    is to do so from the start; the connection has the same field.

    ``connect_timeout``: seconds for each connection, until it is ready. The other times are the
    connection's.
    """

    async def attempt(
        server: Server, context: ssl.SSLContext | None, plain_because: str
    ) -> Connection:
        handshake = _Handshake(server, context, hostname)
        try:
            async with time_limit(connect_timeout):
                transport = await handshake.run()
            connection = Connection(
                transport,
                handshake.capabilities(),
                timeout=timeout,
                data_timeout=data_timeout,
                on_lost=on_lost,
                plain_because=plain_because,
            )
            handshake.let_go()
            return connection
        except BaseException as error:
            handshake.close()
            # ValueError: aiosmtplib could not read the server's words.
            if not isinstance(error, (aiosmtplib.SMTPException, OSError, ValueError)):
                raise
            failed = explained(error, handshake.phase, handshake.stage, connect_timeout)
            failed.tls_failed = handshake.tls_begun and failed.reply.code != 421
            by_system = not (server.source or server.ipv6)
            failed.ours = is_local_fault(failed.number, port_chosen_late=by_system)
            raise failed from error

    if server.tls != "opportunistic":
        return await attempt(server, context, "")
    if not plain_because:
        try:
            return await attempt(server, context, "")
        except ConnectFailed as failed:
            if not failed.tls_failed:
                raise
            if server.username:  # nobody on the way is to read the password
                text = f"{failed.reply.text} (no plain text instead: the relay has a password)"
                raise ConnectFailed(replace(failed.reply, text=text)) from failed
            plain_because = str(failed)
    return await attempt(dataclasses.replace(server, tls="none"), None, plain_because)


async def check_server(server: Server, *, hostname: str, timeout: float) -> str:  # noqa: ASYNC109 (handed on)
    """Connects, logs in and quits. Returns what the server offers, for people.

    Raises ConnectFailed.
    """
    connection = await connect(
        server,
        await TlsContexts().of(server),
        hostname=hostname or await asyncio.to_thread(socket.getfqdn),
        connect_timeout=timeout,
        timeout=timeout,
        data_timeout=timeout,
        on_lost=lambda connection: None,
    )
    offered = connection.capabilities
    await connection.quit()
    names = [
        ("TLS", connection.encrypted),
        ("login", bool(server.username)),
        ("PIPELINING", offered.pipelining),
        ("CHUNKING", offered.chunking),
        ("8BITMIME", offered.eight_bit),
        ("SMTPUTF8", offered.smtputf8),
        (f"SIZE {offered.size}", offered.size > 0),
    ]
    if connection.plain_because:
        names.append((f"no TLS, since it failed: {connection.plain_because}", True))
    return ", ".join(name for name, has in names if has) or "no extensions"


class _Handshake:
    """``phase`` and ``stage``: what it is doing, for errors; ``stage`` in words.

    ``tls_begun``: STARTTLS was sent, and nothing has come through TLS yet.
    """

    def __init__(self, server: Server, context: ssl.SSLContext | None, hostname: str) -> None:
        self.phase: Phase = "connect"
        self.tls_begun = False
        self.stage = f"connecting to {server.endpoint}"
        self._server, self._context = server, context
        implicit = server.tls == "implicit"
        self._client = aiosmtplib.SMTP(
            hostname=server.address or server.host,
            port=server.port,
            source_address=(server.source, 0) if server.source else None,
            local_hostname=hostname,
            timeout=None,  # the caller has one time limit for the whole
            use_tls=implicit,
            start_tls=False,  # run() does it
            tls_context=context if implicit else None,
        )

    async def run(self) -> asyncio.Transport:
        client, server = self._client, self._server
        await client.connect()
        await self._hello()
        if server.tls in ("opportunistic", "encrypted", "required"):
            if client.supports_extension("starttls"):
                self.phase, self.stage = "tls", "STARTTLS"
                await self._start_tls()
            elif server.tls != "opportunistic":
                self.phase = "tls"
                raise aiosmtplib.SMTPNotSupported(
                    f"the server does not offer STARTTLS, which tls = {server.tls!r} asks for"
                )
        if server.username:
            self.phase, self.stage = "auth", "login"
            await self._login()
        if not client.is_connected or client.transport is None:
            raise aiosmtplib.SMTPServerDisconnected("connection lost")
        return cast(asyncio.Transport, client.transport)

    async def _start_tls(self) -> None:
        """STARTTLS, and EHLO: some servers refuse what was agreed on only after the handshake."""
        self.tls_begun = True
        try:
            await self._client.starttls(
                server_hostname=self._server.host, tls_context=self._context
            )
        except aiosmtplib.SMTPResponseException:
            with suppress(aiosmtplib.SMTPException, TimeoutError):
                async with asyncio.timeout(QUIT_TIMEOUT):
                    await self._client.quit()
            raise
        try:
            await self._hello()
        except aiosmtplib.SMTPResponseException:
            self.tls_begun = False
            raise
        self.tls_begun = False

    async def _hello(self) -> None:
        self.phase, self.stage = "ehlo", "EHLO"
        try:
            await self._client.ehlo()
        except aiosmtplib.SMTPHeloError as error:
            if error.code < 500 or not self._client.is_connected:
                raise
            try:
                await self._client.helo()  # a server from before 1995 (RFC 1869)
            except aiosmtplib.SMTPServerDisconnected:
                raise error from None  # it hung up after its refusal

    async def _login(self) -> None:
        """Tries the methods that the server offers, since some don't work where they are offered.

        aiosmtplib's own login forgets a refusal when the server hangs up after it.
        """
        client, server = self._client, self._server
        if not client.supports_extension("auth"):
            encrypted = client.get_transport_info("sslcontext") is not None
            raise aiosmtplib.SMTPNotSupported(
                "the server does not offer AUTH, which a relay with a user name needs"
                + ("" if encrypted else "; it may offer it with TLS")
            )
        refusal: aiosmtplib.SMTPAuthenticationError | None = None
        for name in client.supported_auth_methods:
            attempt = getattr(client, f"auth_{name.replace('-', '')}")
            try:
                await attempt(server.username, server.password)
                return
            except aiosmtplib.SMTPAuthenticationError as error:
                error.message = _without_password(error.message, server)
                refusal = error if refusal is None else _weightier(refusal, error)
            except aiosmtplib.SMTPServerDisconnected:
                if refusal is None:
                    raise
                break
        raise refusal or aiosmtplib.SMTPNotSupported(
            "the server does not offer AUTH with a method that Babygun knows"
        )

    def capabilities(self) -> Capabilities:
        offered = self._client.esmtp_extensions
        size = offered.get("size", "").strip()
        known = size.isascii() and size.isdigit() and len(size) <= _SIZE_DIGITS
        return Capabilities(
            pipelining="pipelining" in offered and self._server.pipelining,
            chunking="chunking" in offered and self._server.chunking,
            eight_bit="8bitmime" in offered,
            smtputf8="smtputf8" in offered,
            size_offered="size" in offered,
            size=int(size) if known else 0,
        )

    def let_go(self) -> None:
        """The connection has the transport now. aiosmtplib's parts know each other until then."""
        self._client.transport = None
        self._client.close()

    def close(self) -> None:
        self._client.close()


def _without_password(text: str, server: Server) -> str:
    """A server's words without the password: some repeat the command that they refuse."""
    user, password = server.username.encode(), server.password.encode()
    forms = [base64.b64encode(b"\0%b\0%b" % (user, password)), base64.b64encode(password), password]
    for form in filter(None, forms):
        text = re.sub(rf"(?<!\w){re.escape(form.decode())}(?!\w)", "[password]", text)
    return text


def _weightier(
    before: aiosmtplib.SMTPAuthenticationError, now: aiosmtplib.SMTPAuthenticationError
) -> aiosmtplib.SMTPAuthenticationError:
    """Of two refusals the one of the login itself (RFC 4954, 6: 53x), or for good, or the later."""
    refused_for_good = before.code >= 500 and now.code < 530
    return before if refused_for_good else now
