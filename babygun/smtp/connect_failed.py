"""Why a destination can't be used: what an error before MAIL comes to."""

from __future__ import annotations

import os
import socket
import ssl

import aiosmtplib

from babygun.errors import BabygunError
from babygun.smtp.replies import Phase, Reply, make_reply
from babygun.smtp.reply_parser import TEXT_MAX

# Errors of aiosmtplib's connect() that come after TCP.
_GREETING = (aiosmtplib.SMTPResponseException, aiosmtplib.SMTPServerDisconnected)


class ConnectFailed(BabygunError):
    """The destination can't be used.

    ``reply`` has a phase before "mail", and a code where the server sent one. ``busy``: the server
    refused in a way that often means too many connections: a 4xx, or it hung up at once.
    ``tls_failed``: STARTTLS was refused or broke, so plain text may work.
    """

    tls_failed = False

    def __init__(self, reply: Reply, *, busy: bool = False) -> None:
        parts = (reply.code, reply.enhanced, reply.text)
        super().__init__(" ".join(str(part) for part in parts if part))
        self.reply = reply
        self.busy = busy


def explained(
    error: BaseException, phase: Phase, stage: str, connect_timeout: float
) -> ConnectFailed:
    """What an error of aiosmtplib, of the socket or of TLS comes to."""
    causes = _causes(error)
    if phase == "connect" and any(isinstance(each, _GREETING) for each in causes):
        phase = "greeting"
    if isinstance(error, aiosmtplib.SMTPResponseException) and 200 <= error.code <= 599:
        reply = make_reply(phase, error.code, error.message[:TEXT_MAX])
        return ConnectFailed(reply, busy=400 <= error.code <= 499 and stage != "login")
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
    return connect_failed(phase, f"{stage}: {text}", busy=hung_up and stage != "login")


def connect_failed(phase: Phase, text: str, *, busy: bool = False) -> ConnectFailed:
    """One without a word of the server."""
    return ConnectFailed(Reply(phase, None, None, text[:TEXT_MAX]), busy=busy)


def _causes(error: BaseException) -> list[BaseException]:
    """The error and what led to it."""
    found: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in found:
        found.append(cause)
        cause = cause.__cause__ or cause.__context__
    return found
