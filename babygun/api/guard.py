"""The checks between the middlewares and a handler, as the handler's route declares them."""

from __future__ import annotations

from aiohttp import web

from babygun.api.access.authenticator import ACCESS, AUTHENTICATOR
from babygun.api.access.session import authorization_of
from babygun.api.audited import audited
from babygun.api.http.body_memory import BODY_MEMORY, SMALL
from babygun.api.http.context import Handler, call_of
from babygun.api.http.problem_types import NOT_READY
from babygun.api.http.problems import Problem
from babygun.api.http.query import check_query
from babygun.api.http.routes import Route
from babygun.api.http.server import connection_of
from babygun.api.operations.services import HEALTH
from babygun.runtime import tracing
from babygun.runtime.logs import note


def guarded(route: Route, app: web.Application) -> Handler:
    """The route's handler behind its checks. ``app`` has its services.

    A call is refused until etcd has confirmed that its contents are this cluster's. It needs a
    token with the route's scope. Its query may have only the route's parameters. What its body took
    of the memory for bodies is given back when the handler has answered. A large answer takes some,
    too, until it is sent.
    """
    handler = audited(route) if route.audited else route.handler
    needs_cluster, scope = route.needs_cluster, route.scope
    parameters = {each.name: each for each in route.parameters if each.where == "query"}
    health, authenticator, memory = app[HEALTH], app[AUTHENTICATOR], app[BODY_MEMORY]

    async def guard(request: web.Request) -> web.StreamResponse:
        if needs_cluster and not health.joined:
            raise Problem(
                NOT_READY,
                "etcd has not confirmed yet that its contents belong to this cluster."
                " GET /readyz says more.",
            )
        call = call_of(request)
        if scope is not None:
            access = request[ACCESS] = await authenticator.authorize(
                authorization_of(request), None if scope == "any" else scope
            )
            call.client = access.client.id
            note(client_id=call.client)
            tracing.current().set("babygun.client_id", call.client)
        if request.rel_url.raw_query_string:
            check_query(request, parameters)
        try:
            response = await handler(request)
        finally:
            if call.held_bytes:
                memory.give_back(call)
        body = getattr(response, "body", None)
        if isinstance(body, bytes) and len(body) > SMALL:
            await memory.take(call, len(body))
            connection_of(request).when_sent(lambda: memory.give_back(call))
        return response

    return guard
