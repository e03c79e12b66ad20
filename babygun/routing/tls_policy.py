"""What a recipient domain demands of TLS, from each of its mail hosts. Pure.

A domain demands nothing, or what MTA-STS (RFC 8461) or DANE (RFC 7672) says. DANE comes before
MTA-STS (RFC 8461, 2). Policies belong to domains, never to sites: one domain's mistake must not
reach others at the same hosts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import blake2b
from typing import Literal, NamedTuple

from babygun.routing.sts import StsPolicy
from babygun.routing.tlsa import Tlsa

Kind = Literal["none", "sts", "dane"]

# How TLS fails, as reports call it (RFC 8460, 4.3).
ResultType = Literal[
    "starttls-not-supported",
    "certificate-host-mismatch",
    "certificate-expired",
    "certificate-not-trusted",
    "validation-failure",
    "tlsa-invalid",
    "dnssec-invalid",
    "dane-required",
    "sts-policy-fetch-error",
    "sts-policy-invalid",
    "sts-webpki-invalid",
]


class Violation(NamedTuple):
    """Why a host does not do what a policy demands. ``text``: a sentence for people."""

    result_type: ResultType
    text: str


@dataclass(frozen=True)
class TlsPolicy:
    """What one mail host must show. It does not name the domain: several may share a connection.

    ``testing``: a violation is reported, and the mail goes all the same. ``names``: one of them
    must be in the certificate, except where a TLSA record of usage 3 matches it; the first is the
    one to ask the host for (SNI). ``tlsa``: one of them must match the certificate, or its chain;
    under DANE with none, the host must speak TLS, with any certificate. ``violation``: known before
    any connection; unless it is a test, the host gets no mail.
    """

    kind: Kind = "none"
    testing: bool = False
    names: tuple[str, ...] = ()
    tlsa: tuple[Tlsa, ...] = ()
    violation: Violation | None = None


NO_POLICY = TlsPolicy()  # of a host of which nothing is demanded


@dataclass(frozen=True)
class DomainPolicy:
    """What a recipient domain demands of its mail hosts.

    ``hosts``: by name; a host of which it demands nothing is not in it. ``sts``: its MTA-STS
    policy. ``sts_failure``: why its newest one can't be had; its mail goes by ``sts``, or without.
    ``encrypted``: the settings ask for TLS, with any certificate.
    """

    hosts: Mapping[str, TlsPolicy] = field(default_factory=dict)
    sts: StsPolicy | None = None
    sts_failure: Violation | None = None
    encrypted: bool = False

    def of(self, host: str) -> TlsPolicy:
        """``host``: in lower case, as DNS names it."""
        return self.hosts.get(host, NO_POLICY)

    @cached_property
    def pool(self) -> str:
        """What sets its connections apart: domains that demand the same of hosts share them."""
        if not self.hosts:
            return ""
        said = repr(sorted(self.hosts.items()))
        return blake2b(said.encode(), digest_size=8).hexdigest()


NO_DEMANDS = DomainPolicy()
