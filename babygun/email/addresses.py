"""E-mail addresses as people write them: ``a@example.org``, ``"Doe, A" <a@example.org>``.

An address is accepted if it can be sent to: RFC 5321, 4.1.2; RFC 6531 for UTF-8 in local parts;
RFC 5890 for domains. That is less than RFC 5322 allows in a header: no comments, routes or groups,
and one address at a time. Nothing is looked up, so the domain need not exist.
"""

from __future__ import annotations

import ipaddress
import re
from functools import lru_cache

import idna
import msgspec

# Octets (RFC 5321, 4.5.3.1.1).
LOCAL_MAX = 64
# Octets: a path has 256 with its angle brackets (RFC 5321, 4.5.3.1.3).
EMAIL_MAX = 254
# Octets (RFC 1035, 2.3.4).
LABEL_MAX = 63
# Characters of a display name. No person's is longer, and a header must stay small.
NAME_MAX = 500


class Address(msgspec.Struct, frozen=True):
    """``name``: the display name, or "". ``email``: the bare address, its domain in lower case."""

    name: str
    email: str


_ATEXT = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_DOT_ATOM = rf"{_ATEXT}(?:\.{_ATEXT})*"
_LABEL = r"(?!-)[A-Za-z0-9-]{1,63}(?<!-)"
# The last label has a letter. Otherwise it is an IP address without brackets.
_DOMAIN = rf"(?:{_LABEL}\.)*(?![0-9]+\Z|[0-9]+>){_LABEL}"
_CONTROLS = r"\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff"
# Nearly all addresses match these two, so a request with a thousand of them costs little. The
# others are parsed by hand.
_PLAIN = re.compile(rf"({_DOT_ATOM})@({_DOMAIN})")
_NAMED = re.compile(
    rf'(?:([^"<>@,;\\{_CONTROLS}]*)|"([^"\\{_CONTROLS}]*)" ?)<({_DOT_ATOM})@({_DOMAIN})>'
)
_CONTROL = re.compile(f"[{_CONTROLS}]")
_PLAIN_LOCAL = re.compile(rf"{_DOT_ATOM}\Z")
_PLAIN_LABEL = re.compile(rf"{_LABEL}\Z")
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')
_UNQUOTE = re.compile(r"\\(.)")
_NAME_ATOMS = re.compile(rf"{_ATEXT}(?: {_ATEXT})*\Z")
_UNQUOTED_NAME = re.compile(r'[^"<>@,;\\]*')


def parse_address(text: str) -> Address:
    """One address, with or without a display name.

    Raises ValueError with a sentence that says what is wrong.
    """
    match = _PLAIN.fullmatch(text)
    if match:
        local, domain = match.groups()
        if len(local) <= LOCAL_MAX and len(text) <= EMAIL_MAX:
            return Address("", f"{local}@{domain.lower()}")
    else:
        match = _NAMED.fullmatch(text)
        if match:
            name, quoted, local, domain = match.groups()
            name = (name if quoted is None else quoted).strip(" ")
            if (
                len(name) <= NAME_MAX
                and len(local) <= LOCAL_MAX
                and len(local) + len(domain) < EMAIL_MAX
            ):
                return Address(name, f"{local}@{domain.lower()}")
    return _parse(text)


def needs_smtputf8(email: str) -> bool:
    """Whether an address needs SMTPUTF8: its local part is not ASCII.

    A domain always has an ASCII form.
    """
    return not email.isascii() and not email.rpartition("@")[0].isascii()


def to_ascii_domain(email: str) -> str:
    """The address with its domain in ASCII: ``a@bücher.example`` is ``a@xn--bcher-kva.example``.

    Raises ValueError if the domain has no ASCII form.
    """
    if email.isascii():
        return email
    local, at, domain = email.rpartition("@")
    return f"{local}{at}{domain if domain.isascii() else _ascii_domain(domain)}"


