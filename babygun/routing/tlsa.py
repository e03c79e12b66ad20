"""TLSA records (RFC 6698), as far as mail uses them (RFC 7672, 3). Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

DANE_TA, DANE_EE = 2, 3  # usages that mail has
_LENGTHS = {1: 32, 2: 64}  # bytes of a digest, by matching type: SHA-256, SHA-512


class Tlsa(NamedTuple):
    """What a certificate is compared with.

    ``usage``: 3, the server's own (DANE-EE); 2, an authority of its chain (DANE-TA).
    ``selector``: 0, the certificate; 1, its public key (SubjectPublicKeyInfo).
    ``matching``: 0, the whole; 1, its SHA-256; 2, its SHA-512. ``data``: what that must be.
    """

    usage: int
    selector: int
    matching: int
    data: bytes

    def __str__(self) -> str:
        return f"{self.usage} {self.selector} {self.matching} {self.data.hex()}"


def usable(records: Iterable[str]) -> tuple[Tlsa, ...]:
    """Those of a host's records that mail can use; ``records`` in their text form.

    Usages 0 and 1 are for other protocols (RFC 7672, 3.1.3). Of two digests of the same thing the
    stronger one counts (RFC 7671, 9).
    """
    found = [each for record in records if (each := _parsed(record)) is not None]
    strongest: dict[tuple[int, int], int] = {}
    for each in found:
        kind = each.usage, each.selector
        strongest[kind] = max(strongest.get(kind, 0), each.matching)
    return tuple(
        each
        for each in dict.fromkeys(found)
        if each.matching in (0, strongest[each.usage, each.selector])
    )


def _parsed(record: str) -> Tlsa | None:
    """None for a record that mail can't use."""
    usage, selector, matching, *data = record.split()
    try:
        tlsa = Tlsa(int(usage), int(selector), int(matching), bytes.fromhex("".join(data)))
    except ValueError:
        return None
    known = (
        tlsa.usage in (DANE_TA, DANE_EE) and tlsa.selector in (0, 1) and tlsa.matching in (0, 1, 2)
    )
    whole = len(tlsa.data) == _LENGTHS.get(tlsa.matching, len(tlsa.data)) and tlsa.data
    return tlsa if known and whole else None
