"""Refuses calls that another site's page makes with a visitor's cookie (cross-site forgery).

A browser sends its cookies along with a request, whichever page made it. So a call with a
cookie, and a sign-in, must come from a page of the same origin. ``Sec-Fetch-Site`` says that, and
no script can forge it. It is absent in older browsers, and over plain HTTP from another machine.
``Origin`` is then compared with the caller's scheme and the Host of the request.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from aiohttp import web

from babygun.api.http.caller import caller_of
from babygun.api.http.problem_types import CROSS_SITE
from babygun.api.http.problems import Problem

_SAFE = frozenset({"GET", "HEAD"})  # change nothing, and another site can't read their answers
_PORTS = {"http": 80, "https": 443}


def check_same_origin(request: web.Request) -> None:
    """Raises the 403 problem if a call that may change something is not from our own page."""
    if request.method not in _SAFE and not _same_origin(request):
        raise Problem(CROSS_SITE, CROSS_SITE.example)


def _same_origin(request: web.Request) -> bool:
    sites = request.headers.getall("Sec-Fetch-Site", ())
    if sites == ["same-origin"]:
        return True
    if sites and sites != ["none"]:
        return False
    origins = request.headers.getall("Origin", ())
    here = _parts(f"{caller_of(request).scheme}://{request.host}")
    return len(origins) == 1 and here is not None and _parts(origins[0]) == here


def _parts(origin: str) -> tuple[str, str, int] | None:
    """Scheme, host and port; None for a text that is no origin (such as ``null``)."""
    try:
        url = urlsplit(origin)
        port = url.port or _PORTS[url.scheme]
    except (ValueError, KeyError):
        return None
    if not url.hostname or url.path or url.query or url.fragment or url.username:
        return None
    return url.scheme, url.hostname, port
