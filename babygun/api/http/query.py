"""Refuses parameters in the query that a call does not have."""

from __future__ import annotations

from collections.abc import Sequence

from aiohttp import web

from babygun.api.http.context import Handler
from babygun.api.http.problem_types import INVALID_REQUEST
from babygun.api.http.problems import Problem


def checked_query(handler: Handler, names: Sequence[str]) -> Handler:
    """``handler`` behind a check that the query has only these parameters, each at most once."""

    async def check_query(request: web.Request) -> web.StreamResponse:
        if request.rel_url.raw_query_string:
            _check(request, names)
        return await handler(request)

    return check_query


def _check(request: web.Request, names: Sequence[str]) -> None:
    seen: set[str] = set()
    for name, _ in request.query.items():  # iterating the query itself gives each name once
        if name not in names:
            detail = (
                f"There is no such parameter; there are {', '.join(names)}."
                if names
                else "This call takes no parameters in its query."
            )
            raise Problem(INVALID_REQUEST, detail, field=name[:80])
        if name in seen:
            raise Problem(INVALID_REQUEST, "This parameter is given more than once.", field=name)
        seen.add(name)
