"""What SPF says of mail from an address, as a receiver finds it out (RFC 7208, 4)."""

from __future__ import annotations

import ipaddress
from typing import NamedTuple

from babygun.dns import Kind, LookupFailed, NoSuchName, Resolver
from babygun.domains.spf_record import Address, Result, Term, expand, is_spf, parse

MOST_LOOKUPS = 10  # terms that ask DNS (RFC 7208, 4.6.4)
_MOST_VOID = 2  # of them may find nothing
_MOST_HOSTS = 10  # of one mx or ptr


class SpfResult(NamedTuple):
    """``sentence``: why it is so. ``lookups``: how many terms asked DNS.

    ``included``: the domains whose records were read, too.
    """

    result: Result
    sentence: str
    lookups: int
    included: frozenset[str]


async def evaluate(resolver: Resolver, domain: str, ip: Address, *, sender: str = "") -> SpfResult:
    """Whether ``domain`` lets ``ip`` send. ``sender``: the envelope sender; postmaster by default.

    A failure of DNS is the result ``temperror``.
    """
    mapped = ip.ipv4_mapped if ip.version == 6 else None
    evaluation = _Evaluation(resolver, mapped or ip, sender or f"postmaster@{domain}")
    try:
        result, sentence = await evaluation.check(domain)
    except _Ended as error:
        result, sentence = error.result, str(error)
    return SpfResult(result, sentence, evaluation.lookups, frozenset(evaluation.included))


class _Ended(Exception):
    """An error that ends the evaluation, at whatever depth."""

    def __init__(self, result: Result, sentence: str) -> None:
        super().__init__(sentence)
        self.result: Result = result


class _Evaluation:
    """What one evaluation has looked up so far: limits count over all records."""

    def __init__(self, resolver: Resolver, ip: Address, sender: str) -> None:
        self._resolver, self._ip, self._sender = resolver, ip, sender
        self.lookups = self._void = 0
        self.included: set[str] = set()

    async def check(self, domain: str) -> tuple[Result, str]:
        """``check_host()``: the result for a domain, and the term that decided."""
        text = await self._record(domain)
        if text is None:
            return "none", f"{domain} has no SPF record"
        try:
            record = parse(text)
        except ValueError as error:
            raise _Ended(
                "permerror", f"the SPF record of {domain} can't be read: {error}"
            ) from None
        for term in record.terms:
            if await self._matches(term, domain):
                return term.result, f"{term.text} in the SPF record of {domain} decides"
        if not record.redirect:
            return "neutral", f"no term in the SPF record of {domain} matches"
        return await self._other_record(record.redirect, domain)

    async def _record(self, domain: str) -> str | None:
        """The only SPF record of a domain."""
        found = [text for text in await self._ask(domain, "TXT") if is_spf(text)]
        if len(found) > 1:
            raise _Ended("permerror", f"{domain} has {len(found)} SPF records: join them into one")
        return found[0] if found else None

    async def _other_record(self, named: str, domain: str) -> tuple[Result, str]:
        """That of include or redirect. It has to be there (RFC 7208, 5.2 and 6.1)."""
        self._count()
        other = self._expand(named, domain)
        self.included.add(other.lower())
        result, sentence = await self.check(other)
        if result == "none":
            raise _Ended("permerror", f"{domain} includes {other}, which has no SPF record")
        return result, sentence

    async def _matches(self, term: Term, domain: str) -> bool:
        match term.name:
            case "all":
                return True
            case "ip4" | "ip6":
                assert term.network
                return self._ip in term.network
            case "include":
                return (await self._other_record(term.domain, domain))[0] == "pass"
        self._count()
        name = self._expand(term.domain or domain, domain)
        match term.name:
            case "a":
                return await self._is_of(name, term)
            case "mx":
                return await self._is_of_mail_host(name, term)
            case "exists":
                return bool(await self._ask(name, "A", counts=True))
        return await self._points_into(name)

    async def _is_of(self, host: str, term: Term) -> bool:
        kind: Kind = "A" if self._ip.version == 4 else "AAAA"
        length = term.prefix4 if self._ip.version == 4 else term.prefix6
        networks = [
            ipaddress.ip_network(f"{address}/{length}", strict=False)
            for address in await self._ask(host, kind, counts=True)
        ]
        return any(self._ip in network for network in networks)

    async def _is_of_mail_host(self, name: str, term: Term) -> bool:
        hosts = await self._ask(name, "MX", counts=True)
        if len(hosts) > _MOST_HOSTS:
            raise _Ended("permerror", f"{term.text} finds more than {_MOST_HOSTS} mail hosts")
        for host in hosts:
            if host and await self._is_of(host, term):
                return True
        return False

    async def _points_into(self, name: str) -> bool:
        """Whether the address has a name there (PTR) that leads back (RFC 7208, 5.5)."""
        try:
            hosts = await self._ask(self._ip.reverse_pointer, "PTR", counts=True)
            kind: Kind = "A" if self._ip.version == 4 else "AAAA"
            for host in hosts[:_MOST_HOSTS]:
                inside = f".{host}".lower().endswith(f".{name}".lower())
                if inside and str(self._ip) in await self._ask(host, kind):
                    return True
        except _Ended as error:
            if error.result == "permerror":
                raise
        return False

    def _expand(self, text: str, domain: str) -> str:
        return expand(text, sender=self._sender, domain=domain, ip=self._ip)

    def _count(self) -> None:
        self.lookups += 1
        if self.lookups > MOST_LOOKUPS:
            raise _Ended(
                "permerror",
                f"it takes more than {MOST_LOOKUPS} look-ups (include, a, mx, ptr, exists,"
                " redirect): take out what is not needed",
            )

    async def _ask(self, name: str, kind: Kind, *, counts: bool = False) -> list[str]:
        """The values of records. ``counts``: that there is none is allowed a few times only."""
        try:
            found = [each.value for each in (await self._resolver.lookup(name, kind)).records]
        except NoSuchName:
            found = []
        except LookupFailed as error:
            raise _Ended("temperror", str(error)) from None
        if counts and not found:
            self._void += 1
            if self._void > _MOST_VOID:
                raise _Ended("permerror", f"more than {_MOST_VOID} look-ups find nothing: {name}")
        return found
