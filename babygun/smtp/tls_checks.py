"""What a connection got of TLS, whether a policy takes it, and how TLS failed otherwise."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime
from typing import Any, NamedTuple

import aiosmtplib

from babygun.email.model import TlsDemand, TlsResult, TlsVerified
from babygun.pki.dane import NotNamed, check_chain
from babygun.routing.server import Server
from babygun.routing.tls_policy import ResultType, TlsPolicy, Violation

POLICY_NAMES = {"sts": "MTA-STS", "dane": "DANE"}

_VERSIONS = {"TLSv1": "1.0", "TLSv1.1": "1.1", "TLSv1.2": "1.2", "TLSv1.3": "1.3"}
_DER = 2  # an encoding, as Python's _ssl numbers them
# Of OpenSSL's codes (x509_vfy.h); all others say that nobody vouches for the certificate.
_FAILURES: dict[int, ResultType] = {
    9: "certificate-expired",  # not valid yet
    10: "certificate-expired",
    62: "certificate-host-mismatch",
    64: "certificate-host-mismatch",  # of an address
}
_BY_TLSA: dict[str, ResultType] = {
    "dates": "certificate-expired",
    "names": "certificate-host-mismatch",
    "all": "certificate-not-trusted",
}


class TlsSession(NamedTuple):
    """One connection to a server, as far as TLS goes. ``why``: how it failed, for people."""

    server: Server
    result: TlsResult
    why: str = ""


def demand_of(policy: TlsPolicy) -> TlsDemand:
    return "sts_testing" if policy.testing else policy.kind


def verified_by_tlsa(session: ssl.SSLObject | None, policy: TlsPolicy) -> TlsVerified:
    """How a TLSA record names the server's certificates. Raises NotNamed."""
    return check_chain(policy.tlsa, _chain(session), policy.names, datetime.now(UTC))


def _chain(session: Any) -> list[bytes]:
    """The certificates that the server showed, in DER, its own first."""
    if session is None:
        return []
    if hasattr(session, "get_unverified_chain"):  # Python 3.13
        return [*session.get_unverified_chain()]
    shown = session._sslobj.get_unverified_chain() or ()
    return [certificate.public_bytes(_DER) for certificate in shown]


def result_of(
    session: ssl.SSLObject | None, policy: TlsPolicy, verified: TlsVerified | None
) -> TlsResult:
    """What a connection got. ``session``: its TLS; None: it is plain text."""
    demand = demand_of(policy)
    if session is None:
        return TlsResult(demand) if demand != "none" else PLAIN
    version, cipher = session.version() or "", session.cipher()
    return TlsResult(demand, _VERSIONS.get(version, version), cipher[0] if cipher else "", verified)


PLAIN = TlsResult()  # of most connections to a relay on the same machine


def violation_of(errors: list[BaseException], text: str) -> Violation:
    """What an error of TLS is in the words of reports. ``errors``: it, and what led to it."""
    for error in errors:
        if isinstance(error, NotNamed):
            return Violation(_BY_TLSA[error.about], text)
        if isinstance(error, ssl.SSLCertVerificationError):
            failure = _FAILURES.get(error.verify_code, "certificate-not-trusted")
            return Violation(failure, text)
    if isinstance(errors[0], aiosmtplib.SMTPNotSupported | aiosmtplib.SMTPResponseException):
        return Violation("starttls-not-supported", text)
    return Violation("validation-failure", text)
