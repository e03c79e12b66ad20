"""Refuses JSON of too many values before it is decoded.

A decoder makes an object of each value, and stops for nothing: two million keys take seconds in
which no other call has its turn. So a large body is counted first, in steps.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from babygun.api.http.problem_types import TOO_LARGE
from babygun.api.http.problems import Problem

MAX_VALUES = 50_000
"""Of one e-mail: 10,000 addresses with their kind, beside all else that one may have."""
UNCOUNTED = 64 << 10  # bytes: so few are decoded in milliseconds, whatever they are
_STEP = 64 << 10  # bytes that are counted at a time


async def check_values(raw: bytes, most: int = MAX_VALUES) -> None:
    """Raises the 413 problem if ``raw`` has more than ``most`` values, about.

    Counted are lists, objects, and what stands behind a comma.
    """
    if len(raw) <= UNCOUNTED:
        return
    for count in _counts(raw):
        if count > most:
            raise Problem(TOO_LARGE, f"It has more than {most:,} JSON values.", field="body")
        await asyncio.sleep(0)


def _counts(raw: bytes) -> Iterator[int]:
    """How many there are, up to the end of each step."""
    count, at, inside = 0, 0, 0  # inside: 1 in a text, else 0
    while at < len(raw):
        step = raw[at : at + _STEP]
        if (len(step) - len(step.rstrip(b"\\"))) % 2:  # an escape is not cut in two
            step = raw[at : at + _STEP + 1]
        at += len(step)
        parts = step.replace(rb"\\", b"").replace(rb"\"", b"").split(b'"')
        outside = b"".join(parts[inside::2])
        count += outside.count(b",") + outside.count(b"[") + outside.count(b"{")
        inside ^= (len(parts) - 1) % 2
        yield count
