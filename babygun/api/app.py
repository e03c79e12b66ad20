"""Puts the API together: its calls, what they use, and the services that run beside them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from functools import cache
from itertools import islice

import msgspec
from aiohttp import web

from babygun.api.access import clients, session, tokens
from babygun.api.access.authenticator import AUTHENTICATOR, KNOWN_CLIENTS, Authenticator
from babygun.api.access.signing_key import keep_signing_key, until_tokens_work
from babygun.api.domains import domains
from babygun.api.emails import (
    batch,
    bulk,
    change,
    content,
    counts,
    edit,
    listing,
    preview,
    schedule,
    send,
    show,
)
from babygun.api.emails import log as email_log
from babygun.api.emails.path_fields import path_fields
from babygun.api.emails.services import INTAKE, LOOKUPS, QUOTA_GUARD, ROUTING
from babygun.api.emails.site_lookups import SiteLookups
from babygun.api.guard import guarded
from babygun.api.http.access_log import access_log
from babygun.api.http.body_memory import BODY_MEMORY, BodyMemory
from babygun.api.http.context import (
    DOMAIN_ALARMS,
    PROCESS,
    SETTINGS,
    SITES,
    STORE,
    Process,
)
from babygun.api.http.errors_middleware import errors_middleware
from babygun.api.http.files import add_pages
from babygun.api.http.server import check_expect
from babygun.api.http.serving import serve_app
from babygun.api.http.tracing_middleware import traced
from babygun.api.http.waiters import WAITERS, Waiters
from babygun.api.live import stream
from babygun.api.live.stream import STREAMS, Streams
from babygun.api.openapi import view
from babygun.api.openapi.document import build_document
from babygun.api.openapi.view import OPENAPI
from babygun.api.operations import (
    audit,
    metrics_endpoint,
    overview,
    probes,
    sites,
    tls_reports,
    warm_ups,
    workers,
)
from babygun.api.operations.cluster_reading import ClusterReading
from babygun.api.operations.services import CLUSTER, HEALTH, PROCESSES
from babygun.api.recipients import erasure
from babygun.api.recipients import export as recipient_export
from babygun.api.suppressions import bulk_import, export
from babygun.api.suppressions import change as suppression
from babygun.api.suppressions import listing as suppressions
from babygun.api.unsubscribe.calls import LINK_KEYS, add_unsubscribe_page
from babygun.api.webhooks import deliveries, webhooks
from babygun.domains.verifier import Verifier
from babygun.intake.accept import Intake
from babygun.intake.quota_guard import QuotaGuard
from babygun.routing.routes import load_routes
from babygun.runtime import tracing
from babygun.runtime.event_loop import run, watch_lag
from babygun.runtime.logs import get_logger
from babygun.runtime.metric_types import MOST_QUEUES
from babygun.runtime.settings import Settings
from babygun.runtime.tasks import cancel_all
from babygun.runtime.watchdog import watched
from babygun.store import Store
from babygun.store.access.known_clients import KnownClients
from babygun.store.audit.runs import keep_auditing
from babygun.store.cluster.checkin import CheckIn
from babygun.store.cluster.health import Checkup
from babygun.store.cluster.processes import Processes
from babygun.store.domains.alarms import KnownAlarms
from babygun.store.records import ApiProcess
from babygun.store.sites.known import KnownSites
from babygun.store.suppressions.limit import SuppressionLimit
from babygun.store.unsubscribe.keys import UnsubscribeKeys
from babygun.store.upkeep.ending import Ending

log = get_logger("api")

# The modules with handlers. What one declares (babygun.api.http.routes) is served, authorized and
# documented without a change here.
_HANDLERS = (
    tokens,
    session,
    clients,
    send,
    batch,
    listing,
    counts,
    show,
    email_log,
    preview,
    change,
    edit,
    bulk,
    content,
    schedule,
    export,
    bulk_import,
    suppressions,
    suppression,
    erasure,
    recipient_export,
    domains,
    webhooks,
    deliveries,
    workers,
    sites,
    warm_ups,
    tls_reports,
    overview,
    audit,
    stream,
    probes,
    metrics_endpoint,
    view,
)
ROUTES = tuple(route for module in _HANDLERS for route in module.routes)

# For what runs beside the calls, and waits for etcd as long as it is away. Calls use STORE.
_SERVICES_STORE = web.AppKey("services' store", Store)

_FIRST_READ = 1.0  # s, that the first connections wait for clients and keys to be read


def build_app(settings: Settings) -> web.Application:
    """The API as an aiohttp application; etcd need not be up.

    Raises SettingsError where the relays can't be used.
    """
    probes = {route.path for route in ROUTES if route.kind == "probe"}
    streams = {route.path for route in ROUTES if route.kind == "stream"}
    middlewares = [access_log(path_fields, probes=probes, streams=streams), errors_middleware]
    if tracing.on():
        middlewares.insert(0, traced(path_fields, untraced=probes | streams))
    app = web.Application(middlewares=middlewares, client_max_size=settings.max_request)
    store = Store(settings)
    for_calls = Store(settings, for_calls=True)
    known_clients = KnownClients(store)
    routing = load_routes(settings)
    app[SETTINGS] = settings
    app[STORE], app[_SERVICES_STORE] = for_calls, store
    app[PROCESS] = Process()
    app[BODY_MEMORY] = BodyMemory(settings.api_memory)
    app[WAITERS] = Waiters()
    app[KNOWN_CLIENTS] = known_clients
    app[AUTHENTICATOR] = Authenticator(for_calls, known_clients)
    app[ROUTING] = routing
    app[QUOTA_GUARD] = QuotaGuard(store)
    app[LINK_KEYS] = UnsubscribeKeys(store, for_calls)
    app[INTAKE] = Intake(for_calls, routing, app[QUOTA_GUARD], app[LINK_KEYS])
    app[CLUSTER] = ClusterReading(for_calls, islice(routing.destinations, MOST_QUEUES))
    app[HEALTH] = Checkup(for_calls, "api", routing)  # ready means that calls are served
    app[PROCESSES] = Processes(store)
    app[domains.VERIFIER] = Verifier(for_calls)
    app[suppression.LIMIT] = SuppressionLimit(for_calls)
    app[LOOKUPS] = SiteLookups(routing)
    app[SITES] = KnownSites(store, for_calls, site_of=app[LOOKUPS].known)
    app[DOMAIN_ALARMS] = KnownAlarms(store)
    app[STREAMS] = Streams(app)
    app[OPENAPI] = _document()
    for route in ROUTES:
        handler = guarded(route, app)
        for method in ("GET", "HEAD") if route.method == "GET" else (route.method,):
            app.router.add_route(method, route.path, handler, expect_handler=check_expect)
    add_pages(app, settings.prefix)
    add_unsubscribe_page(app, lambda: app[HEALTH].joined)
    app.on_shutdown.append(_end_waits_and_streams)
    app.cleanup_ctx.append(_services)
    return app


@cache
def _document() -> bytes:
    """The OpenAPI document as JSON. The routes never change, and it takes 15 ms to make."""
    return msgspec.json.encode(build_document(ROUTES))


async def _end_waits_and_streams(app: web.Application) -> None:
    app[WAITERS].stop()
    await app[STREAMS].close()


async def _services(app: web.Application) -> AsyncIterator[None]:
    """Runs the services as long as the application.

    Raises SettingsError where this process can't work with this etcd.
    """
    async with app[_SERVICES_STORE] as store, app[STORE]:
        await app[HEALTH].require()
        check_in = CheckIn(
            store, "api", lambda common: ApiProcess(**common, accepted=app[INTAKE].accepted)
        )
        tasks = [
            asyncio.create_task(_kept_running(name, run), name=f"api {name}")
            for name, run in _runs(app, store, check_in).items()
        ]
        try:
            # While etcd is away the API answers all the same, and says so.
            with suppress(TimeoutError):
                async with asyncio.timeout(_FIRST_READ):
                    await until_tokens_work(app[KNOWN_CLIENTS])
            yield
        finally:
            await app[STREAMS].stop()
            await cancel_all(*tasks)
            await app[INTAKE].allowances.close()
            await app[LOOKUPS].close()
            await check_in.leave()


def _runs(
    app: web.Application, store: Store, check_in: CheckIn
) -> dict[str, Callable[[], Awaitable[None]]]:
    """The services, by name: each runs until it is cancelled."""
    known_clients, health = app[KNOWN_CLIENTS], app[HEALTH]

    async def keep_checking_in() -> None:
        await health.join()
        await check_in.run()

    ending = Ending(store, "api")
    return {
        "known clients": known_clients.run,
        "unsubscribe keys": app[LINK_KEYS].run,
        "signing key": lambda: keep_signing_key(
            store, known_clients, lambda: health.joined, lambda: check_in.name
        ),
        "quota guard": app[QUOTA_GUARD].run,
        "allowances": app[INTAKE].allowances.run,
        "processes": app[PROCESSES].run,
        "sites": app[SITES].run,
        "domain alarms": app[DOMAIN_ALARMS].run,
        "webhooks": app[STORE].webhooks.run,
        "domains": app[STORE].domains.run,
        "check-in": keep_checking_in,
        "health": health.run,
        "event loop": watch_lag,
        "ending": lambda: ending.run(lambda: health.joined),
        "audit of runs": lambda: keep_auditing(store, lambda: health.joined),
    }


async def _kept_running(name: str, run: Callable[[], Awaitable[None]]) -> None:
    """Starts a service again whenever it fails, after a growing pause."""
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


def serve(
    settings: Settings, *, started: Callable[[str], None] | None = None, shared: bool = False
) -> None:
    """:func:`serve_until` on a loop of its own, under the watchdog."""

    async def serve_watched() -> None:
        async with watched(settings.watchdog):
            await serve_until(settings, started=started, shared=shared)

    run(serve_watched())


async def serve_until(
    settings: Settings,
    *,
    started: Callable[[str], None] | None = None,
    stop: asyncio.Event | None = None,
    shared: bool = False,
) -> None:
    """Serves the API; see :func:`babygun.api.http.serving.serve_app`."""
    await serve_app(build_app, settings, started=started, stop=stop, shared=shared)
