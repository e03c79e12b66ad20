"""Return paths: envelope senders that say by themselves which e-mail a bounce message is about.

    bounces+<id>.<recipient><generation>.<client>.<mac>@bounces.example.com

The local part has 64 octets, the most that RFC 5321 (4.5.3.1.1) allows. All of it is base32 in
lower case (RFC 4648, 6), so a server that changes the case of letters does no harm:

==============  ==========  =======================================================================
``id``          26 letters  the e-mail's id
``recipient``   8 letters   40 bits of a hash of the recipient, or of the queue if one address is
                            for all of it
``generation``  1 letter    how often the recipient was retried by a client, modulo 32. So a late
                            copy of an earlier bounce message says nothing of a later delivery
``client``      6 letters   30 bits of a hash of the client: it is found though the record is gone
``mac``         12 letters  60 bits of a keyed hash (BLAKE2b) of all that stands before it
==============  ==========  =======================================================================
"""

from __future__ import annotations

import re
from base64 import b32decode, b32encode
from collections.abc import Iterable
from functools import lru_cache
from hashlib import blake2b
from hmac import compare_digest
from typing import NamedTuple

from babygun.email.addresses import comparable
from babygun.email.ids import is_email_id

# Before what the address says. Mail servers take what follows the plus as a detail.
PREFIX = "bounces+"
SECRET_BYTES = 32

_GENERATIONS = "abcdefghijklmnopqrstuvwxyz234567"
_MAC = 12
_local_part = re.compile(
    r"bounces\+([a-z2-7]{26})\.([a-z2-7]{8})([a-z2-7])\.([a-z2-7]{6})\.([a-z2-7]{12})"
).fullmatch


class ReturnPath(NamedTuple):
    """What a return path says. ``recipient`` and ``client``: hashes.

    ``generation``: see :func:`is_of_generation`.
    """

    email_id: str
    recipient: str
    generation: int
    client: str


def of_recipient(email_id: str, address: str, retried: int, client_id: str) -> ReturnPath:
    """The return path of one recipient. ``client_id``: with serial."""
    recipient = hash_of_recipient(email_id, address)
    return ReturnPath(email_id, recipient, retried % 32, hash_of_client(client_id))


def of_queue(email_id: str, queue: str, retried: int, client_id: str) -> ReturnPath:
    """The return path of all recipients of a queue."""
    recipient = hash_of_queue(email_id, queue)
    return ReturnPath(email_id, recipient, retried % 32, hash_of_client(client_id))


def local_part(path: ReturnPath, secret: bytes) -> str:
    """The local part of its address. The same arguments give the same one."""
    email_id = _base32(bytes.fromhex(path.email_id.replace("-", "")))
    recipient = f"{path.recipient}{_GENERATIONS[path.generation]}"
    said = f"{PREFIX}{email_id}.{recipient}.{path.client}"
    return f"{said}.{_mac(said, secret)}"


def is_return_path(text: str) -> bool:
    """Whether a local part has the form of one. Its mac may be anybody's."""
    return _local_part(text.lower()) is not None


def read(text: str, secrets: Iterable[bytes]) -> ReturnPath | None:
    """What a local part says. None: it is not ours, or its key is gone."""
    text = text.lower()
    if (found := _local_part(text)) is None:
        return None
    said, _, mac = text.rpartition(".")
    if not any(compare_digest(_mac(said, secret), mac) for secret in secrets):
        return None
    digits = b32decode(found[1].upper() + "======").hex()
    email_id = "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))
    if not is_email_id(email_id):
        return None
    return ReturnPath(email_id, found[2], _GENERATIONS.index(found[3]), found[4])


def is_of_generation(path: ReturnPath, retried: int) -> bool:
    """Whether it was made after so many retries by a client."""
    return path.generation == retried % 32


def hash_of_recipient(email_id: str, address: str) -> str:
    return _hash("recipient", email_id, comparable(address))


def hash_of_queue(email_id: str, queue: str) -> str:
    return _hash("queue", email_id, queue)


@lru_cache(maxsize=1024)
def hash_of_client(client_id: str) -> str:
    """``client_id``: with serial."""
    return _hash("client", client_id)[:6]


def _hash(*words: str) -> str:
    return _base32(blake2b("\n".join(words).encode(), digest_size=5).digest())


def _mac(said: str, secret: bytes) -> str:
    return _base32(blake2b(said.encode(), digest_size=8, key=secret).digest())[:_MAC]


def _base32(data: bytes) -> str:
    return b32encode(data).decode().rstrip("=").lower()
