"""Suppressions that the end of a try writes and takes off."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, cast

import pytest
from msgspec.structs import replace

from babygun.email.suppression import ALL_MAIL, Suppression
from babygun.email.transition import Suppressed
from babygun.email.tries import QueueResult, RecipientResult
from babygun.errors import LeaseNotFound
from babygun.runtime.clock import utc_now
from babygun.store import codec
from babygun.store.emails.claims import Claim
from babygun.store.emails.finish import Finished, PendingResult, finish
from babygun.store.emails.schedule import make_all_due
from babygun.store.keys import Keys, range_end
from babygun.store.suppressions.bounces import suppress
from babygun.store.suppressions.suppressions import get_one
from tests.store.emails.steps import HARD, OK, SOFT, claimed, pending
from tests.support.faulty_etcd import Fault, FaultyProcess, faulty
from tests.support.invariants import check_invariants
from tests.support.rig import Rig, changed, rig_for
from tests.support.scraping import scraped

GONE = RecipientResult("fail", "bad_mailbox", 550, "5.1.1", "no such user", suppress=True)


def _results(got: Claim, **by_address: RecipientResult) -> PendingResult:
    named: Mapping[str, RecipientResult] = {f"{a}@example.org": r for a, r in by_address.items()}
    return PendingResult(got, QueueResult(got.ref.queue, "w1", got.claimed_at, named))


async def _finish(rig: Rig, email_id: str, **by_address: RecipientResult) -> Finished:
    return await finish(rig.store, [_results(await claimed(rig, email_id), **by_address)])


async def _found(rig: Rig, address: str, client_id: str = "client") -> Suppression | None:
    return await get_one(rig.store, client_id, address)


async def _keys(rig: Rig) -> list[Any]:
    prefix = rig.store.keys.suppressions
    return (await rig.store.client.range(prefix, range_end(prefix))).kvs


async def test_bounce_suppresses_the_dead_address_of_its_client_alone(rig: Rig) -> None:
    email_id = await rig.send("Ann@example.org", "bob@example.org", "cy@example.org")
    named = {"Ann@example.org": GONE, "bob@example.org": HARD, "cy@example.org": OK}
    got = await claimed(rig, email_id)
    await finish(rig.store, [PendingResult(got, QueueResult("main", "w1", utc_now(), named))])
    (kv,) = await _keys(rig)
    assert kv.key == rig.store.keys.suppression("client", ALL_MAIL, "ann@example.org") and kv.lease
    found = await _found(rig, "ANN@example.org")
    assert found is not None and found.until == found.since + timedelta(days=90)
    assert (found.reason, found.email_id, found.reply) == ("hard_bounce", email_id, "no such user")
    assert (found.status_code, found.enhanced_code) == (550, "5.1.1")
    assert found.reply_class == "bad_mailbox" and found.by is None
    assert await _found(rig, "ann@example.org", "other") is None
    assert (await rig.get(await rig.send("ann@example.org"))).status == "failed"
    await check_invariants(rig.store)


async def test_bounce_suppresses_nothing_where_the_setting_is_0(rig: Rig) -> None:
    async with rig_for(changed(rig.settings, suppress_hard_bounces=0.0)) as other:
        await _finish(other, await other.send("ann@example.org"), ann=GONE)
    assert await _keys(rig) == []


@pytest.mark.parametrize("reason", ["complaint", "manual", "unsubscribe"])
async def test_bounce_leaves_a_persons_word_as_it_is(rig: Rig, reason: str) -> None:
    email_id = await rig.send("ann@example.org")
    word = await rig.suppress("ann@example.org", reason=reason)
    earlier = scraped("worker")
    await _finish(rig, email_id, ann=GONE)
    assert await _found(rig, "ann@example.org") == word
    counted = "babygun_suppressions_written_total"
    assert scraped("worker").since(earlier, counted, reason="hard_bounce") == 0


async def test_bounce_takes_the_place_of_an_older_one_even_if_that_has_ended(rig: Rig) -> None:
    email_id = await rig.send("ann@example.org")
    past = utc_now() - timedelta(days=1)
    await rig.suppress("ann@example.org", reason="hard_bounce", since=past, until=past)
    await _finish(rig, email_id, ann=GONE)
    found = await _found(rig, "ann@example.org")
    assert found is not None and found.email_id == email_id


@pytest.mark.parametrize("other", ["none", "word", "unanswered", "refused", "lost"])
async def test_bounce_takes_the_place_of_a_persons_word_that_has_ended(
    rig: Rig, other: str
) -> None:
    """``other``: what happens to the write. It is tried once: the try's slot waits for it."""
    email_id = await rig.send("ann@example.org", "bob@example.org")
    past = utc_now() - timedelta(days=1)
    await rig.suppress("ann@example.org", since=past, until=past)
    word = await rig.suppress("bob@example.org")
    earlier = scraped("worker")

    async def meanwhile() -> None:
        if other == "word":
            await rig.suppress("ann@example.org")

    faults: dict[int, Fault] = {}
    if other in ("unanswered", "refused", "lost"):
        faults[3] = cast(Fault, other)
    got = await claimed(rig, email_id)
    async with faulty(rig.settings) as process:
        # Its first requests get leases, so the first one counted is the finish.
        for pool in (process.store.suppression_leases, process.store.record_leases):
            await pool.lease(1)
        done = await process.do(
            lambda store: finish(store, [_results(got, ann=GONE, bob=GONE)]),
            faults=faults,
            meanwhile={3: meanwhile},
        )
    assert done.written and (await rig.get(email_id)).status == "failed"
    assert await _found(rig, "bob@example.org") == word
    found = await _found(rig, "ann@example.org")
    assert found is None if other in ("refused", "lost") else found
    assert found is None or (found.reason == "manual") == (other == "word")
    written = "babygun_suppressions_written_total"
    counted = scraped("worker").since(earlier, written, reason="hard_bounce")
    assert counted == (other in ("none", "unanswered")), "what is written is read back"
    await check_invariants(rig.store)


