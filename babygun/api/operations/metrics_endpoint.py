"""GET /metrics."""

from __future__ import annotations

import asyncio
from collections import Counter
from itertools import islice

from aiohttp import web

from babygun.api.emails.services import ROUTING
from babygun.api.http.caller import is_local
from babygun.api.http.context import PROCESS, SETTINGS, SITES
from babygun.api.http.problem_types import INVALID_TOKEN, NO_TOKEN, NOT_FOUND
from babygun.api.http.problems import Problem
from babygun.api.http.responses import SECURITY_HEADERS
from babygun.api.http.routes import Answer, Routes
from babygun.api.operations.cluster_reading import ClusterReading
from babygun.api.operations.services import CLUSTER
from babygun.routing.routes import Routes as Routing
from babygun.runtime import metrics
from babygun.runtime.exposition import may_read, render
from babygun.runtime.metric_types import MOST_QUEUES
from babygun.store.sites.known import KnownSites

routes = Routes("operations")
_EXAMPLE = """\
…
# HELP babygun_recipients_accepted_total Recipients of the accepted e-mails.
# TYPE babygun_recipients_accepted_total counter
babygun_recipients_accepted_total 4711.0
…
"""


@routes.call(
    "GET",
    "/metrics",
    summary="Metrics",
    credentials="metrics",
    answers=[
        Answer(200, "Metrics in Prometheus' text format.", str, _EXAMPLE, media_type="text/plain")
    ],
    errors=(NO_TOKEN, INVALID_TOKEN, NOT_FOUND),
    kind="probe",
)
async def show_metrics(request: web.Request) -> web.Response:
    """For Prometheus, as OpenMetrics to those who accept that.

    Data from etcd are up to five seconds old, and absent while etcd does not answer. If several
    processes share the port, each has its metrics at a port of its own. Without `metrics_token`,
    the API's usual port answers to callers on the same machine only.
    """
    app = request.app
    settings, cluster = app[SETTINGS], app[CLUSTER]
    header = request.headers.get("Authorization")
    if not may_read(header, settings.metrics_token):
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
    if _port(request) != settings.api_process_port:
        # At a shared port each answer would be of another process.
        if app[PROCESS].shared:
            raise Problem(
                NOT_FOUND,
                "Several processes share this port, and each counts for itself."
                " Read the metrics of each at a port of its own (setting api_process_port).",
            )
        if not settings.metrics_token and not is_local(request):
            raise Problem(
                NOT_FOUND,
                "Without the setting metrics_token, this port answers metrics to its own machine"
                " only. Set it, or read them at another port (setting api_process_port).",
            )
    await asyncio.gather(cluster.read(), app[SITES].read_reports())
    # Nothing else may run between these two: it could read the cluster again.
    _show_cluster(cluster)
    _show_sites(app[SITES], app[ROUTING])
    body, content_type = render("api", ",".join(request.headers.getall("Accept", ())))
    return web.Response(body=body, headers={**SECURITY_HEADERS, "Content-Type": content_type})


def _show_sites(sites: KnownSites, routing: Routing) -> None:
    """By label: a site of the table or a relay has one, all other mail hosts share one."""
    held: Counter[tuple[str, ...]] = Counter()
    for name in islice(routing.destinations, MOST_QUEUES):
        held[(name,)] = 0
    for kept in sites.holds.by_name.values():
        if not kept.hold.sender:
            held[(routing.label_of_site(kept.hold.site),)] += 1
    limited = Counter((routing.label_of_site(name),) for name in sites.limits.by_name)
    connections: Counter[tuple[str, ...]] = Counter()
    for report in sites.reports.values():
        label = routing.label_of_site(report.site)
        connections[label, "open"] += report.connections
        table = routing.limits_of_site(report.site)
        if report.shared and report.limits and table:
            connections[label, "now"] += report.limits.connections
            connections[label, "table"] += table.connections
    metrics.SITES_HELD.show(held)
    metrics.SITES_LIMITED.show(limited)
    metrics.SITE_CONNECTIONS.show(connections)


def _port(request: web.Request) -> int | None:
    """The port that the request came to."""
    name = request.transport.get_extra_info("sockname") if request.transport else None
    return int(name[1]) if name else None


def _show_cluster(cluster: ClusterReading) -> None:
    """Puts the last reading into the metrics; what it lacks is absent there."""
    depth = cluster.depth
    metrics.QUEUE_JOBS.show(depth.jobs if depth else None)
    metrics.OLDEST_JOB.show(depth.oldest if depth else None)
    metrics.OWNED_JOBS.show(depth.owned if depth else None)
    metrics.WORKERS.show(depth.workers if depth else None)
    members = cluster.members
    metrics.ETCD_MEMBER_UP.show({(m.endpoint,): float(m.sizes is not None) for m in members})
    metrics.ETCD_DB.show({(m.endpoint,): m.sizes.file for m in members if m.sizes})
    metrics.ETCD_DB_IN_USE.show({(m.endpoint,): m.sizes.in_use for m in members if m.sizes})
    metrics.ETCD_QUOTA.show({(m.endpoint,): m.sizes.quota for m in members if m.sizes})
