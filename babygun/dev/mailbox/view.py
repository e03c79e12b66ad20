"""What the mailbox caught, over HTTP: as JSON for tests, as plain pages for people. A mail's HTML is shown as text, never run.

``GET /``                  the newest messages, to read
``GET /view/<n>``          one message, to read
``GET /messages``          ``{total, messages: [{number, received_at, sender, recipients, subject, size}]}``, newest first
``GET /messages/<n>``      the same, with ``headers`` ([name, value] pairs), ``text``, ``html``, ``attachments`` and ``raw``
``GET /messages/<n>/raw``  the message as it came, bytes
``DELETE /messages``       forgets them all
``GET /healthz``           200 while it runs
"""

from __future__ import annotations

import email.policy
import json
from collections.abc import Iterable
from email.message import EmailMessage
from email.parser import BytesHeaderParser, BytesParser
from html import escape
from typing import Any

from aiohttp import web

from babygun.dev.mailbox.server import Caught, Mailbox
from babygun.runtime.clock import format_time

_MAILBOX = web.AppKey("mailbox", Mailbox)
_POLICY = email.policy.default.clone(utf8=True)
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; color: #222; background: #fff }
table { border-collapse: collapse; width: 100% } td, th { text-align: left; vertical-align: top; padding: .3rem .8rem .3rem 0; border-bottom: 1px solid #ddd; overflow-wrap: anywhere }
th { font-weight: 600; white-space: nowrap } pre { white-space: pre-wrap; overflow-wrap: anywhere; background: #f5f5f3; padding: 1rem } a { color: #0b57d0 }
@media (prefers-color-scheme: dark) { body { color: #ddd; background: #181818 } td, th { border-color: #444 } pre { background: #262626 } a { color: #8ab4f8 } }
"""


def build_app(mailbox: Mailbox) -> web.Application:
    app = web.Application()
    app[_MAILBOX] = mailbox
    app.add_routes(
        [
            web.get("/", _index),
            web.get(r"/view/{number:\d{1,15}}", _view),
            web.get("/messages", _list),
            web.get(r"/messages/{number:\d{1,15}}", _show),
            web.get(r"/messages/{number:\d{1,15}}/raw", _raw),
            web.delete("/messages", _clear),
            web.get("/healthz", _healthz),
        ]
    )
    return app


# --- JSON ---


def summary(caught: Caught) -> dict[str, Any]:
    return {
        "number": caught.number,
        "received_at": format_time(caught.received_at),
        "sender": caught.sender,
        "recipients": list(caught.recipients),
        "subject": _subject(caught.raw),
        "size": len(caught.raw),
    }


def full(caught: Caught) -> dict[str, Any]:
    message = BytesParser(EmailMessage, policy=_POLICY).parsebytes(caught.raw)
    bodies: dict[str, list[str]] = {"text/plain": [], "text/html": []}
    attachments = []
    for part in message.walk():
        if part.is_multipart():
            continue
        kind = part.get_content_type()
        if (
            kind in bodies
            and part.get_content_disposition() != "attachment"
            and part.get_filename() is None
        ):
            bodies[kind].append(_text(part))
        else:
            payload = part.get_payload(decode=True)
            attachments.append(
                {
                    "filename": _plain(part.get_filename() or ""),
                    "content_type": kind,
                    "size": len(payload) if isinstance(payload, bytes) else 0,
                }
            )
    return {
        **summary(caught),
        "headers": [[name, _plain(value)] for name, value in _headers(message)],
        "text": "\n".join(bodies["text/plain"]) if bodies["text/plain"] else None,
        "html": "\n".join(bodies["text/html"]) if bodies["text/html"] else None,
        "attachments": attachments,
        "raw": caught.raw.decode("utf-8", "replace"),
    }


def _headers(message: EmailMessage) -> Iterable[tuple[str, str]]:
    for name, raw in message.raw_items():
        try:
            yield name, str(_POLICY.header_fetch_parse(name, raw))
        except Exception:  # the parser has more ways to fail on rubbish than one could list; what came is shown then
            yield name, str(raw)


def _text(part: EmailMessage) -> str:
    try:
        return _plain(str(part.get_content())).replace("\r\n", "\n")
    except (LookupError, ValueError, KeyError):  # an unknown character set, a broken encoding
        payload = part.get_payload(decode=True)
        return payload.decode("utf-8", "replace") if isinstance(payload, bytes) else ""


def _subject(raw: bytes) -> str:
    head = raw[: 1 << 16]
    message = BytesHeaderParser(EmailMessage, policy=_POLICY).parsebytes(head)
    return next(
        (_plain(value) for name, value in _headers(message) if name.lower() == "subject"), ""
    )


def _plain(text: str) -> str:
    """Without the lone surrogates by which Python carries bytes that are no UTF-8."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


async def _list(request: web.Request) -> web.Response:
    mailbox = request.app[_MAILBOX]
    return _json(
        {"total": mailbox.total, "messages": [summary(caught) for caught in mailbox.newest_first()]}
    )


async def _show(request: web.Request) -> web.Response:
    caught = _caught(request)
    return (
        _json(full(caught))
        if caught
        else _json({"error": "there is no such message, or it is no longer kept"}, 404)
    )


async def _raw(request: web.Request) -> web.Response:
    caught = _caught(request)
    if not caught:
        return _json({"error": "there is no such message, or it is no longer kept"}, 404)
    return web.Response(body=caught.raw, content_type="message/rfc822", headers=_HEADERS)


async def _clear(request: web.Request) -> web.Response:
    request.app[_MAILBOX].clear()
    return web.Response(status=204)


async def _healthz(request: web.Request) -> web.Response:
    return _json({"status": "ok"})


def _caught(request: web.Request) -> Caught | None:
    return request.app[_MAILBOX].get(int(request.match_info["number"]))


def _json(value: Any, status: int = 200) -> web.Response:
    return web.json_response(
        value, status=status, headers=_HEADERS, dumps=lambda v: json.dumps(v, ensure_ascii=False)
    )


# --- pages ---


async def _index(request: web.Request) -> web.Response:
    mailbox = request.app[_MAILBOX]
    kept = [summary(caught) for caught in mailbox.newest_first()]
    if not kept:
        return _page(
            "Mailbox",
            "<p>Nothing yet. Mail that Babygun sends appears here; reload to look again.</p>",
        )
    rows = "".join(
        f"<tr><td>{escape(m['received_at'][11:19])}</td><td>{escape(m['sender'] or '<>')}</td><td>{escape(_people(m['recipients']))}</td>"
        f'<td><a href="/view/{m["number"]}">{escape(m["subject"] or "(no subject)")}</a></td><td>{m["size"]}</td></tr>'
        for m in kept[:200]
    )
    counts = f"{mailbox.total} caught, {len(kept)} kept" + (
        ", the newest 200 shown" if len(kept) > 200 else ""
    )
    return _page(
        "Mailbox",
        f"<p>{counts}. As JSON: <a href='/messages'>/messages</a></p><table><tr><th>UTC<th>From<th>To<th>Subject<th>Bytes</tr>{rows}</table>",
    )


def _people(recipients: list[str]) -> str:
    return ", ".join(recipients[:5]) + (
        f" and {len(recipients) - 5} more" if len(recipients) > 5 else ""
    )


async def _view(request: web.Request) -> web.Response:
    caught = _caught(request)
    if not caught:
        return _page("Mailbox", "<p>There is no such message, or it is no longer kept.</p>", 404)
    message = full(caught)
    envelope = [
        ("envelope from", message["sender"] or "<>"),
        ("envelope to", ", ".join(message["recipients"])),
    ]
    rows = "".join(
        f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>"
        for name, value in [*envelope, *message["headers"]]
    )
    parts = [f"<table>{rows}</table>"]
    parts += [
        f"<h2>{title}</h2><pre>{escape(message[key])}</pre>"
        for title, key in (("Text", "text"), ("HTML source", "html"))
        if message[key] is not None
    ]
    if message["attachments"]:
        parts.append(
            "<h2>Attachments</h2><ul>"
            + "".join(
                f"<li>{escape(a['filename'])} ({escape(a['content_type'])}, {a['size']} bytes)</li>"
                for a in message["attachments"]
            )
            + "</ul>"
        )
    parts.append(
        f"<p><a href='/messages/{caught.number}/raw'>as it came</a> · <a href='/'>all messages</a></p>"
    )
    return _page(message["subject"] or "(no subject)", "".join(parts))


def _page(title: str, body: str, status: int = 200) -> web.Response:
    text = f"<!doctype html><html lang='en'><meta charset='utf-8'><meta name='viewport' content='width=device-width'><title>{escape(title)}</title><style>{_STYLE}</style><h1>{escape(title)}</h1>{body}</html>"
    return web.Response(text=text, status=status, content_type="text/html", headers=_HEADERS)
