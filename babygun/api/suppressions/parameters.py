"""Parameters that several calls on suppressions have, and how they are read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from aiohttp import web

from babygun.api.http.paging import limit_parameter
from babygun.api.http.routes import Parameter
from babygun.api.suppressions.documents import ADDRESS, LIST
from babygun.email.addresses import comparable, is_hash, parse_address
from babygun.email.suppression import SuppressionReason, parse_list_name
from babygun.errors import InvalidRequest, Violation, sentence

MAX_LIMIT = 1000
EMAIL = Parameter("email", "path", str, "The address; in any of its forms.", ADDRESS)
LIMIT = limit_parameter(MAX_LIMIT)
PREFIX = Parameter("prefix", "query", str, "How the address begins.", "ann@")
CURSOR = Parameter("cursor", "query", str, "From the page before.")


def list_parameter(description: str) -> Parameter:
    return Parameter("list", "query", str, description, LIST)


def reason_parameter(description: str) -> Parameter:
    return Parameter("reason", "query", SuppressionReason, description, "hard_bounce")


def list_of(query: Mapping[str, str]) -> str | None:
    """The list that the query names. Raises InvalidRequest."""
    try:
        return parse_list_name(query["list"]) if "list" in query else None
    except ValueError as error:
        raise InvalidRequest([Violation("list", sentence(error))]) from None


def reason_of(query: Mapping[str, str]) -> SuppressionReason | None:
    """The reason that the query names."""
    return cast("SuppressionReason | None", query.get("reason"))


def prefix_of(query: Mapping[str, str]) -> str:
    """How an address is to begin, as addresses are compared. Raises InvalidRequest."""
    prefix = query.get("prefix", "").strip()
    try:
        return comparable(prefix) if "@" in prefix else prefix.lower()
    except ValueError as error:
        raise InvalidRequest([Violation("prefix", sentence(error))]) from None


def address_of(request: web.Request) -> str:
    """The address in the path, as addresses are compared. Raises InvalidRequest."""
    given = request.match_info["email"]
    if is_hash(given):  # as a list shows one that was erased
        return given
    try:
        return comparable(parse_address(given).email)
    except ValueError as error:
        raise InvalidRequest([Violation("email", sentence(error))]) from None
