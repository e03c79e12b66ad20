"""No event is lost while API processes and workers are killed with SIGKILL at random.

``make prove-webhooks`` does it with 10,000 e-mails, in about five minutes.
"""

from __future__ import annotations

import os
import secrets
import sys
import time
from collections import Counter
from random import Random

import pytest

from babygun.email.log import entries_in_record
from babygun.runtime.settings import Settings
from tests.e2e.webhook_proof import RESULTS, proof
from tests.support.invariants import check_invariants
from tests.support.outbox_invariants import types_of
from tests.support.rig import quick
from tests.support.smtp_server import MisbehavingServer
from tests.webhooks.stage import LOOPBACK

EMAILS = int(os.environ.get("PROOF_EMAILS", "100"))
SEED = int(os.environ.get("PROOF_SEED", "0")) or secrets.randbelow(10**6) + 1
A_SECOND = 40 if EMAILS < 2000 else 60  # e-mails, at most


def say(line: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {line}", file=sys.stderr, flush=True)


@pytest.mark.timeout(400 + EMAILS // 4)
async def test_events_of_emails_while_processes_are_killed_all_arrive(
    settings: Settings, smtp: MisbehavingServer
) -> None:
    say(f"PROOF_SEED={SEED} PROOF_EMAILS={EMAILS}")
    smtp.chunking = True
    own = quick(
        settings,
        {"main": {"url": smtp.url, "max_connections": 20}},
        lease_ttl=2.0,
        webhook_allow_http=True,
        webhook_allow_networks=LOOPBACK,
    )
    lives = (0.4, 3.0) if EMAILS < 2000 else (0.3, 8.0)
    async with proof(own, smtp, Random(SEED), lives) as made:

        async def work() -> None:
            await made.send(EMAILS, EMAILS / A_SECOND, say)

        await made.killing(work)
        await made.quiet(within=60 + EMAILS / 20)
        say(made.figures())
        receiver, store = made.receiver, made.rig.store
        assert not receiver.problems and receiver.answers["fails"] and receiver.answers["stalls"]
        assert len(made.accepted) == EMAILS, "two e-mails have one id"

        seen = await check_invariants(store)
        assert seen.emails.keys() == made.accepted.keys()
        wanted: set[str] = set()
        for email in seen.emails.values():
            entries = [*entries_in_record(email), *seen.logs.get(email.id, {}).values()]
            assert [entry.seq for entry in entries] == list(range(email.log_seq + 1))
            for entry in entries:
                wanted |= {f"{email.id}-{entry.seq:04x}-{t}" for t in types_of(email, entry)}
        missing, unknown = wanted - receiver.taken.keys(), receiver.taken.keys() - wanted
        assert (len(missing), len(unknown)) == (0, 0), (sorted(missing)[:5], sorted(unknown)[:5])
        assert {notice.state for notice in seen.outbox.notices.values()} == {"sent"}
        await made.check_logs()

        types = Counter(event["type"] for event in receiver.taken.values())
        assert types.keys() == {"accepted", "suppressed", *RESULTS}, types
        known = made.check_suppressed(seen.emails)
        attempts = smtp.attempts.copy()
        gone = sorted(each for each in receiver.bounced_at if each.startswith("hard-"))[:100]
        for number, address in enumerate(gone, EMAILS):
            await made.post(number, address)
        await made.quiet(within=60)
        assert gone and smtp.attempts == attempts, "a suppressed address got mail"
        assert not await made.orphans(), "a worker that is dead owns something"
        say(f"{dict(types)}; {known} recipients had bounced before and were left out")
        await made.rig.counted(store.keys.workers, 2)  # the leases of the killed have ended
        await made.stop()
        for prefix in (store.keys.owners, store.keys.notice_owners, store.keys.workers):
            await made.rig.emptied(prefix)  # what has stopped owns nothing
