"""What a webhook may be: the rules of its URL, event types, tags and secret.

Each function returns the value as it is stored. It raises ValueError, with a sentence that names
the remedy.
"""

from __future__ import annotations

import binascii
import ipaddress
import re
from base64 import b64decode
from collections.abc import Collection, Sequence
from difflib import get_close_matches
from urllib.parse import urlsplit

from babygun.mime.urls import ascii_urls
from babygun.routing.host_addresses import Address, may_be_dialled
from babygun.runtime.networks import Network

MAX_URL = 2048
ALL = "*"
# Standard Webhooks: the prefix of a secret, and how many bytes its base64 may hold.
SECRET_PREFIX = "whsec_"  # noqa: S105 (what each secret begins with)
SECRET_BYTES = range(24, 65)

_GOOD = "give one such as https://shop.example.com/webhooks/mail"
_outside = re.compile(r"[\x00-\x20\x7f\\]").search
_name = re.compile(r"(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z0-9_-]{1,63}\.?").fullmatch
# RFC 6761: these names are this machine's.
_LOCALHOST = re.compile(r"(?:.*\.)?localhost\.?").fullmatch
_LOOPBACK = ipaddress.IPv4Address("127.0.0.1")
# A host that ends so is an address of IPv4 for some programs: 0x7f.1, 2130706433.
_number = re.compile(r"(?:.*\.)?(?:[0-9]+|0x[0-9a-f]*)\.?").fullmatch


def parse_url(text: str, *, allow_http: bool, allowed: Sequence[Network]) -> str:
    """A URL in ASCII, to which events may be sent.

    ``allowed``: networks beside the public Internet. A name's addresses are checked at each
    connection; here only a host that is an address itself.
    """
    text = text.strip()
    if _outside(text):
        raise ValueError("the url has a space, a control character or \\ in it: percent-encode it")
    try:
        text = ascii_urls(text)
    except ValueError as error:
        raise ValueError(f"the url can't be read ({error}): {_GOOD}") from None
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise ValueError(f"the url's host or port can't be read: {_GOOD}") from None
    if len(text) > MAX_URL:
        raise ValueError(f"the url has {len(text)} characters: give one of at most {MAX_URL}")
    _check_scheme(parts.scheme, allow_http)
    if parts.username is not None or parts.password is not None:
        raise ValueError(
            "the url has a user name or password in it: leave them out. Verify the signature"
            " instead, which shows that a request comes from here"
        )
    if "#" in text:
        raise ValueError("the url has a fragment: leave out the # and what is behind it")
    if port == 0:
        raise ValueError("the url has port 0: give one from 1 to 65535, or none")
    _check_host((parts.hostname or "").lower(), bracketed="[" in parts.netloc, allowed=allowed)
    return text


def _check_scheme(scheme: str, allow_http: bool) -> None:
    if scheme == "https" or (scheme == "http" and allow_http):
        return
    if scheme == "http":
        raise ValueError(
            "the url must begin with https://: over http others can read the events. An operator"
            " can allow http by the setting webhook_allow_http"
        )
    raise ValueError(f"the url must begin with https://: {_GOOD}")


def _check_host(host: str, *, bracketed: bool, allowed: Sequence[Network]) -> None:
    """Refuses a host that is no name, and an address that no event may go to."""
    address: Address | None = None
    if bracketed or ":" in host:
        try:
            address = ipaddress.IPv6Address(host)
        except ValueError:
            raise ValueError(f"[{host}] is no address of IPv6: {_GOOD}") from None
        if address.scope_id:
            raise ValueError("the address has a zone (%): leave it out")
    elif _number(host):
        try:
            address = ipaddress.IPv4Address(host)
        except ValueError:
            raise ValueError(
                f"{host} ends with a number, and is no address of IPv4: write four numbers with"
                " dots between them, or a name"
            ) from None
    elif _LOCALHOST(host):
        address = _LOOPBACK
    elif len(host) > 253 or not _name(host):
        raise ValueError(f"the url has no name of a host: {_GOOD}")
    if address is not None and not may_be_dialled(address, allowed):
        raise ValueError(
            f"{host} is not on the public Internet: no event goes there. Give a public host, or"
            " have an operator allow its network by the setting webhook_allow_networks"
        )


def parse_event(name: str, types: Collection[str]) -> str:
    """One event type of a webhook's filter, or ``*`` for all."""
    if name == ALL or name in types:
        return name
    near = get_close_matches(name.lower().rpartition(".")[2], types, 1, 0.5)
    hint = f": did you mean {near[0]}?" if near else "."
    raise ValueError(
        f"there is no event type {name[:40]!a}{hint} The types are {', '.join(types)};"
        f" {ALL} stands for all of them"
    )


def parse_secret(text: str) -> str:
    """A secret that the client chose, as Standard Webhooks writes it."""
    shortest, longest = SECRET_BYTES[0], SECRET_BYTES[-1]
    remedy = (
        f"a secret is {SECRET_PREFIX} and {shortest} to {longest} random bytes in base64:"
        " leave it out, and one is made for you"
    )
    if not text.startswith(SECRET_PREFIX):
        raise ValueError(f"the secret does not begin with {SECRET_PREFIX}: {remedy}")
    try:
        key = b64decode(text.removeprefix(SECRET_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError(
            f"what follows {SECRET_PREFIX} is no base64 (with its = at the end): {remedy}"
        ) from None
    if len(key) not in SECRET_BYTES:
        raise ValueError(f"the secret has {len(key)} bytes: {remedy}")
    return text
