"""Refuses a query that has other parameters than its call, or other values than these take."""

from __future__ import annotations

from collections.abc import Mapping

from aiohttp import web

from babygun.api.http.problem_types import INVALID_REQUEST
from babygun.api.http.problems import Problem
from babygun.api.http.routes import Parameter
from babygun.api.http.unknown_names import no_such


def check_query(request: web.Request, parameters: Mapping[str, Parameter]) -> None:
    """Raises the 422 problem unless the query has only these parameters, each as it may be.

    ``parameters``: by name.
    """
    seen: set[str] = set()
    for name, value in request.query.items():  # iterating the query itself gives each name once
        parameter = parameters.get(name)
        if parameter is None:
            detail = (
                no_such("parameter", name, list(parameters))
                if parameters
                else "This call takes no parameters in its query."
            )
            raise Problem(INVALID_REQUEST, detail, field=name[:80])
        if name in seen and not parameter.repeats:
            raise Problem(INVALID_REQUEST, "This parameter is given more than once.", field=name)
        if (choices := parameter.choices) and value not in choices:
            one_of = "one of " if len(choices) > 1 else ""
            detail = f"It must be {one_of}{', '.join(choices)}."
            raise Problem(INVALID_REQUEST, detail, field=name)
        seen.add(name)
