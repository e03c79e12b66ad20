"""The one table of calls, and the part of it that is for operators."""

from __future__ import annotations

from typing import Any

from babygun.api.access import routes as routes_access
from babygun.api.emails import routes as routes_emails
from babygun.api.http import problem_types as problems
from babygun.api.http.route import READS, Answer, Route
from babygun.api.live import routes as routes_live
from babygun.api.openapi import examples
from babygun.api.openapi.view import show_openapi
from babygun.api.operations import metrics_endpoint as scrape
from babygun.api.operations import workers as operations
from babygun.api.operations.documents import Liveness, Readiness, WorkerList

ROUTES: tuple[Route, ...] = (
    *routes_access.ROUTES,
    *routes_emails.ROUTES,
    Route(
        method="GET",
        path="/workers",
        handler=operations.list_workers,
        operation="listWorkers",
        summary="List the live workers",
        tag="operations",
        needs="workers:read",
        answer=Answer(200, "The workers whose lease is alive.", WorkerList, examples.WORKERS),
        problems=READS,
    ),
    *routes_live.ROUTES,
    Route(
        method="GET",
        path="/healthz",
        handler=operations.alive,
        operation="alive",
        summary="Liveness",
        description="Says that this process answers, and nothing of etcd: a restart would not mend that.",
        tag="operations",
        answer=Answer(200, "The process answers.", Liveness, examples.ALIVE),
    ),
    Route(
        method="GET",
        path="/readyz",
        handler=operations.ready,
        operation="ready",
        summary="Readiness",
        description="Whether e-mails are taken; asks etcd each time. 503 tells every reason why not.",
        tag="operations",
        answer=Answer(200, "E-mails are taken.", Readiness, examples.READY),
        problems=(problems.NOT_READY,),
    ),
    Route(
        method="GET",
        path="/metrics",
        handler=scrape.show_metrics,
        operation="showMetrics",
        summary="Metrics",
        description="For Prometheus; as OpenMetrics to those who accept that. What it tells of etcd is up to five seconds old, and absent where etcd does not answer. Where several processes share the port, each has its metrics at one of its own.",
        tag="operations",
        metrics_token=True,
        answer=Answer(
            200,
            "Metrics in Prometheus' text format.",
            str,
            examples.METRICS,
            media_type="text/plain",
        ),
        problems=(problems.NO_TOKEN, problems.INVALID_TOKEN, problems.NOT_FOUND),
    ),
    Route(
        method="GET",
        path="/openapi.json",
        handler=show_openapi,
        operation="showOpenapi",
        summary="This description",
        tag="operations",
        answer=Answer(200, "An OpenAPI 3.1 document.", dict[str, Any], {"openapi": "3.1.0"}),
    ),
)
