"""GET /warm-ups and what an operator does about one: skip it, begin it again."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import web

from babygun.api.access.authenticator import access_of
from babygun.api.emails.services import ROUTING
from babygun.api.http.context import SETTINGS, STORE
from babygun.api.http.problem_types import CONFLICT, NOT_FOUND
from babygun.api.http.responses import json_answer
from babygun.api.http.routes import READ_ERRORS, WRITE_ERRORS, Answer, Parameter, Routes
from babygun.api.operations.warm_up_documents import (
    RESTARTED,
    SKIPPED,
    WarmUpDocument,
    WarmUpList,
    warm_up_document,
    warm_up_list,
)
from babygun.errors import Conflict, NotFound
from babygun.routing.warm_up import Plan, read_plan
from babygun.runtime.logs import get_logger
from babygun.store import Store
from babygun.store.domains.change import read_domain
from babygun.store.warm_ups import sources
from babygun.store.warm_ups.reading import read_warm_up, read_warm_ups

log = get_logger("api")
routes = Routes("operations")

_SOURCE = Parameter("source", "path", str, "An address of ours, or a sending domain.", "192.0.2.7")
_AS_IT_IS = "The source as it is now."


@routes.call(
    "GET",
    "/warm-ups",
    summary="List the warm-ups: how much each new source may send, and has sent",
    scope="workers:read",
    answers=[Answer(200, "The sources, those first that warm up.", WarmUpList)],
    errors=READ_ERRORS,
)
async def list_warm_ups(request: web.Request) -> web.Response:
    """A source is an address of ours or a sending domain.

    While it is new it has a ceiling of recipients at each provider and day, which grows by a table.
    Mail above the ceiling goes from an older address where there is one, or waits for the next day.
    Each source has up to 200 sites.
    """
    plan = read_plan(request.app[SETTINGS])
    if plan is None:
        return json_answer(warm_up_list(None, []))
    routing = request.app[ROUTING]
    found = await read_warm_ups(request.app[STORE], plan, routing.sources, routing.provider_sites)
    return json_answer(warm_up_list(plan, found))


@routes.call(
    "GET",
    "/warm-ups/{source}",
    summary="Read one source's warm-up",
    scope="workers:read",
    parameters=[_SOURCE],
    answers=[Answer(200, "The source.", WarmUpDocument)],
    errors=(NOT_FOUND, *READ_ERRORS),
)
async def show_warm_up(request: web.Request) -> web.Response:
    return await _answer(request)


@routes.call(
    "POST",
    "/warm-ups/{source}/skip",
    summary="End a source's warm-up",
    scope="admin",
    parameters=[_SOURCE],
    answers=[Answer(200, _AS_IT_IS, WarmUpDocument, SKIPPED)],
    errors=(NOT_FOUND, CONFLICT, *WRITE_ERRORS),
)
async def skip_warm_up(request: web.Request) -> web.Response:
    """For a source that providers know already: it has no ceiling any more.

    Mail that waits for the next day is then sent.
    """
    await _change(request, sources.skip)
    log.info("warm-up skipped by operator", source=request.match_info["source"])
    return await _answer(request)


@routes.call(
    "POST",
    "/warm-ups/{source}/restart",
    summary="Begin a source's warm-up again",
    scope="admin",
    parameters=[_SOURCE],
    answers=[Answer(200, _AS_IT_IS, WarmUpDocument, RESTARTED)],
    errors=(NOT_FOUND, CONFLICT, *WRITE_ERRORS),
)
async def restart_warm_up(request: web.Request) -> web.Response:
    """Today is its first day. For a source that was silent for a month or more, or lost its name.

    Recipients that it has sent to today count.
    """
    await _change(request, sources.begin_again)
    log.info("warm-up restarted by operator", source=request.match_info["source"])
    return await _answer(request)


async def _change(request: web.Request, change: Callable[..., Awaitable[sources.Source]]) -> None:
    """Changes a source's warm-up. Raises Conflict and NotFound."""
    plan, name, store = _plan(request), request.match_info["source"], request.app[STORE]
    if name in plan.began:
        raise Conflict(
            f"the setting warm_up_began says when {name[:80]} began: change or remove it there"
        )
    await _require(request, store, name)
    await change(store, name, by=f"operator {access_of(request).client.id}")


async def _require(request: web.Request, store: Store, name: str) -> None:
    """Refuses what is no source of this installation: nobody would ever see it."""
    known = name in request.app[ROUTING].sources or await read_domain(store, name) is not None
    if not known and await sources.read_source(store, name) is None:
        raise NotFound("there is no such source address and no such sending domain")


async def _answer(request: web.Request) -> web.Response:
    """The source as it is now. Raises Conflict and NotFound."""
    plan, name, routing = _plan(request), request.match_info["source"], request.app[ROUTING]
    found = await read_warm_up(
        request.app[STORE], name, plan, routing.sources, routing.provider_sites
    )
    if found is None:
        raise NotFound("this source was not used yet, or there is no such source")
    return json_answer(warm_up_document(found))


def _plan(request: web.Request) -> Plan:
    plan = read_plan(request.app[SETTINGS])
    if plan is None:
        raise Conflict("nothing warms up: the setting warm_up is off")
    return plan
