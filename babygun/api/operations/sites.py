"""GET /sites and what an operator does about one: hold, resume, limits."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Annotated

import msgspec
from aiohttp import web
from msgspec import Meta

from babygun.api.access.authenticator import access_of
from babygun.api.emails.services import LOOKUPS, ROUTING
from babygun.api.http.context import SITES, STORE
from babygun.api.http.json_body import JsonBody
from babygun.api.http.problem_types import NOT_FOUND
from babygun.api.http.problems import Problem
from babygun.api.http.responses import json_answer
from babygun.api.http.routes import READ_ERRORS, WRITE_ERRORS, Answer, Parameter, Routes
from babygun.api.operations.services import CLUSTER
from babygun.api.operations.site_documents import (
    HELD,
    LIMITED,
    SiteDocument,
    SiteList,
    site_document,
    site_names,
)
from babygun.email.domains import parse_domain
from babygun.errors import InvalidRequest, Violation, sentence
from babygun.routing.providers import DEFAULT
from babygun.routing.routes import Routes as Routing
from babygun.routing.sites import MX
from babygun.runtime.clock import utc_now
from babygun.runtime.logs import get_logger
from babygun.runtime.setting_types import parse_duration
from babygun.store.sites import steering

log = get_logger("api")
routes = Routes("operations")

_LOOKUP_PATIENCE = 0.5  # s, for the site of a domain

_SITE = Parameter(
    "site",
    "path",
    str,
    "A relay's name, or mx: and a provider of the table or a domain's best mail host.",
    "mx:google",
)
_Lasts = Annotated[
    str,
    Meta(
        description="How long, from now: 31 days at most.",
        pattern=r"^[0-9]+(\.[0-9]+)?(ms|s|m|h|d)$",
        examples=["2h"],
    ),
]
_Reason = Annotated[
    str,
    Meta(
        description="Others read it where the site's mail waits.",
        min_length=1,
        max_length=500,
        examples=["they asked us to pause"],
    ),
]


class HoldRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    reason: _Reason
    lasts: _Lasts


class ResumeRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``sender``: ends the hold of this sender domain at the site alone."""

    sender: Annotated[str, Meta(examples=["news.example.com"])] = ""


class LimitsRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Limits that are not given stay as they are."""

    lasts: _Lasts
    connections: Annotated[int, Meta(ge=1, le=steering.MOST, examples=[2])] | None = None
    messages_per_connection: Annotated[int, Meta(ge=1, le=steering.MOST)] | None = None
    rate: Annotated[str, Meta(pattern=r"^[1-9][0-9]*/(s|min|h)$", examples=["20/min"])] | None = (
        None
    )
    reason: Annotated[str, Meta(max_length=500)] = ""


_HOLD = JsonBody(
    HoldRequest,
    examples={"two hours": {"reason": "they asked us to pause", "lasts": "2h"}},
)
_RESUME = JsonBody(ResumeRequest, examples={"the site": {}}, required=False)
_LIMITS = JsonBody(
    LimitsRequest,
    examples={"slower for a day": {"connections": 2, "rate": "20/min", "lasts": "1d"}},
)
_AS_IT_IS = "The site as it is now."


@routes.call(
    "GET",
    "/sites",
    summary="List the sites: which mail waits for each, and why",
    scope="workers:read",
    answers=[Answer(200, "The sites with mail, a hold or limits of their own.", SiteList)],
    errors=READ_ERRORS,
)
async def list_sites(request: web.Request) -> web.Response:
    """A site is a relay, or mail hosts that many domains share.

    Sites with the most mail come first. The numbers are the workers' last reports, which may be
    some seconds old. Each worker reports the 500 sites with the most mail. If workers have more
    jobs than they know by name, more mail waits than the numbers say.
    """
    await _read(request)
    names = site_names(request.app[SITES], request.app[ROUTING])
    return json_answer(SiteList([_document(request, name) for name in names]))


@routes.call(
    "GET",
    "/sites/{site}",
    summary="Read one site",
    scope="workers:read",
    parameters=[_SITE],
    answers=[Answer(200, "The site.", SiteDocument)],
    errors=(NOT_FOUND, *READ_ERRORS),
)
async def show_site(request: web.Request) -> web.Response:
    """A mail host without mail, hold and limits is not found."""
    await _read(request)
    return json_answer(_found(request))


@routes.call(
    "POST",
    "/sites/{site}/hold",
    summary="Hold a site's mail for a while",
    scope="admin",
    parameters=[_SITE],
    body=_HOLD,
    answers=[Answer(200, _AS_IT_IS, SiteDocument, HELD)],
    errors=WRITE_ERRORS,
)
async def hold_site(request: web.Request) -> web.Response:
    """Its mail waits where it is and uses up no try. Tries under way go on.

    It replaces another hold of the site. The site may have no mail yet.
    """
    site, body = request.match_info["site"], await _HOLD.read(request)
    await _require_site(request, site)
    with _refusals():
        hold = await steering.hold(
            request.app[STORE],
            site,
            reason=body.reason,
            until=utc_now() + _duration(body.lasts),
            by=_who(request),
        )
    log.warning("site held by operator", site=site, until=hold.until, text=body.reason)
    return await _changed(request, site)


@routes.call(
    "POST",
    "/sites/{site}/resume",
    summary="Let a held site's mail go again",
    scope="admin",
    parameters=[_SITE],
    body=_RESUME,
    answers=[Answer(200, _AS_IT_IS, SiteDocument)],
    errors=(NOT_FOUND, *WRITE_ERRORS),
)
async def resume_site(request: web.Request) -> web.Response:
    """Ends the hold, an operator's and any other. If the server still refuses, it comes again."""
    site = request.match_info["site"]
    body = await _RESUME.read(request) if request.can_read_body else ResumeRequest()
    with _refusals():
        ended = await steering.resume(request.app[STORE], site, sender=body.sender)
    if not ended:
        who = f" for senders of {body.sender}" if body.sender else ""
        raise Problem(NOT_FOUND, f"{site[:80]} is not held{who[:80]}.")
    log.info("site resumed by operator", site=site, sender=body.sender)
    return await _changed(request, site)


