"""Pages of listings: how many entries one has, and what is said of a cursor that is none."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated

from msgspec import Meta

from babygun.api.http.routes import Parameter
from babygun.errors import InvalidRequest, Violation

DEFAULT_LIMIT, MAX_LIMIT = 20, 100


def limit_parameter(most: int) -> Parameter:
    """The parameter that :func:`limit_of` reads."""
    return Parameter(
        "limit",
        "query",
        Annotated[int, Meta(ge=1, le=most)],
        "The most entries on the page.",
        20,
        DEFAULT_LIMIT,
    )


LIMIT = limit_parameter(MAX_LIMIT)


def limit_of(query: Mapping[str, str], most: int = MAX_LIMIT) -> int:
    """How many entries a page has, at most ``most``. Raises InvalidRequest."""
    limit = query.get("limit", str(DEFAULT_LIMIT))
    if not re.fullmatch(r"[0-9]{1,4}", limit) or not 1 <= int(limit) <= most:
        raise InvalidRequest([Violation("limit", f"A page has 1 to {most} entries.")])
    return int(limit)


def unknown_cursor() -> InvalidRequest:
    return InvalidRequest([Violation("cursor", "The cursor is not one from an earlier page.")])
