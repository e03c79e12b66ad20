"""GET an e-mail's message and its attachments, as bytes.

The content may be meant to harm its reader. So no browser may run it, or show it as a page of
ours.
"""

from __future__ import annotations

from typing import Annotated
from urllib.parse import quote

from aiohttp import web
from msgspec import Meta

from babygun.api.emails.own_email import own_content
from babygun.api.emails.parameters import CONTENT_DISPOSITION, ID
from babygun.api.http.problem_types import CONTENT_GONE, NOT_FOUND
from babygun.api.http.responses import SECURITY_HEADERS
from babygun.api.http.routes import READ_ERRORS, Answer, Parameter, Routes
from babygun.errors import NotFound
from babygun.mime import message_id, needs_smtputf8, render, with_unsubscribe_link
from babygun.mime.media_type import kept_media_type

_HEADERS = {
    **SECURITY_HEADERS,
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_MESSAGE = """\
Date: Wed, 25 Nov 2026 09:00:00 +0000
From: shop@example.com
To: ann@example.org
Subject: Your order
Message-ID: <019ab8c2-7f41-7d3a-9c55-2b7e4f1a90c8@example.com>
MIME-Version: 1.0
Content-Type: text/plain; charset=utf-8
Content-Transfer-Encoding: 7bit

Thank you!
""".replace("\n", "\r\n")


routes = Routes("emails")
_ERRORS = (NOT_FOUND, CONTENT_GONE, *READ_ERRORS)


@routes.call(
    "GET",
    "/emails/{id}/source",
    summary="Read an e-mail as it is sent",
    scope="emails:read",
    parameters=[
        ID,
        Parameter(
            "download",
            "query",
            str,
            "Present, with any value: the answer is a file to save.",
            "",
        ),
    ],
    answers=[
        Answer(
            200,
            "The message.",
            str,
            _MESSAGE,
            (CONTENT_DISPOSITION,),
            "message/rfc822",
        )
    ],
    errors=_ERRORS,
)
async def show_source(request: web.Request) -> web.Response:
    """The message as sent to a relay that supports 8BITMIME (nearly all do). It has no Bcc.

    A worker may put `DKIM-Signature` and `Feedback-ID` before it.

    In a link to unsubscribe, `{token}` stands for the token, since each recipient has another one.
    """
    email, content = await own_content(request)
    message = render(
        content,
        message_id=message_id(email),
        date=email.created_at,
        smtputf8=needs_smtputf8(content),
        eight_bit=True,
    )
    shown = "inline" if "download" not in request.query else disposition(f"{email.id}.eml")
    if content.unsubscribe is not None:
        message = with_unsubscribe_link(message, f"{content.unsubscribe.url}/{{token}}")
    headers = {**_HEADERS, "Content-Type": "message/rfc822", "Content-Disposition": shown}
    return web.Response(body=message, headers=headers)


@routes.call(
    "GET",
    "/emails/{id}/attachments/{n}",
    summary="Read an attachment",
    scope="emails:read",
    parameters=[
        ID,
        Parameter(
            "n", "path", Annotated[int, Meta(ge=0)], "Its place in `attachments`, from 0 on.", 0
        ),
    ],
    answers=[
        Answer(
            200,
            "The bytes.",
            str,
            "4711: 12.00 EUR\n",
            (CONTENT_DISPOSITION,),
            "text/plain",
            more={"*/*": "…"},
        )
    ],
    errors=_ERRORS,
)
async def show_attachment(request: web.Request) -> web.Response:
    """Its bytes, with its own media type, and always as a file to save."""
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
        "Content-Type": kept_media_type(attachment.content_type).folded().replace("\r\n", ""),
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
