"""DKIM signatures (RFC 6376; ed25519: RFC 8463) over the bytes of a message.

A signature covers the header fields that ``h=`` names, and the whole body. Both are in the form
``relaxed``: white space may change on the way. There is never an ``l=``: text that somebody
appends breaks the signature.

A name that ``h=`` has once more than the message is *oversigned*: a field of that name that
somebody adds breaks the signature (RFC 6376, 8.15).
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Callable, Sequence
from functools import lru_cache
from hashlib import sha256
from typing import NamedTuple

_OVERSIGNED = b"from to cc subject date reply-to message-id mime-version content-type".split()
# Signed where they are there. Servers on the way must not add or change them either.
_ALSO_SIGNED = (
    b"content-transfer-encoding in-reply-to references feedback-id list-unsubscribe"
    b" list-unsubscribe-post list-id list-help list-subscribe list-post list-owner list-archive"
    b" tls-required tls-report-domain tls-report-submitter"
).split()
_SIGNED = frozenset([*_OVERSIGNED, *_ALSO_SIGNED])

_DAY = 86_400  # s
_PERIOD, _MARGIN = 14 * _DAY, 7 * _DAY

_LINE = 72  # columns of a line of base64 or of names
_split_fields = re.compile(rb"\r\n(?![ \t])").split
_white_space = re.compile(rb"[ \t\r\n]+")  # a line break in a field has white space behind it


class DkimKey(NamedTuple):
    """A key that signs for a domain.

    ``domain`` and ``selector``: where DNS has its public half, in ASCII. ``algorithm``: of the
    tag ``a=``. ``sign``: the signature of a SHA-256 digest.
    """

    domain: str
    selector: str
    algorithm: str
    sign: Callable[[bytes], bytes]


def signatures(message: bytes, keys: Sequence[DkimKey], signed_at: int, expires_at: int) -> bytes:
    """The header fields to put before the message: one signature by each key.

    ``message``: exactly as it goes out, without doubled dots; all lines end with CRLF. Times are
    seconds since 1970, for the tags ``t=`` and ``x=``. The same arguments give the same bytes.
    """
    head, _, body = message.partition(b"\r\n\r\n")
    names, signed = _signed_fields(head)
    body_hash = b64encode(sha256(canonical_body(body)).digest()).decode()
    written = []
    for key in keys:
        field = (
            f"DKIM-Signature: v=1; a={key.algorithm}; c=relaxed/relaxed;"
            f"\r\n d={key.domain}; s={key.selector};\r\n t={signed_at}; x={expires_at};"
            f"\r\n h={names};\r\n bh={body_hash};\r\n b="
        ).encode("ascii")
        signature = b64encode(key.sign(sha256(signed + canonical_field(field)).digest()))
        lines = [signature[at : at + _LINE] for at in range(0, len(signature), _LINE)]
        written += [field, b"\r\n ".join(lines), b"\r\n"]
    return b"".join(written)


def expiry(signed_at: int, now: int) -> int:
    """The time for ``x=``: 14 days later. A mail that goes out late gets further 14 days.

    So each try of a message has the same signature within a week, and no signature that goes out
    ends within a week.
    """
    periods = (max(now - signed_at, 0) + _MARGIN) // _PERIOD + 1
    return signed_at + periods * _PERIOD


def canonical_body(body: bytes) -> bytes:
    """The body in the form ``relaxed`` (RFC 6376, 3.4.4). All its lines end with CRLF.

    Only spaces and tabs are white space there: a form feed is text.
    """
    if b"\t" in body:
        body = body.replace(b"\t", b" ")
    while b"  " in body:  # halves each run: many times faster than a regular expression
        body = body.replace(b"  ", b" ")
    body = body.replace(b" \r\n", b"\r\n").rstrip(b"\r\n")  # then lines that have become empty
    return body + b"\r\n" if body else b""


def canonical_field(field: bytes) -> bytes:
    """A header field in the form ``relaxed`` (RFC 6376, 3.4.2), without a line end."""
    name, _, value = field.partition(b":")
    return b"%b:%b" % (name.strip(b" \t").lower(), _white_space.sub(b" ", value).strip(b" "))


def _signed_fields(head: bytes) -> tuple[str, bytes]:
    """What ``h=`` names, and these fields in their canonical form.

    From the last field to the first, as fields of one name are counted (RFC 6376, 5.4.2).
    """
    names, signed = [], []
    for field in reversed(_split_fields(head)):
        canonical = canonical_field(field)
        name = canonical[: canonical.index(b":")]
        if name in _SIGNED:
            names.append(name)
            signed.append(canonical + b"\r\n")
    return _folded(tuple(names)), b"".join(signed)


@lru_cache(maxsize=256)
def _folded(names: tuple[bytes, ...]) -> str:
    """The names, and those that are oversigned, with colons between them, in lines."""
    lines, line = [], ""
    for name in (*names, *_OVERSIGNED):
        if len(line) + len(name) > _LINE:
            lines.append(line)
            line = ""
        line += f"{name.decode()}:"
    return "\r\n ".join([*lines, line]).removesuffix(":")
