"""GET an e-mail's message and its attachments, as bytes.

The content may be meant to harm whoever opens it. So no browser may run it, or show it as a page of
ours.
"""

from __future__ import annotations

from urllib.parse import quote

from aiohttp import web

from babygun.api.emails.own_email import own_content
from babygun.api.http.responses import SECURITY_HEADERS
from babygun.errors import NotFound
from babygun.mime import message_id, needs_smtputf8, render

_HEADERS = {
    **SECURITY_HEADERS,
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "Cross-Origin-Resource-Policy": "same-origin",
}


async def show_source(request: web.Request) -> web.Response:
    """The message as sent to a relay that supports 8BITMIME (nearly all do)."""
    email, content = await own_content(request)
    message = render(
        content,
        message_id=message_id(email),
        date=email.created_at,
        smtputf8=needs_smtputf8(content),
        eight_bit=True,
    )
    shown = "inline" if "download" not in request.query else disposition(f"{email.id}.eml")
    headers = {**_HEADERS, "Content-Type": "message/rfc822", "Content-Disposition": shown}
    return web.Response(body=message, headers=headers)


async def show_attachment(request: web.Request) -> web.Response:
    _, content = await own_content(request)
    number = request.match_info["n"]
    if not (
        number.isascii()
        and number.isdigit()
        and len(number) <= 4
        and int(number) < len(content.attachments)
    ):
        raise NotFound("the e-mail has no attachment of this number")
    attachment = content.attachments[int(number)]
    headers = {
        **_HEADERS,
        "Content-Type": attachment.content_type,
        "Content-Disposition": disposition(attachment.filename),
    }
    return web.Response(body=attachment.content, headers=headers)


def disposition(filename: str) -> str:
    """The Content-Disposition with which a browser saves a file and never shows it (RFC 6266)."""
    plain = "".join(
        c if c.isascii() and c.isprintable() and c not in '"\\%' else "_" for c in filename
    )
    if plain == filename:
        return f'attachment; filename="{plain}"'
    encoded = quote(filename.encode("utf-8", "replace"), safe="")
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{encoded}"
