"""Header fields: folding (RFC 5322), encoded words (RFC 2047), parameters (RFC 2231), addresses.

Text comes in; ASCII comes out, or UTF-8 if the server offers SMTPUTF8. A field has no CRLF at its
end. A folded field has CRLFs inside, each before white space that was there anyway. So unfolding
gives back what was written.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterable
from urllib.parse import quote as percent_quote

from babygun.email.addresses import needs_smtputf8, parse_address, quote, to_ascii_domain

# Columns of a line with an encoded word (RFC 2047, 2). Without one, 78 would do (RFC 5322, 2.1.1).
LINE = 76
# Characters of an encoded word, with its frame (RFC 2047, 2).
WORD = 75
# Columns that a name's first encoded word may take behind the longest field name.
_PHRASE = LINE - len("Disposition-Notification-To: ")
# Characters that may stay without a fold: well below a line's limit of 998 (RFC 5322, 2.1.1).
_PIECE_MAX = 900
_FRAME = len("=?utf-8?q??=")
FIELD_NAME = re.compile(r"[!-9;-~]{1,76}\Z")

_PIECES = re.compile(r"[ \t]*[^ \t]+")
_ATOMS = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~ -]+\Z")
# Between the commas of a list of addresses.
_LIST_ITEM = re.compile(r'(?:"(?:[^"\\]|\\.)*"|[^",])+')
# What the Q encoding leaves as it is, also in a display name (RFC 2047, 5 (3)). A space becomes an
# underscore.
_Q_SAFE = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!*+-/")
_Q = tuple(
    chr(byte) if byte in _Q_SAFE else "_" if byte == 0x20 else f"={byte:02X}" for byte in range(256)
)
_Q_SHORT = bytes(byte for byte in range(256) if len(_Q[byte]) == 1)
# attribute-char of RFC 2231, 7, without letters and digits.
_PARAMETER_SAFE = "!#$&+-.^_`{|}~"
# Custom headers that hold addresses. An encoded word must not cover an address.
_ADDRESS_FIELDS = frozenset(
    {
        "from",
        "to",
        "cc",
        "reply-to",
        "sender",
        "resent-from",
        "resent-to",
        "resent-cc",
        "resent-sender",
        "disposition-notification-to",
        "errors-to",
    }
)


# Fields whose addresses may be groups (RFC 5322, 3.6.3 and 3.6.6).
_ADDRESS_LISTS = frozenset({"to", "cc", "reply-to", "resent-to", "resent-cc"})


def text_field(name: str, value: str) -> str:
    """A field of plain text that a person wrote, such as Subject.

    Reading it gives the same text, without white space at its ends.
    """
    if (
        value.isascii()
        and value.isprintable()
        and len(name) + len(value) + 2 <= LINE
        and "=?" not in value
        and value == value.strip(" ")
    ):
        return f"{name}: {value}" if value else f"{name}:"
    return _text(name, value, literal=True)


def any_field(name: str, value: str, smtputf8: bool) -> str:
    """A custom field of any kind.

    ASCII is only folded: it may be encoded already, or have a grammar of its own.
    """
    if not value.isascii() and name.lower() in _ADDRESS_FIELDS:
        try:
            return address_field(name, tuple(_LIST_ITEM.findall(value)), smtputf8)
        except ValueError:
            pass  # a group, a comment or the like
    return _text(name, value, literal=False)


def address_field(name: str, addresses: tuple[str, ...], smtputf8: bool) -> str:
    """A field of addresses, each with or without a display name.

    Without SMTPUTF8, a recipient's address that needs it is left out: an empty group stands in its
    place and says so (RFC 6857). Elsewhere, as in From, there must be an address.
    Raises ValueError for an address that is not one, or that must be there and can't be written.
    """
    groups = name.lower() in _ADDRESS_LISTS
    if len(addresses) == 1:
        pieces = _mailbox(addresses[0], smtputf8, groups)
    else:
        pieces = []
        for text in addresses:
            pieces += _mailbox(text, smtputf8, groups)
            pieces[-1] += ","
        pieces[-1] = pieces[-1][:-1]
    return _fold(name, pieces)


def parameter(name: str, value: str, one_piece: int = 50) -> str:
    """A parameter for the end of a field, with ``;`` and a fold before it.

    A value of more than ``one_piece`` characters, that is not ASCII, or that looks like an encoded
    word, is written as RFC 2231 says.
    """
    if is_plain_parameter(value, one_piece):
        return f";\r\n {name}={quote(value)}"
    room = LINE - len(f" {name}*99*=;")
    segments, segment = [], "utf-8''"
    for character in value:
        encoded = percent_quote(character, safe=_PARAMETER_SAFE, errors="replace")
        if len(segment) + len(encoded) > room:
            segments.append(segment)
            segment = ""
        segment += encoded
    if not segments:
        return f";\r\n {name}*={segment}"
    return "".join(
        f";\r\n {name}*{number}*={part}" for number, part in enumerate([*segments, segment])
    )


def is_plain_parameter(value: str, one_piece: int = 50) -> bool:
    """Whether a parameter's value is written as a quoted string, and not as RFC 2231 says."""
    return value.isascii() and value.isprintable() and len(value) <= one_piece and "=?" not in value


