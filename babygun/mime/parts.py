"""Body parts (RFC 2045, RFC 2046): texts, attachments, multiparts.

A part is its header lines and its body in chunks of bytes. So a large attachment is copied only
once, into the message.
"""

from __future__ import annotations

import binascii
import re
import unicodedata
from typing import Literal, NamedTuple
from urllib.parse import quote as percent_quote

from babygun.email.model import Attachment
from babygun.mime.headers import LINE_MAX, is_plain_parameter, parameter
from babygun.mime.media_type import UNKNOWN, MediaType, kept_media_type

# Types that are not encoded. message/global may be (RFC 6532, 3.7), but few programs decode it.
ATTACHED_MESSAGES = ("message/rfc822", "message/global")
# Beginnings of types that must not be encoded (RFC 2045, 6.4; RFC 2046, 5.2).
COMPOSITE = ("message/", "multipart/")
# Characters (RFC 2045, 6.8).
_BASE64_LINE = 76

_LINE_BREAK = re.compile(r"\r\n?")
_QP_LITERAL = bytes(octet for octet in range(128) if octet != ord("="))
_NOT_IN_OLD_NAMES = frozenset('"\\%=?*;')


class Part(NamedTuple):
    """``head``: header lines with CRLF between them. ``eight_bit``: has octets above 127.

    ``unencoded``: 7bit or 8bit, so that a boundary could occur in it.
    """

    head: str
    chunks: tuple[bytes, ...]
    eight_bit: bool
    unencoded: bool


def text_part(subtype: Literal["plain", "html"], text: str, eight_bit: bool) -> Part:
    """A text in the transfer encoding that suits it. Line ends of any kind become CRLF.

    The last line has one too: a text may be the whole body.
    """
    return _text_part(f"text/{subtype}; charset=utf-8", text, eight_bit)


def _text_part(content_type: str, text: str, eight_bit: bool) -> Part:
    if "\r" in text:
        text = _LINE_BREAK.sub("\n", text)
    if not text.endswith("\n"):
        text += "\n"
    raw = text.replace("\n", "\r\n").encode("utf-8", "replace")
    if (text.isascii() or eight_bit) and _may_stay(raw):
        encoding = "7bit" if text.isascii() else "8bit"
    # Quoted-printable writes these octets as three; base64 every three as four.
    elif 2 * len(raw.translate(None, _QP_LITERAL)) < len(raw) // 3:
        encoding, raw = "quoted-printable", binascii.b2a_qp(raw, istext=True)
    else:
        encoding, raw = "base64", base64_lines(raw) + b"\r\n"
    head = f"Content-Type: {content_type}\r\nContent-Transfer-Encoding: {encoding}"
    return Part(head, (raw,), encoding == "8bit", encoding in ("7bit", "8bit"))


def attachment_part(attachment: Attachment, eight_bit: bool, *, inline: bool) -> Part:
    """An attachment in base64, so that it arrives octet for octet.

    An attached message must not be encoded (RFC 2046, 5.2.1). It is sent as it is, with CRLF as
    line ends. If it has octets above 127 and the server takes none, it is sent as unknown data.
    Other types of messages and multiparts, which must not be encoded either, are unknown data too.
    """
    media = kept_media_type(attachment.content_type)
    content, encoding = attachment.content, "base64"
    if media.kind in ATTACHED_MESSAGES:
        if (eight_bit or content.isascii()) and not unfit_without_encoding(content):
            content = content.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
            encoding = "7bit" if content.isascii() else "8bit"
        else:
            media = MediaType(UNKNOWN)
    elif media.kind.startswith(COMPOSITE):
        media = MediaType(UNKNOWN)
    name = attachment.filename
    if name and not is_plain_parameter(name) and media.get("name") is None:
        media = media.having("name", _old_name(name))
    disposition = parameter("filename", name) if name else ""
    content_id = (
        f"\r\nContent-ID: <{_content_id(attachment.content_id)}>" if attachment.content_id else ""
    )
    head = (
        f"Content-Type: {media.folded()}\r\nContent-Transfer-Encoding: {encoding}\r\n"
        f"Content-Disposition: {'inline' if inline else 'attachment'}{disposition}{content_id}"
    )
    encoded = encoding == "base64"
    body = base64_lines(content) if encoded else content
    return Part(head, (body,), encoding == "8bit", not encoded)


