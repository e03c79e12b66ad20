"""What servers' TLS policies ask for. Servers with the same policy and CA file share a context."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path
from typing import NamedTuple

from babygun.routing.server import Server
from babygun.runtime.local_faults import is_local_fault
from babygun.runtime.tls import client_context, unverified_context
from babygun.smtp.connect_failed import connect_failed


class _Kind(NamedTuple):
    """``changed``: when its CA file was, in ns; 0 for the system's CAs."""

    verified: bool
    ca: str = ""
    changed: int = 0


class TlsContexts:
    """Reads a CA file when it is first needed, and again when it has changed."""

    def __init__(self) -> None:
        self._contexts: dict[tuple[bool, str], tuple[int, ssl.SSLContext]] = {}
        self._lock = asyncio.Lock()

    async def of(self, server: Server) -> ssl.SSLContext | None:
        """The context for a server; None: no TLS. Raises ConnectFailed."""
        if server.tls == "none":
            return None
        try:
            kind = _kind(server)
            if found := self._known(kind):
                return found
            async with self._lock:
                if found := self._known(kind):
                    return found
                # In a thread, since reading the system's CAs takes a while.
                context = await asyncio.to_thread(_load, kind)
        except OSError as error:  # ssl.SSLError is one
            text = f"the CA certificate tls_ca: {server.tls_ca}: {error}"
            failed = connect_failed("tls", text)
            failed.ours = is_local_fault(error.errno)
            raise failed from error
        self._contexts[kind.verified, kind.ca] = kind.changed, context
        return context

    def _known(self, kind: _Kind) -> ssl.SSLContext | None:
        changed, context = self._contexts.get((kind.verified, kind.ca), (0, None))
        return context if changed == kind.changed else None


def _kind(server: Server) -> _Kind:
    """Raises OSError for a CA file that is not there."""
    if server.tls in ("opportunistic", "encrypted"):
        # It keeps out those who only listen. The certificate proves nothing here.
        return _Kind(verified=False)
    ca = server.tls_ca
    return _Kind(True, ca, Path(ca).stat().st_mtime_ns if ca else 0)


def _load(kind: _Kind) -> ssl.SSLContext:
    return client_context(kind.ca) if kind.verified else unverified_context()
