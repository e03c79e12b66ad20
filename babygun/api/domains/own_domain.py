"""The sending domain that a call's path names, if the caller may see it."""

from __future__ import annotations

from aiohttp import web

from babygun.api.access.authenticator import access_of
from babygun.api.domains.examples import NAME as EXAMPLE
from babygun.api.http.context import STORE
from babygun.api.http.routes import Parameter
from babygun.email.sending_domains import SendingDomain, sending_domain_name
from babygun.errors import NotFound
from babygun.store.domains.change import read_domain

NAME = Parameter("name", "path", str, "The domain, in Unicode or ASCII.", EXAMPLE)


async def own_domain(request: web.Request) -> SendingDomain:
    """Raises NotFound for a domain that only other clients hold, too."""
    access = access_of(request)
    try:
        name = sending_domain_name(request.match_info["name"])
    except ValueError:
        raise no_own_domain() from None
    domain = await read_domain(request.app[STORE], name)
    if domain is None or not (access.is_admin or access.client.identity in domain.clients):
        raise no_own_domain()
    return domain


def no_own_domain() -> NotFound:
    return NotFound("There is no such domain of yours: GET /domains has all of them.")
