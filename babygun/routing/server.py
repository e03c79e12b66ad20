"""One place to connect to, and how to speak to it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from babygun.routing.tls_policy import NO_POLICY, TlsPolicy

# What a connection asks for. none: no TLS. opportunistic: STARTTLS where offered, unchecked, and
# plain text where it fails. encrypted: STARTTLS or nothing, its certificate unchecked. required:
# the same, checked. implicit: TLS from the first byte, checked.
TlsMode = Literal["none", "opportunistic", "encrypted", "required", "implicit"]
TLS_MODES: tuple[TlsMode, ...] = (
    "none",
    "opportunistic",
    "encrypted",
    "required",
    "implicit",
)

# The oldest version of TLS that is taken. 1.0 and 1.1 are deprecated (RFC 8996): both or none.
TlsMin = Literal["1.0", "1.2", "1.3"]
TLS_MINS: tuple[TlsMin, ...] = ("1.0", "1.2", "1.3")


@dataclass(frozen=True)
class Server:
    """``host`` is its name, for TLS and logs. ``address`` is dialled; empty: what the system finds.

    ``source``: our own address to dial from; empty: the system's choice. ``policy``: what the
    recipient's domain demands; it comes before ``tls``.
    """

    host: str
    port: int
    address: str = ""
    source: str = ""
    username: str = ""
    password: str = field(default="", repr=False)
    tls: TlsMode = "opportunistic"
    tls_min: TlsMin = "1.2"
    tls_ca: str = ""  # PEM file; empty: the system's CAs
    pipelining: bool = True  # send commands together where the server offers that
    chunking: bool = True  # use BDAT where the server offers it
    policy: TlsPolicy = NO_POLICY

    @property
    def endpoint(self) -> str:
        """``host:port``, or ``host[address]:port`` where the address is known."""
        place = f"{self.host}[{self.address}]" if self.address else self.host
        return f"{place}:{self.port}"

    @property
    def ipv6(self) -> bool:
        """Whether its address is one of IPv6. Of a relay nobody knows before it is dialled."""
        return ":" in self.address
