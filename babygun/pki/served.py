"""The certificate that a server of ours shows, read again when it is renewed."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path
from typing import Literal

from babygun.errors import SettingsError
from babygun.pki import certificates
from babygun.runtime.logs import get_logger
from babygun.runtime.settings import Settings

log = get_logger("certificates")

# The settings that name one, each with a setting for its key: api_cert and api_key.
Served = Literal["api_cert", "bounce_cert"]

# Of TLS 1.2, which is the oldest: only those with keys of their own for each session, and whose
# seal shows every change (RFC 9325, 4.2). TLS 1.3 has no others.
_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
INTERVAL = 10.0  # s, between two looks at the files


def tls_context(settings: Settings, use: Served) -> ssl.SSLContext | None:
    """None if no certificate is set. Raises SettingsError for a certificate it can't use."""
    cert, key = _paths(settings, use)
    if not cert:
        return None
    certificates.require(settings, (use,))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.set_ciphers(_CIPHERS)
    try:
        context.load_cert_chain(cert, key)
    except (OSError, ssl.SSLError) as error:
        raise SettingsError(f"{use} or {_key_of(use)} can't be used: {error}") from None
    return context


async def follow_certificate(settings: Settings, use: Served, context: ssl.SSLContext) -> None:
    """Puts each renewed certificate into ``context``, for new connections, until cancelled.

    One that can't be used is logged, and the one before stays.
    """
    cert, key = _paths(settings, use)
    seen = _change_times(cert, key)
    while True:
        await asyncio.sleep(INTERVAL)
        times = _change_times(cert, key)
        if times == seen:
            continue
        seen = times
        try:
            # A load that fails would leave a context without a key: so another one tries it first.
            tls_context(settings, use)
            context.load_cert_chain(cert, key)
        except (SettingsError, OSError) as error:
            log.warning("certificate not reloaded", error=str(error))
        else:
            log.info("certificate reloaded")


def _key_of(use: Served) -> str:
    return use.replace("_cert", "_key")


def _paths(settings: Settings, use: Served) -> tuple[str, str]:
    """The files of the certificate and of its key."""
    return getattr(settings, use), getattr(settings, _key_of(use))


def _change_times(*paths: str) -> tuple[int, ...]:
    """When each file changed last; 0 where one is missing, as it may be during its renewal."""
    times = []
    for path in map(Path, paths):
        try:
            times.append(path.stat().st_mtime_ns)
        except OSError:
            times.append(0)
    return tuple(times)
