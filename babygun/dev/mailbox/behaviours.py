"""Test addresses: what the mailbox does with mail to some local parts of the domain ``test``.

By them a developer sees how an application takes failures. ``test`` is no domain of anybody
(RFC 6761, 6.2). What follows a plus says nothing, so each test can have an address of its own.
"""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

_LONGEST = 60  # seconds and refusals that an address may ask for
_SLOW = 10.0  # s
_DEFERRED = 1  # refusals

_name_and_domain = re.compile(r"([^@+]+)(?:\+[^@]*)?@(?:.+\.)?test", re.IGNORECASE).fullmatch
_reject = re.compile(r"reject-([45]\d\d)(?:-([45]\.\d{1,3}\.\d{1,3}))?").fullmatch
_numbered = re.compile(r"(defer|slow)(?:-(\d{1,2}))?").fullmatch

Returned = Literal["bounce", "complaint"]


class Behaviour(NamedTuple):
    """``refusal``: the reply to the recipient. ``times``: so often, then it is taken; 0: always.

    The others are about a whole message. ``seconds``: until it is answered. ``rejection``: the
    reply to it. ``breaks``: the connection breaks instead of a reply, once. ``returned``: what
    comes back later.
    """

    refusal: str = ""
    times: int = 0
    seconds: float = 0.0
    rejection: str = ""
    breaks: bool = False
    returned: Returned | None = None


TABLE: tuple[tuple[str, str], ...] = (
    ("bounce@any.test", "550 5.1.1: bounced. The address is suppressed from then on"),
    ("reject-550-5.7.1@any.test", "this reply, or another one of 400 to 599"),
    ("mailbox-full@any.test", "452 4.2.2, each time: deferred, and expired in the end"),
    ("defer@any.test", "451 4.7.1 to the first try, then delivered. `defer-3@`: to three tries"),
    ("slow@any.test", "delivered after 10 seconds. `slow-30@`: after 30"),
    ("spam@any.test", "550 5.7.1 to the message, so to all of its recipients"),
    ("disconnect@any.test", "the first time no reply to the message: deferred, and sent again"),
    ("late-bounce@any.test", "delivered; a second later a bounce message comes back"),
    ("complaint@any.test", "delivered; a second later a complaint comes back"),
)
"""Example addresses, and what happens to mail to them."""

_FIXED = {
    "bounce": Behaviour(refusal="550 5.1.1 There is no such mailbox (a test address)"),
    "mailbox-full": Behaviour(refusal="452 4.2.2 The mailbox is full (a test address)"),
    "spam": Behaviour(rejection="550 5.7.1 This looks like spam (a test address)"),
    "disconnect": Behaviour(breaks=True),
    "late-bounce": Behaviour(returned="bounce"),
    "complaint": Behaviour(returned="complaint"),
}


def behaviour_of(address: str) -> Behaviour | None:
    """What is done with mail to an address; None: it is no test address."""
    found = _name_and_domain(address)
    if found is None:
        return None
    name = found[1].lower()
    if match := _reject(name):
        code, enhanced = match[1], match[2] or f"{match[1][0]}.0.0"
        return Behaviour(refusal=f"{code} {enhanced} Refused (a test address)")
    if match := _numbered(name):
        number = min(int(match[2]), _LONGEST) if match[2] else None
        if match[1] == "slow":
            return Behaviour(seconds=_SLOW if number is None else number)
        reply = "451 4.7.1 Please try again later (a test address)"
        return Behaviour(refusal=reply, times=max(1, number or _DEFERRED))
    return _FIXED.get(name)


class Counts:
    """How often mail of a sender was refused at an address since it was taken last."""

    _MOST = 10_000

    def __init__(self) -> None:
        self._refused: dict[tuple[str, str], int] = {}

    def refuses(self, sender: str, address: str, times: int) -> bool:
        """Whether it is refused now. ``times``: so often in a row; 0: always."""
        if not times:
            return True
        key = sender, address.lower()
        refused = self._refused.pop(key, 0)
        if refused >= times:
            return False
        if len(self._refused) < self._MOST:
            self._refused[key] = refused + 1
        return True
