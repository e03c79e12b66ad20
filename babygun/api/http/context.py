"""What each request carries, and the services that handlers of every sub-room use.

A service that only some calls use has its key beside its class.
"""

from __future__ import annotations

from dataclasses import dataclass

from aiohttp import web

from babygun.runtime.settings import Settings
from babygun.store import Store


@dataclass(slots=True)
class Process:
    """This API process. ``stopping``: it finishes what is in flight, and probes say so.

    ``shared``: other processes listen on ``settings.api_port`` too.
    """

    stopping: bool = False
    shared: bool = False


SETTINGS = web.AppKey("settings", Settings)
STORE = web.AppKey("store", Store)
PROCESS = web.AppKey("process", Process)


@dataclass(slots=True)
class Call:
    """One request. ``body_bytes``: taken from the body memory, given back with the answer.

    ``waited``: seconds that it waited because its caller asked for that.
    """

    request_id: str
    body_bytes: int = 0
    waited: float = 0.0


CALL = web.RequestKey("call", Call)


def call_of(request: web.Request) -> Call:
    return request[CALL]