def quote(text: str) -> str:
    """A quoted string (RFC 5322, 3.2.4)."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


# --- addresses that the two patterns do not match ---


def _parse(text: str) -> Address:
    if _CONTROL.search(text):
        raise ValueError("the address has a line break or another control character")
    text = text.strip(" ")
    if not text:
        raise ValueError("the address is empty")
    if not text.endswith(">"):
        return Address("", _email(text))
    name, rest = _name(text)
    return Address(name, _email(rest[1:-1].strip(" ")))


def _name(text: str) -> tuple[str, str]:
    """The display name, and the rest, which begins with ``<``."""
    parts: list[str] = []
    at = 0
    while text[at] != "<":
        if text[at] == '"':
            match = _QUOTED.match(text, at)
            if not match:
                raise ValueError("a quotation mark in the name is not closed")
            parts.append(_UNQUOTE.sub(r"\1", match[1]))
        else:
            match = _UNQUOTED_NAME.match(text, at)
            assert match is not None  # it matches the empty text too
            parts.append(match[0])
            if match.end() < len(text) and text[match.end()] not in '<"':
                raise ValueError(_stray(text, text[match.end()]))
        at = match.end()
        if at >= len(text):
            raise ValueError("the address has a > without a <")
    name = "".join(parts).strip(" ")
    if len(name) > NAME_MAX:
        raise ValueError(f"the name has {len(name)} characters; the most is {NAME_MAX}")
    return name, text[at:]


def _stray(text: str, character: str) -> str:
    if character in ",;" and text.count("@") > 1:
        return "there is more than one address; give each on its own, in a list"
    if character == ">":
        return "the address has a > without a <"
    return f"a name with {character} in it must stand in quotation marks"


def _email(text: str) -> str:
    local, domain = _split(text)
    local = _local(local)
    domain = _literal(domain) if domain.startswith("[") else _domain(domain)
    email = f"{local}@{domain}"
    octets = max(len(email.encode()), len(to_ascii_domain(email).encode()))
    if octets > EMAIL_MAX:
        raise ValueError(f"the address has {octets} octets; the most is {EMAIL_MAX}")
    return email


def _split(text: str) -> tuple[str, str]:
    quoted = _QUOTED.match(text)
    if quoted:
        if text[quoted.end() : quoted.end() + 1] != "@":
            raise ValueError("the quoted local part is not followed by @")
        local, domain = quoted[0], text[quoted.end() + 1 :]
    else:
        if text.startswith('"'):
            raise ValueError("the quotation mark before the local part is not closed")
        local, at, domain = text.partition("@")
        if not at:
            raise ValueError("the address has no @")
    if "@" in domain:
        several = any(separator in domain for separator in ",; ")
        raise ValueError(
            "there is more than one address; give each on its own, in a list"
            if several
            else "the address has more than one @"
        )
    if not local:
        raise ValueError("the address has nothing before the @")
    if not domain:
        raise ValueError("the address has nothing after the @")
    return local, domain


def _local(local: str) -> str:
    """A local part in its shortest form: quoted only if it must be (RFC 5321, 4.1.2)."""
    if local.startswith('"'):
        content = _UNQUOTE.sub(r"\1", local[1:-1])
        if not content:
            raise ValueError("the address has nothing before the @")
        local = content if _is_dot_atom(content) else quote(content)
        wrong = next((character for character in content if not character.isprintable()), None)
    else:
        if local.startswith(".") or local.endswith("."):
            raise ValueError("the local part begins or ends with a dot")
        if ".." in local:
            raise ValueError("the local part has two dots in a row")
        wrong = next(
            (character for character in local if character != "." and not _is_atext(character)),
            None,
        )
    if wrong is not None:
        shown = wrong if wrong.isprintable() else f"the character U+{ord(wrong):04X}"
        if wrong == " ":
            shown = "a space"
        quotable = wrong.isascii() and not local.startswith('"')
        advice = "; it must stand in quotation marks" if quotable else ""
        raise ValueError(f"the local part has {shown} in it{advice}")
    octets = len(local.encode())
    if octets > LOCAL_MAX:
        raise ValueError(f"the local part has {octets} octets; the most is {LOCAL_MAX}")
    return local


def _is_atext(character: str) -> bool:
    """atext of RFC 5322 and, beyond ASCII (RFC 6531), any character that is visible."""
    if character.isascii():
        return _PLAIN_LOCAL.match(character) is not None
    return character.isprintable()


def _is_dot_atom(text: str) -> bool:
    return all(part and all(map(_is_atext, part)) for part in text.split("."))


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
    if len(domain) > EMAIL_MAX:  # first, since the rest is slow on long text
        raise ValueError(
            f"the domain has {len(domain)} characters; an address has at most {EMAIL_MAX} octets"
        )
    domain = domain.lower() if domain.isascii() else _unicode_domain(domain)
    if domain.endswith("."):
        raise ValueError("the domain ends with a dot")
    if not domain.isascii():
        _ascii_domain(domain)
        return domain
    labels = domain.split(".")
    for label in labels:
        if not label:
            raise ValueError("the domain begins with a dot or has two in a row")
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
        raise ValueError(f"the domain is not valid: {error}") from None


# Cached: it takes 80 µs, and an e-mail's envelope and header need the same domains.
@lru_cache(maxsize=4096)
def _ascii_domain(domain: str) -> str:
    try:
        return idna.encode(domain, uts46=True, std3_rules=True).decode("ascii")
    except (idna.IDNAError, UnicodeError) as error:
        raise ValueError(f"the domain is not valid: {error}") from None
