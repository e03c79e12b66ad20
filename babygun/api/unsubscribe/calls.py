"""GET and POST /unsubscribe/<token>: for recipients and their mail programs, who have no account.

GET shows a page with a button and changes nothing, since programs that look for harm open all
links. POST unsubscribes, whether a mail program sends it (RFC 8058) or the button. A link that is
not ours, or whose client is gone, gets a plain page without a reason.
"""

from __future__ import annotations

from collections.abc import Callable

from aiohttp import web

from babygun.api.access.authenticator import KNOWN_CLIENTS
from babygun.api.http.body import MAX_SIGN_IN, read_body
from babygun.api.http.body_memory import BODY_MEMORY
from babygun.api.http.caller import caller_of
from babygun.api.http.context import STORE, call_of
from babygun.api.http.problems import Problem, from_exception
from babygun.api.http.responses import SECURITY_HEADERS
from babygun.api.http.server import check_expect
from babygun.api.unsubscribe import page
from babygun.api.unsubscribe.limits import LinkLimits
from babygun.email.model import client_id_of
from babygun.errors import BabygunError
from babygun.runtime.logs import get_logger, note
from babygun.runtime.metrics import UNSUBSCRIBE_CALLS
from babygun.store.unsubscribe.keys import UnsubscribeKeys
from babygun.store.unsubscribe.tokens import UNSUBSCRIBE_PATH, Subscription, read_token
from babygun.store.unsubscribe.unsubscribe import unsubscribe

log = get_logger("api")

LINK_KEYS = web.AppKey("unsubscribe keys", UnsubscribeKeys)
_LIMITS = web.AppKey("link limits", LinkLimits)
_HEADERS = {**SECURITY_HEADERS, **page.HEADERS}
_WAIT = 5  # s, after which to try again while etcd is away
_FIELD, _VALUE = page.FIELD.encode(), page.VALUE.encode()


def add_unsubscribe_page(app: web.Application, joined: Callable[[], bool]) -> None:
    """``joined``: whether etcd has confirmed that its contents are this cluster's."""
    app[_LIMITS] = LinkLimits()

    async def answer(request: web.Request) -> web.Response:
        known_clients, keys = app[KNOWN_CLIENTS], app[LINK_KEYS]
        if not (joined() and keys.known and known_clients.ready.is_set()):
            return _later(503, counted="failed")
        what = read_token(request.match_info["token"], keys.secret_of)
        client = known_clients.clients.get(client_id_of(what.client_id)) if what else None
        if what is None or client is None or client.identity != what.client_id:
            wait = app[_LIMITS].wrong(caller_of(request).address)
            if wait:
                return _later(429, wait, counted="limited")
            return _page(page.NO_LINK, 404, counted="no_link")
        note(client_id=client.id)
        if wait := app[_LIMITS].right(caller_of(request).address):
            return _later(429, wait, counted="limited")
        if request.method != "POST":
            return _page(page.ask(what))
        return await _unsubscribe(request, what)

    for method in ("GET", "HEAD", "POST"):
        # All that is below the path is a token, so that each wrong link gets a page.
        app.router.add_route(
            method, UNSUBSCRIBE_PATH + "/{token:.*}", answer, expect_handler=check_expect
        )


async def _unsubscribe(request: web.Request, what: Subscription) -> web.Response:
    """Where the body is not what mail programs and the button send, it asks again."""
    try:
        body = await read_body(request, limit=MAX_SIGN_IN)
        if _FIELD not in body or _VALUE not in body:
            return _page(page.ask(what), 400, counted="refused")
        written = await unsubscribe(request.app[STORE], what)
        if written:
            log.info("unsubscribed", client=client_id_of(what.client_id), list=what.list)
    except (Problem, BabygunError) as error:
        status = from_exception(error).kind.status
        if status >= 500:
            log.warning("not unsubscribed", error=str(error))
        return _later(status, counted="failed" if status >= 500 else "refused")
    finally:
        if (call := call_of(request)).held_bytes:
            request.app[BODY_MEMORY].give_back(call)
    return _page(page.done(what), counted="unsubscribed" if written else "repeated")


def _page(text: str, status: int = 200, *, counted: str = "shown") -> web.Response:
    UNSUBSCRIBE_CALLS[counted].inc()
    return web.Response(body=text.encode(), status=status, headers=_HEADERS)


def _later(status: int, wait: int = _WAIT, *, counted: str) -> web.Response:
    response = _page(page.LATER, status, counted=counted)
    response.headers["Retry-After"] = str(wait)
    return response
