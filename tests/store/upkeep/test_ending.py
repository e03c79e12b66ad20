"""What was kept for its retention goes, also where leases begin again; nothing goes early."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from babygun.email import ids
from babygun.email.bounces import Complaint
from babygun.email.model import Email
from babygun.email.return_path import of_recipient
from babygun.email.tries import RecipientResult
from babygun.runtime.clock import format_time, parse_time, utc_now
from babygun.store.access.tokens import revoke_token
from babygun.store.emails.finish import finish
from babygun.store.emails.late import complaint
from babygun.store.emails.on_request import retry
from babygun.store.keys import range_end
from babygun.store.upkeep import end_marks, ending, trusted_clock
from babygun.store.upkeep.ending import Ending
from babygun.store.upkeep.timeline import Timeline
from tests.store.emails.steps import HARD, OK, claimed, pending
from tests.support.etcd_server import EtcdServer
from tests.support.field import rows
from tests.support.invariants import check_invariants, snapshot
from tests.support.rig import Rig, changed, rig_for

DAY = 86_400.0
ROWS = rows("full", "retention")


class Life:
    """Final e-mails of all kinds, and the clock of the worker that ends them."""

    def __init__(self, rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
        self.rig, self.store = rig, rig.store
        monkeypatch.setattr(trusted_clock, "_STEADY", 0.0)
        monkeypatch.setattr(ending, "_LONGEST_PAUSE", 0.0)

    async def finished(self, email_id: str, outcome: RecipientResult) -> Email:
        await finish(self.store, [pending(await claimed(self.rig, email_id), outcome)])
        return await self.rig.get(email_id)

    async def passed(self, seconds: float) -> None:
        """Makes all that is in etcd so much older, as the timeline has it."""
        key = self.store.keys.timeline
        found = await self.store.client.range(key, key + b"\0")
        timeline = Timeline(1e9, found.kvs[0].value if found.kvs else b"[]")
        timeline.samples = [(at - timedelta(seconds=seconds), r) for at, r in timeline.samples]
        timeline.samples.append((utc_now() - timedelta(seconds=seconds), found.revision))
        await self.store.client.put(key, timeline.value)

    async def older_keys(self, seconds: float, of: str = "") -> None:
        """Names earlier times in the keys by time, as if they had been written then.

        ``of``: an e-mail: of its keys only.
        """
        prefix = self.store.keys.retentions
        for kv in (await self.store.client.range(prefix, range_end(prefix))).kvs:
            parts = kv.key.decode().split("/")
            if len(parts) < 2 or not parts[-2].endswith("Z") or of not in parts[-1]:
                continue
            parts[-2] = format_time(parse_time(parts[-2]) - timedelta(seconds=seconds))
            await self.store.client.put("/".join(parts).encode(), kv.value, kv.lease)
            await self.store.client.delete(kv.key)


@pytest.fixture
def life(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> Life:
    return Life(rig, monkeypatch)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row['outcome']} for {row['days']} days")
async def test_email_whose_leases_live_too_long_ends_by_the_timeline(
    life: Life, row: dict[str, Any]
) -> None:
    email_id = await life.rig.send("ann@example.org")
    if row["outcome"] != "incomplete":
        await life.finished(email_id, OK if row["outcome"] == "delivered" else HARD)
    await life.older_keys(row["days"] * DAY)
    await life.passed(row["days"] * DAY)
    await Ending(life.store, "worker").once()
    seen = await check_invariants(life.store)
    assert [
        what for what, there in (("record", seen.emails), ("content", seen.chunks)) if there
    ] == row["left"]


async def test_email_whose_end_names_a_time_long_ago_is_kept_for_its_retention(life: Life) -> None:
    """The worker that finished it had a clock a month behind."""
    rig = life.rig
    delivered = await rig.send("ann@example.org")
    await life.passed(DAY)
    await life.finished(delivered, OK)
    await life.older_keys(31 * DAY)
    await life.passed(60)
    await Ending(life.store, "worker").once()
    assert list((await snapshot(life.store)).chunks) == [delivered]


async def test_email_whose_end_names_a_time_to_come_goes_after_its_retention(life: Life) -> None:
    """The API process that cancelled it had a clock a month ahead."""
    young, old = [await life.rig.send("ann@example.org") for _ in range(2)]
    await life.finished(old, OK)
    await life.older_keys(-31 * DAY)
    await life.passed(30 * DAY)
    await life.finished(young, OK)
    await life.older_keys(-31 * DAY, of=young)
    await Ending(life.store, "worker").once()
    assert list((await snapshot(life.store)).chunks) == [young]


@pytest.mark.parametrize("seconds", [3600 * 25, 31 * DAY])
async def test_worker_whose_clock_is_ahead_of_etcds_deletes_nothing_early(
    life: Life, monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    delivered = await life.rig.send("ann@example.org")
    await life.finished(delivered, OK)
    await life.passed(0)
    monkeypatch.setattr(trusted_clock, "utc_now", lambda: utc_now() + timedelta(seconds=seconds))
    monkeypatch.setattr(trusted_clock, "clock_ahead", lambda *_: _ready(seconds))
    await Ending(life.store, "worker").once()
    assert list((await snapshot(life.store)).chunks) == [delivered]


async def test_email_that_a_leader_whose_clock_is_behind_finished_is_kept_for_its_retention(
    life: Life, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mark and the sample name a time a month ago; then the clock is corrected."""
    behind = 31 * DAY
    delivered = await life.rig.send("ann@example.org")
    await life.finished(delivered, OK)
    await life.older_keys(behind)
    with monkeypatch.context() as wrong:
        wrong.setattr(trusted_clock, "utc_now", lambda: utc_now() - timedelta(seconds=behind))
        wrong.setattr(trusted_clock, "clock_ahead", lambda *_: _ready(-behind))
        await Ending(life.store, "worker").once()
    await Ending(life.store, "worker").once()
    assert list((await snapshot(life.store)).chunks) == [delivered]


