"""How a domain asks for TLS reports: the TXT record of ``_smtp._tls.<domain>`` (RFC 8460, 3)."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from typing import Literal, NamedTuple
from urllib.parse import unquote, urlsplit

from babygun.dns import NoSuchName, Resolver
from babygun.email.addresses import parse_address

_VERSION = "v=TLSRPTv1"
_MOST = 10  # places of one record: its owner may name those of others
_split_fields = re.compile(r"[ \t]*;[ \t]*").split
_split_uris = re.compile(r"[ \t]*,[ \t]*").split


class ReportUri(NamedTuple):
    """``target``: the address of a mailto:, or the whole https URL."""

    kind: Literal["mailto", "https"]
    target: str


def uris_of(texts: Iterable[str]) -> tuple[str, ...]:
    """The places that TXT records name, as they are written there.

    None, too, where several records are of this version (RFC 8460, 3).
    """
    ours = [fields for text in texts if (fields := _split_fields(text))[0] == _VERSION]
    if len(ours) != 1:
        return ()
    for field in ours[0][1:]:
        name, _, value = field.partition("=")
        if name == "rua":
            found = [uri for uri in _split_uris(value) if understood(uri) is not None]
            return tuple(dict.fromkeys(found))[:_MOST]
    return ()


def understood(uri: str) -> ReportUri | None:
    """None: nothing can be sent there."""
    scheme, _, rest = uri.partition(":")
    if scheme.lower() == "mailto":
        try:
            return ReportUri("mailto", parse_address(unquote(rest.partition("?")[0])).email)
        except ValueError:
            return None
    if not uri.isascii() or not uri.isprintable():
        return None
    try:
        parts = urlsplit(uri)
        usable = parts.scheme == "https" and _is_name(parts.hostname or "") and parts.port != 0
    except ValueError:
        return None
    return ReportUri("https", uri) if usable else None


def _is_name(host: str) -> bool:
    """Whether it is none of an IP address, which may be one of our own network."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return bool(host)
    return False


async def asks(resolver: Resolver, domain: str) -> tuple[str, ...]:
    """Where a domain wants reports to go; empty: it wants none.

    Raises LookupFailed, OutOfResources.
    """
    try:
        answer = await resolver.lookup(f"_smtp._tls.{domain}", "TXT")
    except NoSuchName:
        return ()
    return uris_of(record.value for record in answer.records)
