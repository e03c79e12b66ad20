"""GET /emails/{id}/html: an e-mail's HTML, for a frame that runs nothing and loads nothing.

The HTML may be meant to harm its reader. So the answer's policy allows inline styles and the
pictures that are attached, and nothing else. Browsers open some connections that no policy covers
(``<link rel=preconnect>``), and some before they read the policy (the address of a frame). These
would show the sender that somebody has opened the e-mail. So such elements are renamed to unknown
ones. The page's own policy keeps the frame from going elsewhere.
"""

from __future__ import annotations

import base64
import re
from html import unescape
from urllib.parse import unquote

from aiohttp import web

from babygun.api.emails.own_email import own_content
from babygun.api.emails.parameters import ID
from babygun.api.http.problem_types import CONTENT_GONE, NOT_FOUND
from babygun.api.http.responses import SECURITY_HEADERS
from babygun.api.http.routes import READ_ERRORS, Answer, Routes
from babygun.email.model import Attachment
from babygun.errors import NotFound

# Characters that inline pictures may add: the HTML can name one picture a thousand times.
MAX_PICTURES = 32 * 1024 * 1024
_HEADERS = {
    **SECURITY_HEADERS,
    "Content-Security-Policy": (
        "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; "
        "form-action 'none'; base-uri 'none'; frame-ancestors 'self'"
    ),
    "Content-Type": "text/html; charset=utf-8",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-DNS-Prefetch-Control": "off",
}
# Elements that can make a browser connect.
_connecting = re.compile(
    r"<(/?)(a|area|audio|base|embed|frame|iframe|link|meta|object|portal|source|track|video)"
    r"(?=[\s/>])",
    re.IGNORECASE,
)
_LINK_STYLE = "<style>x-a { color: #0645ad; text-decoration: underline; }</style>"
_cid = re.compile(r"\bcid:([^\s\"'<>)]{1,300})", re.IGNORECASE)
# No SVG: it is a document.
_picture_type = re.compile(r"image/(png|jpe?g|gif|webp|bmp|avif)", re.IGNORECASE).fullmatch


routes = Routes("emails")


@routes.call(
    "GET",
    "/emails/{id}/html",
    summary="See an e-mail's HTML",
    scope="emails:read",
    parameters=[ID],
    answers=[Answer(200, "The HTML.", str, "<p>Thank you!</p>", media_type="text/html")],
    errors=(NOT_FOUND, CONTENT_GONE, *READ_ERRORS),
)
async def show_html(request: web.Request) -> web.Response:
    """For a frame of the page. Pictures that came with the e-mail stand in it.

    Its Content-Security-Policy lets it run nothing and load nothing.
    """
    _, content = await own_content(request)
    if content.html is None:
        raise NotFound("the e-mail has no HTML")
    return web.Response(text=harmless(content.html, content.attachments), headers=_HEADERS)


def harmless(html: str, attachments: tuple[Attachment, ...]) -> str:
    """The HTML with its pictures inline, and without elements that make a browser connect.

    Links still look like links, but lead nowhere.
    """
    pictures = {
        attachment.content_id: attachment
        for attachment in attachments
        if attachment.content_id and _picture_type(_bare_type(attachment))
    }
    left = MAX_PICTURES

    def inline(match: re.Match[str]) -> str:
        nonlocal left
        written = unescape(match[1])
        picture = pictures.get(unquote(written)) or pictures.get(written)
        if picture is None or len(picture.content) * 4 // 3 + 4 > left:
            return match[0]
        encoded = base64.b64encode(picture.content).decode()
        left -= len(encoded)
        return f"data:{_bare_type(picture)};base64,{encoded}"

    with_pictures = _cid.sub(inline, html) if pictures else html
    shown = _connecting.sub(r"<\1x-\2", with_pictures)
    # The style comes last, so that a doctype stays first.
    return shown + _LINK_STYLE if "</x-a" in shown else shown


def _bare_type(attachment: Attachment) -> str:
    """The media type without its parameters."""
    return attachment.content_type.partition(";")[0].strip()
