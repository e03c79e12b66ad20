"""URLs beyond ASCII (RFC 3987) as the ASCII ones that stand for them."""

from __future__ import annotations

import re
from urllib.parse import quote as percent_quote

from babygun.email.addresses import to_ascii_domain

# The bound keeps a search linear: schemes are short.
_URL = re.compile(r"(mailto:|[A-Za-z][A-Za-z0-9+.-]{0,30}://)([^ \t<>\"]*)", re.IGNORECASE)
_whole_url = re.compile(rf"<?{_URL.pattern}>?", re.IGNORECASE).fullmatch
_BEYOND_ASCII = re.compile(r"[^\x00-\x7f]+")
_AUTHORITY_END = re.compile(r"[/?#]")


def is_url(text: str) -> bool:
    """Whether the text is one URL, perhaps in angle brackets."""
    return _whole_url(text) is not None


def ascii_urls(text: str) -> str:
    """The text with each URL in ASCII: a host by IDNA, the rest percent-encoded (RFC 3987, 3.1).

    What stands between the URLs stays. Raises ValueError if a host has no ASCII form.
    """
    return _URL.sub(_ascii_url, text)


def _ascii_url(match: re.Match[str]) -> str:
    scheme, rest = match.groups()
    if rest.isascii():
        return match[0]
    if scheme.lower() == "mailto:":  # RFC 6068, 2
        addresses, question, query = rest.partition("?")
        to = ",".join(map(_ascii_authority, addresses.split(",")))
        return f"{scheme}{to}{question}{_percent(query)}"
    end = found.start() if (found := _AUTHORITY_END.search(rest)) else len(rest)
    return f"{scheme}{_ascii_authority(rest[:end])}{_percent(rest[end:])}"


def _ascii_authority(text: str) -> str:
    """``user@host:port``, or an address."""
    user, at, host = text.rpartition("@")
    name, colon, port = host.partition(":")
    if not name.isascii():
        name = to_ascii_domain(f"@{name}")[1:]
    return f"{_percent(user)}{at}{name}{colon}{_percent(port)}"


def _percent(text: str) -> str:
    return _BEYOND_ASCII.sub(lambda found: percent_quote(found[0], errors="replace"), text)
