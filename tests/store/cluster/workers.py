"""Records of workers that never ran."""

from __future__ import annotations

from datetime import timedelta

from babygun.runtime.clock import utc_now
from babygun.store.records import Worker as WorkerRecord


def record(
    name: str,
    *,
    queues: dict[str, str] | None = None,
    settings: dict[str, str] | None = None,
    checked_in: float = 0.0,
) -> WorkerRecord:
    now = utc_now()
    return WorkerRecord(
        id=name,
        pid=1,
        hostname="host",
        ip="127.0.0.1",
        started_at=now,
        last_checkin=now + timedelta(seconds=checked_in),
        version="1",
        checkins=1,
        in_flight=0,
        slice=(0, 256),
        draining=False,
        queues=queues or {},
        settings=settings or {},
        delivered=0,
        deferred=0,
        failed=0,
    )
