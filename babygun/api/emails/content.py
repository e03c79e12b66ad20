"""An e-mail's content as bytes: the whole message, and each attachment.

A person wrote it, and it may be meant to harm whoever opens it: nothing of it may run, or be taken for a page of ours.
"""

from __future__ import annotations

from urllib.parse import quote

from aiohttp import web

from babygun.api.emails.send import own_email
from babygun.api.http.problem_types import CONTENT_GONE
from babygun.api.http.problems import Problem
from babygun.api.http.responses import SECURITY_HEADERS
from babygun.email.model import Content, Email
from babygun.errors import NotFound
from babygun.mime import message_id, needs_smtputf8, render

_HEADERS = {
    **SECURITY_HEADERS,
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "Cross-Origin-Resource-Policy": "same-origin",
}


async def show_source(request: web.Request) -> web.Response:
    """The message as a relay gets it that takes bodies of eight bits, as nearly all do."""
    email, content = await own_content(request)
    message = render(
        content,
        message_id=message_id(email),
        date=email.created_at,
        smtputf8=needs_smtputf8(content),
        eight_bit=True,
    )
    how = f'attachment; filename="{email.id}.eml"' if "download" in request.query else "inline"
    return web.Response(
        body=message,
        headers={**_HEADERS, "Content-Type": "message/rfc822", "Content-Disposition": how},
    )


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
    """The header that has a browser save a file under this name, and never show it (RFC 6266)."""
    plain = "".join(
        c if c.isascii() and c.isprintable() and c not in '"\\%' else "_" for c in filename
    )
    encoded = (
        ""
        if plain == filename
        else f"; filename*=UTF-8''{quote(filename.encode('utf-8', 'replace'), safe='')}"
    )
    return f'attachment; filename="{plain}"{encoded}'


async def own_content(request: web.Request) -> tuple[Email, Content]:
    """The e-mail that the path names, with its content. Raises NotFound, and the 410 problem where the content is not kept any more."""
    view = await own_email(request, request.match_info["id"])
    if view.content is None:
        raise Problem(CONTENT_GONE, "The e-mail's content is not kept any more.")
    return view.email, view.content
