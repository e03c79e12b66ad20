"""GET /metrics."""

from __future__ import annotations

from aiohttp import web

from babygun.api.http.context import PROCESS, SETTINGS
from babygun.api.http.problem_types import INVALID_TOKEN, NO_TOKEN, NOT_FOUND
from babygun.api.http.problems import Problem
from babygun.api.http.responses import SECURITY_HEADERS
from babygun.api.operations.services import CLUSTER
from babygun.runtime import metrics


async def show_metrics(request: web.Request) -> web.Response:
    app = request.app
    settings, cluster = app[SETTINGS], app[CLUSTER]
    header = request.headers.get("Authorization")
    if not metrics.may_scrape(header, settings.metrics_token):
        detail = (
            "The token is not the setting metrics_token."
            if header
            else "Send the setting metrics_token as Authorization: Bearer <it>."
        )
        raise Problem(
            INVALID_TOKEN if header else NO_TOKEN,
            detail,
            headers={"WWW-Authenticate": 'Bearer realm="babygun metrics"'},
        )
    if (
        app[PROCESS].shared and _port(request) == settings.api_port
    ):  # an answer would be of one of them, and the next of another
        raise Problem(
            NOT_FOUND,
            "Several processes share this port, and each counts for itself: scrape each at a port of its own (setting api_process_port).",
        )
    await cluster.read()
    cluster.show()  # together with the rendering: nothing else may run in between
    body, content_type = metrics.render("api", ",".join(request.headers.getall("Accept", ())))
    return web.Response(body=body, headers={**SECURITY_HEADERS, "Content-Type": content_type})


def _port(request: web.Request) -> int | None:
    """The port that the request came to."""
    name = request.transport.get_extra_info("sockname") if request.transport else None
    return int(name[1]) if name else None
