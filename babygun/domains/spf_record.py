"""An SPF record as text: its terms, and the macros in them (RFC 7208, 4.6, 5, 6 and 7). Pure."""

from __future__ import annotations

import ipaddress
import re
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Literal, NamedTuple
from urllib.parse import quote

Result = Literal["none", "neutral", "pass", "fail", "softfail", "temperror", "permerror"]
Address = IPv4Address | IPv6Address

_VERSION = re.compile(r"v=spf1(?: |\Z)", re.IGNORECASE)
_QUALIFIERS: dict[str, Result] = {"": "pass", "+": "pass", "-": "fail", "~": "softfail"}
_DIRECTIVE = re.compile(
    r"([+?~-]?)(all|include|exists|ip4|ip6|ptr|mx|a)(?=[:/]|\Z)(.*)", re.IGNORECASE
)
_MODIFIER = re.compile(r"([a-z][a-z0-9_.-]*)=(.*)", re.IGNORECASE)
_PREFIXES = r"(?:/(?P<prefix4>0|[1-9]\d?))?(?://(?P<prefix6>0|[1-9]\d{0,2}))?"
_HOSTS = re.compile(rf"(?::(?P<domain>.+?))?{_PREFIXES}")
_DOMAIN = re.compile(r":(?P<domain>.+)")
_NETWORK = re.compile(r":(?P<network>[0-9a-f.:]+(?:/(?:0|[1-9]\d{0,2}))?)", re.IGNORECASE)

_EXPANSION = r"%(?:[%_-]|\{([slodiphv])(\d*)(r?)([.\-+,/_=]*)\})"
_MACROS = re.compile(_EXPANSION, re.IGNORECASE)
_MACRO_STRING = re.compile(rf"(?:{_EXPANSION}|[!-$&-~])*", re.IGNORECASE)
_TOP_LABEL = r"(?:[a-z0-9]*[a-z][a-z0-9]*|[a-z0-9]+-[a-z0-9-]*[a-z0-9])"
_DOMAIN_END = re.compile(rf"(?:.*\.{_TOP_LABEL}\.?|.*{_EXPANSION})", re.IGNORECASE)
_ESCAPES = {"%%": "%", "%_": " ", "%-": "%20"}
_LONGEST_NAME = 253
_LONGEST_SPEC = 500  # characters of a domain with macros


class Term(NamedTuple):
    """One directive. ``text``: as it stands in the record. ``result``: what it means if it matches.

    ``domain``: with its macros; empty: the record's own domain. ``network``: of ip4 and ip6.
    """

    text: str
    result: Result
    name: str
    domain: str = ""
    network: IPv4Network | IPv6Network | None = None
    prefix4: int = 32
    prefix6: int = 128


class Record(NamedTuple):
    """``redirect``: the domain whose record counts where no term matches; empty: none."""

    terms: tuple[Term, ...]
    redirect: str = ""


def is_spf(text: str) -> bool:
    """Whether a TXT record is one of SPF. Others are not looked at."""
    return _VERSION.match(text) is not None


def parse(text: str) -> Record:
    """Raises ValueError with a sentence where the record breaks the grammar."""
    terms: list[Term] = []
    modifiers: dict[str, str] = {}
    for word in text.split(" ")[1:]:
        if not word:
            continue
        if directive := _DIRECTIVE.fullmatch(word):
            terms.append(_term(word, *directive.groups()))
        elif modifier := _MODIFIER.fullmatch(word):
            name, value = modifier[1].lower(), modifier[2]
            if not _MACRO_STRING.fullmatch(value):
                raise ValueError(f"{word} has a macro or a character that SPF does not know")
            if name in ("redirect", "exp"):
                if name in modifiers:
                    raise ValueError(f"it has {name}= twice")
                modifiers[name] = _domain(word, value)
        else:
            raise ValueError(f"{word} is no term that SPF knows")
    return Record(tuple(terms), modifiers.get("redirect", ""))


def _term(word: str, qualifier: str, name: str, rest: str) -> Term:
    name = name.lower()
    term = Term(word, _QUALIFIERS.get(qualifier, "neutral"), name)
    if name == "all":
        if rest:
            raise ValueError(f"{word} has something behind all")
        return term
    if name in ("ip4", "ip6"):
        return term._replace(network=_network(word, name, rest))
    form = _HOSTS if name in ("a", "mx") else _DOMAIN
    if name == "ptr" and not rest:
        return term
    found = form.fullmatch(rest)
    if not found:
        raise ValueError(f"{word} lacks a domain, or has a wrong prefix length")
    given = found.groupdict()
    prefix4, prefix6 = int(given.get("prefix4") or 32), int(given.get("prefix6") or 128)
    if prefix4 > 32 or prefix6 > 128:
        raise ValueError(f"{word} has a prefix length that is too large")
    domain = _domain(word, given["domain"]) if given["domain"] else ""
    return term._replace(domain=domain, prefix4=prefix4, prefix6=prefix6)


def _network(word: str, name: str, rest: str) -> IPv4Network | IPv6Network:
    found = _NETWORK.fullmatch(rest)
    try:
        if found is None:
            raise ValueError
        network = ipaddress.ip_network(found["network"], strict=False)
    except ValueError:
        raise ValueError(f"{word} names no address or network") from None
    if network.version != int(name[-1]):
        raise ValueError(f"{word} names an address of the other kind")
    return network


def _domain(word: str, text: str) -> str:
    if len(text) > _LONGEST_SPEC:  # before the patterns, which are slow on long text
        raise ValueError(f"{word[:40]}… names a domain that is too long")
    if not _MACRO_STRING.fullmatch(text) or not _DOMAIN_END.fullmatch(text):
        raise ValueError(f"{word} names no full domain")
    return text


# --- macros ---


def expand(text: str, *, sender: str, domain: str, ip: Address) -> str:
    """A domain with its macros replaced (RFC 7208, 7).

    ``domain``: whose record it is. The name in HELO is taken to be the sender's domain. ``%{p}`` is
    ``unknown``, as the RFC allows: a look-up for it would prove little.
    """
    local, _, of_sender = sender.rpartition("@")
    values = {
        "s": sender,
        "l": local,
        "o": of_sender,
        "d": domain,
        "i": _dotted(ip),
        "p": "unknown",
        "h": of_sender,
        "v": "in-addr" if ip.version == 4 else "ip6",
    }

    def value(macro: re.Match[str]) -> str:
        letter, digits, is_reversed, delimiters = macro.groups()
        if not letter:
            return _ESCAPES[macro[0]]
        parts = re.split(f"[{re.escape(delimiters or '.')}]", values[letter.lower()])
        if is_reversed:
            parts.reverse()
        kept = ".".join(parts[-int(digits) :] if digits else parts)
        return quote(kept, safe="") if letter.isupper() else kept

    return _short_enough(_MACROS.sub(value, text).removesuffix("."))


def _dotted(ip: Address) -> str:
    return str(ip) if ip.version == 4 else ".".join(f"{int(ip):032x}")


def _short_enough(name: str) -> str:
    """Labels go from the left until a name fits into DNS (RFC 7208, 7.3)."""
    while len(name) > _LONGEST_NAME and "." in name:
        name = name.partition(".")[2]
    return name
