"""GET /overview: rates, queues, processes and etcd's members, for a person to look at first.

Rates and processes are followed all the time (:mod:`babygun.store.cluster.processes`).
etcd is asked for the rest, at most every FRESH seconds.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from datetime import UTC, datetime

import msgspec
from aiohttp import web

from babygun.api.domains.documents import alarm_document
from babygun.api.emails.site_states import held_site
from babygun.api.http.context import DOMAIN_ALARMS, SITES
from babygun.api.http.responses import json_answer
from babygun.api.http.routes import Answer, Routes
from babygun.api.operations.documents import (
    EtcdDocument,
    EtcdMember,
    Live,
    Overview,
    QueueDepth,
    RateHistory,
    RatesDocument,
    seen_api,
    seen_worker,
)
from babygun.api.operations.services import CLUSTER, PROCESSES
from babygun.runtime.clock import utc_now
from babygun.store.cluster.members import MemberState
from babygun.store.cluster.rates import STEP
from babygun.store.emails.depth import Depth

routes = Routes("operations")

FRESH = 2.0  # s, for which what etcd said serves all callers
PATIENCE = (
    0.8  # s, that a call waits for etcd; then it shows the last reading, or that there is none
)
_SHARE = 10  # a reading serves ten times as long as it took: a full store is asked more rarely
MOST_SHOWN = 100  # held sites, and domain alarms
_TOO_OLD = 5.0  # s without an answer, after which the last reading is not shown any more


@routes.call(
    "GET",
    "/overview",
    summary="See how it goes",
    scope="workers:read",
    answers=[Answer(200, "The state at this moment.", Overview)],
)
async def show_overview(request: web.Request) -> web.Response:
    """Rates, depths of the queues, held sites, live processes, etcd's members.

    Data from etcd are up to two seconds old. If etcd does not answer, the call still answers within
    a second. It then says so, and leaves out the data from etcd.
    """
    live = await live_state(request.app)
    history = request.app[PROCESSES].rates.history(time.time())
    start = datetime.fromtimestamp(history.start, UTC)
    return json_answer(
        Overview(
            **msgspec.structs.asdict(live),
            history=RateHistory(start, round(STEP), **history.values),
        )
    )


async def live_state(app: web.Application) -> Live:
    """The overview without the history. Takes PATIENCE at most."""
    cluster, processes = app[CLUSTER], app[PROCESSES]
    with suppress(TimeoutError):
        async with asyncio.timeout(PATIENCE):
            await cluster.read(max(FRESH, _SHARE * cluster.took))
    silent = cluster.depth is None or cluster.waited > _TOO_OLD
    depth = None if silent else cluster.depth
    problem = f"etcd does not answer: {cluster.problem or 'it takes too long'}"
    return Live(
        at=utc_now(),
        rates=RatesDocument(**processes.rates.now(time.time())),
        queues=_queues(depth) if depth is not None else None,
        held=[
            held_site(held.hold)
            for _, held in sorted(app[SITES].holds.by_name.items())
            if not held.hold.sender
        ][:MOST_SHOWN],
        domain_alarms=[alarm_document(one) for one in app[DOMAIN_ALARMS].all()[:MOST_SHOWN]],
        in_flight=depth.owned if depth is not None else None,
        workers=[
            seen_worker(last.process, last.age) for _, last in sorted(processes.workers.items())
        ],
        apis=[seen_api(last.process, last.age) for _, last in sorted(processes.apis.items())],
        etcd=EtcdDocument(
            [_member(member) for member in cluster.members], None if silent else cluster.alarms
        ),
        problem=problem if silent else None,
    )


def _queues(depth: Depth) -> list[QueueDepth]:
    return [
        QueueDepth(
            queue,
            depth.jobs[queue, "ready"],
            depth.jobs[queue, "waiting"],
            round(depth.oldest.get((queue, "ready"), 0.0), 1),
            round(depth.oldest.get((queue, "waiting"), 0.0), 1),
        )
        for queue in sorted({queue for queue, _ in depth.jobs})
    ]


def _member(member: MemberState) -> EtcdMember:
    size, in_use, quota = member.sizes or (None, None, None)
    return EtcdMember(
        member.endpoint,
        member.problem is None,
        member.leads,
        member.version,
        size,
        in_use,
        quota,
        member.problem,
    )
