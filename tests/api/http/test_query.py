"""Parameters in the query that a call does not have, and values that they do not take."""

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


async def test_value_that_a_parameter_does_not_take_is_refused_by_every_call(
    api: RunningApi,
) -> None:
    admin = await api.token_for("admin")
    found = [
        (route, parameter)
        for route in ROUTES
        for parameter in route.parameters
        if parameter.where == "query" and parameter.choices
    ]
    assert len(found) >= 9
    for route, parameter in found:
        path = re.sub(r"\{\w+\}", "0", route.path)
        answer = await api.call(route.method, f"{path}?{parameter.name}=other", token=admin)
        detail = answer.problem(422, "invalid-request", parameter.name)["detail"]
        assert detail.endswith(f"{', '.join(parameter.choices)}."), detail
