"""GET /emails/{id}: as it is now or, with ``wait``, at the instant of its next change.

A call that waits holds a connection and two watches of etcd, and nothing else. It ends with a change, with its time, with its client's
connection, or when this process stops, whichever comes first. Nothing that happens between the read and the watch is missed: the
watch begins at the revision of the read.
"""

from __future__ import annotations

import asyncio
import time

from aiohttp import web

from babygun.api.emails.documents import email_document
from babygun.api.emails.send import own_email
from babygun.api.http.context import STORE, call_of
from babygun.api.http.problem_types import INVALID_REQUEST
from babygun.api.http.problems import Problem, sentence
from babygun.api.http.responses import SECURITY_HEADERS, json_answer
from babygun.api.http.waiters import WAITERS
from babygun.runtime.settings import parse_duration
from babygun.store.changes.next_change import next_change
from babygun.store.emails.reading import EmailView

MAX_WAIT = 60.0  # s: less than a balancer waits for an answer


async def show_email(request: web.Request) -> web.Response:
    seconds = _seconds(request.query.get("wait"))
    view = await own_email(request, request.match_info["id"])
    if (
        seconds
        and view.email.status == "incomplete"
        and (request.if_none_match is None or _is_known(request, view))
    ):
        started = time.perf_counter()
        view = await _next(request, view, seconds)
        call_of(request).waited = time.perf_counter() - started
    headers = {"ETag": f'"{_version(view)}"'}
    if _is_known(request, view):
        return web.Response(status=304, headers={**SECURITY_HEADERS, **headers})
    return json_answer(email_document(view), headers=headers)


async def _next(request: web.Request, view: EmailView, seconds: float) -> EmailView:
    """The e-mail after its next change, or as it is when the wait ends without one."""
    app = request.app
    end = asyncio.get_running_loop().time() + seconds
    before = _version(view)
    with app[WAITERS].waiting(request) as over:
        while _version(view) == before and not over.done():
            change = asyncio.create_task(
                next_change(app[STORE], view.email.id, view.revision), name="wait for an e-mail"
            )
            try:
                await asyncio.wait(
                    {change, over},
                    timeout=max(0.0, end - asyncio.get_running_loop().time()),
                    return_when=asyncio.FIRST_COMPLETED,
                )
                ended = not change.done()
                if not ended:
                    change.result()
            finally:
                change.cancel()
                await asyncio.gather(change, return_exceptions=True)
            if request.transport is None:
                break  # nobody is there to be told
            view = await own_email(request, view.email.id)
            if ended:
                break
    return view


def _version(view: EmailView) -> str:
    """Another one whenever the document is: by the record, who sends it, and whether the content is kept."""
    return "-".join(
        [
            *(f"{revision:x}" for revision in (view.record_revision, *view.owner_revisions)),
            *(["expired"] if view.content is None else []),
        ]
    )


def _is_known(request: web.Request, view: EmailView) -> bool:
    """Whether the caller has this version already, as its If-None-Match says."""
    known = request.if_none_match
    return known is not None and any(tag.value in ("*", _version(view)) for tag in known)


def _seconds(given: str | None) -> float:
    if given is None:
        return 0.0
    try:
        seconds = parse_duration(given)
    except ValueError as error:
        raise Problem(INVALID_REQUEST, sentence(error), field="wait") from None
    if seconds > MAX_WAIT:
        raise Problem(
            INVALID_REQUEST, f"A call waits for {MAX_WAIT:g} seconds at most.", field="wait"
        )
    return seconds
