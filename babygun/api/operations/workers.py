"""The calls for operators: workers, liveness, readiness."""

from __future__ import annotations

from aiohttp import web

from babygun import __version__
from babygun.api.access.auth import KNOWN_CLIENTS
from babygun.api.emails.services import QUOTA_GUARD, ROUTING
from babygun.api.http.context import PROCESS, STORE
from babygun.api.http.problem_types import NOT_READY
from babygun.api.http.problems import Problem
from babygun.api.http.responses import json_answer
from babygun.api.operations.documents import Liveness, Readiness, worker_list
from babygun.api.operations.services import HEALTH
from babygun.store.emails import reading


async def list_workers(request: web.Request) -> web.Response:
    return json_answer(worker_list(await reading.list_workers(request.app[STORE])))


async def alive(request: web.Request) -> web.Response:
    return json_answer(Liveness("ok", __version__))


async def ready(request: web.Request) -> web.Response:
    """Asks etcd each time; raises the 503 problem with every reason why e-mails are not taken."""
    app = request.app
    known_clients = app[KNOWN_CLIENTS]
    found = await app[HEALTH].check()
    reasons = list(found.reasons)
    if not known_clients.synced:
        reasons.append("changes of clients, signing keys and revoked tokens are not being followed")
    elif known_clients.signing_key is None:
        reasons.append("there is no signing key yet")
    if not app[ROUTING].destinations:
        reasons.append("no relay is configured (relay_url or relays)")
    if app[QUOTA_GUARD].full:
        reasons.append("etcd is nearly full")
    if app[PROCESS].stopping:
        reasons.append("this process is stopping")
    if reasons:
        raise Problem(
            NOT_READY, f"{'; '.join(reasons)}.", reasons=reasons, warnings=found.warnings or None
        )
    return json_answer(Readiness("ready", __version__, found.warnings))
