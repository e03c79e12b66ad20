"""GET /healthz and /readyz."""

from __future__ import annotations

from aiohttp import web

from babygun import __version__
from babygun.api.access.authenticator import KNOWN_CLIENTS
from babygun.api.emails.services import QUOTA_GUARD, ROUTING
from babygun.api.http.context import PROCESS
from babygun.api.http.problem_types import NOT_READY
from babygun.api.http.problems import Problem
from babygun.api.http.responses import json_answer
from babygun.api.http.routes import Answer, Routes
from babygun.api.operations.documents import Liveness, Readiness
from babygun.api.operations.services import HEALTH

routes = Routes("operations")


@routes.call(
    "GET",
    "/healthz",
    summary="Liveness",
    answers=[Answer(200, "The process answers.", Liveness)],
    kind="probe",
)
async def alive(request: web.Request) -> web.Response:
    """Says that this process answers, and nothing of etcd: a restart would not repair that."""
    return json_answer(Liveness("ok", __version__))


@routes.call(
    "GET",
    "/readyz",
    summary="Readiness",
    answers=[Answer(200, "E-mails are accepted.", Readiness)],
    errors=(NOT_READY,),
    kind="probe",
)
async def ready(request: web.Request) -> web.Response:
    """Whether e-mails are accepted. Asks etcd each time. 503 lists every reason why not."""
    app = request.app
    known_clients = app[KNOWN_CLIENTS]
    found = await app[HEALTH].check()
    reasons = list(found.reasons)
    if not known_clients.synced:
        reasons.append("changes of clients, signing keys and revoked tokens are not being followed")
    elif known_clients.signing_key is None:
        reasons.append("there is no signing key yet")
    if not app[ROUTING].has_destinations:
        reasons.append("no route is configured (relay_url, routes or default)")
    if app[QUOTA_GUARD].full:
        reasons.append("etcd is nearly full")
    if app[PROCESS].stopping:
        reasons.append("this process is stopping")
    if reasons:
        raise Problem(
            NOT_READY, f"{'; '.join(reasons)}.", reasons=reasons, warnings=found.warnings or None
        )
    return json_answer(Readiness("ready", __version__, found.warnings))
