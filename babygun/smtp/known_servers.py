"""What one process knows of all servers. A pool lives shorter, so this is outside of the pools."""

from __future__ import annotations

from dataclasses import dataclass, field

from babygun.smtp.connection_count import ConnectionCount
from babygun.smtp.reachability import Reachability
from babygun.smtp.tls_contexts import TlsContexts
from babygun.smtp.workarounds import WorkaroundsByServer


@dataclass(frozen=True)
class KnownServers:
    """``workarounds``: what each does not manage. ``reachability``: which ones do not work.

    ``count``: of all connections to them.
    """

    workarounds: WorkaroundsByServer = field(default_factory=WorkaroundsByServer)
    reachability: Reachability = field(default_factory=Reachability)
    tls_contexts: TlsContexts = field(default_factory=TlsContexts)
    count: ConnectionCount = field(default_factory=ConnectionCount)