def _mailbox(text: str, smtputf8: bool, groups: bool) -> list[str]:
    """An address as pieces; a line may be folded between them.

    ``groups``: one that only SMTPUTF8 can carry becomes an empty group without it.
    """
    address = parse_address(text)
    name, email = address.name, address.email
    if not smtputf8 and not email.isascii():
        if needs_smtputf8(email):
            if not groups:
                raise ValueError(f"{email} can only be written where the server offers SMTPUTF8")
            words = (f" {word}" for word in _encoded_words(email, _PHRASE))
            return [*_phrase(name), " Internationalized Address", *words, " Removed:;"]
        email = to_ascii_domain(email)
    if not name:
        return [f" {email}"]
    if len(name) + len(email) < 60 and _ATOMS.match(name) and "  " not in name and "=?" not in name:
        return [f" {name} <{email}>"]
    return [*_phrase(name), f" <{email}>"]


def _phrase(name: str) -> list[str]:
    """A display name as pieces: as it is, in quotation marks, or encoded."""
    if not name:
        return []
    if "=?" not in name:
        if _ATOMS.match(name) and "  " not in name:
            return [f" {atom}" for atom in name.split(" ")]
        if len(name) <= 60 and name.isascii():
            return [f" {quote(name)}"]
    return [f" {word}" for word in _encoded_words(name, _PHRASE)]


def _text(name: str, value: str, literal: bool) -> str:
    """``literal``: text that looks like an encoded word is not one."""
    # Acceptance refuses line breaks. If one comes here anyway, it must not make a header field.
    if not value.isprintable():
        value = "".join(
            character
            if character.isprintable() or character == "\t" or ord(character) > 0xA0
            else " "
            for character in value
        )
    value = value.strip(" \t")
    pieces = _PIECES.findall(value)
    literal = literal or not value.isascii()
    odd = [
        n
        for n, piece in enumerate(pieces)
        if not piece.isascii() or len(piece) > _PIECE_MAX or (literal and "=?" in piece)
    ]
    if odd:
        first, last = odd[0], odd[-1]
        span = "".join(pieces[first : last + 1])
        bare = span.lstrip(" \t")
        lead = span[: len(span) - len(bare)]
        if len(lead) > _PIECE_MAX:
            bare, lead = span[1:], span[0]
        room = LINE - len(name) - 2 if first == 0 else WORD - len(lead)
        words = _encoded_words(bare, room if room >= 30 else WORD)
        pieces[first : last + 1] = [lead + words[0], *(" " + word for word in words[1:])]
    if pieces:
        pieces[0] = " " + pieces[0]
    return _fold(name, pieces)


def _fold(name: str, pieces: Iterable[str]) -> str:
    """The field: ``name:`` and the pieces, with a line break before a piece that would not fit.

    Each piece begins with white space.
    """
    lines = []
    line = start = name + ":"
    for piece in pieces:
        if len(line) + len(piece) > LINE and (line is not start or len(piece) <= LINE):
            lines.append(line)
            line = piece
        else:
            line += piece
    if not lines:
        return line
    lines.append(line)
    return "\r\n".join(lines)


def _encoded_words(text: str, room: int) -> list[str]:
    """The text as encoded words, in Q or B, whichever is shorter. No word cuts a character in two.

    ``room``: columns that the first word may take.
    """
    raw = text.encode("utf-8", "replace")
    short = len(raw) - len(raw.translate(None, _Q_SHORT))
    q_length, b_length = 3 * len(raw) - 2 * short, (len(raw) + 2) // 3 * 4
    as_q = q_length <= b_length
    make = _q_word if as_q else _b_word
    if min(q_length, b_length) + _FRAME <= room:
        return [make(raw)]
    words, chunk, used = [], bytearray(), 0
    limit = _capacity(room, as_q)
    for character in text:
        octets = character.encode("utf-8", "replace")
        cost = sum(len(_Q[octet]) for octet in octets) if as_q else len(octets)
        if used + cost > limit:
            words.append(make(bytes(chunk)))
            chunk, used, limit = bytearray(), 0, _capacity(WORD, as_q)
        chunk += octets
        used += cost
    words.append(make(bytes(chunk)))
    return words


def _capacity(room: int, as_q: bool) -> int:
    """What fits into an encoded word of ``room`` columns: characters in Q, octets in B."""
    return room - _FRAME if as_q else (room - _FRAME) // 4 * 3


def _q_word(raw: bytes) -> str:
    return "=?utf-8?q?" + "".join([_Q[octet] for octet in raw]) + "?="


def _b_word(raw: bytes) -> str:
    return "=?utf-8?b?" + b64encode(raw).decode("ascii") + "?="
