"""Why an etcd can't be connected, in one sentence. gRPC rarely says why a handshake failed.

Makes one connection of its own with Python's TLS and asks for etcd's version.
"""

from __future__ import annotations

import asyncio
import ssl
from urllib.parse import urlsplit

from babygun.etcd.plain_http import PATIENCE, ask, tls_context
from babygun.runtime.settings import Settings
from babygun.runtime.tls import unverified_context

_ALERT_WITHIN = 0.5  # s, in which etcd refuses a client certificate after the handshake
# OpenSSL's verify codes (x509_vfy.h), and what they say of etcd's certificate.
_VERIFY = {
    9: "its certificate is not valid yet, by this machine's clock",
    10: "its certificate has expired, by this machine's clock",
    18: "its certificate is signed by itself, and is not in etcd_ca",
    19: "its certificate is signed by an authority that is not in etcd_ca",
    20: "its certificate is signed by an authority that is not in etcd_ca",
    21: "its certificate is signed by an authority that is not in etcd_ca",
    62: "its certificate is for other host names than {host}",
    64: "its certificate is for other addresses than {host}",
}
# A part of the alert that etcd sends, and what it says of our certificate.
_ALERTS = (
    ("CERTIFICATE_REQUIRED", "it asks for a client certificate: set etcd_cert and etcd_key"),
    ("UNKNOWN_CA", "it does not know the authority that signed our client certificate (etcd_cert)"),
    ("CERTIFICATE_EXPIRED", "it says that our client certificate (etcd_cert) has expired"),
    (
        "BAD_CERTIFICATE",
        "it does not take our client certificate (etcd_cert):"
        " signed by another authority, expired or not for clients",
    ),
    ("CERTIFICATE_UNKNOWN", "it does not take our client certificate (etcd_cert)"),
)
_NO_TLS_THERE = "it does not speak TLS there; write the endpoint with http://"
_TLS_THERE = "it speaks TLS there; write the endpoint with https://"


async def explain(settings: Settings, endpoint: str) -> str:
    """What is wrong between us and an etcd, as a sentence that begins with its address.

    Empty where TLS is not the cause.
    """
    problem = await _problem(settings, endpoint)
    return f"etcd at {endpoint}: {problem}" if problem else ""


async def _problem(settings: Settings, endpoint: str) -> str:
    url = urlsplit(endpoint)
    host, port = url.hostname or "", url.port or 0
    secure = url.scheme == "https"
    try:
        async with asyncio.timeout(PATIENCE + _ALERT_WITHIN):
            context = tls_context(settings) if secure else None
            said = await ask(host, port, context, listen=_ALERT_WITHIN if secure else 0.0)
    except TimeoutError:
        return ""
    except ssl.SSLCertVerificationError as error:
        words = _VERIFY.get(error.verify_code, "its certificate can't be verified: {said}")
        return words.format(host=host, said=error.verify_message)
    except ssl.SSLError as error:
        reason = (error.reason or "").upper()
        for part, words in _ALERTS:
            if part in reason:  # by TLS 1.2, a certificate that is not shown is a bad one
                return words if settings.etcd_cert or "our client" not in words else _ALERTS[0][1]
        if await _speaks(host, port, secure=False):
            return _NO_TLS_THERE
        return f"the TLS handshake failed ({reason.replace('_', ' ').lower()})"
    except OSError:
        said = b""
    if said or not await _speaks(host, port, secure=not secure):
        return ""
    return _NO_TLS_THERE if secure else _TLS_THERE


async def _speaks(host: str, port: int, *, secure: bool) -> bool:
    """Whether a server answers there by TLS, with any certificate; or by plain HTTP."""
    context = unverified_context() if secure else None
    try:
        async with asyncio.timeout(PATIENCE + _ALERT_WITHIN):
            return bool(await ask(host, port, context, listen=_ALERT_WITHIN if secure else 0.0))
    except ssl.SSLError as error:  # an alert because we showed no certificate
        return secure and "CERTIFICATE" in (error.reason or "").upper()
    except (OSError, TimeoutError):
        return False
