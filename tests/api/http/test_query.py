"""Parameters in the query that a call does not have."""

from __future__ import annotations

import re

from babygun.api.app import ROUTES
from tests.support.api import RunningApi


async def test_parameter_that_a_call_does_not_have_is_refused_by_every_call(
    api: RunningApi,
) -> None:
    admin = await api.token_for("admin")
    for route in ROUTES:
        path = re.sub(r"\{\w+\}", "0", route.path)
        answer = await api.call(route.method, f"{path}?page=2", token=admin)
        answer.problem(422, "invalid-request", "page")


async def test_parameter_given_twice_is_refused(api: RunningApi) -> None:
    answer = await api.call("GET", "/emails?tag=a&tag=b&status=failed&status=failed")
    answer.problem(422, "invalid-request", "status")
