"""GET /emails/{id}: the e-mail now or, with ``wait``, after its next change.

A call that waits holds a connection and two watches of etcd, and nothing else. The first of these
ends it: a change, its time-out, the loss of its client's connection, the stop of this process. No
change between the read and the watch is missed: the watch begins at the read's revision.
"""

from __future__ import annotations

import asyncio
import time
from typing import Annotated

from aiohttp import web
from msgspec import Meta

from babygun.api.access.authenticator import AUTHENTICATOR
from babygun.api.access.session import authorization_of
from babygun.api.emails.documents import EmailDocument, HoldOf, email_document, holds_of
from babygun.api.emails.own_email import own_email
from babygun.api.emails.parameters import ETAG, ID
from babygun.api.emails.waits import waits_of
from babygun.api.http.context import SITES, STORE, call_of
from babygun.api.http.problem_types import NOT_FOUND, TOO_MANY_WAITING
from babygun.api.http.responses import SECURITY_HEADERS, json_answer
from babygun.api.http.routes import READ_ERRORS, Answer, Parameter, Routes
from babygun.api.http.waiters import WAITERS
from babygun.errors import InvalidRequest, Violation, sentence
from babygun.runtime.setting_types import parse_duration
from babygun.runtime.tasks import cancel_all
from babygun.store.changes.next_change import next_change
from babygun.store.emails import reading

MAX_WAIT = 60.0  # s: less than a balancer waits for an answer


routes = Routes("emails")


@routes.call(
    "GET",
    "/emails/{id}",
    summary="Read an e-mail and its status",
    scope="emails:read",
    parameters=[
        ID,
        Parameter(
            "wait",
            "query",
            Annotated[str, Meta(pattern=r"^[0-9]+(\.[0-9]+)?(ms|s|m)?$")],
            f"How long to wait for a change, at most {MAX_WAIT:g}s.",
            "30s",
        ),
        Parameter(
            "If-None-Match",
            "header",
            str,
            "The ETag of the version that the caller has.",
            '"5f2-600"',
        ),
    ],
    answers=[
        Answer(200, "The e-mail.", EmailDocument, headers=(ETAG,)),
        Answer(
            304,
            "The caller has this version already, as its If-None-Match says.",
            headers=(ETAG,),
        ),
    ],
    errors=(NOT_FOUND, TOO_MANY_WAITING, *READ_ERRORS),
)
async def show_email(request: web.Request) -> web.Response:
    """With `wait` the answer comes with the e-mail's next change.

    A change is one of its status, of a recipient's, or of who sends it. The answer comes at once if
    the e-mail is final, or if `If-None-Match` is given and is not its `ETag` any more. Without a
    change it comes when the time has passed.
    """
    seconds, hold_of = _wait_of(request), request.app[SITES].hold_of
    view = await own_email(request, request.match_info["id"])
    waits = seconds and not view.email.final
    up_to_date = request.if_none_match is None or _is_known(request, view)
    if waits and up_to_date:
        started = time.perf_counter()
        view = await _after_change(request, view, seconds)
        # The token may have ended meanwhile.
        await request.app[AUTHENTICATOR].authorize(authorization_of(request), "emails:read")
        call_of(request).waited = time.perf_counter() - started
    headers = {"ETag": f'"{_version(view, hold_of)}"'}
    if _is_known(request, view):
        return web.Response(status=304, headers={**SECURITY_HEADERS, **headers})
    why = await waits_of(request, view)
    return json_answer(email_document(view, hold_of, why), headers=headers)


async def _after_change(
    request: web.Request, view: reading.EmailView, seconds: float
) -> reading.EmailView:
    """The e-mail after its next change, or as it is after ``seconds`` without one."""
    app = request.app
    clock = asyncio.get_running_loop().time
    deadline = clock() + seconds
    hold_of = app[SITES].hold_of
    before = _version(view, hold_of)
    with app[WAITERS].waiting(request) as stop:
        while _version(view, hold_of) == before and not stop.done():
            change = asyncio.create_task(
                next_change(app[STORE], view.email.id, view.revision), name="wait for an e-mail"
            )
            try:
                await asyncio.wait(
                    {change, stop},
                    timeout=max(0.0, deadline - clock()),
                    return_when=asyncio.FIRST_COMPLETED,
                )
                changed = change.done()
                if changed:
                    change.result()
            finally:
                await cancel_all(change)
            if request.transport is None:
                break  # the client is gone
            view = await own_email(request, view.email.id)
            if not changed:
                break
    return view


def _version(view: reading.EmailView, hold_of: HoldOf) -> str:
    """Differs whenever the document differs, except for the other mail that waits.

    That is by the record, its owners and holds, and the content's end.
    """
    held = [one.revision for one in holds_of(view.email, hold_of)]
    revisions = (view.record_revision, *view.owner_revisions, *held)
    parts = [f"{revision:x}" for revision in revisions]
    if view.content is None:
        parts.append("expired")
    return "-".join(parts)


def _is_known(request: web.Request, view: reading.EmailView) -> bool:
    """Whether the caller has this version already, as its If-None-Match says."""
    known, version = request.if_none_match, _version(view, request.app[SITES].hold_of)
    return known is not None and any(tag.value in ("*", version) for tag in known)


def _wait_of(request: web.Request) -> float:
    """Seconds to wait; 0 by default. Raises InvalidRequest."""
    given = request.query.get("wait")
    if given is None:
        return 0.0
    try:
        seconds = parse_duration(f"{given}s" if given.isdecimal() else given)
    except ValueError as error:
        raise InvalidRequest([Violation("wait", sentence(error))]) from None
    if seconds > MAX_WAIT:
        detail = f"A call waits for {MAX_WAIT:g} seconds at most."
        raise InvalidRequest([Violation("wait", detail)])
    return seconds
