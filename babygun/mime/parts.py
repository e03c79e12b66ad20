"""Body parts (RFC 2045, RFC 2046): texts, attachments, multiparts.

A part is its header lines and its body in chunks of bytes. So a large attachment is copied only
once, into the message.
"""

from __future__ import annotations

import binascii
import re
from typing import Literal, NamedTuple
from urllib.parse import quote as percent_quote

from babygun.email.model import Attachment
from babygun.mime.headers import parameter

# Octets of a line that is not encoded (RFC 5322, 2.1.1; RFC 2045, 2.7 and 2.8).
LINE_MAX = 998
# Characters (RFC 2045, 6.8).
_BASE64_LINE = 76

_LINE_BREAK = re.compile(r"\r\n?")
_BYTES_BREAK = re.compile(rb"\r\n|\r|\n")
_QP_LITERAL = bytes(octet for octet in range(128) if octet != ord("="))
_WORD = r"[A-Za-z0-9!#$%&'*+.^_`{|}~-]+"
_CONTENT_TYPE = re.compile(
    rf'({_WORD}/{_WORD})((?:\s*;\s*{_WORD}=(?:{_WORD}|"[ !#-\[\]-~]*"))*)\s*\Z'
)
_PARAMETERS = re.compile(rf'{_WORD}=(?:{_WORD}|"[^"]*")')


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
    head = f"Content-Type: text/{subtype}; charset=utf-8\r\nContent-Transfer-Encoding: {encoding}"
    return Part(head, (raw,), encoding == "8bit", encoding in ("7bit", "8bit"))


def attachment_part(attachment: Attachment, eight_bit: bool, *, inline: bool) -> Part:
    """An attachment in base64, so that it arrives octet for octet.

    An attached message (message/rfc822 and the like) may not be encoded (RFC 2046, 5.2.1). It is
    sent as it is, with CRLF as line ends. If that is not possible, its type becomes
    application/octet-stream. So does that of an attached multipart (RFC 2045, 6.4).
    """
    content_type = _content_type(attachment.content_type)
    kind = content_type.lower()
    chunk: bytes | None = None
    # message/global* may be encoded (RFC 6532, 3.5).
    if kind.startswith("message/") and not kind.startswith("message/global"):
        chunk = _BYTES_BREAK.sub(b"\r\n", attachment.content)
        if not _may_stay(chunk) or not (eight_bit or chunk.isascii()):
            chunk = None
        if chunk is None:
            content_type = "application/octet-stream"
    elif kind.startswith("multipart/"):
        content_type = "application/octet-stream"
    eight = chunk is not None and not chunk.isascii()
    encoding = "base64" if chunk is None else "8bit" if eight else "7bit"
    name = parameter("filename", attachment.filename) if attachment.filename else ""
    content_id = (
        f"\r\nContent-ID: <{_content_id(attachment.content_id)}>" if attachment.content_id else ""
    )
    head = (
        f"Content-Type: {content_type}\r\nContent-Transfer-Encoding: {encoding}\r\n"
        f"Content-Disposition: {'inline' if inline else 'attachment'}{name}{content_id}"
    )
    body = base64_lines(attachment.content) if chunk is None else chunk
    return Part(head, (body,), eight, chunk is not None)


def multipart(
    subtype: Literal["mixed", "alternative", "related"],
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


def _content_type(text: str) -> str:
    """The type with its parameters folded. An invalid one becomes the type of unknown data."""
    match = _CONTENT_TYPE.match(text)
    if not match or len(text) > LINE_MAX // 2:
        return "application/octet-stream"
    return match[1] + "".join(f";\r\n {parameter}" for parameter in _PARAMETERS.findall(match[2]))


def _content_id(text: str) -> str:
    """What is between the angle brackets, and after ``cid:`` in the HTML."""
    bare = text.strip("<> ")
    if bare.isascii() and bare.isprintable() and " " not in bare:
        return bare
    return percent_quote(bare, safe="!#$&'*+-/=?^_`{|}~@.", errors="replace")
