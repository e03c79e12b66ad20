"""What a lookup in DNS ends with: an answer, no such name, or no answer at all."""

from __future__ import annotations

from typing import Literal, NamedTuple

from babygun.errors import BabygunError

Kind = Literal["A", "AAAA", "CNAME", "MX", "PTR", "TLSA", "TXT"]


class DnsError(BabygunError):
    """A lookup that ended without an answer. The text says why."""


class NoSuchName(DnsError):
    """The name is not in DNS (NXDOMAIN), or it can't be a name."""


class LookupFailed(DnsError):
    """Nobody knows: no server answered in time, or those that did could not say (SERVFAIL)."""


class Record(NamedTuple):
    """One record. ``value``: an address, a name without its last dot, or a text.

    Of a TLSA record: its text form (RFC 6698, 2.2).
    ``preference``: of an MX record; 0 for others. DNS's root is an empty name.
    """

    value: str
    preference: int = 0


class Answer(NamedTuple):
    """The records of a name. There are none where the name exists without any of this kind.

    ``ttl``: seconds for which the answer may be remembered, as DNS says. ``secure``: signed, also
    that there is no record; all of its aliases too. Only a resolver that may be trusted says so.
    ``name``: whose records they are, after all aliases; empty: the name that was asked for.
    """

    records: tuple[Record, ...]
    ttl: float
    secure: bool = False
    name: str = ""
