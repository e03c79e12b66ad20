"""TLS reports (RFC 8460) of the day before: there are counts, and workers make and send them.

They do that once a minute, from ten minutes after midnight (UTC) on. In a run before that, none is
made.
"""

from __future__ import annotations

import gzip
import json
from datetime import UTC, datetime, timedelta
from hashlib import blake2b

from babygun.etcd import EtcdClient
from babygun.store import codec
from babygun.store.tls_reports.records import DomainCount, PolicyCount, ReportedPolicy
from scripts.chaos.history import KEYS, Recorder, Reported
from scripts.chaos.senders import HELD

_NAMES = 5000  # that are looked at: some wait is then a few seconds
_SPREAD = 4 * 3600  # s, over which the product spreads its reports


def settings() -> dict[str, str]:
    """What Babygun's processes need to know."""
    return {"BABYGUN_TLS_REPORTS": "yes", "BABYGUN_TLS_REPORT_SENDER": _sender(datetime.now(UTC))}


def _sender(now: datetime) -> str:
    """The sender by whose name reports are made earliest in the day: each has another time."""

    def wait(name: str) -> int:
        digest = blake2b(f"{name} {now:%Y-%m-%d}".encode(), digest_size=4).digest()
        return int.from_bytes(digest, "big") % _SPREAD

    names = (f"r{number}.{HELD[0]}" for number in range(_NAMES))
    return f"tls-reports@{min(names, key=wait)}"


async def count_yesterday(etcd: EtcdClient, domains: tuple[str, ...]) -> None:
    """Writes counts of the day before, as two workers would have left them."""
    day = f"{datetime.now(UTC) - timedelta(days=1):%Y-%m-%d}"
    for domain in domains:
        count = PolicyCount(ReportedPolicy("no-policy-found", domain), successful=3)
        value = codec.encode_state(DomainCount((count,)))
        for process in ("one", "two"):
            await etcd.put(KEYS.tls_count(day, domain, process), value)


def record(recorder: Recorder, body: bytes, status: int) -> None:
    """Writes a report that was posted to the history."""
    report = json.loads(gzip.decompress(body))
    recorder.add(
        Reported(
            recorder.now(),
            report["report-id"],
            report["policies"][0]["policy"]["policy-domain"],
            report["date-range"]["start-datetime"],
            sum(each["summary"]["total-successful-session-count"] for each in report["policies"]),
            status,
        )
    )
