"""How a domain asks for TLS reports: the TXT record of ``_smtp._tls.<domain>`` (RFC 8460, 3)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import islice
from typing import Literal, NamedTuple
from urllib.parse import unquote, urlsplit

from babygun.dns import NoSuchName, Resolver
from babygun.email.addresses import parse_address

_VERSION = "v=TLSRPTv1"
_MOST = 10  # places of one record: its owner may name those of others
_is_printed = re.compile(r"[!-~]{1,1000}").fullmatch  # RFC 3986, within reason
# A name in DNS. Its last label begins with a letter: all other forms may be an IP address.
_is_name = re.compile(r"([a-z0-9_-]{1,63}\.)+[a-z][a-z0-9-]{1,62}\.?", re.IGNORECASE).fullmatch


class ReportUri(NamedTuple):
    """``target``: the address of a mailto:, or the whole https URL."""

    kind: Literal["mailto", "https"]
    target: str


def uris_of(texts: Iterable[str]) -> tuple[str, ...]:
    """The places that TXT records name, as they are written there.

    None, too, where several records are of this version (RFC 8460, 3).
    """
    ours = [fields for text in texts if (fields := _split(text, ";"))[0] == _VERSION]
    if len(ours) != 1:
        return ()
    for field in ours[0][1:]:
        name, _, value = field.partition("=")
        if name == "rua":
            found = dict.fromkeys(_split(value, ","))
            return tuple(islice((uri for uri in found if understood(uri) is not None), _MOST))
    return ()


def _split(text: str, sign: str) -> list[str]:
    """The parts between signs, without the spaces around them."""
    return [part.strip(" \t") for part in text.split(sign)]


def understood(uri: str) -> ReportUri | None:
    """None: nothing can be sent there. An IP address may be one of our own network."""
    scheme, _, rest = uri.partition(":")
    if scheme.lower() == "mailto":
        try:
            address = parse_address(unquote(rest.partition("?")[0])).email
        except ValueError:
            return None
        return None if address.endswith("]") else ReportUri("mailto", address)
    if not _is_printed(uri):
        return None
    try:
        parts = urlsplit(uri)
        usable = parts.scheme == "https" and parts.port != 0 and _is_name(parts.hostname or "")
    except ValueError:
        return None
    return ReportUri("https", uri) if usable else None


async def asks(resolver: Resolver, domain: str) -> tuple[str, ...]:
    """Where a domain wants reports to go; empty: it wants none.

    Raises LookupFailed, OutOfResources.
    """
    try:
        answer = await resolver.lookup(f"_smtp._tls.{domain}", "TXT")
    except NoSuchName:
        return ()
    return uris_of(record.value for record in answer.records)
