"""What each request carries, and the services that handlers of every sub-room use.

A service that only some calls use has its key beside its class.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from babygun.runtime.settings import Settings
from babygun.store import Store
from babygun.store.domains.alarms import KnownAlarms
from babygun.store.sites.known import KnownSites

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
"""What answers a call."""


@dataclass(slots=True)
class Process:
    """This API process. ``stopping``: it finishes what is in flight, and probes say so.

    ``shared``: other processes listen on ``settings.api_port`` too.
    """

    stopping: bool = False
    shared: bool = False


SETTINGS = web.AppKey("settings", Settings)
STORE = web.AppKey("store", Store)
SITES = web.AppKey("sites", KnownSites)
DOMAIN_ALARMS = web.AppKey("domain alarms", KnownAlarms)
PROCESS = web.AppKey("process", Process)


@dataclass(slots=True, eq=False)
class Call:
    """One request. ``held_bytes``: taken from the body memory, by its body or its answer.

    ``client``: the id of who calls; empty for all who give no token. ``body``: what was read of a
    small body of JSON. ``result``: a Struct with what the audit says of the answer. ``gave_way``:
    its body was given up for others' bodies. ``waited``: seconds that it waited because its caller
    asked for that.
    """

    request_id: str
    client: str = ""
    body: Any = None
    result: Any = None
    held_bytes: int = 0
    gave_way: bool = False
    waited: float = 0.0


CALL = web.RequestKey("call", Call)


_LINK = "/unsubscribe/"
_BEFORE_ADDRESSES = ("/suppressions/", "/recipients/")


def logged_path(request: web.Request) -> str:
    """The request's path as logs name it.

    Without the token of a link to unsubscribe, and without a recipient's address.
    """
    path = request.path
    for prefix in (_LINK, *_BEFORE_ADDRESSES):
        before, below, rest = path.partition(prefix)
        if below and (prefix == _LINK or "@" in rest):
            return f"{before}{below}…"
    return path


def call_of(request: web.Request) -> Call:
    return request[CALL]