async def _ready(value: float) -> float:
    return value


async def test_retried_email_is_not_ended_by_the_mark_of_its_first_end(life: Life) -> None:
    rig = life.rig
    email_id = await rig.send("ann@example.org")
    await life.finished(email_id, HARD)
    prefix = life.store.keys.retention_kind("undelivered")
    [mark] = (await life.store.client.range(prefix, range_end(prefix))).kvs
    await retry(life.store, email_id)
    seen = await check_invariants(life.store)
    assert not seen.ends
    # By hand: a retry deletes the mark.
    await life.store.client.put(mark.key, mark.value)
    await life.older_keys(30 * DAY)
    await life.passed(30 * DAY)
    await Ending(life.store, "worker").once()
    seen = await check_invariants(life.store)
    assert list(seen.chunks) == [email_id] and not seen.ends


async def test_content_of_a_failed_email_goes_by_the_revision_of_its_end(life: Life) -> None:
    failed, again = [await life.rig.send("ann@example.org") for _ in range(2)]
    for email_id in (failed, again):
        await life.finished(email_id, HARD)
    client, keys = life.store.client, life.store.keys
    prefix = keys.retention_kind("undelivered")
    marks = end_marks.read(keys, (await client.range(prefix, range_end(prefix))).kvs)
    await retry(life.store, again)
    await end_marks.delete_contents(client, life.store.batcher, keys, "undelivered", marks)
    seen = await check_invariants(life.store)
    assert list(seen.chunks) == [again], "the record of the other has the revision of its mark"


async def test_mark_that_another_has_replaced_deletes_nothing(life: Life) -> None:
    failed = await life.rig.send("ann@example.org")
    await life.finished(failed, HARD)
    client, keys = life.store.client, life.store.keys
    prefix = keys.retention_kind("undelivered")
    marks = end_marks.read(keys, (await client.range(prefix, range_end(prefix))).kvs)
    path = of_recipient(failed, "ann@example.org", 0, "client")
    assert await complaint(life.store, path, Complaint()) == "applied"
    await end_marks.delete_contents(client, life.store.batcher, keys, "undelivered", marks)
    seen = await check_invariants(life.store)
    assert (seen.chunks[failed], seen.ends[failed]) == (1, "undelivered")


async def test_unreadable_record_keeps_no_other_content_from_its_end(life: Life) -> None:
    strange, failed = [await life.rig.send("ann@example.org") for _ in range(2)]
    for email_id in (strange, failed):
        await life.finished(email_id, HARD)
    await life.older_keys(30 * DAY)
    await life.passed(30 * DAY)
    await life.store.client.put(life.store.keys.email(strange), b"{")
    await Ending(life.store, "worker").once()
    left = await life.store.client.range(
        life.store.keys.contents, range_end(life.store.keys.contents), keys_only=True
    )
    assert [kv.key for kv in left.kvs] == [life.store.keys.chunk(strange, 0)]


@pytest.mark.parametrize(
    "value", [b"", b"null", b'[["2020-01-01T00:00:00", 5]]', b'[["2020-01-01T00:00:00Z", null]]']
)
async def test_unreadable_timeline_is_begun_again(life: Life, value: bytes) -> None:
    await life.store.client.put(life.store.keys.timeline, value)
    await Ending(life.store, "worker").once()
    found = await life.store.client.get(life.store.keys.timeline)
    assert found is not None and len(Timeline(1e9, found.value).samples) == 1


