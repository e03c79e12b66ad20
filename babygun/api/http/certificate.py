"""The server's certificate (settings api_cert and api_key), read again when it is renewed."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

from babygun.errors import SettingsError
from babygun.pki import certificates
from babygun.runtime.logs import get_logger
from babygun.runtime.settings import Settings

log = get_logger("api")

# Of TLS 1.2, which is the oldest: only those with keys of their own for each session, and whose
# seal shows every change (RFC 9325, 4.2). TLS 1.3 has no others.
_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
INTERVAL = 10.0  # s, between two looks at the files


def tls_context(settings: Settings) -> ssl.SSLContext | None:
    """None where the API speaks plain HTTP. Raises SettingsError for a certificate it can't use."""
    if not settings.api_cert:
        return None
    certificates.require(settings, ("api_cert",))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.set_ciphers(_CIPHERS)
    try:
        context.load_cert_chain(settings.api_cert, settings.api_key)
    except (OSError, ssl.SSLError) as error:
        raise SettingsError(f"api_cert or api_key can't be used: {error}") from None
    return context


async def follow_certificate(settings: Settings, context: ssl.SSLContext) -> None:
    """Puts each renewed certificate into ``context``, for new connections, until cancelled.

    One that can't be used is logged, and the one before stays.
    """
    seen = _change_times(settings)
    while True:
        await asyncio.sleep(INTERVAL)
        times = _change_times(settings)
        if times == seen:
            continue
        seen = times
        try:
            # A load that fails would leave a context without a key: so another one tries it first.
            tls_context(settings)
            context.load_cert_chain(settings.api_cert, settings.api_key)
        except (SettingsError, OSError) as error:
            log.warning("certificate not reloaded", error=str(error))
        else:
            log.info("certificate reloaded")


def _change_times(settings: Settings) -> tuple[int, ...]:
    """When each file changed last; 0 where one is missing, as it may be during its renewal."""
    times = []
    for path in map(Path, (settings.api_cert, settings.api_key)):
        try:
            times.append(path.stat().st_mtime_ns)
        except OSError:
            times.append(0)
    return tuple(times)
