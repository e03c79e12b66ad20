"""The address in the path of the calls on a recipient's data."""

from __future__ import annotations

from aiohttp import web

from babygun.api.http.routes import Parameter
from babygun.email.addresses import comparable, parse_address
from babygun.email.erasure import MARK
from babygun.errors import InvalidRequest, Violation, sentence

ADDRESS = Parameter("address", "path", str, "The address; in any of its forms.", "ann@example.org")


def address_of(request: web.Request) -> str:
    """The address as it is compared. Raises InvalidRequest, also for the mark of erased ones."""
    try:
        mailbox = comparable(parse_address(request.match_info["address"]).email)
    except ValueError as error:
        raise InvalidRequest([Violation("address", sentence(error))]) from None
    if mailbox == MARK:  # e-mails of many people have it
        detail = "It stands for addresses that were erased: it is nobody's."
        raise InvalidRequest([Violation("address", detail)])
    return mailbox
