"""What the handlers share: one object per application, under one key."""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec
from aiohttp import web
from multidict import CIMultiDict

from babygun.api.access.auth import Access, Authenticator
from babygun.api.http.body_memory import BodyMemory
from babygun.api.http.waiters import Waiters
from babygun.api.operations.cluster_metrics import Cluster
from babygun.intake.quota_guard import Space
from babygun.intake.rate_limit import RateLimits
from babygun.routing.routes import Routes
from babygun.runtime.settings import Settings
from babygun.store import Store
from babygun.store.access.known_clients import KnownClients
from babygun.store.cluster.health import Checkup
from babygun.store.cluster.processes import Processes


@dataclass(slots=True)
class Api:
    """``stopping``: a signal has come; what is in flight is finished, and probes say so. ``accepted``: e-mails since the start. ``shared``: other processes listen on ``settings.api_port`` too."""

    settings: Settings
    store: Store
    known_clients: KnownClients
    routes: Routes
    auth: Authenticator
    space: Space
    cluster: Cluster
    memory: BodyMemory
    health: Checkup
    processes: Processes
    waiters: Waiters = field(default_factory=Waiters)
    rates: RateLimits = field(default_factory=RateLimits)
    stopping: bool = False
    shared: bool = False
    accepted: int = 0


API = web.AppKey("api", Api)


class Call:
    """What a request carries along: all in one object, since each look into a request costs as much as the rest."""

    __slots__ = ("access", "held", "request_id", "waited")

    def __init__(self, request_id: str) -> None:
        self.request_id = request_id
        self.access: Access | None = None  # who calls, where the route asks for that
        self.held = 0  # bytes of api.memory, given back when the call is answered
        self.waited = 0.0  # seconds that it waited because it was asked to


CALL = web.RequestKey("call", Call)

SECURITY_HEADERS = {
    "Server": "babygun",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
}
_JSON_HEADERS = CIMultiDict({**SECURITY_HEADERS, "Content-Type": "application/json"})
_encode = msgspec.json.Encoder().encode


def api_of(request: web.Request) -> Api:
    return request.app[API]


def call_of(request: web.Request) -> Call:
    return request[CALL]


def access_of(request: web.Request) -> Access:
    """Who calls; only for calls whose route names a scope or a token."""
    access = request[CALL].access
    assert access is not None
    return access


def json_answer(
    value: object,
    *,
    status: int = 200,
    headers: dict[str, str] | None = None,
    kind: type[web.Response] = web.Response,
) -> web.Response:
    """``value``, one of the documents, as JSON."""
    response = kind(
        body=_encode(value), status=status, headers=_JSON_HEADERS
    )  # has a copy of these
    if headers:
        response.headers.update(headers)
    return response