async def test_a_thousand_bounces_are_written_with_their_result(rig: Rig) -> None:
    addresses = [f"a{n}.{'x' * 40}@{'y' * 40}.example.org" for n in range(1000)]
    email_id = await rig.send(*addresses)
    await finish(rig.store, [pending(await claimed(rig, email_id), SOFT)])
    later = utc_now() + timedelta(days=1)
    assert await make_all_due(rig.store, later, lambda ref, due: True) == 1
    # It is not the first try, so the entry has a key of its own.
    wordy = replace(GONE, reason="no such user here " * 30)
    earlier = scraped("worker")
    await finish(rig.store, [pending(await claimed(rig, email_id), wordy)])
    assert (await rig.get(email_id)).status == "failed"
    assert len(await _keys(rig)) == 1000
    counted = "babygun_suppressions_written_total"
    assert scraped("worker").since(earlier, counted, reason="hard_bounce") == 1000
    await check_invariants(rig.store)


def test_bounces_that_are_too_many_bytes_lose_the_words_and_then_the_last_ones() -> None:
    now = utc_now()
    one = Suppression("hard_bounce", now, now, "id", 550, "5.1.1", "x" * 64, "bad_mailbox")
    many = [Suppressed(f"a{n:04}@example.org", one) for n in range(1000)]
    whole = suppress(Keys(), "client", many, 1, most_bytes=1 << 30)
    size = sum(len(op.encoded) for op in whole)
    bare = suppress(Keys(), "client", many, 1, most_bytes=size - 1)
    assert len(bare) == 1000 and sum(len(op.encoded) for op in bare) < size - 64_000
    some = suppress(Keys(), "client", many, 1, most_bytes=100_000)
    assert 0 < len(some) < 1000 and sum(len(op.encoded) for op in some) <= 100_000
    assert suppress(Keys(), "client", many, 1, most_bytes=0) == []


async def test_delivery_that_ignores_suppressions_frees_what_bounced_before(rig: Rig) -> None:
    await rig.suppress("ann@example.org", reason="hard_bounce")
    await rig.suppress("bob@example.org", reason="unsubscribe")
    await rig.suppress("cy@example.org", reason="hard_bounce")
    to = ("ann@example.org", "bob@example.org", "cy@example.org", "new@example.org")
    email_id = await rig.send(*to, ignore_suppressions=True)
    await _finish(rig, email_id, ann=OK, bob=OK, cy=SOFT, new=OK)
    assert await _found(rig, "ann@example.org") is None
    assert await _found(rig, "bob@example.org") is not None
    assert await _found(rig, "cy@example.org") is not None


async def test_delivery_that_ignores_suppressions_leaves_a_newer_bounce(rig: Rig) -> None:
    email_id = await rig.send("ann@example.org", ignore_suppressions=True)
    got = await claimed(rig, email_id)
    await rig.suppress("ann@example.org", reason="hard_bounce")
    await finish(rig.store, [_results(got, ann=OK)])
    assert await _found(rig, "ann@example.org") is not None


async def test_delivery_of_a_usual_email_frees_nothing(rig: Rig) -> None:
    email_id = await rig.send("ann@example.org")
    await rig.suppress("ann@example.org", reason="hard_bounce")
    await _finish(rig, email_id, ann=OK)
    assert await _found(rig, "ann@example.org") is not None


async def test_bounce_takes_another_lease_where_its_own_was_revoked(rig: Rig) -> None:
    lease = await rig.store.suppression_leases.lease(1)
    await rig.store.client.revoke(lease)
    await _finish(rig, await rig.send("ann@example.org"), ann=GONE)
    (kv,) = await _keys(rig)
    assert kv.lease not in (0, lease)
    with pytest.raises(LeaseNotFound):
        await rig.store.client.granted(lease)


async def test_bounce_whose_write_has_an_unknown_outcome_is_there_once(rig: Rig) -> None:
    """Whatever happens to its requests, result and suppression are written together."""
    for fault in ("unanswered", "lost", "overtaken"):
        email_id = await rig.send(f"{fault}@example.org", "cy@example.org")
        process = FaultyProcess(rig.settings)
        await process.store.start()
        try:
            got = await claimed(rig, email_id)
            ended = _results(got, **{fault: GONE, "cy": SOFT})
            # Its first requests get leases, so the third is the write.
            await process.store.suppression_leases.lease(1)
            done = await process.do(
                lambda store, one=ended: finish(store, [one]), faults={1: fault}
            )
        finally:
            await process.close()
        assert done.written
        assert (await rig.get(email_id)).recipients[0].status == "bounced"
        found = await _found(rig, f"{fault}@example.org")
        assert found is not None and found.email_id == email_id
    await check_invariants(rig.store)


async def test_result_that_is_dropped_suppresses_nothing(rig: Rig) -> None:
    email_id = await rig.send("ann@example.org")
    lease = await rig.store.client.grant(600)
    old = await claimed(rig, email_id, "old", lease)
    await rig.store.client.revoke(lease)
    await claimed(rig, email_id, "new")
    done = await finish(rig.store, [_results(old, ann=GONE)])
    assert done.dropped and await _keys(rig) == []


async def test_value_begins_with_its_reason(rig: Rig) -> None:
    """By that etcd compares it."""
    await rig.suppress("ann@example.org", reason="hard_bounce")
    (kv,) = await _keys(rig)
    assert kv.value.startswith(b'{"reason":"hard_bounce"')
    assert codec.decode_suppression(kv.value).reason == "hard_bounce"
