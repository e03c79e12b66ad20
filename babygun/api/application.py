"""Puts the API together: the application with its routes, and the services that it lives on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from itertools import islice

import msgspec
from aiohttp import web

from babygun.api.access.auth import Authenticator
from babygun.api.access.session import authorization_of
from babygun.api.http import files as pages
from babygun.api.http import middleware as edge
from babygun.api.http.body_memory import BodyMemory
from babygun.api.http.context import API, Api, call_of
from babygun.api.http.middleware import Handler
from babygun.api.http.problems import INVALID_REQUEST, NOT_READY, Problem
from babygun.api.http.request_span import traced
from babygun.api.http.route import Route
from babygun.api.live.stream import STREAMS, Streams
from babygun.api.openapi.document import build_document
from babygun.api.openapi.view import OPENAPI
from babygun.api.operations.cluster_metrics import Cluster
from babygun.api.operations.registration import Registration
from babygun.api.routes import ROUTES
from babygun.errors import EtcdError
from babygun.intake.quota_guard import Space
from babygun.routing.routes import load_routes
from babygun.runtime import metrics, tracing
from babygun.runtime.logs import get_logger, note
from babygun.runtime.settings import Settings
from babygun.store import Store
from babygun.store.access.clients import ensure_signing_key
from babygun.store.access.known_clients import KnownClients
from babygun.store.cluster.health import Checkup
from babygun.store.cluster.processes import Processes

log = get_logger("api")

_FIRST_READ = 1.0  # s, that the first connections wait for clients and keys to be read
_LOOK_AGAIN = 5.0  # s, after a signing key could not be made


def build_app(settings: Settings) -> web.Application:
    """The API as an aiohttp application; etcd need not be up. Raises SettingsError where the relays can't be used."""
    store = Store(settings)
    known_clients = KnownClients(store)
    routes = load_routes(settings)
    app = web.Application(
        middlewares=[traced, edge.edge] if tracing.on() else [edge.edge],
        client_max_size=settings.max_request,
    )
    app[API] = Api(
        settings,
        store,
        known_clients,
        routes,
        Authenticator(store, known_clients),
        Space(store),
        Cluster(store, islice(routes.destinations, metrics.MOST_QUEUES)),
        BodyMemory(settings.api_memory),
        Checkup(store, "api", routes),
        Processes(store),
    )
    app[OPENAPI] = msgspec.json.encode(build_document())
    for route in ROUTES:
        guarded = _guarded(route, app[API])
        app.router.add_route(route.method, route.path, guarded, expect_handler=edge.expect)
        if route.method == "GET":
            app.router.add_route("HEAD", route.path, guarded, expect_handler=edge.expect)
    streams = app[STREAMS] = Streams(app[API])
    pages.add_pages(app, settings.prefix)
    app.on_shutdown.append(lambda _: streams.close())
    app.cleanup_ctx.append(_services)
    app.on_shutdown.append(_end_waits)
    return app


def _guarded(route: Route, api: Api) -> Handler:
    """The route's handler behind its demand for a token and scope, and behind the check of the query's parameters."""
    scope = None if route.needs == "token" else route.needs
    names = [parameter.name for parameter in route.parameters if parameter.where == "query"]
    handler, needs, joins = route.handler, route.needs, route.tag != "operations"

    async def guarded(request: web.Request) -> web.StreamResponse:
        if joins and not api.health.joined:
            raise Problem(
                NOT_READY,
                "etcd has not confirmed that what is there belongs to this cluster; GET /readyz says more.",
            )
        if needs is not None:
            access = call_of(request).access = await api.auth.authorize(
                authorization_of(request), scope
            )
            note(client_id=access.client.id)
        if request.rel_url.raw_query_string:
            _check_query(request, names)
        return await handler(request)

    return guarded


async def _end_waits(app: web.Application) -> None:
    app[API].waiters.stop()


def _check_query(request: web.Request, names: Sequence[str]) -> None:
    """Raises the 422 problem unless each of the query's parameters is known and given once."""
    seen: set[str] = set()
    for name, _ in request.query.items():
        if name not in names:
            detail = (
                f"There is no such parameter; there are {', '.join(names)}."
                if names
                else "This call takes no parameters in its query."
            )
            raise Problem(INVALID_REQUEST, detail, field=name[:80])
        if name in seen:
            raise Problem(INVALID_REQUEST, "This parameter is given more than once.", field=name)
        seen.add(name)


async def _services(app: web.Application) -> AsyncIterator[None]:
    """Runs as long as the application: the store, and what keeps the known clients and the signing key. Raises SettingsError where etcd is not fit."""
    api = app[API]
    await api.store.start()
    try:
        await api.health.require()
    except BaseException:
        await api.store.close()
        raise
    registration = Registration(api.store, lambda: api.accepted)
    tasks = [
        asyncio.create_task(
            _kept_running("known clients", api.known_clients.run), name="api known clients"
        ),
        asyncio.create_task(
            _kept_running("signing key", lambda: _keep_signing_key(api)), name="api signing key"
        ),
        asyncio.create_task(_kept_running("space", api.space.run), name="api space"),
        asyncio.create_task(_kept_running("processes", api.processes.run), name="api processes"),
        asyncio.create_task(
            _kept_running("registration", lambda: _register(api, registration)),
            name="api registration",
        ),
        asyncio.create_task(metrics.watch_event_loop(), name="api event loop"),
        asyncio.create_task(_kept_running("health", api.health.run), name="api health"),
    ]
    try:
        with suppress(TimeoutError):  # where etcd is away the API answers all the same, and says so
            async with asyncio.timeout(_FIRST_READ):
                await _fit(api.known_clients)
        yield
    finally:
        await app[STREAMS].stop()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await registration.leave()
        await api.store.close()


async def _register(api: Api, registration: Registration) -> None:
    await api.health.join()
    await registration.run()


async def _fit(known_clients: KnownClients) -> None:
    """Waits until tokens can be issued and verified."""
    changed = asyncio.Event()
    known_clients.on_change.append(changed.set)
    try:
        while not (known_clients.ready.is_set() and known_clients.signing_key):
            changed.clear()
            await changed.wait()
    finally:
        known_clients.on_change.remove(changed.set)


async def _kept_running(name: str, run: Callable[[], Awaitable[None]]) -> None:
    """A service that fails is logged and started again, with a growing pause."""
    pause = 0.5
    while True:
        started = asyncio.get_running_loop().time()
        try:
            await run()
        except Exception as error:
            log.error("service failed", exc=error, service=name)
        if asyncio.get_running_loop().time() - started > 60:
            pause = 0.5
        await asyncio.sleep(pause)
        pause = min(30.0, pause * 2)


async def _keep_signing_key(api: Api) -> None:
    """Makes a signing key whenever there is none: at the first start, or after an operator has removed them all."""
    changed = asyncio.Event()
    api.known_clients.on_change.append(changed.set)
    try:
        await api.known_clients.ready.wait()
        while True:
            changed.clear()
            if (
                api.health.joined
                and api.known_clients.synced
                and api.known_clients.signing_key is None
            ):
                try:
                    await ensure_signing_key(api.store)
                except EtcdError as error:
                    log.warning("signing key not created", error=str(error))
            with suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_AGAIN):
                    await changed.wait()
    finally:
        api.known_clients.on_change.remove(changed.set)
