"""The token at the end of a link to unsubscribe: who unsubscribes from what, encrypted.

A token is base64url (RFC 4648, 5) without padding. Its bytes are the format's number, the key's id
and the output of AES-SIV (RFC 5297) for client, list and address. AES-SIV needs no nonce, so every
try of an e-mail has the same bytes. Without the key, nobody can read or make a token.
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from babygun.email.addresses import comparable
from babygun.store.secret_keys import KID_BYTES

# Of the API; a slash and a token follow.
UNSUBSCRIBE_PATH = "/unsubscribe"
SECRET_BYTES = 64  # AES-256: SIV takes two keys
# Characters. The longest client, list and address together need fewer.
LONGEST = 720

_FORMAT = 1
_HEAD = 1 + KID_BYTES
_well_formed = re.compile(rf"[A-Za-z0-9_-]{{1,{LONGEST}}}").fullmatch
_cipher = lru_cache(maxsize=64)(AESSIV)


class Subscription(NamedTuple):
    """What a link ends: a client's mail of one list (``*``: all of it) to one address.

    ``client_id``: with the serial. ``address``: in the form in which addresses are compared.
    """

    client_id: str
    list: str
    address: str


def make_token(kid: str, secret: bytes, client_id: str, list_name: str, address: str) -> str:
    """The token of one recipient. The same arguments give the same token.

    ``kid``: the key's id, in hex digits.
    """
    head = bytes([_FORMAT]) + bytes.fromhex(kid)
    words = "\n".join((client_id, list_name, comparable(address)))
    sealed = head + _cipher(secret).encrypt(words.encode(), [head])
    return urlsafe_b64encode(sealed).decode().rstrip("=")


def read_token(token: str, secret_of: Callable[[str], bytes | None]) -> Subscription | None:
    """What a token stands for. None: it is not ours, or its key is gone.

    ``secret_of``: the secret of a key's id, if there is such a key.
    """
    if not _well_formed(token):
        return None
    try:
        raw = urlsafe_b64decode(token + "=" * (-len(token) % 4))
    except ValueError:  # one character too many
        return None
    head = raw[:_HEAD]
    secret = secret_of(head[1:].hex())
    if head[0] != _FORMAT or secret is None:
        return None
    try:
        words = _cipher(secret).decrypt(raw[_HEAD:], [head]).decode()
    except (InvalidTag, ValueError):
        return None
    return Subscription(*words.split("\n"))
