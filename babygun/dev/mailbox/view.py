"""The received messages over HTTP: as JSON for tests, as pages for people.

``GET /``                  page: the newest messages
``GET /view/<n>``          page: one message; its HTML is shown as text and never run
``GET /messages``          ``{total, messages}``, newest first; :func:`documents.summary` of each
``GET /messages/<n>``      :func:`documents.full` of one message
``GET /messages/<n>/raw``  the message as it came, bytes
``DELETE /messages``       deletes all
``GET /healthz``           200 while it runs
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape
from typing import Any
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.typedefs import Handler

from babygun.dev.mailbox.documents import full, summary
from babygun.dev.mailbox.messages import Mailbox, Received
from babygun.runtime.listening import is_loopback

_MAILBOX = web.AppKey("mailbox", Mailbox)
_MOST_ROWS = 200  # of the list page
_MOST_RECIPIENTS = 5  # of one row
_GONE = "There is no such message, or it is no longer kept."
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline';"
    " frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}
_STYLE = """
body {
  font: 15px/1.5 system-ui, sans-serif; color: #222; background: #fff;
  max-width: 70rem; margin: 2rem auto; padding: 0 1rem
}
table { border-collapse: collapse; width: 100% }
td, th {
  text-align: left; vertical-align: top; padding: .3rem .8rem .3rem 0;
  border-bottom: 1px solid #ddd; overflow-wrap: anywhere
}
th { font-weight: 600; white-space: nowrap }
pre { white-space: pre-wrap; overflow-wrap: anywhere; background: #f5f5f3; padding: 1rem }
a { color: #0b57d0 }
@media (prefers-color-scheme: dark) {
  body { color: #ddd; background: #181818 }
  td, th { border-color: #444 }
  pre { background: #262626 }
  a { color: #8ab4f8 }
}
"""


def build_app(mailbox: Mailbox, *, local: bool) -> web.Application:
    """``local``: it is for this machine alone, so it answers to this machine's names alone."""
    app = web.Application(middlewares=[_own_names_only] if local else [])
    app[_MAILBOX] = mailbox
    app.add_routes(
        [
            web.get("/", _list_page),
            web.get(r"/view/{number:\d{1,15}}", _message_page),
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


# --- JSON ---


async def _list(request: web.Request) -> web.Response:
    mailbox = request.app[_MAILBOX]
    return _json(
        {"total": mailbox.total, "messages": [summary(each) for each in mailbox.newest_first()]}
    )


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
    mailbox = request.app[_MAILBOX]
    kept = [summary(message) for message in mailbox.newest_first()]
    if not kept:
        return _page("Mailbox", "<p>No mail yet. Reload to see what has come.</p>")
    rows = "".join(map(_row, kept[:_MOST_ROWS]))
    counts = f"{mailbox.total} received, {len(kept)} kept"
    if len(kept) > _MOST_ROWS:
        counts += f", the newest {_MOST_ROWS} shown"
    return _page(
        "Mailbox",
        f"<p>{counts}. As JSON: <a href='/messages'>/messages</a></p>"
        f"<table><tr><th>UTC<th>From<th>To<th>Subject<th>Bytes</tr>{rows}</table>",
    )


def _row(message: dict[str, Any]) -> str:
    cells = (
        escape(message["received_at"][11:19]),
        escape(message["sender"] or "<>"),
        escape(_people(message["recipients"])),
        f'<a href="/view/{message["number"]}">{escape(message["subject"] or "(no subject)")}</a>',
        str(message["size"]),
    )
    return f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"


def _people(recipients: Sequence[str]) -> str:
    shown = ", ".join(recipients[:_MOST_RECIPIENTS])
    more = len(recipients) - _MOST_RECIPIENTS
    return f"{shown} and {more} more" if more > 0 else shown


async def _message_page(request: web.Request) -> web.Response:
    message = _message(request)
    if not message:
        return _page("Mailbox", f"<p>{_GONE}</p>", 404)
    document = full(message)
    headers = [
        ("envelope from", document["sender"] or "<>"),
        ("envelope to", ", ".join(document["recipients"])),
        *document["headers"],
    ]
    rows = (f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in headers)
    parts = [f"<table>{''.join(rows)}</table>"]
    for title, text in (("Text", document["text"]), ("HTML source", document["html"])):
        if text is not None:
            parts.append(f"<h2>{title}</h2><pre>{escape(text)}</pre>")
    if document["attachments"]:
        items = (
            f"<li>{escape(a['filename'])} ({escape(a['content_type'])}, {a['size']} bytes)</li>"
            for a in document["attachments"]
        )
        parts.append(f"<h2>Attachments</h2><ul>{''.join(items)}</ul>")
    parts.append(
        f"<p><a href='/messages/{message.number}/raw'>as it came</a>"
        " · <a href='/'>all messages</a></p>"
    )
    return _page(document["subject"] or "(no subject)", "".join(parts))


def _page(title: str, body: str, status: int = 200) -> web.Response:
    text = (
        "<!doctype html><html lang='en'><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width'>"
        f"<title>{escape(title)}</title><style>{_STYLE}</style>"
        f"<h1>{escape(title)}</h1>{body}</html>"
    )
    return web.Response(text=text, status=status, content_type="text/html", headers=_HEADERS)