@routes.call(
    "POST",
    "/sites/{site}/limits",
    summary="Limit a site for a while",
    scope="admin",
    parameters=[_SITE],
    body=_LIMITS,
    answers=[Answer(200, _AS_IT_IS, SiteDocument, LIMITED)],
    errors=WRITE_ERRORS,
)
async def limit_site(request: web.Request) -> web.Response:
    """They hold for all workers together, in place of the site's own, and may be higher, too.

    A relay whose route has neither ``connections`` nor ``rate`` can't be limited, only held.
    """
    site, body = request.match_info["site"], await _LIMITS.read(request)
    _check_limited(request.app[ROUTING], site)
    await _require_site(request, site)
    with _refusals():
        lowered = await steering.limit(
            request.app[STORE],
            site,
            connections=body.connections,
            messages_per_connection=body.messages_per_connection,
            rate=body.rate,
            until=utc_now() + _duration(body.lasts),
            by=_who(request),
            reason=body.reason,
        )
    log.info("site limited by operator", site=site, until=lowered.until)
    return await _changed(request, site)


@routes.call(
    "DELETE",
    "/sites/{site}/limits",
    summary="End a site's limits of a while",
    scope="admin",
    parameters=[_SITE],
    answers=[Answer(200, _AS_IT_IS, SiteDocument)],
    errors=(NOT_FOUND, *WRITE_ERRORS),
)
async def unlimit_site(request: web.Request) -> web.Response:
    """Ends limits that an operator set, and limits that the site's replies asked for."""
    site = request.match_info["site"]
    with _refusals():
        ended = await steering.unlimit(request.app[STORE], site)
    if not ended:
        raise Problem(NOT_FOUND, f"{site[:80]} has its usual limits.")
    log.info("site unlimited by operator", site=site)
    return await _changed(request, site)


async def _require_site(request: web.Request, site: str) -> None:
    """Refuses a relay that nobody knows, and a domain in the place of its site.

    Otherwise an operator would believe that this mail waits.
    """
    await request.app[SITES].read_reports()
    routing = request.app[ROUTING]
    if site in site_names(request.app[SITES], routing):
        return
    with _refusals():
        steering.check_site(site)
        if not site.startswith(MX):
            raise ValueError(f"there is no relay called {site[:80]}: GET /sites has all of them")
        if routing.to_mx and routing.label_of_site(site) == MX + DEFAULT:
            domain = parse_domain(site.removeprefix(MX))
            await request.app[LOOKUPS].find([site], _LOOKUP_PATIENCE)
            if (goes_to := request.app[LOOKUPS].known(site)) and goes_to != site:
                raise ValueError(f"mail to {domain} goes to the site {goes_to}: give that one")


async def _read(request: web.Request) -> None:
    """Brings up to date what is read on demand."""
    await request.app[SITES].read_reports()
    await request.app[CLUSTER].read()


async def _changed(request: web.Request, site: str) -> web.Response:
    """The site after a change of this call: what the watch will say is read at once."""
    await asyncio.gather(request.app[SITES].read(), _read(request))
    return json_answer(_document(request, site))


def _found(request: web.Request) -> SiteDocument:
    site = request.match_info["site"]
    app = request.app
    if (
        site not in site_names(app[SITES], app[ROUTING])
        and app[ROUTING].limits_of_site(site) is None
    ):
        raise Problem(NOT_FOUND, f"No mail waits for a site {site[:80]}, and it has no hold.")
    return _document(request, site)


def _document(request: web.Request, site: str) -> SiteDocument:
    app = request.app
    return site_document(site, app[SITES], app[ROUTING], app[CLUSTER].depth)


def _duration(text: str) -> timedelta:
    try:
        seconds = parse_duration(text)
    except ValueError as error:
        raise InvalidRequest([Violation("lasts", sentence(error))]) from None
    longest = steering.LONGEST
    if not 1 <= seconds <= longest.total_seconds():
        detail = f"Give a second at least, and {longest.days} days at most."
        raise InvalidRequest([Violation("lasts", detail)])
    return timedelta(seconds=seconds)


def _check_limited(routing: Routing, site: str) -> None:
    """Refuses limits of a relay that has none of its own: workers would not follow them."""
    if site in routing.destinations and routing.limits_of_site(site) is None:
        detail = (
            f"The relay {site[:80]} has no limits for all workers. Give its route connections or"
            " rate in the settings, or hold it."
        )
        raise InvalidRequest([Violation("", detail)])


def _who(request: web.Request) -> str:
    return f"operator {access_of(request).client.id}"


@contextmanager
def _refusals() -> Iterator[None]:
    """Makes a refusal of :mod:`steering` the answer of the call."""
    try:
        yield
    except ValueError as error:
        raise InvalidRequest([Violation("", sentence(error))]) from None
