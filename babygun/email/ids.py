"""Ids of e-mails. An id is a UUIDv7 (RFC 9562), so ids sort by time.

An id's last two hex digits are its shard.

The 12 bits after the version hold the fraction of the millisecond (RFC 9562, section 6.2, method
3). So ids that one process makes in one millisecond sort by their time too, as finely as 0.25 µs.
The other 62 bits are random. The caller passes the time and the random digits.
"""

from __future__ import annotations

import hashlib
import re

SHARDS = 256
ID_LENGTH = 36  # characters
# The two bits of the variant (RFC 9562, 4.1), put into the first random digit.
_VARIANT = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}
# Nanoseconds between two ids of a batch: the least that the fraction can hold.
_STEP_NS = 250
_EMAIL_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


def email_id(now_ns: int, random: str) -> str:
    """The id of one e-mail. ``now_ns``: nanoseconds since the epoch; ``random``: 16 hex digits."""
    ms, rest = divmod(now_ns, 1_000_000)
    h = f"{ms:012x}"
    fraction = (rest << 12) // 1_000_000
    variant = _VARIANT[random[0]]
    return f"{h[:8]}-{h[8:]}-7{fraction:03x}-{variant}{random[1:4]}-{random[4:]}"


def email_ids(count: int, now_ns: int, seed: bytes) -> list[str]:
    """The ids of a batch, in its order. The same arguments give the same ids.

    ``seed``: 16 random bytes that no client knows.
    """
    random = hashlib.shake_128(seed).hexdigest(8 * count)
    return [email_id(now_ns + _STEP_NS * n, random[16 * n : 16 * n + 16]) for n in range(count)]


def is_email_id(text: str) -> bool:
    """Whether ``text`` has the form of an e-mail's id."""
    return _EMAIL_ID.fullmatch(text) is not None


def created_ms(email_id: str) -> int:
    """When an id was made, in milliseconds since the epoch."""
    return int(email_id[:8] + email_id[9:13], 16)


def shard_of(email_id: str) -> str:
    """The shard of an e-mail: two hex digits, the last of its id."""
    return email_id[-2:]
