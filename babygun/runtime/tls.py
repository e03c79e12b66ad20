"""TLS as a client: what Babygun verifies, the same on every Python, and what gRPC verifies too.

A trusted authority must have signed the server's certificate, directly or through a chain. Each
certificate of the chain must be valid today, and the server's must name the host. The trusted
one may also be an intermediate authority, or the server's own certificate.

It is not verified that a certificate has each extension of RFC 5280. Python does so since 3.13
(VERIFY_X509_STRICT); gRPC, curl and OpenSSL's own programs do not. Authorities that were made by
hand often lack such an extension. A relay would be refused on one machine, and taken on another.
"""

from __future__ import annotations

import ssl


def client_context(ca: str = "") -> ssl.SSLContext:
    """A context that verifies servers. ``ca``: a PEM file; empty for the system's authorities.

    Raises OSError, which ssl.SSLError is too, for a file that can't be used.
    """
    context = ssl.create_default_context(cafile=ca or None)
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context


def unverified_context() -> ssl.SSLContext:
    """A context that takes any certificate: it keeps out only those who listen."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
