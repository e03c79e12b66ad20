"""What etcd holds beside the e-mails: owners, processes, API clients, signing keys, idempotency records."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import msgspec


class Owner(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """``owners/<id>/<queue>``, on the worker's lease. Its create revision is the fencing token."""

    worker_id: str
    since: datetime


class Worker(msgspec.Struct, frozen=True, gc=False):
    """``workers/<worker-id>``, on the worker's lease."""

    id: str
    pid: int
    hostname: str
    ip: str
    started_at: datetime
    last_checkin: datetime
    checkins: int
    in_flight: int
    slice: tuple[int, int]  # shards [from, to)
    version: str
    draining: bool = False  # told to stop: finishes what it has, and has no slice any more
    queues: dict[
        str, str
    ] = {}  # the queues that it sends, each with the fingerprint of its relay's address
    # Recipients since the process started, by what a try did; a recipient is deferred as often as it is tried in vain.
    delivered: int = 0
    deferred: int = 0
    failed: int = 0


class ApiProcess(msgspec.Struct, frozen=True, gc=False):
    """``apis/<api-id>``, on the process's lease."""

    id: str
    pid: int
    hostname: str
    started_at: datetime
    last_checkin: datetime
    version: str
    accepted: int = (
        0  # e-mails since the process started; a repeated Idempotency-Key does not count again
    )


Scope = Literal["emails:send", "emails:read", "workers:read", "admin"]
SCOPES: tuple[Scope, ...] = ("emails:send", "emails:read", "workers:read", "admin")


class Client(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """``clients/<client-id>``: an application that may use the API. The secret itself is never stored."""

    id: str
    name: str
    scopes: tuple[Scope, ...]
    secret_hash: str  # "sha256:<salt hex>:<digest hex>"; the secret has 256 random bits, so no slow hash is needed
    created_at: datetime
    rate: float | None = None  # e-mails a second that each API process lets through; None: no limit


class SigningKey(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """``signing-keys/<kid>``: the newest one signs, all verify."""

    kid: str
    secret: bytes  # 32 random bytes (base64 in JSON), for HS256
    created_at: datetime


class BatchRecord(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """How a batch was taken when its Idempotency-Key was new; a repeated call goes by it. ``ids.email_ids`` makes its ids from the first three."""

    count: int
    at_ns: int  # Unix time
    seed: bytes  # 16 random bytes (base64 in JSON)
    parts: tuple[
        int, ...
    ]  # what was stored together, as the index of each part's first e-mail; the first part with this record
    refused: tuple[int, ...] = ()  # indexes of what is not among them


class IdempotencyRecord(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """``idempotency/<client>/<key>``: which email, or which batch, a repeated POST gets back."""

    email_id: str  # of a batch the first one's
    fingerprint: str  # SHA-256 of the request's body
    batch: BatchRecord | None = None
