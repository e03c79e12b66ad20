"""What comes back about an e-mail after a server took it: bounce messages and complaints, as read.

Of each recipient that a bounce message names, there is one :class:`Bounce`. A message that says
"delayed", "relayed" or "delivered" gives none.
"""

from __future__ import annotations

from msgspec import Struct


class Bounce(Struct, frozen=True, kw_only=True, gc=False):
    """What a bounce message says of one recipient: it did not get the message, for good.

    ``addresses``: how the message calls the recipient, if it does: the original one first, then the
    final one (RFC 3464, 2.3). A forwarder's final one is none of ours.
    """

    addresses: tuple[str, ...] = ()
    # Of Diagnostic-Code, if that is a reply of SMTP: 550.
    status_code: int | None = None
    # Of Status (RFC 3463), such as "5.1.1".
    enhanced_code: str | None = None
    # The server's text, or what the message says in words.
    reason: str | None = None
    # A class of babygun/smtp/replies.toml.
    reply_class: str = "bounced"
    # The address is dead: the reply class is one that suppresses.
    suppress: bool = False
    # Who says so: the name of Reporting-MTA, or of the host that sent the message.
    reporter: str = ""


class Complaint(Struct, frozen=True, kw_only=True, gc=False):
    """What a feedback report (RFC 5965) says: a recipient called the e-mail spam.

    ``addresses``: as of a bounce; many providers hide them. ``feedback_type``: ``abuse``, ``fraud``
    and the like. ``reporter``: the provider, of Source-Domain, Reporting-MTA or User-Agent.
    """

    addresses: tuple[str, ...] = ()
    feedback_type: str = "abuse"
    reporter: str = ""