async def test_shortened_retention_counts_for_what_is_final_already(life: Life) -> None:
    await life.finished(await life.rig.send("ann@example.org"), OK)
    await life.older_keys(7200)
    await life.passed(7200)
    short = changed(life.rig.settings, retention=3600.0, contents_retention=1800.0)
    async with rig_for(short) as other:
        await Ending(other.store, "worker").once()
        seen = await snapshot(other.store)
    assert not seen.emails and not seen.chunks


async def test_idempotency_keys_and_revoked_tokens_are_ended_by_the_api(life: Life) -> None:
    store = life.store
    lease = await store.idempotency_leases.lease(1)
    await store.client.put(store.keys.idempotency("client", "key"), b"{}", lease)
    await revoke_token(store, "old", utc_now(), utc_now() + timedelta(hours=1))
    await revoke_token(store, "long", utc_now(), utc_now() + timedelta(days=60))
    await life.older_keys(2 * DAY)
    await life.passed(2 * DAY)
    await Ending(store, "worker").once()
    await Ending(store, "api").once()
    left = (await snapshot(store)).keys
    assert store.keys.revoked("long") in left and store.keys.revoked("old") not in left
    assert not [key for key in left if key.startswith(store.keys.idempotencies)]


async def test_much_that_ends_at_once_is_deleted_in_bounded_parts(
    life: Life, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ending, "_PAGE", 4)
    monkeypatch.setattr(ending, "_BUDGET", 0.0)
    for _ in range(10):
        await life.finished(await life.rig.send("ann@example.org"), OK)
    await life.older_keys(2 * DAY)
    await life.passed(2 * DAY)
    worker = Ending(life.store, "worker")
    left = []
    while not left or left[-1]:
        await worker.once()
        left.append(len((await snapshot(life.store)).chunks))
    assert left == [6, 2, 0]


async def test_mark_of_a_wrong_clock_does_not_hold_up_those_behind_it(
    life: Life, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ending, "_PAGE", 2)
    old = await life.rig.send("ann@example.org")
    await life.finished(old, OK)
    await life.older_keys(2 * DAY)
    await life.passed(2 * DAY)
    young = [await life.rig.send("ann@example.org") for _ in range(5)]
    for email_id in young:
        await life.finished(email_id, OK)
        mark = (await life.rig.get(email_id)).updated_at
        key = life.store.keys.end_mark("delivered", mark, email_id)
        await life.store.client.delete(key)
        wrong = life.store.keys.end_mark("delivered", mark - timedelta(days=31), email_id)
        await life.store.client.put(wrong, b"1")
    await Ending(life.store, "worker").once()
    assert set((await snapshot(life.store)).chunks) == set(young)


async def test_etcd_that_is_restarted_again_and_again_still_ends_what_is_old(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each start begins every lease again: without checkpoints none would ever end."""
    with EtcdServer() as server:
        settings = changed(
            rig.settings,
            etcd_endpoints=(server.endpoint,),
            retention=2 * DAY,
            contents_retention=DAY,
        )
        async with rig_for(settings) as own:
            life = Life(own, monkeypatch)
            delivered, failed = [await own.send("ann@example.org") for _ in range(2)]
            await life.finished(delivered, OK)
            await life.finished(failed, HARD)
            await life.older_keys(7 * DAY)  # so that the timeline alone says how old they are
            left = []
            for _ in range(4):
                server.restart()
                # A laptop's processes start again, too.
                await Ending(own.store, "worker").once()
                seen = await snapshot(own.store)
                left.append((len(seen.emails), len(seen.chunks)))
                await life.passed(0.75 * DAY)
            assert left == [(2, 2), (2, 2), (2, 1), (0, 0)]
            assert not [k for k in seen.keys if k.startswith(own.store.keys.contents)]


async def test_audit_entry_goes_when_it_is_older_than_its_retention(life: Life) -> None:
    keys, kept = life.store.keys, life.rig.settings.audit_retention
    now = int(utc_now().timestamp() * 1e9)
    young, old = (ids.email_id(now - int(age * 1e9), "0" * 16) for age in (kept - 60, kept + 60))
    for entry_id in (young, old):
        await life.store.client.put(keys.audit_entry(entry_id), b"{}")
    await life.passed(0)
    await Ending(life.store, "api").once()
    found = await life.store.client.range(keys.audit, range_end(keys.audit))
    assert [kv.key for kv in found.kvs] == [keys.audit_entry(young)]
