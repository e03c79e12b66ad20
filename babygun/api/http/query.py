"""Refuses parameters in the query that a call does not have."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from aiohttp import web

from babygun.api.http.problem_types import INVALID_REQUEST
from babygun.api.http.problems import Problem
from babygun.api.http.unknown_names import no_such


def check_query(request: web.Request, names: Sequence[str], repeated: Collection[str]) -> None:
    """Raises the 422 problem unless the query has only these parameters, each at most once.

    Those in ``repeated`` may be there several times.
    """
    seen: set[str] = set()
    for name, _ in request.query.items():  # iterating the query itself gives each name once
        if name not in names:
            detail = (
                no_such("parameter", name, names)
                if names
                else "This call takes no parameters in its query."
            )
            raise Problem(INVALID_REQUEST, detail, field=name[:80])
        if name in seen and name not in repeated:
            raise Problem(INVALID_REQUEST, "This parameter is given more than once.", field=name)
        seen.add(name)
