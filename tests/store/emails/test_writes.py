"""What a transition writes: which log entries have keys."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from babygun.email.compose import new_email
from babygun.runtime.clock import utc_now
from babygun.store.emails.finish import finish
from babygun.store.emails.on_request import retry
from babygun.store.emails.writes import LOG_ENTRIES, log_numbers
from tests.store.emails.steps import HARD, OK, claimed, lease, pending
from tests.support.invariants import check_invariants
from tests.support.rig import Rig

EMAIL = new_email(
    "id", client_id="c", sender="me@example.com", subject="", recipients=(), now=utc_now()
)


@pytest.mark.parametrize("newest", [0, 1, LOG_ENTRIES - 1, LOG_ENTRIES, 100])
def test_log_numbers_are_the_newest_that_the_record_does_not_hold(newest: int) -> None:
    email = replace(EMAIL, log_seq=newest)
    kept = [*range(email.first_log_key), *log_numbers(email)]
    assert kept[0] == 0 and kept[-1] == newest and kept == sorted(set(kept))
    assert len(kept) == min(newest + 1, LOG_ENTRIES)


def test_log_numbers_of_an_email_whose_record_holds_its_end_are_none() -> None:
    assert not log_numbers(replace(EMAIL, log_seq=1, claimed_at={"main": utc_now()}))


async def test_log_beyond_its_limit_keeps_the_first_and_the_newest(rig: Rig) -> None:
    email_id = await rig.send("ann@example.org")
    lease_id = await lease(rig)
    for _ in range(20):
        await finish(rig.store, [pending(await claimed(rig, email_id, lease_id=lease_id), HARD)])
        await retry(rig.store, email_id)
    entries = await rig.log(email_id)
    assert [e.seq for e in entries] == [0, *range(10, 41)] and len(entries) == LOG_ENTRIES
    await finish(rig.store, [pending(await claimed(rig, email_id, lease_id=lease_id), OK)])
    await check_invariants(rig.store)
