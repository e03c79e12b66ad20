"""GET /overview: rates, queues, processes and etcd's members, for a person to look at first.

Rates and processes are followed all the time (:mod:`babygun.store.cluster.processes`).
etcd is asked for the rest, at most every FRESH seconds.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from datetime import UTC, datetime
from typing import Annotated

import msgspec
from aiohttp import web
from msgspec import Meta

from babygun.api.http.responses import json_answer
from babygun.api.operations.documents import WorkerDocument, worker_document
from babygun.api.operations.services import CLUSTER, PROCESSES
from babygun.runtime.clock import utc_now
from babygun.store.cluster.members import MemberState
from babygun.store.cluster.processes import Processes
from babygun.store.cluster.rates import STEP
from babygun.store.emails.depth import Depth

FRESH = 2.0  # seconds for which what etcd said serves all who look
PATIENCE = (
    0.8  # seconds that it is waited for; then the last reading is shown, or that there is none
)
_SHARE = 10  # a reading serves ten times as long as it took: a full store is asked more rarely
_OWING = 5.0  # seconds without an answer, after which the last reading is too old to be shown


class RatesDocument(msgspec.Struct, frozen=True):
    """E-mails accepted, and recipients delivered, deferred (to be tried again) and failed, a second."""

    accepted: float
    delivered: float
    deferred: float
    failed: float


class RateHistory(msgspec.Struct, frozen=True):
    """The last hour as this API process has followed it: a value for each ``step`` seconds, the first from ``start`` on; 720 at most, fewer after its start."""

    start: datetime
    step: int
    accepted: list[float]
    delivered: list[float]
    deferred: list[float]
    failed: list[float]


class QueueDepth(msgspec.Struct, frozen=True):
    """Jobs of one queue. ``ready``: to be sent, those being sent too; ``waiting``: for their time."""

    queue: Annotated[str, Meta(description="_other: too many to be told apart.")]
    ready: int
    waiting: int
    oldest_ready_seconds: float
    overdue_seconds: Annotated[
        float,
        Meta(description="How long the most overdue one should have been ready; 0 where none is."),
    ]


class SeenWorker(WorkerDocument, frozen=True):
    """A live worker, and how many seconds ago it checked in."""

    heartbeat_age: float


class SeenApi(msgspec.Struct, frozen=True):
    """A live API process. ``accepted``: e-mails since its start; ``heartbeat_age``: seconds since it checked in."""

    id: str
    pid: int
    hostname: str
    version: str
    started_at: datetime
    last_checkin: datetime
    accepted: int
    heartbeat_age: float


class EtcdMember(msgspec.Struct, frozen=True):
    """A member by its endpoint in the setting etcd_endpoints. Its numbers are null while it does not answer."""

    endpoint: str
    ok: bool
    leader: Annotated[bool, Meta(description="Whether it is the leader.")]
    version: str | None
    db_bytes: int | None
    db_in_use_bytes: int | None
    quota_bytes: int | None
    problem: str | None


class EtcdDocument(msgspec.Struct, frozen=True):
    """The members that this process is told of, and the alarms that any of them has raised; null while nobody answers."""

    members: list[EtcdMember]
    alarms: list[str] | None


class Live(msgspec.Struct, frozen=True, kw_only=True):
    """The state at this moment. Where etcd does not answer, ``problem`` says so, and what only etcd knows is null."""

    at: datetime
    rates: RatesDocument
    queues: list[QueueDepth] | None
    in_flight: Annotated[int | None, Meta(description="Jobs that some worker has at this moment.")]
    workers: list[SeenWorker]
    apis: list[SeenApi]
    etcd: EtcdDocument
    problem: str | None


class Overview(Live, frozen=True, kw_only=True):
    """The same with the last hour."""

    history: RateHistory


async def show_overview(request: web.Request) -> web.Response:
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
    """Without the history. Takes PATIENCE at most."""
    cluster, processes = app[CLUSTER], app[PROCESSES]
    with suppress(TimeoutError):
        async with asyncio.timeout(PATIENCE):
            await cluster.read(max(FRESH, _SHARE * cluster.took))
    owing = (
        cluster.depth is None or cluster.waited > _OWING
    )  # before the first reading is done, too
    depth = None if owing else cluster.depth
    return Live(
        at=utc_now(),
        rates=RatesDocument(**processes.rates.now(time.time())),
        queues=_queues(depth) if depth is not None else None,
        in_flight=depth.owned if depth is not None else None,
        workers=_workers(processes),
        apis=_apis(processes),
        etcd=EtcdDocument(
            [_member(member) for member in cluster.members], None if owing else cluster.alarms
        ),
        problem=f"etcd does not answer: {cluster.problem or 'it takes too long'}"
        if owing
        else None,
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


def _workers(processes: Processes) -> list[SeenWorker]:
    seen = sorted(processes.workers.items())
    return [
        SeenWorker(
            **msgspec.structs.asdict(worker_document(last.process)),
            heartbeat_age=round(last.age, 1),
        )
        for _, last in seen
    ]


def _apis(processes: Processes) -> list[SeenApi]:
    seen = [(last.process, round(last.age, 1)) for _, last in sorted(processes.apis.items())]
    return [
        SeenApi(p.id, p.pid, p.hostname, p.version, p.started_at, p.last_checkin, p.accepted, age)
        for p, age in seen
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
