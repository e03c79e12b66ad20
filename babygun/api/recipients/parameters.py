"""The address in the path of the calls on a recipient's data."""

from __future__ import annotations

from aiohttp import web

from babygun.api.http.routes import Parameter
from babygun.email.addresses import comparable, parse_address
from babygun.errors import InvalidRequest, Violation, sentence

ADDRESS = Parameter("address", "path", str, "The address; in any of its forms.", "ann@example.org")


def address_of(request: web.Request) -> str:
    """The address as it is compared. Raises InvalidRequest."""
    try:
        return comparable(parse_address(request.match_info["address"]).email)
    except ValueError as error:
        raise InvalidRequest([Violation("address", sentence(error))]) from None