def invitation_part(attachment: Attachment, eight_bit: bool) -> Part:
    """A calendar as an alternative of the text, so that mail programs show it (RFC 6047, 2.4)."""
    media = kept_media_type(attachment.content_type).having("charset", "utf-8")
    text = attachment.content.decode("utf-8-sig", "replace")
    return _text_part(media.folded(), text, eight_bit)


def unfit_without_encoding(content: bytes) -> str | None:
    """What keeps an attached message from being sent as it is (RFC 2045, 2.7 and 2.8)."""
    if 0 in content:
        return "NUL characters"
    if content.count(b"\r") != content.count(b"\r\n"):
        return "a carriage return (CR) without a line feed (LF)"
    if max(len(line.removesuffix(b"\r")) for line in content.split(b"\n")) > LINE_MAX:
        return f"a line of more than {LINE_MAX} bytes"
    return None


def multipart(
    subtype: Literal["mixed", "alternative", "related", "report"],
    boundary: str,
    parts: list[Part],
    parameters: str = "",
) -> Part:
    """Several parts as one. ``boundary`` must not occur in any of them.

    ``parameters``: further ones, each with a space before it and a ``;`` after it.
    """
    chunks: list[bytes] = []
    delimiter = f"--{boundary}\r\n"
    for part in parts:
        chunks.append(f"{delimiter}{part.head}\r\n\r\n".encode())
        chunks += part.chunks
        delimiter = f"\r\n--{boundary}\r\n"
    chunks.append(f"\r\n--{boundary}--\r\n".encode())
    eight_bit = any(part.eight_bit for part in parts)
    # A multipart's own encoding says whether it has 8bit parts (RFC 2045, 6.4).
    encoding = "8bit" if eight_bit else "7bit"
    head = (
        f'Content-Type: multipart/{subtype};{parameters}\r\n boundary="{boundary}"\r\n'
        f"Content-Transfer-Encoding: {encoding}"
    )
    return Part(head, tuple(chunks), eight_bit, any(part.unencoded for part in parts))


def base64_lines(content: bytes) -> bytes:
    """Base64 in lines of 76 characters, with CRLF between them and none after the last."""
    flat = binascii.b2a_base64(content, newline=False)
    return b"\r\n".join([flat[at : at + _BASE64_LINE] for at in range(0, len(flat), _BASE64_LINE)])


def _may_stay(raw: bytes) -> bool:
    """Whether octets are 7bit or 8bit data (RFC 2045, 2.7 and 2.8): no NUL and no long line."""
    return 0 not in raw and (len(raw) <= LINE_MAX or max(map(len, raw.split(b"\r\n"))) <= LINE_MAX)


def _old_name(filename: str) -> str:
    """A short ASCII name like this one, for programs that don't know RFC 2231."""
    plain = unicodedata.normalize("NFKD", filename)
    ascii_name = "".join(
        c if c.isascii() and c.isprintable() and c not in _NOT_IN_OLD_NAMES else "_"
        for c in plain
        if not unicodedata.combining(c)
    )
    stem, dot, extension = ascii_name.rpartition(".")
    if not dot or len(extension) > 10:
        stem, dot, extension = ascii_name, "", ""
    return stem[: 50 - len(extension)] + dot + extension


def _content_id(text: str) -> str:
    """What is between the angle brackets, and after ``cid:`` in the HTML."""
    bare = text.strip("<> ")
    if bare.isascii() and bare.isprintable() and " " not in bare:
        return bare
    return percent_quote(bare, safe="!#$&'*+-/=?^_`{|}~@.", errors="replace")
