"""Identifiers. An email id is a UUIDv7 (RFC 9562): it sorts by time, and its last two hex digits are its shard.

The 12 bits after the version carry the fraction of the millisecond (RFC 9562, section 6.2, method 3), so ids that one
process makes in one millisecond still sort in the order of their making, as finely as 0.25 µs. The other 62 bits are
random; part of them may later carry the number of an etcd group (docs/design.md, section "Past one etcd").
"""

from __future__ import annotations

import hashlib
import os
import re
import time

SHARDS = 256
_VARIANT = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}  # RFC 9562's two bits
_SPARE = 256  # random numbers that are fetched at once
_STEP_NS = 250  # between two ids of a batch: what the fraction can tell apart
_EMAIL_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


def new_email_id(now_ns: int | None = None) -> str:
    """A new email id for this instant. ``now_ns``: nanoseconds since the epoch, for tests."""
    return _email_id(time.time_ns() if now_ns is None else now_ns, new_short_id())


def email_ids(count: int, now_ns: int, seed: bytes) -> list[str]:
    """The same ``count`` ids each time, in their order: those of a batch. ``seed``: 16 random bytes, which nobody outside may know."""
    random = hashlib.shake_128(seed).hexdigest(8 * count)
    return [_email_id(now_ns + _STEP_NS * n, random[16 * n : 16 * n + 16]) for n in range(count)]


def _email_id(ns: int, random: str) -> str:
    """``random``: 16 hex digits."""
    ms, rest = divmod(ns, 1_000_000)
    h = f"{ms:012x}"
    return f"{h[:8]}-{h[8:]}-7{(rest << 12) // 1_000_000:03x}-{_VARIANT[random[0]]}{random[1:4]}-{random[4:]}"


def is_email_id(text: str) -> bool:
    """Whether ``text`` has the form of an email id."""
    return _EMAIL_ID.fullmatch(text) is not None


def created_ms(email_id: str) -> int:
    """When an email id was made: milliseconds since the epoch."""
    return int(email_id[:8] + email_id[9:13], 16)


def shard_of(email_id: str) -> str:
    """The shard of an email: two hex digits, the last of its id."""
    return email_id[-2:]


def new_worker_id(hostname: str) -> str:
    """A new worker id: the host's name for people, and 40 random bits."""
    return _process_id(hostname, "worker")


def new_api_id(hostname: str) -> str:
    """The same for an API process."""
    return _process_id(hostname, "api")


def _process_id(hostname: str, nameless: str) -> str:
    host = re.sub(r"[^a-z0-9-]+", "-", hostname.lower()).strip("-")[:40] or nameless
    return f"{host}-{os.urandom(5).hex()}"


def new_token(nbytes: int = 16) -> str:
    """Random hex digits, for client ids, token ids (``jti``) and key ids."""
    return os.urandom(nbytes).hex()


_spare: list[str] = []


def new_short_id() -> str:
    """16 random hex digits, for what comes by the thousand: requests and attempts. The system is asked for many at once: a call for each would cost as much as the id does."""
    try:
        return _spare.pop()
    except IndexError:
        digits = os.urandom(8 * _SPARE).hex()
        _spare.extend(digits[i : i + 16] for i in range(16, len(digits), 16))
        return digits[:16]


os.register_at_fork(after_in_child=_spare.clear)  # else two processes would make the same ids
