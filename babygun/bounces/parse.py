"""Says what a message is that came back: by its shape, not by who sent it. Pure."""

from __future__ import annotations

from babygun.bounces.arf import read_complaint
from babygun.bounces.auto_replies import read_auto_reply
from babygun.bounces.dsn import read_dsn
from babygun.bounces.nonstandard import read_nonstandard
from babygun.bounces.parts import take_apart
from babygun.bounces.reading import Reading


def read(message: bytes) -> Reading:
    """Reads a message, whole or cut off. The first form that fits decides.

    Bounce messages come before automatic replies: Exim's say ``Auto-Submitted: auto-replied``.
    """
    whole = take_apart(message)
    parts = list(whole.parts())
    return (
        read_complaint(parts)
        or read_dsn(parts)
        or read_nonstandard(whole.fields, parts)
        or read_auto_reply(whole.fields, parts)
        or Reading("unknown", "none")
    )
