"""What a TLS server takes: each protocol version, and each cipher suite of those before 1.3."""

from __future__ import annotations

import socket
import ssl
import warnings
from collections.abc import Sequence

from tests.support.certificates import Pem

VERSIONS = ("TLSv1", "TLSv1_1", "TLSv1_2", "TLSv1_3")


def taken(
    port: int, certificate: Pem | None = None, suites: Sequence[str] = ()
) -> set[tuple[str, str]]:
    """Version and cipher suite of each session that the server agrees to.

    ``suites``: those that are offered by versions before 1.3; none: all.
    """
    found = set()
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
        for version in VERSIONS:
            for suite in (suites or _suites()) if version != "TLSv1_3" else ["ALL"]:
                context = _context(f"{suite}:@SECLEVEL=0")
                context.minimum_version = context.maximum_version = ssl.TLSVersion[version]
                if certificate:
                    context.load_cert_chain(*certificate)
                try:
                    with (
                        socket.create_connection(("localhost", port), timeout=30) as plain,
                        context.wrap_socket(plain) as session,
                    ):
                        found.add((str(session.version()), (session.cipher() or ("",))[0]))
                except OSError:
                    pass  # refused
    return found


def _suites() -> list[str]:
    """All suites that this OpenSSL knows, also what nobody should use, but those of TLS 1.3."""
    every = _context("ALL:COMPLEMENTOFALL:@SECLEVEL=0").get_ciphers()
    return [suite["name"] for suite in every if suite["protocol"] != "TLSv1.3"]


def _context(ciphers: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_ciphers(ciphers)
    return context


def is_strong(version: str, suite: str) -> bool:
    """Whether the keys of a session are its own, and what is changed on the way is found."""
    sealed = "GCM" in suite or "POLY1305" in suite
    return sealed and (
        version == "TLSv1.3" or (version == "TLSv1.2" and suite.startswith("ECDHE-"))
    )
