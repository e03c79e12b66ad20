"""The TLS contexts of servers. Servers that are checked in the same way share one.

Where the certificate proves nothing, any cipher that OpenSSL has is better than plain text. So weak
keys and old ciphers are taken there, and nowhere else.
"""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path
from typing import Literal, NamedTuple

from babygun.routing.server import Server, TlsMin
from babygun.runtime.local_faults import is_local_fault
from babygun.runtime.tls import client_context, unverified_context
from babygun.smtp.connect_failed import connect_failed

_VERSIONS: dict[TlsMin, ssl.TLSVersion] = {
    "1.0": ssl.TLSVersion.MINIMUM_SUPPORTED,
    "1.2": ssl.TLSVersion.TLSv1_2,
    "1.3": ssl.TLSVersion.TLSv1_3,
}
_ANY_CIPHER = "DEFAULT:@SECLEVEL=0"  # also what versions before 1.2 need


# none: the certificate is not checked. tlsa: we check it afterwards. ca: an authority must vouch
# for it, and it must name the host. sts: the same; its common name does not count (RFC 8461, 4.2).
_Check = Literal["none", "tlsa", "ca", "sts"]


class _Kind(NamedTuple):
    """``ca``: a PEM file; empty: the system's CAs."""

    check: _Check
    oldest: TlsMin
    ca: str = ""


class TlsContexts:
    """Reads a CA file when it is first needed, and again when it has changed."""

    def __init__(self) -> None:
        self._contexts: dict[_Kind, tuple[int, ssl.SSLContext]] = {}
        self._lock = asyncio.Lock()

    async def of(self, server: Server) -> ssl.SSLContext | None:
        """The context for a server; None: no TLS. Raises ConnectFailed."""
        if server.tls == "none":
            return None
        kind = _kind(server)
        try:
            changed = _changed_at(kind.ca)
            if found := self._known(kind, changed):
                return found
            async with self._lock:
                if found := self._known(kind, changed):
                    return found
                # In a thread, since reading the system's CAs takes a while.
                context = await asyncio.to_thread(_load, kind)
        except OSError as error:  # ssl.SSLError is one
            setting = "tls_ca" if server.policy.kind == "none" else "sts_ca"
            text = f"the CA certificate {setting}: {server.tls_ca}: {error}"
            failed = connect_failed("tls", text)
            failed.ours = is_local_fault(error.errno)
            raise failed from error
        self._contexts[kind] = changed, context
        return context

    def _known(self, kind: _Kind, changed: int) -> ssl.SSLContext | None:
        known, context = self._contexts.get(kind, (0, None))
        return context if known == changed else None


def _kind(server: Server) -> _Kind:
    if server.tls in ("opportunistic", "encrypted"):
        checked = server.tls == "encrypted" and server.policy.tlsa
        return _Kind("tlsa" if checked else "none", server.tls_min)
    check: _Check = "sts" if server.policy.kind == "sts" else "ca"
    return _Kind(check, server.tls_min, server.tls_ca)


def _changed_at(ca: str) -> int:
    """When a CA file was written, in ns; 0 for the system's CAs. Raises OSError."""
    return Path(ca).stat().st_mtime_ns if ca else 0


def _load(kind: _Kind) -> ssl.SSLContext:
    by_ca = kind.check in ("ca", "sts")
    context = client_context(kind.ca) if by_ca else unverified_context()
    context.minimum_version = _VERSIONS[kind.oldest]
    if kind.check == "none" or kind.oldest == "1.0":
        context.set_ciphers(_ANY_CIPHER)
    if kind.check == "sts":
        context.hostname_checks_common_name = False
    return context
