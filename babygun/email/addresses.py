"""E-mail addresses as people write them: ``a@example.org``, ``Doe, A <a@example.org>``.

This is the one reader of addresses: of senders, recipients, header fields and filters.

An address is accepted if it can be sent to: RFC 5321, 4.1.2; RFC 6531 for UTF-8 in local parts;
RFC 5890 for domains. A display name may be any text, in quotation marks or not. A local part may
have dots where RFC 5321 wants quotation marks; they are added. Routes and groups are not taken, and
one address at a time. Nothing is looked up, so the domain need not exist.
"""

from __future__ import annotations

import re
from hashlib import sha256
from unicodedata import normalize

import msgspec

from babygun.email.domains import DOMAIN, ascii_domain, parse_domain

# Octets (RFC 5321, 4.5.3.1.1).
LOCAL_MAX = 64
# Octets: a path has 256 with its angle brackets (RFC 5321, 4.5.3.1.3).
EMAIL_MAX = 254
# Characters of a display name. No person's is longer, and a header must stay small.
NAME_MAX = 500


class Address(msgspec.Struct, frozen=True):
    """``name``: the display name, or "". ``email``: the bare address, its domain in lower case."""

    name: str
    email: str


_ATEXT = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_DOT_ATOM = rf"{_ATEXT}(?:\.{_ATEXT})*"
_CONTROLS = r"\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff"
# They turn the direction of the text behind them, so also of the address behind a name (UAX 9, 2).
_OVERRIDES = r"\u202a-\u202e\u2066-\u2069"
# Nearly all addresses match these two, so a request with a thousand of them costs little. The
# others are parsed by hand.
_PLAIN = re.compile(rf"({_DOT_ATOM})@({DOMAIN})")
_NAMED = re.compile(
    rf'(?:([^"<>@{_CONTROLS}{_OVERRIDES}]*)|"([^"\\{_CONTROLS}{_OVERRIDES}]*)" ?)'
    rf"<({_DOT_ATOM})@({DOMAIN})>"
)
_CONTROL = re.compile(f"[{_CONTROLS}]")
_OVERRIDE = re.compile(f"[{_OVERRIDES}]")
_PLAIN_LOCAL = re.compile(rf"{_DOT_ATOM}\Z")
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')
_UNQUOTE = re.compile(r"\\(.)")
_UNQUOTED_NAME = re.compile(r'[^"<>]*')
# An address in a name, with something behind it. In parentheses it is a remark.
_ADDRESS_AND_MORE = re.compile(r'[^\s@",;()]@[^\s@",;()]+(?:\s*[,;]|\s+[^\s(])')
# The name behind the address, as in RFC 822.
_COMMENTED = re.compile(r'([^\s@",;()<>]+@[^\s@",;()<>]+) \(([^()\\]*)\)')
_HASH = re.compile("sha256:[0-9a-f]{32}")
_SEVERAL = "there is more than one address; give each on its own, in a list"


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


def parse_sender(text: str) -> Address:
    """As :func:`parse_address`, for the sender of an e-mail.

    Dots that need quotation marks are refused without them: in a sender they are a slip, and all
    of its mail would bounce. A recipient may have such an address, so it is tried.
    """
    address = parse_address(text)
    if address.email.startswith('"') and '"@' not in text:
        raise ValueError(
            "the sender's local part has two dots in a row or one at an end; "
            "if that is meant, it must stand in quotation marks"
        )
    return address


def comparable(email: str) -> str:
    """The form in which addresses are compared. It is not for sending.

    ``email``: a bare address from :func:`parse_address`, or ``@`` and a domain. Two addresses of
    one mailbox have one form: the domain in ASCII, all in lower case, Unicode as NFC. Servers may
    distinguish local parts by case (RFC 5321, 2.4); those of no provider do.
    """
    if email.isascii():
        return email.lower()
    local, at, domain = email.rpartition("@")
    lower = normalize("NFC", normalize("NFC", local).lower())
    return f"{lower}{at}{ascii_domain(domain).lower()}"


def hash_of(email: str) -> str:
    """What stands for an address where the address itself must not: ``sha256:`` and 32 hex digits.

    Addresses of one mailbox have one hash. Who knows an address can compare it, and nobody can
    read the address from it.
    """
    return f"sha256:{sha256(comparable(email).encode()).hexdigest()[:32]}"


def is_hash(text: str) -> bool:
    """Whether a text is what :func:`hash_of` makes."""
    return _HASH.fullmatch(text) is not None


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
    return f"{local}{at}{ascii_domain(domain)}"


def quote(text: str) -> str:
    """A quoted string (RFC 5322, 3.2.4)."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


# --- addresses that the two patterns do not match ---


def _parse(text: str) -> Address:
    if _CONTROL.search(text):
        raise ValueError("the address has a line break or another control character")
    text = text.strip()
    if text.endswith(";") and ":" in text:
        raise ValueError("a group is not taken; give each address on its own, in a list")
    text = text.removesuffix(",").removesuffix(";").rstrip()  # copied out of a list
    if not text:
        raise ValueError("the address is empty")
    name, email = "", text
    if text.endswith(">"):
        name, email = _named(text)
    elif match := _COMMENTED.fullmatch(text):
        email, name = match.groups()
    elif "<" in text and text.count("@") == 1 and not text.startswith('"'):
        raise ValueError("the address has a < without a > at its end")
    name = _OVERRIDE.sub("", name).strip(" ")
    if len(name) > NAME_MAX:
        raise ValueError(f"the name has {len(name)} characters; the most is {NAME_MAX}")
    return Address(name, _email(email))


def _named(text: str) -> tuple[str, str]:
    """The display name, and the address between ``<`` and ``>``. The text ends with ``>``."""
    parts: list[str] = []
    bare = ""  # the name, with nothing in its quotation marks
    at = 0
    while text[at] != "<":
        if text[at] == '"':
            match = _QUOTED.match(text, at)
            if not match:
                raise ValueError("a quotation mark in the name is not closed")
            parts.append(_UNQUOTE.sub(r"\1", match[1]))
            bare += '""'
        else:
            match = _UNQUOTED_NAME.match(text, at)
            assert match is not None  # it matches the empty text too
            parts.append(match[0])
            bare += match[0]
            if text[match.end()] == ">":
                raise ValueError("the address has a > without a <")
        at = match.end()
    if "@" in bare and _ADDRESS_AND_MORE.search(bare):
        raise ValueError(f"{_SEVERAL}, or put the name in quotation marks")
    email = text[at + 1 : -1].strip()
    if ">" in email.partition("<")[0] and email.count("@") == 1 and not email.startswith('"'):
        raise ValueError("a name with < in it must stand in quotation marks")
    return "".join(parts), email


def _email(text: str) -> str:
    local, domain = _split(text)
    local = _local(local)
    email = f"{local}@{parse_domain(domain)}"
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
        raise ValueError(_SEVERAL if several else "the address has more than one @")
    if local[:7].lower() == "mailto:":
        raise ValueError("the address begins with mailto:, which is no part of it")
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
        wrong = next(
            (character for character in local if character != "." and not _is_atext(character)),
            None,
        )
        if wrong is None and not local.strip("."):
            raise ValueError("the local part has nothing but dots")
        if wrong is None and not _is_dot_atom(local):
            local = quote(local)  # two dots in a row, or one at an end
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
