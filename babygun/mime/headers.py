"""Header fields: folding (RFC 5322), encoded words (RFC 2047), parameters (RFC 2231), addresses.

Text comes in; ASCII comes out, or UTF-8 if the server offers SMTPUTF8. A field has no CRLF at its
end. A folded field has CRLFs inside, each before white space that was there anyway. So unfolding
gives back what was written. In a list, a line may be folded behind a comma, too.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import quote as percent_quote

from babygun.email.addresses import needs_smtputf8, parse_address, quote, to_ascii_domain
from babygun.mime.encoded_words import WORD, encoded_words
from babygun.mime.header_table import header_of
from babygun.mime.header_values import elements, spaced, wire_value

# Columns of a line with an encoded word (RFC 2047, 2). Without one, 78 would do (RFC 5322, 2.1.1).
LINE = 76
# Columns that a name's first encoded word may take behind the longest field name.
_PHRASE = LINE - len("Disposition-Notification-To: ")
# Octets of a line that can't be folded (RFC 5322, 2.1.1).
LINE_MAX = 998
# Characters of text that may stay without a fold: with the longest name, below LINE_MAX.
_PIECE_MAX = 900

_PIECES = re.compile(r"[ \t]*[^ \t]+")
_ATOMS = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~ -]+\Z")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f]")
# attribute-char of RFC 2231, 7, without letters and digits.
_PARAMETER_SAFE = "!#$&+-.^_`{|}~"
_UNQUOTE = re.compile(r"\\(.)")
# A value of these is changed, or refused, though it is short and ASCII.
_CHECKED = frozenset({"date", "id", "ids"})
_LISTS = frozenset({"structured", "phrases", "addresses"})
# Fields whose addresses may be groups (RFC 5322, 3.6.3).
_ADDRESS_LISTS = frozenset({"to", "cc", "reply-to"})


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


def custom_field(name: str, value: str) -> str:
    """A field that a client gave, written as its row in the table of headers says.

    Raises ValueError with a sentence if a client can't set it, or if its value can't be written.
    """
    header = header_of(name)
    value = value.strip(" \t")
    if (
        value
        and value.isascii()
        and value.isprintable()
        and len(name) + len(value) + 2 <= LINE
        and header.kind not in _CHECKED
        and not header.only
    ):
        return f"{name}: {value}"
    value, kind = wire_value(name, value, header)
    if kind == "text":
        return _text(name, value, literal=False)
    if kind == "addresses" and not value.isascii():
        return address_field(name, tuple(elements(value)), smtputf8=False)
    if kind == "phrases" and not value.isascii():
        return _fold_whole(name, _phrases(value))
    if kind in _LISTS and len(name) + 2 + len(value) > LINE:
        value = spaced(value)
    return _fold_whole(name, _PIECES.findall(f" {value}"))


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

    Its value is written as RFC 2231 says unless :func:`is_plain_parameter`.
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
    """Whether a parameter's value is written as a quoted string, and not as RFC 2231 says.

    Not with a backslash: parsers that count quotation marks read it wrongly at the end.
    """
    return (
        value.isascii()
        and value.isprintable()
        and len(value) <= one_piece
        and "=?" not in value
        and "\\" not in value
    )


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
            words = (f" {word}" for word in encoded_words(email, room=_PHRASE))
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
    return [f" {word}" for word in encoded_words(name, room=_PHRASE)]


def _text(name: str, value: str, literal: bool) -> str:
    """``literal``: text that looks like an encoded word is not one."""
    # Acceptance refuses line breaks. If one comes here anyway, it must not make a header field.
    if not value.isprintable():
        value = _CONTROL.sub(" ", value)
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
        if len(lead) > LINE // 2:  # the line must hold an encoded word, too
            bare, lead = span[1:], span[0]
        most = min(WORD, LINE - len(lead))
        room = LINE - len(name) - 2 if first == 0 else most
        words = encoded_words(bare, room=room if room >= 30 else WORD, most=most)
        pieces[first : last + 1] = [lead + words[0], *(" " + word for word in words[1:])]
    if pieces:
        pieces[0] = " " + pieces[0]
    return _fold(name, pieces)


def _phrases(value: str) -> list[str]:
    """Phrases between commas, as pieces. What stands in angle brackets behind one stays."""
    pieces: list[str] = []
    for element in elements(value):
        phrase, bracket, rest = element.partition("<")
        phrase = phrase.strip(" \t")
        if phrase.isascii():
            pieces += _PIECES.findall(f" {phrase}")
        else:
            quoted = phrase[0] == phrase[-1] == '"'
            pieces += _phrase(_UNQUOTE.sub(r"\1", phrase[1:-1]) if quoted else phrase)
        if bracket:
            pieces.append(f" <{rest}")
        # White space must stand behind an encoded word (RFC 2047, 5 (3)).
        pieces[-1] += "," if bracket or phrase.isascii() else " ,"
    pieces[-1] = pieces[-1].rstrip(" ,")
    return pieces


def _fold_whole(name: str, pieces: list[str]) -> str:
    """The field from pieces that can't be encoded. Raises ValueError if a line stays too long."""
    longest = max(map(len, pieces), default=0)
    if longest > LINE_MAX:
        raise ValueError(
            f"{name} has {longest - 1} bytes without white space. It is not text, so a line can"
            f" be folded only at white space, and has at most {LINE_MAX} bytes."
        )
    return _fold(name, pieces)


def _fold(name: str, pieces: Iterable[str]) -> str:
    """The field: ``name:`` and the pieces, with a line break before a piece that would not fit.

    Each piece begins with white space.
    """
    lines = []
    line = start = name + ":"
    for piece in pieces:
        length = len(line) + len(piece)
        if length > LINE and (line is not start or len(piece) <= LINE or length > LINE_MAX):
            lines.append(line)
            line = piece
        else:
            line += piece
    if not lines:
        return line
    lines.append(line)
    return "\r\n".join(lines)
