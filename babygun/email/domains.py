"""Domains of addresses: as people write them, as they are sent, as they are compared.

A domain beyond ASCII has an ASCII form by IDNA 2008 (RFC 5891), after the mapping of UTS 46: lower
case, NFC, full-width characters. ß and ς stay what they are, as they do in browsers: faß.example
and fass.example are two domains.
"""

from __future__ import annotations

import ipaddress
import re
from functools import lru_cache

import idna

# Octets (RFC 1035, 2.3.4).
LABEL_MAX = 63
# Octets of a whole address (RFC 5321, 4.5.3.1.3).
_LONGEST = 254

_LABEL = r"(?!-)[A-Za-z0-9-]{1,63}(?<!-)"
# A regular expression. The last label has a letter. Otherwise it is an IP address without brackets.
DOMAIN = rf"(?:{_LABEL}\.)*(?![0-9]+\Z|[0-9]+>){_LABEL}"
_CODE_POINT = re.compile(r"u\+([0-9a-f]{4,6})")
_PLAIN_LABEL = re.compile(rf"{_LABEL}\Z")


def parse_domain(text: str) -> str:
    """A domain in lower case, or an address literal. Its last dot, DNS's root, is left out.

    It stays in the form in which it is given, in Unicode or ASCII. Raises ValueError.
    """
    return _literal(text) if text.startswith("[") else _domain(text)


# Cached: it takes 80 µs, and an e-mail's envelope and header need the same domains.
@lru_cache(maxsize=4096)
def _encode(domain: str) -> str:
    try:
        return idna.encode(domain, uts46=True, std3_rules=True).decode("ascii")
    except (idna.IDNAError, UnicodeError) as error:
        raise ValueError(_why_not(error)) from None


def ascii_domain(domain: str) -> str:
    """``bücher.example`` is ``xn--bcher-kva.example``. ASCII stays as it is. Raises ValueError."""
    return domain if domain.isascii() else _encode(domain)


def _literal(domain: str) -> str:
    """An address literal (RFC 5321, 4.1.3)."""
    inner = domain[1:-1]
    try:
        if not domain.endswith("]"):
            raise ValueError
        if inner[:5].lower() == "ipv6:" and "%" not in inner:
            return f"[IPv6:{ipaddress.IPv6Address(inner[5:]).compressed}]"
        return f"[{ipaddress.IPv4Address(inner)}]"
    except ValueError:
        raise ValueError(
            "the address literal is not of the form [192.0.2.1] or [IPv6:2001:db8::1]"
        ) from None


def _domain(domain: str) -> str:
    if len(domain) > _LONGEST:  # first, since the rest is slow on long text
        raise ValueError(
            f"the domain has {len(domain)} characters; an address has at most {_LONGEST} octets"
        )
    domain = domain.lower() if domain.isascii() else _unicode_domain(domain)
    domain = domain.removesuffix(".")
    labels = domain.split(".")
    if not all(labels):
        raise ValueError("the domain begins with a dot or has two in a row")
    if not domain.isascii():
        ascii_domain(domain)
        return domain
    for label in labels:
        if len(label) > LABEL_MAX:
            raise ValueError(
                f"a label of the domain has {len(label)} characters; the most is {LABEL_MAX}"
            )
        if not _PLAIN_LABEL.match(label):
            if label.startswith("-") or label.endswith("-"):
                raise ValueError("a label of the domain begins or ends with a hyphen")
            if any(separator in label for separator in ",; ") and "." in domain:
                raise ValueError("the domain has a space, comma or semicolon in it")
            wrong = next(c for c in label if not (c.isalnum() or c == "-"))
            raise ValueError(f"the domain has {wrong} in it")
    if labels[-1].isdigit():
        raise ValueError("the domain ends with a number; an IP address must stand in brackets")
    return domain


def _unicode_domain(domain: str) -> str:
    """The domain in lower case, with one form of each character (UTS 46).

    A domain of full-width letters or dots becomes ASCII.
    """
    try:
        return idna.uts46_remap(domain, std3_rules=True)
    except (idna.IDNAError, UnicodeError) as error:
        raise ValueError(_why_not(error)) from None


def _why_not(error: Exception) -> str:
    """Why a domain has no ASCII form. The library names a character by its code alone."""
    said = str(error).lower()
    if found := _CODE_POINT.search(said):
        character = chr(int(found[1], 16))
        shown = f"{character} " if character.isprintable() else ""
        why = f"{shown}(U+{found[1].upper()}) is not allowed there"
    elif isinstance(error, idna.IDNABidiError):
        why = "a label of it mixes directions of writing"
    elif "hyphen" in said:
        why = "a label of it begins or ends with a hyphen, or has two in a row"
    elif "too long" in said:
        why = f"a label of it is too long in ASCII; the most is {LABEL_MAX} characters"
    else:
        why = "it has no form in ASCII (IDNA 2008)"
    return f"the domain is not valid: {why}"
