"""The received messages over HTTP: as JSON for tests, as pages for people.

``GET /``                  page: the newest messages; ``?to=`` those to one recipient
``GET /view/<n>``          page: one message; its HTML stands in a frame that can do nothing
``GET /view/<n>/html``     what stands in that frame
``GET /messages``          ``{total, messages}``, newest first; :func:`documents.summary` of each;
                           ``?to=`` those to one recipient
``GET /messages/<n>``      :func:`documents.full` of one message
``GET /messages/<n>/raw``  the message as it came, bytes
``DELETE /messages``       deletes all
``GET /healthz``           200 while it runs
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.typedefs import Handler

from babygun.dev.mailbox import pages
from babygun.dev.mailbox.documents import framed_html, full, summary
from babygun.dev.mailbox.messages import Mailbox, Received
from babygun.email.addresses import comparable
from babygun.runtime.listening import is_loopback

_MAILBOX = web.AppKey("mailbox", Mailbox)
_GONE = "There is no such message, or it is no longer kept."
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-src 'self';"
    " frame-ancestors 'none'; base-uri 'none'; form-action 'self'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
# A mail's HTML: an origin of its own, no scripts, no forms, and nothing from elsewhere.
_FRAME_HEADERS = _HEADERS | {
    "Content-Security-Policy": "sandbox; default-src 'none'; style-src 'unsafe-inline';"
    " img-src data:; frame-ancestors 'self'; base-uri 'none'; form-action 'none'",
}


def build_app(mailbox: Mailbox, *, local: bool) -> web.Application:
    """``local``: it is for this machine alone, so it answers to this machine's names alone."""
    app = web.Application(middlewares=[_own_names_only] if local else [])
    app[_MAILBOX] = mailbox
    app.add_routes(
        [
            web.get("/", _list_page),
            web.get(r"/view/{number:\d{1,15}}", _message_page),
            web.get(r"/view/{number:\d{1,15}}/html", _frame),
            web.get("/messages", _list),
            web.get(r"/messages/{number:\d{1,15}}", _show),
            web.get(r"/messages/{number:\d{1,15}}/raw", _raw),
            web.delete("/messages", _clear),
            web.get("/healthz", _healthz),
        ]
    )
    return app


@web.middleware
async def _own_names_only(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuses a web page whose own name was made to lead to this machine (DNS rebinding)."""
    try:
        name = urlsplit(f"//{request.host}").hostname or ""
    except ValueError:
        name = ""
    if not is_loopback(name):
        raise web.HTTPMisdirectedRequest
    return await handler(request)


def _message(request: web.Request) -> Received | None:
    return request.app[_MAILBOX].get(int(request.match_info["number"]))


def _to(request: web.Request) -> str:
    """The recipient that the query names. A plus in a query stands for a space."""
    return request.query.get("to", "").strip().replace(" ", "+")


def _wanted(request: web.Request) -> Iterator[Received]:
    """The kept messages that the query asks for, newest first."""
    to = _comparable(_to(request))
    for message in request.app[_MAILBOX].newest_first():
        if not to or any(_comparable(address) == to for address in message.recipients):
            yield message


def _comparable(address: str) -> str:
    try:
        return comparable(address)
    except ValueError:
        return address.lower()


# --- JSON ---


async def _list(request: web.Request) -> web.Response:
    found = [summary(message) for message in _wanted(request)]
    return _json({"total": request.app[_MAILBOX].total, "messages": found})


async def _show(request: web.Request) -> web.Response:
    message = _message(request)
    return _json(full(message)) if message else _json({"error": _GONE}, 404)


async def _raw(request: web.Request) -> web.Response:
    message = _message(request)
    if not message:
        return _json({"error": _GONE}, 404)
    return web.Response(body=message.raw, content_type="message/rfc822", headers=_HEADERS)


async def _clear(request: web.Request) -> web.Response:
    request.app[_MAILBOX].clear()
    return web.Response(status=204)


async def _healthz(request: web.Request) -> web.Response:
    return _json({"status": "ok"})


def _json(value: Any, status: int = 200) -> web.Response:
    text = json.dumps(value, ensure_ascii=False)
    return web.json_response(text=text, status=status, headers=_HEADERS)


# --- pages ---


async def _list_page(request: web.Request) -> web.Response:
    kept = [summary(message) for message in _wanted(request)]
    return _page(pages.list_page(kept, request.app[_MAILBOX].total, _to(request)))


async def _message_page(request: web.Request) -> web.Response:
    message = _message(request)
    if not message:
        return _page(pages.whole("Mailbox", f"<p>{_GONE}</p>"), 404)
    return _page(pages.message_page(full(message)))


async def _frame(request: web.Request) -> web.Response:
    message = _message(request)
    html = framed_html(message) if message else None
    if html is None:
        return _page(pages.whole("Mailbox", f"<p>{_GONE}</p>"), 404)
    return web.Response(text=html, content_type="text/html", headers=_FRAME_HEADERS)


def _page(text: str, status: int = 200) -> web.Response:
    return web.Response(text=text, status=status, content_type="text/html", headers=_HEADERS)
