"""Paths and methods that do not exist."""

from __future__ import annotations

import re

from babygun.api.app import ROUTES
from tests.support.api import RunningApi


async def test_path_that_does_not_exist_is_not_found(api: RunningApi) -> None:
    for path in [
        "/nothing",
        "/emails/",
        "/emails/a/b",
        "/page/../page.js",
        "/page/none",
        "/%FF%00",
        "//",
    ]:
        (await api.call("GET", path)).problem(404, "not-found")


async def test_method_that_a_path_lacks_is_not_allowed(api: RunningApi) -> None:
    for method, path in [
        ("PUT", "/emails"),
        ("DELETE", "/emails/x"),
        ("GET", "/emails/x/cancel"),
        ("POST", "/"),
        ("PATCH", "/tokens"),
        ("TRACE", "/emails"),
    ]:
        answer = await api.call(method, path)
        answer.problem(405, "method-not-allowed")
        assert "OPTIONS" in answer.headers["Allow"]


async def test_options_and_head_work_on_every_path(api: RunningApi) -> None:
    for route in ROUTES:
        answer = await api.call("OPTIONS", re.sub(r"\{[^}]*\}", "x", route.path))
        assert answer.status == 204
        assert route.method in answer.headers["Allow"]
    for path in ("/emails", "/healthz", "/", "/openapi.json"):
        answer = await api.call("HEAD", path)
        assert (answer.status, answer.text) == (200, "")
