"""The calls for operators: workers, liveness, readiness."""

from __future__ import annotations

from aiohttp import web

from babygun import __version__
from babygun.api.emails.documents import Liveness, Readiness, worker_list
from babygun.api.http.context import api_of, json_answer
from babygun.api.http.problems import NOT_READY, Problem
from babygun.store.emails import reading


async def list_workers(request: web.Request) -> web.Response:
    return json_answer(worker_list(await reading.list_workers(api_of(request).store)))


async def alive(request: web.Request) -> web.Response:
    return json_answer(Liveness("ok", __version__))


async def ready(request: web.Request) -> web.Response:
    """Asks etcd each time; raises the 503 problem with every reason why e-mails are not taken."""
    api = api_of(request)
    found = await api.health.check()
    reasons = list(found.reasons)
    if not api.known_clients.synced:
        reasons.append("changes of clients, signing keys and revoked tokens are not being followed")
    elif api.known_clients.signing_key is None:
        reasons.append("there is no signing key yet")
    if not api.routes.destinations:
        reasons.append("no relay is configured (relay_url or relays)")
    if api.space.full:
        reasons.append("etcd is nearly full")
    if api.stopping:
        reasons.append("this process is stopping")
    if reasons:
        raise Problem(
            NOT_READY, f"{'; '.join(reasons)}.", reasons=reasons, warnings=found.warnings or None
        )
    return json_answer(Readiness("ready", __version__, found.warnings))
