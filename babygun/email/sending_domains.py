"""Sending domains: the domains that clients send from, and their DKIM keys. Pure.

A selector names one DKIM key of a domain (RFC 6376, 3.1). Its states::

    new ──seen in DNS──▶ signing ──another one signs──▶ old ──KEPT later──▶ gone

One selector of an algorithm signs at a time. The one before stays, so that mail under way can be
verified.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from datetime import datetime, timedelta
from typing import Literal, get_args

import msgspec
from msgspec.structs import replace

from babygun.email.domains import ascii_domain, parse_domain

# The keys of DKIM: RSA of 2048 bits (RFC 8301), and Ed25519 (RFC 8463).
DkimAlgorithm = Literal["rsa2048", "ed25519"]
ALGORITHMS: tuple[DkimAlgorithm, ...] = get_args(DkimAlgorithm)
SelectorState = Literal["new", "signing", "old"]
# unchecked  nobody has asked DNS yet
# unknown    DNS did not answer
# optional   a hint that is not followed; it never counts
RecordStatus = Literal["unchecked", "verified", "missing", "wrong", "unknown", "optional"]
DomainStatus = Literal["verified", "pending", "failed"]

MOST_CLIENTS = 20
"""Clients of one domain."""
SIGNS_ON = timedelta(days=7)
"""How long an old selector signs further tries of e-mails that it has signed before."""
KEPT = timedelta(days=14)
"""How long an old selector is kept: after its last signature, mail may be under way for days."""
_RETURN_PATH = "bounces"
# Octets of a domain: an address of its return path has 64 before the @, and 254 in all.
_LONGEST = 254 - 64 - len(f"@{_RETURN_PATH}.")


class Selector(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """A DKIM key in DNS. ``public``: base64, as the record's p= has it.

    ``seen_at``: when DNS had it first. ``signing_since`` and ``old_since``: since when it is so.
    """

    name: str
    algorithm: DkimAlgorithm
    public: str
    state: SelectorState
    created_at: datetime
    seen_at: datetime | None = None
    signing_since: datetime | None = None
    old_since: datetime | None = None


class DnsRecord(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """A record that a domain wants in DNS, and what was found there.

    ``purpose``: ``dkim:<selector>``, ``spf``, ``dmarc``, ``return_path`` and others. ``type``: TXT,
    MX. ``found``: the values of that name and type. ``sentence``: what is wrong, and the remedy.
    """

    purpose: str
    type: str
    name: str
    value: str
    status: RecordStatus = "unchecked"
    found: tuple[str, ...] = ()
    sentence: str = ""


class Verified(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """What the last look into DNS gave."""

    at: datetime
    status: DomainStatus
    records: tuple[DnsRecord, ...] = ()


class SendingDomain(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """``domains/<name>``: in lower case and ASCII, without a last dot.

    ``clients``: identities, at least one. They may send from the domain and from its subdomains.
    ``return_path``: the domain to which bounce messages of its mail come.
    """

    name: str
    clients: tuple[str, ...]
    created_at: datetime
    updated_at: datetime
    selectors: tuple[Selector, ...] = ()
    verified: Verified | None = None

    @property
    def return_path(self) -> str:
        return f"{_RETURN_PATH}.{self.name}"

    @property
    def status(self) -> DomainStatus:
        return self.verified.status if self.verified else "pending"

    def is_verified(self, purpose: str) -> bool:
        """Whether the last look found the record of this purpose as it is wanted."""
        records = self.verified.records if self.verified else ()
        return any(one.purpose == purpose and one.status == "verified" for one in records)


def sending_domain_name(text: str) -> str:
    """The name of a sending domain as it is kept. Raises ValueError with a sentence.

    A name with one label, such as ``com``, is refused: nobody can hold it.
    """
    name = ascii_domain(parse_domain(text.strip()))
    if name.startswith("["):
        raise ValueError("a sending domain is a name, not an IP address")
    if "." not in name:
        raise ValueError(f"{name} is no domain of one owner: give one such as mail.{name}")
    if len(name) > _LONGEST:
        raise ValueError(f"the domain has {len(name)} octets; the most is {_LONGEST}")
    return name


def name_and_parents(domain: str) -> list[str]:
    """``a.b.c`` is covered by ``a.b.c`` and ``b.c``, the longest first. Single labels cover none.

    ``domain``: in ASCII and lower case.
    """
    names = []
    while "." in domain:
        names.append(domain)
        domain = domain.partition(".")[2]
    return names


def is_within(domain: str, parent: str) -> bool:
    """Whether it is this domain or a subdomain of it."""
    return domain == parent or domain.endswith(f".{parent}")


# --- selectors ---


def signers(domain: SendingDomain, first_try: datetime, now: datetime) -> tuple[Selector, ...]:
    """The selectors that sign an e-mail now, at most one of each algorithm, RSA first.

    ``first_try``: when its first try could begin. All its tries have the same selectors, as long
    as these may sign: one that is old signs on for SIGNS_ON, and only what it has signed before.
    """
    found = []
    for algorithm in ALGORITHMS:
        usable = [
            one for one in domain.selectors if one.algorithm == algorithm and one.signing_since
        ]
        # The one that signed already at that time; where none did, the one that signs now.
        then = [one for one in usable if _signed_at(one, first_try) and _may_sign(one, now)]
        if found_now := then or [one for one in usable if one.state == "signing"]:
            found.append(max(found_now, key=_signing_since))
    return tuple(found)


def _signed_at(selector: Selector, at: datetime) -> bool:
    until = selector.old_since
    return _signing_since(selector) <= at and (until is None or at < until)


def _may_sign(selector: Selector, now: datetime) -> bool:
    return selector.old_since is None or now < selector.old_since + SIGNS_ON


def _signing_since(selector: Selector) -> datetime:
    assert selector.signing_since is not None
    return selector.signing_since


def rotated(domain: SendingDomain, new: Sequence[Selector], now: datetime) -> SendingDomain:
    """With ``new`` selectors, which sign once they are seen in DNS.

    Those of before that still wait for that are dropped: they have signed nothing.
    """
    kept = tuple(one for one in domain.selectors if one.state != "new")
    return replace(domain, selectors=(*kept, *new), updated_at=now)


def looked_up(domain: SendingDomain, verified: Verified, seen: Container[str]) -> SendingDomain:
    """After a look into DNS: new selectors that are ``seen`` there sign, those before are old.

    Old selectors whose time has come are gone.
    """
    now = verified.at
    selectors = [
        replace(one, seen_at=one.seen_at or now) if one.name in seen else one
        for one in domain.selectors
        if one.old_since is None or now < one.old_since + KEPT
    ]
    for algorithm in ALGORITHMS:
        ready = [
            one
            for one in selectors
            if one.algorithm == algorithm and one.state == "new" and one.name in seen
        ]
        if ready:
            selectors = [_promoted(one, ready[-1], now) for one in selectors]
    return replace(domain, selectors=tuple(selectors), verified=verified)


def _promoted(selector: Selector, next_one: Selector, now: datetime) -> Selector:
    """A selector, as ``next_one`` begins to sign."""
    if selector is next_one:
        return replace(selector, state="signing", signing_since=now)
    if selector.state == "signing" and selector.algorithm == next_one.algorithm:
        return replace(selector, state="old", old_since=now)
    return selector


# --- clients ---


def without_client(domain: SendingDomain, identity: str, now: datetime) -> SendingDomain | None:
    """Without a client that is deleted. None: it was the only one, so the domain goes too."""
    rest = tuple(one for one in domain.clients if one != identity)
    return replace(domain, clients=rest, updated_at=now) if rest else None
