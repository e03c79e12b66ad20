"""What the calls for operators answer: workers, probes, and the overview."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from babygun.api.domains.documents import DomainAlarmDocument
from babygun.api.emails.site_states import HeldSite
from babygun.store.records import ApiProcess, Worker

Rate = Annotated[float, Meta(examples=[40.7])]
RateList = Annotated[list[float], Meta(examples=[[38.4, 40.8, 41.0]])]
WorkerId = Annotated[str, Meta(examples=["mail-1-8f3a1c9e20"])]
Version = Annotated[str, Meta(examples=["0.1.0"])]
StartedAt = Annotated[datetime, Meta(examples=["2026-11-25T08:00:00Z"])]
CheckedInAt = Annotated[datetime, Meta(examples=["2026-11-25T09:00:00.120000Z"])]


class WorkerDocument(msgspec.Struct, frozen=True):
    """A live worker. ``slice``: the shards [from, to) of 256 whose jobs it claims.

    ``in_flight``: e-mails that it sends now; ``draining``: it was asked to stop.
    """

    id: WorkerId
    pid: Annotated[int, Meta(examples=[4242])]
    hostname: Annotated[str, Meta(examples=["mail-1"])]
    ip: Annotated[str, Meta(examples=["192.0.2.10"])]
    version: Version
    started_at: StartedAt
    last_checkin: CheckedInAt
    checkins: Annotated[int, Meta(examples=[1080])]
    in_flight: Annotated[int, Meta(examples=[12])]
    slice: Annotated[tuple[int, int], Meta(examples=[[0, 128]])]
    draining: bool
    delivered: Annotated[
        int,
        Meta(
            description="Recipients since its start; so are failed and, by try, deferred.",
            examples=[48211],
        ),
    ]
    deferred: Annotated[int, Meta(examples=[312])]
    failed: Annotated[int, Meta(examples=[17])]


class WorkerList(msgspec.Struct, frozen=True):
    """The live workers."""

    workers: list[WorkerDocument]


class Liveness(msgspec.Struct, frozen=True):
    """The process answers."""

    status: Literal["ok"]
    version: Version


class Readiness(msgspec.Struct, frozen=True):
    """E-mails are accepted. ``warnings``: what an operator should repair all the same."""

    status: Literal["ready"]
    version: Version
    warnings: Annotated[list[str], Meta(examples=[[]])]


class RatesDocument(msgspec.Struct, frozen=True):
    """Per second: e-mails accepted, and recipients delivered, deferred and failed."""

    accepted: Rate
    delivered: Rate
    deferred: Annotated[float, Meta(description="To be tried again.", examples=[0.3])]
    failed: Annotated[float, Meta(examples=[0.0])]


class RateHistory(msgspec.Struct, frozen=True):
    """The last hour as this API process has followed it, with a value for each ``step`` seconds.

    The first value begins at ``start``. There are 720 at most, and fewer after the process's start.
    """

    start: Annotated[datetime, Meta(examples=["2026-11-25T08:59:45Z"])]
    step: Annotated[int, Meta(examples=[5])]
    accepted: RateList
    delivered: RateList
    deferred: Annotated[list[float], Meta(examples=[[0.0, 0.2, 0.4]])]
    failed: Annotated[list[float], Meta(examples=[[0.0, 0.0, 0.0]])]


class QueueDepth(msgspec.Struct, frozen=True):
    """Jobs of one queue. ``ready``: to be sent or being sent; ``waiting``: not due yet."""

    queue: Annotated[
        str,
        Meta(
            description="_other: the queues beyond those that are counted apart.",
            examples=["default"],
        ),
    ]
    ready: Annotated[int, Meta(examples=[14])]
    waiting: Annotated[int, Meta(examples=[3])]
    oldest_ready_seconds: Annotated[float, Meta(examples=[0.2])]
    overdue_seconds: Annotated[
        float,
        Meta(
            description="How long ago the most overdue job was due; 0 where none is overdue.",
            examples=[0.0],
        ),
    ]


class SeenWorker(WorkerDocument, frozen=True):
    """A live worker. ``heartbeat_age``: seconds since its check-in."""

    heartbeat_age: Annotated[float, Meta(examples=[1.4])]


class SeenApi(msgspec.Struct, frozen=True):
    """A live API process. ``accepted``: e-mails since its start.

    ``heartbeat_age``: seconds since its check-in.
    """

    id: Annotated[str, Meta(examples=["web-1-04b7d19c3e"])]
    pid: Annotated[int, Meta(examples=[4110])]
    hostname: Annotated[str, Meta(examples=["web-1"])]
    version: Version
    started_at: StartedAt
    last_checkin: CheckedInAt
    accepted: Annotated[int, Meta(examples=[48290])]
    heartbeat_age: Annotated[float, Meta(examples=[0.8])]


class EtcdMember(msgspec.Struct, frozen=True):
    """A member of etcd. Its numbers are null while it does not answer."""

    endpoint: Annotated[
        str,
        Meta(description="As in the setting etcd_endpoints.", examples=["http://127.0.0.1:2379"]),
    ]
    ok: Annotated[bool, Meta(examples=[True])]
    leader: Annotated[bool, Meta(description="Whether it is the leader.", examples=[True])]
    version: Annotated[str | None, Meta(examples=["3.6.16"])]
    db_bytes: Annotated[int | None, Meta(examples=[41943040])]
    db_in_use_bytes: Annotated[int | None, Meta(examples=[12582912])]
    quota_bytes: Annotated[int | None, Meta(examples=[8589934592])]
    problem: str | None


class EtcdDocument(msgspec.Struct, frozen=True):
    """The members that this process knows, and the alarms of all members.

    ``alarms``: null while no member answers.
    """

    members: list[EtcdMember]
    alarms: Annotated[list[str] | None, Meta(examples=[[]])]


class Live(msgspec.Struct, frozen=True, kw_only=True):
    """The state at this moment.

    Where etcd does not answer, ``problem`` says so, and what only etcd knows is null.
    """

    at: CheckedInAt
    rates: RatesDocument
    queues: list[QueueDepth] | None
    held: Annotated[
        list[HeldSite],
        Meta(description="At most 100. None of their mail is sent.", examples=[[]]),
    ]
    domain_alarms: Annotated[
        list[DomainAlarmDocument],
        Meta(
            description="At most 100: sending domains whose mail servers refuse as not"
            " authenticated.",
            examples=[[]],
        ),
    ]
    in_flight: Annotated[
        int | None, Meta(description="Jobs that some worker has claimed.", examples=[12])
    ]
    workers: list[SeenWorker]
    apis: list[SeenApi]
    etcd: EtcdDocument
    problem: str | None


class Overview(Live, frozen=True, kw_only=True):
    """The state at this moment, with the last hour."""

    history: RateHistory


def worker_document(worker: Worker) -> WorkerDocument:
    return msgspec.convert(worker, WorkerDocument, from_attributes=True)


def seen_worker(worker: Worker, age: float) -> SeenWorker:
    """``age``: seconds since the check-in."""
    fields = msgspec.structs.asdict(worker_document(worker))
    return SeenWorker(**fields, heartbeat_age=round(age, 1))


def seen_api(process: ApiProcess, age: float) -> SeenApi:
    """``age``: seconds since the check-in."""
    return SeenApi(**msgspec.structs.asdict(process), heartbeat_age=round(age, 1))
