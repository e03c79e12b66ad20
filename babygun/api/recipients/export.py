"""GET /recipients/{address}/export: all that is kept of one recipient, while it is read."""

from __future__ import annotations

import msgspec
from aiohttp import web

from babygun.api.emails.parameters import CONTENT_DISPOSITION
from babygun.api.http.body_memory import BODY_MEMORY
from babygun.api.http.context import STORE, call_of
from babygun.api.http.exports import headers_of, written
from babygun.api.http.routes import READ_ERRORS, Answer, Routes
from babygun.api.recipients.parameters import ADDRESS, address_of
from babygun.store.erasure.export import export

routes = Routes("recipients")

_NDJSON = (
    '{"kind":"suppression","client_id":"3f9c2a51d0e4b768","list":"*","address":"ann@example.org",'
    '"suppression":{"reason":"unsubscribe","since":"2026-11-25T09:00:02.310Z"}}\n'
    '{"kind":"end","complete":true,"emails":0,"events":0,"suppressions":1}\n'
)
_LINE_BYTES = 1 << 20  # that most lines take here at most


@routes.call(
    "GET",
    "/recipients/{address}/export",
    summary="Export a recipient's data",
    scope="admin",
    parameters=[ADDRESS],
    answers=[
        Answer(
            200,
            "A JSON object a line; the last one has the kind end, and counts the others.",
            str,
            _NDJSON,
            (CONTENT_DISPOSITION,),
            media_type="application/x-ndjson",
        )
    ],
    errors=READ_ERRORS,
    audit=True,
)
async def export_recipient_data(request: web.Request) -> web.StreamResponse:
    """All that is kept of one mailbox, of all clients: e-mails, events for webhooks, suppressions.

    An e-mail has its content, if that is still kept, with the attachments in base64. The other
    recipients are left out. It is written while it is read. Without the line of the kind end,
    something is missing. If that is not complete, an event that moved meanwhile may be missing.
    """
    mailbox = address_of(request)
    headers = headers_of(request, "recipient.ndjson", "application/x-ndjson")
    if request.method == "HEAD":
        return web.Response(headers=headers)
    await request.app[BODY_MEMORY].take(call_of(request), _LINE_BYTES)
    async with written(request, headers) as response:
        async for line in export(request.app[STORE], mailbox):
            await response.write(msgspec.json.encode(line) + b"\n")
    return response
