"""What the handlers share: one object per application, under one key."""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec
from aiohttp import web

from babygun.api.auth import Access, Authenticator
from babygun.api.cluster import Cluster
from babygun.api.memory import BodyMemory
from babygun.api.ratelimit import RateLimits
from babygun.api.space import Space
from babygun.api.waiters import Waiters
from babygun.routing import Routes
from babygun.settings import Settings
from babygun.store import Store
from babygun.store.directory import Directory
from babygun.store.health import Checkup
from babygun.store.presence import Presence


@dataclass(slots=True)
class Api:
    """``stopping``: a signal has come; what is in flight is finished, and probes say so. ``accepted``: e-mails since the start. ``shared``: other processes listen on ``settings.api_port`` too."""

    settings: Settings
    store: Store
    directory: Directory
    routes: Routes
    auth: Authenticator
    space: Space
    cluster: Cluster
    memory: BodyMemory
    health: Checkup
    presence: Presence
    waiters: Waiters = field(default_factory=Waiters)
    rates: RateLimits = field(default_factory=RateLimits)
    stopping: bool = False
    shared: bool = False
    accepted: int = 0


API = web.AppKey("api", Api)
# What a request carries along.
REQUEST_ID = web.RequestKey("request_id", str)
ACCESS = web.RequestKey("access", Access)
HELD = web.RequestKey("held", int)  # bytes of api.memory, given back when the call is answered

SECURITY_HEADERS = {"Server": "babygun", "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
_JSON_HEADERS = {**SECURITY_HEADERS, "Content-Type": "application/json"}
_encode = msgspec.json.Encoder().encode


def api_of(request: web.Request) -> Api:
    return request.app[API]


def access_of(request: web.Request) -> Access:
    """Who calls; only for calls whose route names a scope or a token."""
    return request[ACCESS]


def json_answer(value: object, *, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    """``value``, one of the documents, as JSON."""
    return web.Response(body=_encode(value), status=status, headers={**_JSON_HEADERS, **headers} if headers else _JSON_HEADERS)
