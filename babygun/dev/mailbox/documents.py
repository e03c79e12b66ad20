"""A received message as JSON: a summary for the list, and all of it with decoded parts."""

from __future__ import annotations

import base64
import email.policy
import re
from collections.abc import Iterable
from email.message import EmailMessage, MIMEPart
from email.parser import BytesHeaderParser, BytesParser
from typing import Any
from urllib.parse import unquote

from babygun.dev.mailbox.messages import Received
from babygun.runtime.clock import format_time

_POLICY = email.policy.default.clone(utf8=True)
_CID = re.compile(r"cid:([^\s\"'<>)]{1,255})", re.IGNORECASE)
_HEAD = 1 << 16  # bytes of a message in which its subject is looked for


def summary(message: Received) -> dict[str, Any]:
    """``{number, received_at, sender, recipients, subject, size}``."""
    return {
        "number": message.number,
        "received_at": format_time(message.received_at),
        "sender": message.sender,
        "recipients": list(message.recipients),
        "subject": _subject(message.raw),
        "size": len(message.raw),
    }


def full(message: Received) -> dict[str, Any]:
    """The summary, and ``headers``, ``text``, ``html``, ``attachments`` and ``raw``."""
    parsed = BytesParser(EmailMessage, policy=_POLICY).parsebytes(message.raw)
    bodies: dict[str, list[str]] = {"text/plain": [], "text/html": []}
    attachments = []
    for part in _leaves(parsed):
        kind, filename = part.get_content_type(), part.get_filename()
        is_body = filename is None and part.get_content_disposition() != "attachment"
        if kind in bodies and is_body:
            bodies[kind].append(_text(part))
        else:
            size = len(_payload(part))
            attachments.append(
                {"filename": _utf8(filename or ""), "content_type": kind, "size": size}
            )
    return {
        **summary(message),
        "headers": [[name, _utf8(value)] for name, value in _headers(parsed)],
        "text": "\n".join(bodies["text/plain"]) if bodies["text/plain"] else None,
        "html": "\n".join(bodies["text/html"]) if bodies["text/html"] else None,
        "attachments": attachments,
        "raw": message.raw.decode("utf-8", "replace"),
    }


def framed_html(message: Received) -> str | None:
    """The HTML with its own pictures (``cid:``) as ``data:`` URLs; None: it has none."""
    html: str | None = full(message)["html"]
    if html is None:
        return None
    parsed = BytesParser(EmailMessage, policy=_POLICY).parsebytes(message.raw)
    pictures = {
        _utf8(str(part["Content-ID"])).strip().strip("<>"): part
        for part in _leaves(parsed)
        if part["Content-ID"] and part.get_content_maintype() == "image"
    }

    def inlined(found: re.Match[str]) -> str:
        part = pictures.get(unquote(found[1]))
        if part is None:
            return found[0]
        encoded = base64.b64encode(_payload(part)).decode()
        return f"data:{part.get_content_type()};base64,{encoded}"

    return _CID.sub(inlined, html)


def _leaves(part: MIMEPart) -> Iterable[MIMEPart]:
    """The parts that are no multiparts. An attached message is one part."""
    if part.get_content_maintype() != "multipart" or not part.is_multipart():
        yield part
        return
    for each in part.iter_parts():
        yield from _leaves(each)


def _headers(message: EmailMessage) -> Iterable[tuple[str, str]]:
    for name, raw in message.raw_items():
        try:
            yield name, str(_POLICY.header_fetch_parse(name, raw))
        except Exception:  # on rubbish the parser fails in many ways; show what came
            yield name, str(raw)


def _text(part: MIMEPart) -> str:
    try:
        return _utf8(str(part.get_content())).replace("\r\n", "\n")
    except (LookupError, ValueError, KeyError):  # an unknown character set, a broken encoding
        return _payload(part).decode("utf-8", "replace")


def _payload(part: MIMEPart) -> bytes:
    if part.is_multipart():  # an attached message
        return b"".join(each.as_bytes() for each in part.iter_parts())
    payload = part.get_payload(decode=True)
    return payload if isinstance(payload, bytes) else b""


def _subject(raw: bytes) -> str:
    message = BytesHeaderParser(EmailMessage, policy=_POLICY).parsebytes(raw[:_HEAD])
    return next(
        (_utf8(value) for name, value in _headers(message) if name.lower() == "subject"), ""
    )


def _utf8(text: str) -> str:
    """Replaces the lone surrogates by which Python carries bytes that are not UTF-8."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
