"""Whether a browser sends a request for our own page, or for somebody else's (cross-site request forgery).

A browser adds cookies to a request whoever made it. So what a cookie authorizes, and a sign-in, must come from a page of the same origin.
``Sec-Fetch-Site`` says that, and no script can forge it; it is absent in older browsers, and over plain HTTP from another machine.
``Origin`` is then compared with the scheme and the Host of the request, which a balancer that passes TLS through leaves alone.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from aiohttp import web

from babygun.api.http.problem_types import CROSS_SITE
from babygun.api.http.problems import Problem

_SAFE = frozenset({"GET", "HEAD"})  # change nothing, and another site can't read their answers
_PORTS = {"http": 80, "https": 443}


def check_same_origin(request: web.Request) -> None:
    """Raises the 403 problem where a call that may change something does not come from our own page."""
    if request.method not in _SAFE and not _same_origin(request):
        detail = "A call that a cookie authorizes must come from a page of this same address; programs send Authorization: Bearer <token> instead."
        raise Problem(CROSS_SITE, detail)


def _same_origin(request: web.Request) -> bool:
    sites = request.headers.getall("Sec-Fetch-Site", ())
    if sites == ["same-origin"]:
        return True
    if sites and sites != ["none"]:
        return False
    origins = request.headers.getall("Origin", ())
    here = _parts(f"{request.scheme}://{request.host}")
    return len(origins) == 1 and here is not None and _parts(origins[0]) == here


def _parts(origin: str) -> tuple[str, str, int] | None:
    """Scheme, host and port; None where it is no origin (``null``)."""
    try:
        url = urlsplit(origin)
        port = url.port or _PORTS[url.scheme]
    except (ValueError, KeyError):
        return None
    return (
        (url.scheme, url.hostname, port)
        if url.hostname and not (url.path or url.query or url.fragment or url.username)
        else None
    )
