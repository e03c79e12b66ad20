"""Who makes a call: its address, and the scheme by which it left there.

A proxy that speaks HTTP says both in headers. Anybody can write those, so they are believed only
from the networks of the setting ``trusted_proxies``. ``Forwarded`` (RFC 7239) is not read: a proxy
that does not know it passes on what its client wrote there.
"""

from __future__ import annotations

from aiohttp import web
from msgspec import Struct

from babygun.api.http.server import connection_of
from babygun.runtime.listening import is_loopback
from babygun.runtime.networks import is_in, normal_address

_MARKS = ("X-Forwarded-For", "Forwarded", "Via")
_SCHEMES = ("http", "https")


class Caller(Struct, frozen=True, gc=False):
    """``address``: an IP address as text; empty if the connection is closed.

    ``scheme``: http or https.
    """

    address: str
    scheme: str


def caller_of(request: web.Request) -> Caller:
    """The right-most address that is no trusted proxy's, and the scheme that its proxy reported."""
    connection = connection_of(request)
    address, scheme, proxies = connection.peer, request.scheme, connection.proxies
    if not proxies:
        return Caller(address, scheme)
    schemes = _listed(request, "X-Forwarded-Proto")
    for entry in reversed(_listed(request, "X-Forwarded-For") or [""]):
        named = normal_address(entry)
        address = named or address
        # Some proxies append to this header as to the other. Most write one scheme only.
        reported = schemes.pop() if len(schemes) > 1 else "".join(schemes)
        scheme = reported.lower() if reported.lower() in _SCHEMES else scheme
        if not is_in(proxies, named):
            break
    return Caller(address, scheme)


def is_local(request: web.Request) -> bool:
    """Whether the caller is on this machine, and no proxy passes the call on for somebody else."""
    return is_loopback(caller_of(request).address) and not any(
        name in request.headers for name in _MARKS
    )


def _listed(request: web.Request, name: str) -> list[str]:
    """The entries of a list that may be spread over several headers of this name."""
    lists = ",".join(request.headers.getall(name, ()))
    return [entry.strip() for entry in lists.split(",")] if lists else []
