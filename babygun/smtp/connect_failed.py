"""Why a server can't be used: what an error before MAIL comes to."""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Sequence

import aiosmtplib

from babygun.errors import BabygunError
from babygun.pki.dane import NotNamed
from babygun.routing.server import Server
from babygun.routing.tls_policy import Violation
from babygun.smtp.replies import Phase, Reply, make_reply
from babygun.smtp.reply_parser import TEXT_MAX
from babygun.smtp.tls_checks import TlsSession

TAKES_NO_MAIL = 521  # RFC 7504
_NAMED, _NAMED_TEXT = 3, 120  # failed servers that a note names, and characters for each

# Errors of aiosmtplib's connect() that come after TCP.
_GREETING = (aiosmtplib.SMTPResponseException, aiosmtplib.SMTPServerDisconnected)


class ConnectFailed(BabygunError):
    """The server, or each server of a destination, can't be used.

    ``reply`` has a phase before "mail", and a code where the server sent one. ``busy``: the server
    refused in a way that often means too many connections: a 4xx, or it hung up at once.
    ``violation``: TLS was not offered, broke, or was not enough. ``for_long``: it will break again.
    ``sessions``: what servers got of TLS, if anything. ``number``: the system's errno; 0 without
    one. ``note``: for people, which servers failed; often empty. ``ours``: this machine lacks what
    a connection takes, so no server is at fault.
    """

    violation: Violation | None = None
    for_long = False
    sessions: tuple[TlsSession, ...] = ()
    ours = False

    def __init__(
        self, reply: Reply, *, busy: bool = False, number: int = 0, note: str = ""
    ) -> None:
        parts = (reply.code, reply.enhanced, reply.text)
        super().__init__(" ".join(str(part) for part in parts if part))
        self.reply = reply
        self.busy, self.number, self.note = busy, number, note


def explained(
    error: BaseException, phase: Phase, stage: str, connect_timeout: float
) -> ConnectFailed:
    """What an error of aiosmtplib, of the socket or of TLS comes to."""
    causes = causes_of(error)
    if phase == "connect" and any(isinstance(each, _GREETING) for each in causes):
        phase = "greeting"
    if isinstance(error, aiosmtplib.SMTPResponseException) and 200 <= error.code <= 599:
        reply = make_reply(phase, error.code, error.message[:TEXT_MAX])
        return ConnectFailed(reply, busy=400 <= error.code <= 499 and stage != "login")
    if isinstance(error, NotNamed):
        return connect_failed("tls", str(error))
    tls = next((cause for cause in causes if isinstance(cause, ssl.SSLError)), None)
    if tls is not None:
        text = getattr(tls, "verify_message", "") or tls.reason or tls
        return connect_failed("tls", f"TLS handshake failed: {text}")
    if isinstance(error, TimeoutError):
        return connect_failed(phase, f"{stage}: timed out after {connect_timeout:g} s")
    cause = next(
        (cause for cause in reversed(causes) if isinstance(cause, OSError) and cause.strerror),
        error,
    )
    number = getattr(cause, "errno", None) or 0  # below 0: of the resolver
    text = os.strerror(number) if number > 0 else getattr(cause, "message", "") or str(cause)
    hung_up = isinstance(error, OSError) and not isinstance(cause, socket.gaierror)
    busy = hung_up and stage != "login"
    return connect_failed(phase, f"{stage}: {text}", busy=busy, number=number)


def connect_failed(
    phase: Phase, text: str, *, busy: bool = False, number: int = 0
) -> ConnectFailed:
    """One without a word of the server."""
    return ConnectFailed(Reply(phase, None, None, text[:TEXT_MAX]), busy=busy, number=number)


def all_failed(failures: Sequence[tuple[Server, ConnectFailed]]) -> ConnectFailed:
    """What it comes to that each of these servers failed: the last failure, with a note.

    521 says that a host takes no mail at all (RFC 7504). It counts only if each host says so.
    """
    if not failures:
        return connect_failed("connect", "there was no server to connect to")
    soft = [each for each in failures if each[1].reply.code != TAKES_NO_MAIL]
    last = (soft or failures)[-1]
    server, failed = last
    said = [] if server.endpoint in failed.reply.text else [server.endpoint]
    others = [_named(*each) for each in failures if each is not last]
    if others:
        said.append("others: " + "; ".join(others[-_NAMED:]))
    note = ", ".join(said)
    found = ConnectFailed(failed.reply, busy=failed.busy, number=failed.number, note=note)
    found.violation = failed.violation
    found.sessions = tuple(each for _, one in failures for each in one.sessions)
    return found


def _named(server: Server, failed: ConnectFailed) -> str:
    text = str(failed)[:_NAMED_TEXT]
    return text if server.endpoint in text else f"{server.endpoint}: {text}"


def causes_of(error: BaseException) -> list[BaseException]:
    """The error and what led to it."""
    found: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in found:
        found.append(cause)
        cause = cause.__cause__ or cause.__context__
    return found
