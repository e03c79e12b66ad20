"""What a receiver does with a recipient, as the local part says it. Pure.

    ok.MARK            250
    slow.MARK          250, after a second
    defer-N.MARK       451 to RCPT the first N times
    defer-dot-N.MARK   451 to the message the first N times
    grey.MARK          451 to RCPT the first time from each address of the sender's
    bounce.MARK        550 to RCPT
    bounce-dot.MARK    554 to the message
    stall-N.MARK       no reply to RCPT the first N times
    cut-N.MARK         the connection breaks within the message the first N times
    cut-dot-N.MARK     the message is taken, and the connection breaks without a reply, N times
    late-bounce.MARK   250, and then a bounce message comes back
    complain.MARK      250, and then a complaint comes back

Those of the message belong into e-mails with one recipient at a relay: they count for all of it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, get_args

Kind = Literal[
    "ok",
    "slow",
    "defer",
    "defer-dot",
    "grey",
    "bounce",
    "bounce-dot",
    "stall",
    "cut",
    "cut-dot",
    "late-bounce",
    "complain",
]
KINDS: tuple[Kind, ...] = get_args(Kind)
# They say it once for the whole transaction.
OF_MESSAGE = frozenset({"slow", "defer-dot", "bounce-dot", "cut", "cut-dot"})
ALWAYS = 99  # times: more than all tries
_LOCAL_PART = re.compile(r"([a-z-]+?)(?:-(\d+))?\.([^@]+)")
_SOFT, _GREY = "451 4.3.0 Not now", "451 4.7.1 Greylisted, come again later"


@dataclass(frozen=True)
class Behaviour:
    """``times``: of the first so many tries of the recipient; then it is accepted."""

    kind: Kind
    times: int
    mark: str

    def local_part(self) -> str:
        return f"{self.kind}{f'-{self.times}' if self.times else ''}.{self.mark}"

    def acts(self, attempt: int) -> bool:
        """Whether this try (from 1) meets it, or is accepted."""
        return not self.times or attempt <= self.times

    def to_rcpt(self, attempt: int) -> str:
        """The reply to RCPT: empty for "accepted". ``attempt``: of grey, from the same address."""
        if self.kind == "grey":
            return _GREY if attempt == 1 else ""
        if self.kind == "bounce":
            return "550 5.1.1 No such mailbox"
        return _SOFT if self.kind == "defer" and self.acts(attempt) else ""

    def to_message(self, attempt: int) -> str:
        """The reply to the message: empty for "accepted"."""
        if self.kind == "bounce-dot":
            return "554 5.6.0 Not this message"
        return _SOFT if self.kind == "defer-dot" and self.acts(attempt) else ""

    def ends(self) -> frozenset[str]:
        """The statuses that a recipient of it can end in, unless somebody cancels.

        Faults may use up all tries of each, so each can expire. Who has bounced for good or has
        complained is suppressed, so a retry leaves it out.
        """
        if self.kind == "bounce":
            return frozenset({"bounced", "expired", "suppressed"})
        if self.kind == "late-bounce":
            return frozenset({"delivered", "bounced", "expired", "suppressed"})
        if self.kind == "complain":
            return frozenset({"delivered", "expired", "suppressed"})
        if self.kind == "bounce-dot":
            return frozenset({"bounced", "expired"})
        if self.times >= ALWAYS:
            return frozenset({"expired"})
        return frozenset({"delivered", "expired"})


def behaviour_of(address: str) -> Behaviour:
    """The behaviour of an address. Raises ValueError if it is none of ours."""
    found = _LOCAL_PART.fullmatch(address.rpartition("@")[0])
    for kind in KINDS:
        if found and found[1] == kind:
            return Behaviour(kind, int(found[2] or 0), found[3])
    raise ValueError(f"{address} says nothing that a receiver does")
