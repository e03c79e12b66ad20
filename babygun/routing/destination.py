"""What a destination is: the place to which a queue's mail goes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from babygun.errors import BabygunError

# none: no TLS. opportunistic: STARTTLS where offered, the certificate is not checked.
# required: STARTTLS, checked. implicit: TLS from the first byte, checked.
TlsPolicy = Literal["none", "opportunistic", "required", "implicit"]
TLS_POLICIES: tuple[TlsPolicy, ...] = ("none", "opportunistic", "required", "implicit")

# Postfix allows as many to one destination by default. Servers often limit a client to 50.
DEFAULT_CONNECTIONS = 20


class NoDestination(BabygunError):
    """A queue has no destination in this process. The text says why."""


@dataclass(frozen=True)
class Destination:
    """An SMTP server that takes a queue's mail: its name, how to reach it, its limits.

    ``name`` is the queue. It appears in keys, records, logs and metrics. It has no slash, which
    separates the parts of a key.
    """

    name: str

    host: str
    port: int
    username: str = ""
    password: str = field(default="", repr=False)
    tls: TlsPolicy = "opportunistic"
    tls_ca: str = ""  # PEM file; empty: the system's CAs
    pipelining: bool = True  # send commands together where the server offers that
    chunking: bool = True  # use BDAT where the server offers it

    max_connections: int = DEFAULT_CONNECTIONS  # of one worker

    @property
    def address(self) -> str:
        """``host:port``"""
        return f"{self.host}:{self.port}"
