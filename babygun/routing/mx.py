"""The hosts that take a domain's mail (RFC 5321, 5.1): their names and their order.

What DNS says may be wrong in many ways. Each has its own end: another host, another time, or a
bounce. Only what DNS surely says is a bounce. Where nobody knows, the mail waits: it never goes to
another host for that.
"""

from __future__ import annotations

import ipaddress
import random
from collections.abc import Collection, Sequence
from itertools import groupby
from typing import NamedTuple

from babygun.dns import LookupFailed as LookupFailed
from babygun.dns import NoSuchName, Resolver
from babygun.dns.answers import Record
from babygun.email.domains import ascii_domain
from babygun.errors import BabygunError


class NoMailHost(BabygunError):
    """A domain's mail has no host to go to. The text says why.

    ``code``, ``enhanced``: as a server's reply would say it. ``for_sure``: it counts at once, since
    the domain's owner says it on purpose. Else it counts only if a later look finds the same:
    owners lose a domain for an hour more often than for good, and a resolver may lie for a while.
    """

    def __init__(self, text: str, *, code: int, enhanced: str, for_sure: bool = False) -> None:
        super().__init__(text)
        self.code, self.enhanced, self.for_sure = code, enhanced, for_sure


class BackToUs(NoMailHost):
    """The domain's mail would come back to this server."""

    def __init__(self, text: str) -> None:
        super().__init__(text, code=554, enhanced="5.4.6")


class MailHosts(NamedTuple):
    """``by_preference``: names of hosts; those of one inner tuple are equal.

    ``implicit``: the domain has no MX record, so it is the only host itself. ``secure``: DNS
    proves what it says of them.
    """

    by_preference: tuple[tuple[str, ...], ...]
    implicit: bool = False
    secure: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """All hosts, the best ones first."""
        return tuple(host for equal in self.by_preference for host in equal)

    def shuffled(self) -> list[str]:
        """All hosts in an order in which to try them: equal ones in another one each time."""
        return [host for equal in self.by_preference for host in random.sample(equal, len(equal))]


async def mail_hosts(resolver: Resolver, domain: str, *, ours: Collection[str]) -> MailHosts:
    """The hosts of a recipient's domain, as DNS names them. Raises NoMailHost, LookupFailed.

    ``ours``: names of this service in lower case. Mail to a host of equal or worse preference than
    ours would come back to us.
    """
    if domain.startswith("["):
        raise NoMailHost(
            f"mail to an address literal such as {domain} is not sent",
            code=556,
            enhanced="5.1.2",
            for_sure=True,
        )
    name = ascii_domain(domain).lower().removesuffix(".")
    try:
        answer = await resolver.lookup(name, "MX")
    except NoSuchName as error:
        raise NoMailHost(str(error), code=556, enhanced="5.1.2") from None
    if not answer.records:
        return MailHosts(((name,),), implicit=True, secure=answer.secure)
    named = [record for record in answer.records if record.value]
    if not named:  # RFC 7505
        text = f"{name} takes no mail: it has a null MX"
        raise NoMailHost(text, code=556, enhanced="5.1.10", for_sure=True)
    hosts = [record for record in named if _is_name(record.value)]
    if not hosts:
        raise NoMailHost(f"no MX record of {name} names a host", code=554, enhanced="5.4.4")
    worse = min((each.preference for each in hosts if each.value in ours), default=None)
    if worse is not None:
        hosts = [each for each in hosts if each.preference < worse]
    if not hosts:
        raise BackToUs(f"the mail of {name} would come back to this server: its MX names us")
    return MailHosts(_in_order(hosts), secure=answer.secure)


def _is_name(host: str) -> bool:
    """Whether an MX record names a host: some name an address instead."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return "." in host and not any(c.isspace() or c in "@/\\" for c in host)
    return False


def _in_order(hosts: Sequence[Record]) -> tuple[tuple[str, ...], ...]:
    best = {each.value: each for each in sorted(hosts, key=_worst_first)}
    ordered = sorted(best.values(), key=lambda each: (each.preference, each.value))
    return tuple(
        tuple(each.value for each in equal)
        for _, equal in groupby(ordered, key=lambda each: each.preference)
    )


def _worst_first(record: Record) -> int:
    return -record.preference  # so that the best one of a name stays
