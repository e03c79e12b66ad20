"""Encoded words: text beyond ASCII in a header field (RFC 2047)."""

from __future__ import annotations

import unicodedata
from base64 import b64encode
from collections.abc import Iterator

# Characters of an encoded word, with its frame (RFC 2047, 2).
WORD = 75
_FRAME = len("=?utf-8?q??=")
# What the Q encoding leaves as it is, also in a display name (RFC 2047, 5 (3)). A space becomes an
# underscore.
_Q_SAFE = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!*+-/")
_Q = tuple(
    chr(byte) if byte in _Q_SAFE else "_" if byte == 0x20 else f"={byte:02X}" for byte in range(256)
)
_Q_SHORT = bytes(byte for byte in range(256) if len(_Q[byte]) == 1)


def encoded_words(text: str, *, room: int = WORD, most: int = WORD) -> list[str]:
    """The text as encoded words, in Q or B, whichever is shorter.

    Text that fits into one word of ``most`` columns is not cut: some readers show a space at a cut.
    ``room``: columns of the first word if the text is cut.
    """
    raw = text.encode("utf-8", "replace")
    short = len(raw) - len(raw.translate(None, _Q_SHORT))
    q_length, b_length = 3 * len(raw) - 2 * short, (len(raw) + 2) // 3 * 4
    as_q = q_length <= b_length
    make = _q_word if as_q else _b_word
    if min(q_length, b_length) + _FRAME <= most:
        return [make(raw)]
    words, chunk, used = [], bytearray(), 0
    limit = _capacity(room, as_q)
    for octets in _uncut(text, _capacity(WORD, as_q), as_q):
        cost = _cost(octets, as_q)
        if used + cost > limit:
            if chunk:
                words.append(make(bytes(chunk)))
            chunk, used, limit = bytearray(), 0, _capacity(WORD, as_q)
        chunk += octets
        used += cost
    words.append(make(bytes(chunk)))
    return words


def _uncut(text: str, limit: int, as_q: bool) -> Iterator[bytes]:
    """What stays in one word: a character with its accents, an emoji with its parts.

    A character alone where that would be too long for a word.
    """
    for start, end in _clusters(text):
        octets = text[start:end].encode("utf-8", "replace")
        if _cost(octets, as_q) <= limit:
            yield octets
        else:
            for character in text[start:end]:
                yield character.encode("utf-8", "replace")


def _clusters(text: str) -> Iterator[tuple[int, int]]:
    """Where each character begins and ends, as a person sees it.

    An approximation of Unicode's grapheme clusters (UAX 29), without its tables.
    """
    start = flags = 0
    for at in range(1, len(text)):
        flags = flags + 1 if _is_flag_half(text[at - 1]) else 0
        if text[at] < "\u0300" or not (
            text[at - 1] == "\u200d"
            or _extends(text[at])
            or (flags % 2 and _is_flag_half(text[at]))
        ):
            yield start, at
            start = at
    yield start, len(text)


def _extends(character: str) -> bool:
    """Whether it belongs to the character before it."""
    return (
        unicodedata.category(character)[0] == "M"
        or character == "\u200d"  # zero width joiner
        or "\u1160" <= character <= "\u11ff"  # the vowel or end of a Hangul syllable
        or "\U0001f3fb" <= character <= "\U0001f3ff"  # a skin tone
        or "\U000e0020" <= character <= "\U000e007f"  # a tag, as in the flag of Wales
    )


def _is_flag_half(character: str) -> bool:
    return "\U0001f1e6" <= character <= "\U0001f1ff"


def _cost(octets: bytes, as_q: bool) -> int:
    return sum(len(_Q[octet]) for octet in octets) if as_q else len(octets)


def _capacity(room: int, as_q: bool) -> int:
    """What fits into an encoded word of ``room`` columns: characters in Q, octets in B."""
    return room - _FRAME if as_q else (room - _FRAME) // 4 * 3


def _q_word(raw: bytes) -> str:
    return "=?utf-8?q?" + "".join([_Q[octet] for octet in raw]) + "?="


def _b_word(raw: bytes) -> str:
    return "=?utf-8?b?" + b64encode(raw).decode("ascii") + "?="
