"""What the calls for operators answer."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from babygun.store.records import Worker


class WorkerList(msgspec.Struct, frozen=True):
    """The live workers."""

    workers: list[WorkerDocument]


class WorkerDocument(msgspec.Struct, frozen=True):
    """A live worker. ``slice``: the shards [from, to) of 256 whose jobs it claims.

    ``in_flight``: e-mails that it sends now. ``draining``: it was told to stop.
    """

    id: str
    pid: int
    hostname: str
    ip: str
    version: str
    started_at: datetime
    last_checkin: datetime
    checkins: int
    in_flight: int
    slice: tuple[int, int]
    draining: bool
    delivered: Annotated[
        int,
        Meta(
            description="Recipients since it started, like deferred and failed. "
            "Each deferred try counts."
        ),
    ]
    deferred: int
    failed: int


class Liveness(msgspec.Struct, frozen=True):
    """The process answers."""

    status: Literal["ok"]
    version: str


class Readiness(msgspec.Struct, frozen=True):
    """E-mails are accepted. ``warnings``: what an operator should mend all the same."""

    status: Literal["ready"]
    version: str
    warnings: list[str]


def worker_list(workers: list[Worker]) -> WorkerList:
    return WorkerList([worker_document(worker) for worker in workers])


def worker_document(worker: Worker) -> WorkerDocument:
    return msgspec.convert(worker, WorkerDocument, from_attributes=True)
