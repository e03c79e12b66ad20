"""SMTP as a client: connections to destinations, and mail transactions on them.

A delivery ends in an :class:`Outcome` with a reply per recipient, whatever the server does.
:mod:`babygun.smtp.classifier` decides what a reply means.
"""

from babygun.smtp.connect import check_server
from babygun.smtp.connect_failed import ConnectFailed
from babygun.smtp.envelope import Envelope, NoConnection, NotSent, Outcome
from babygun.smtp.known_servers import KnownServers
from babygun.smtp.permits import UNLIMITED, Permit, Permits
from babygun.smtp.pool import SmtpPool
from babygun.smtp.pools import Pools

__all__ = [
    "UNLIMITED",
    "ConnectFailed",
    "Envelope",
    "KnownServers",
    "NoConnection",
    "NotSent",
    "Outcome",
    "Permit",
    "Permits",
    "Pools",
    "SmtpPool",
    "check_server",
]
