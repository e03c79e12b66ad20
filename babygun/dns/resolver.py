"""Asks resolvers, and remembers what they say.

Equal lookups at the same time are one. Lookups run side by side up to a limit; the others wait in
line. An answer is remembered for its TTL within bounds, and so is that there is none. That nobody
could say is remembered for some seconds: many e-mails to one domain would ask at once.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict, deque
from collections.abc import Iterable, Sequence

import dns.asyncresolver
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdata
import dns.rdatatype
import dns.resolver
from dns.nameserver import Do53Nameserver
from dns.rdtypes.ANY.CNAME import CNAME
from dns.rdtypes.ANY.MX import MX
from dns.rdtypes.ANY.PTR import PTR
from dns.rdtypes.ANY.TXT import TXT

from babygun.dns.answers import Answer, DnsError, Kind, LookupFailed, NoSuchName, Record
from babygun.dns.datagrams import DATAGRAM, Question
from babygun.errors import OutOfResources
from babygun.runtime.local_faults import is_local_fault

_AT_ONCE = 400  # a few that hang must not keep the others waiting
_REMEMBERED = 50_000  # answers; some 600 bytes each
_MOST_RECORDS = 50  # of one answer: the owner of a domain may name thousands
_SERVER_TIMEOUT = 2.0  # s, for an answer of one server
_SHORTEST, _LONGEST = 30.0, 3600.0  # s, for which an answer is remembered
_LONGEST_WITHOUT = 300.0  # s, for which it is remembered that there is no record or name
_FAILED = 5.0  # s, for which it is remembered that a lookup failed
_LOCAL = "127.0.0.1"

_Outcome = Answer | NoSuchName | LookupFailed


class Resolver:
    """A client of resolvers, in one event loop.

    ``servers``: ``address`` or ``address@port``; by default those of the system. ``timeout``:
    seconds for a lookup, over all servers. ``trusted``: the servers check signatures (DNSSEC), and
    nobody on the way can change what they say. Then answers say whether they are secure.
    """

    def __init__(
        self, servers: Sequence[str] = (), *, timeout: float = 10.0, trusted: bool = False
    ) -> None:
        self._stub, self._trusted = _stub(servers), trusted
        if trusted:
            self._stub.set_flags(dns.flags.RD | dns.flags.AD)
        self._stub.timeout, self._stub.lifetime = _SERVER_TIMEOUT, timeout
        self._stub.use_edns(0, 0, DATAGRAM)
        self._known: OrderedDict[tuple[str, Kind], tuple[float, _Outcome]] = OrderedDict()
        self._asking: dict[tuple[str, Kind], asyncio.Task[_Outcome]] = {}
        self._line = asyncio.Semaphore(_AT_ONCE)
        places = [each.rpartition("@") for each in self.servers]
        self._in_turn = deque((address, int(port)) for address, _, port in places)
        self.asked = 0  # lookups that went to a server

    @property
    def servers(self) -> list[str]:
        """Those that are asked, as ``address@port``."""
        return [
            f"{each.address}@{each.port}" if isinstance(each, Do53Nameserver) else f"{each}@53"
            for each in self._stub.nameservers
        ]

    async def lookup(self, name: str, kind: Kind) -> Answer:
        """The records of a name in ASCII. CNAMEs are followed. Raises NoSuchName, LookupFailed.

        Raises OutOfResources where this machine can't ask. That is not remembered.
        """
        key = name.lower().removesuffix("."), kind
        until, outcome = self._known.get(key, (0.0, None))
        if outcome is None or until <= time.monotonic():
            task = self._asking.get(key)
            if task is None:
                task = asyncio.create_task(self._find(key), name=f"look up {name}")
                self._asking[key] = task
            try:
                outcome = await asyncio.shield(task)  # another may wait for it, too
            except OutOfResources as error:
                raise OutOfResources(str(error)) from None  # a new one, as below
        if isinstance(outcome, DnsError):
            # A new one: its traceback keeps what its callers have, such as an e-mail's content.
            raise type(outcome)(str(outcome))
        return outcome

    async def _find(self, key: tuple[str, Kind]) -> _Outcome:
        try:
            async with self._line:
                self.asked += 1
                outcome, ttl = await self._ask(*key)
        finally:
            del self._asking[key]
        self._known[key] = time.monotonic() + ttl, outcome
        self._known.move_to_end(key)
        if len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)
        return outcome

    async def _ask(self, name: str, kind: Kind) -> tuple[_Outcome, float]:
        """The outcome of a lookup, and for how many seconds it is remembered."""
        began = time.monotonic()
        try:
            absolute = dns.name.from_text(name + ".")
            if (said := await self._ask_one(absolute, kind)) is not None:
                return said
            left = self._stub.lifetime - (time.monotonic() - began)
            found = await self._stub.resolve(
                absolute, kind, raise_on_no_answer=False, search=False, lifetime=left
            )
            return self._read(found.response)
        except dns.resolver.NXDOMAIN as error:
            return self._read(error.kwargs["responses"][absolute])
        except (dns.name.LabelTooLong, dns.name.NameTooLong, dns.name.EmptyLabel) as error:
            return NoSuchName(f"{name} can't be a name in DNS: {error}"), _LONGEST
        except (dns.exception.DNSException, OSError) as error:
            return LookupFailed(f"DNS has no answer about {name}: {_why(error)}"), _FAILED

    async def _ask_one(self, name: dns.name.Name, kind: Kind) -> tuple[_Outcome, float] | None:
        """What one server says; None where all are to be asked, by dnspython's stub.

        It does so where the answer is an error, is cut, or does not come.
        """
        question = Question(name, dns.rdatatype.from_text(kind), trusted=self._trusted)
        server = self._in_turn[0]
        try:
            async with asyncio.timeout(min(_SERVER_TIMEOUT, self._stub.lifetime)):
                said = await question.ask(*server)
            if (plain := question.plain_answer(said)) is not None:
                return _outcome(plain.records, plain.ttl, secure=plain.secure)
            message = dns.message.from_wire(said, raise_on_truncation=True)
            known = message.rcode() in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN)
            return self._read(message) if known else None
        except (OSError, dns.exception.DNSException) as error:  # also TimeoutError
            if isinstance(error, OSError) and is_local_fault(error.errno):
                raise OutOfResources(f"DNS can't be asked about {name}: {error}") from error
            if server == self._in_turn[0]:  # many may find it silent at once
                self._in_turn.rotate(-1)  # the next lookup begins with another server
            return None

    def _read(self, message: dns.message.Message) -> tuple[_Outcome, float]:
        """What a response says of its question. CNAMEs are followed."""
        assert isinstance(message, dns.message.QueryMessage)
        chain = message.resolve_chaining()
        ttl, asked = chain.minimum_ttl, message.question[0].name
        if message.rcode() == dns.rcode.NXDOMAIN:
            text = f"{asked.to_text(omit_final_dot=True)} is not in DNS"
            return NoSuchName(text), _within(ttl, _LONGEST_WITHOUT)
        name = _name(chain.canonical_name) if chain.canonical_name != asked else ""
        secure = self._trusted and bool(message.flags & dns.flags.AD)
        return _outcome(chain.answer or (), ttl, secure=secure, name=name)


def _outcome(
    found: Iterable[dns.rdata.Rdata], ttl: float, *, secure: bool, name: str = ""
) -> tuple[_Outcome, float]:
    distinct = dict.fromkeys(map(_record, found))
    records = tuple(sorted(distinct, key=lambda record: record.preference)[:_MOST_RECORDS])
    answer = Answer(records, ttl, secure, name)
    return answer, _within(ttl, _LONGEST if records else _LONGEST_WITHOUT)


def _stub(servers: Sequence[str]) -> dns.asyncresolver.Resolver:
    stub = dns.asyncresolver.Resolver(configure=False)
    if not servers:
        try:
            return dns.asyncresolver.Resolver()
        except dns.resolver.NoResolverConfiguration:
            servers = [_LOCAL]  # where the C library asks, too
    stub.nameservers = [_server(each) for each in servers]
    return stub


def _server(text: str) -> Do53Nameserver:
    address, _, port = text.partition("@")
    return Do53Nameserver(address, int(port or 53))


def _within(ttl: float, longest: float) -> float:
    return min(max(ttl, _SHORTEST), longest)


def _record(rdata: dns.rdata.Rdata) -> Record:
    if isinstance(rdata, MX):
        return Record(_name(rdata.exchange), rdata.preference)
    if isinstance(rdata, PTR | CNAME):
        return Record(_name(rdata.target))
    if isinstance(rdata, TXT):
        return Record(b"".join(rdata.strings).decode("utf-8", "replace"))
    return Record(rdata.to_text())


def _name(name: dns.name.Name) -> str:
    return name.to_text(omit_final_dot=True).lower().removesuffix(".")


def _why(error: Exception) -> str:
    """A few words for people: dnspython's own text may be a page."""
    if isinstance(error, dns.resolver.LifetimeTimeout):
        return "no server answered in time"
    if isinstance(error, dns.resolver.NoNameservers):
        said = {str(what) or type(what).__name__ for *_, what, _ in error.kwargs["errors"]}
        return ", ".join(sorted(said))[:200] or "no server could say"
    return str(error)[:200] or type(error).__name__
