"""GET /emails/<id>/html: an e-mail's HTML as the page shows it, in a frame that runs nothing and loads nothing from elsewhere.

A stranger may have written it, so its policy allows inline styles and the pictures that came along, and nothing else. Browsers open connections
that no policy covers (``<link rel=preconnect>``), and others before they ask the policy (the address of a frame, of a link that is clicked): a
sender would learn that somebody looks. So such elements are made into unknown ones. The page's own policy keeps the frame where it is.
"""

from __future__ import annotations

import base64
import re
from urllib.parse import unquote

from aiohttp import web

from babygun.api.emails.own_email import own_content
from babygun.api.http.responses import SECURITY_HEADERS
from babygun.email.model import Attachment
from babygun.errors import NotFound

MAX_PICTURES = (
    32 * 1024 * 1024
)  # characters that pictures shown inline add: a text may name one picture a thousand times
_HEADERS = {
    **SECURITY_HEADERS,
    "Content-Security-Policy": "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; form-action 'none'; base-uri 'none'; frame-ancestors 'self'",
    "Content-Type": "text/html; charset=utf-8",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-DNS-Prefetch-Control": "off",
}
_reaching = re.compile(
    r"<(/?)(a|area|audio|base|embed|frame|iframe|link|meta|object|portal|source|track|video)(?=[\s/>])",
    re.IGNORECASE,
)
_LINKS = "<style>x-a { color: #0645ad; text-decoration: underline; }</style>"  # at the end: a doctype stays the first
_cid = re.compile(r"\bcid:([^\s\"'<>)]{1,300})", re.IGNORECASE)
_picture = re.compile(
    r"image/(png|jpe?g|gif|webp|bmp|avif)", re.IGNORECASE
).fullmatch  # no SVG: it is a document


async def show_html(request: web.Request) -> web.Response:
    _, content = await own_content(request)
    if content.html is None:
        raise NotFound("the e-mail has no HTML")
    return web.Response(text=harmless(content.html, content.attachments), headers=_HEADERS)


def harmless(html: str, attachments: tuple[Attachment, ...]) -> str:
    """The HTML with its own pictures in place of their ``cid:`` names, and without elements that make a browser connect; links look like links."""
    pictures = {
        a.content_id: a
        for a in attachments
        if a.content_id and _picture(a.content_type.partition(";")[0].strip())
    }
    room = MAX_PICTURES

    def picture(match: re.Match[str]) -> str:
        nonlocal room
        found = pictures.get(unquote(match[1])) or pictures.get(match[1])
        if found is None or len(found.content) * 4 // 3 + 4 > room:
            return match[0]
        room -= len(found.content) * 4 // 3 + 4
        return f"data:{found.content_type.partition(';')[0].strip()};base64,{base64.b64encode(found.content).decode()}"

    shown = _reaching.sub(r"<\1x-\2", _cid.sub(picture, html) if pictures else html)
    return shown + _LINKS if "</x-a" in shown else shown
