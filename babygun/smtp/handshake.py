"""Connects to a server, once, until it takes mail: TCP, EHLO, TLS, login. aiosmtplib does this."""

from __future__ import annotations

import asyncio
import base64
import re
import ssl
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple, cast

import aiosmtplib

from babygun.email.model import TlsVerified
from babygun.pki.dane import NotNamed
from babygun.routing.server import Server, TlsMode
from babygun.runtime.local_faults import is_local_fault
from babygun.smtp.connect_failed import causes_of, explained
from babygun.smtp.connection import QUIT_TIMEOUT, Capabilities, Connection
from babygun.smtp.deadline import time_limit
from babygun.smtp.replies import Phase
from babygun.smtp.tls_checks import result_of, verified_by_tlsa, violation_of
from babygun.smtp.tls_contexts import TlsContexts

_SIZE_DIGITS = 20  # of the number after SIZE (RFC 1870, 3)


_TLS_MODES: tuple[TlsMode, ...] = ("opportunistic", "encrypted", "required")


class Times(NamedTuple):
    """Seconds. ``connect``: until a connection is ready; the others are the connection's."""

    connect: float
    reply: float
    data: float


async def connect_once(
    server: Server,
    contexts: TlsContexts,
    *,
    hostname: str,
    times: Times,
    on_lost: Callable[[Connection], None],
) -> Connection:
    """A connection that is ready for MAIL, by the server's mode of TLS. Raises ConnectFailed."""
    handshake = _Handshake(server, await contexts.of(server), hostname)
    try:
        async with time_limit(times.connect):
            transport = await handshake.run()
        connection = Connection(
            transport,
            handshake.capabilities(),
            timeout=times.reply,
            data_timeout=times.data,
            on_lost=on_lost,
            tls=result_of(handshake.session, server.policy, handshake.verified),
        )
        handshake.let_go()
        return connection
    except BaseException as error:
        handshake.close()
        # ValueError: aiosmtplib could not read the server's words.
        if not isinstance(error, (aiosmtplib.SMTPException, OSError, ValueError, NotNamed)):
            raise
        failed = explained(error, handshake.phase, handshake.stage, times.connect)
        code, causes = failed.reply.code, causes_of(error)
        broke = any(map(_is_tls, causes))
        by_system = not (server.source or server.ipv6)
        failed.ours = is_local_fault(failed.number, port_chosen_late=by_system)
        by_tls = handshake.tls_begun or handshake.phase == "tls" or broke
        if by_tls and code != 421 and not failed.ours:
            failed.violation = violation_of(causes, failed.reply.text)
            failed.for_long = broke if code is None else code >= 500
        raise failed from error


def _is_tls(error: BaseException) -> bool:
    """Whether TLS itself failed, and was not only cut off."""
    return isinstance(error, ssl.SSLError) and not isinstance(error, ssl.SSLEOFError)


class _Handshake:
    """``phase`` and ``stage``: what it is doing, for errors; ``stage`` in words.

    ``tls_begun``: STARTTLS was sent, and nothing has come through TLS yet. ``verified``: how the
    certificate was.
    """

    def __init__(self, server: Server, context: ssl.SSLContext | None, hostname: str) -> None:
        self.phase: Phase = "connect"
        self.tls_begun = False
        self.stage = f"connecting to {server.endpoint}"
        self._server, self._context = server, context
        self.verified: TlsVerified | None = None
        if context is not None and context.verify_mode is ssl.CERT_REQUIRED:
            self.verified = "pkix"
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
        if server.tls in _TLS_MODES:
            if client.supports_extension("starttls"):
                self.phase, self.stage = "tls", "STARTTLS"
                await self._start_tls()
            elif server.tls != "opportunistic":
                self.phase = "tls"
                by_route = server.policy.kind == "none"
                by = f", which tls = {server.tls!r} asks for" if by_route else ""
                raise aiosmtplib.SMTPNotSupported(f"the server does not offer STARTTLS{by}")
        if server.username:
            self.phase, self.stage = "auth", "login"
            await self._login()
        if not client.is_connected or client.transport is None:
            raise aiosmtplib.SMTPServerDisconnected("connection lost")
        return cast(asyncio.Transport, client.transport)

    async def _start_tls(self) -> None:
        """STARTTLS, and EHLO: some servers refuse what was agreed on only after the handshake."""
        self.tls_begun = True
        policy = self._server.policy
        name = policy.names[0] if policy.names else self._server.host
        try:
            await self._client.starttls(server_hostname=name, tls_context=self._context)
        except aiosmtplib.SMTPResponseException:
            with suppress(aiosmtplib.SMTPException, TimeoutError):
                async with asyncio.timeout(QUIT_TIMEOUT):
                    await self._client.quit()
            raise
        if policy.tlsa:
            self.verified = verified_by_tlsa(self.session, policy)
        try:
            await self._hello()
        except aiosmtplib.SMTPResponseException:
            self.tls_begun = False
            raise
        self.tls_begun = False

    @property
    def session(self) -> ssl.SSLObject | None:
        """The connection's TLS; None: it is plain text."""
        transport = self._client.transport
        return None if transport is None else transport.get_extra_info("ssl_object")

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
