"""The notices of a webhook as its owner sees them: owned by one, read in order, written whole."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from babygun.errors import EtcdUnavailable, LeaseNotFound, OutcomeUnknown
from babygun.etcd import Txn, TxnResult
from babygun.intake.ids import new_email_id
from babygun.runtime.clock import utc_now
from babygun.store import Store, codec
from babygun.store.access.clients import create_client
from babygun.store.keys import NoticeRef, range_end
from babygun.store.upkeep import compaction, ending, trusted_clock, waiting_notices
from babygun.store.upkeep.compaction import Compaction
from babygun.store.upkeep.ending import Ending
from babygun.store.upkeep.fullness import Fullness, Size
from babygun.store.upkeep.reserve import Reserve
from babygun.store.upkeep.shedding import Shedding
from babygun.store.upkeep.timeline import Timeline
from babygun.store.upkeep.waiting_notices import WaitingNotices
from babygun.store.webhooks.change import create_webhook, delete_webhook
from babygun.store.webhooks.notices import (
    Outcome,
    StoredNotice,
    Taken,
    finish,
    give_back,
    owned_webhooks,
    read_due,
    read_ready,
    take,
)
from babygun.store.webhooks.records import (
    SHORT_OF_ROOM,
    SWITCHED_OFF,
    Notice,
    NoticeResult,
    WebhookHealth,
)
from babygun.store.webhooks.replay import replay_ids
from tests.support.faulty_etcd import FaultyProcess, faulty
from tests.support.rig import Rig


class Owned:
    """A webhook with notices, and two leases of workers that may own it."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.id = self.client = ""
        self.leases: list[int] = []

    async def begin(self, notices: int) -> None:
        client, _ = await create_client(self.store, name="shop", scopes=["emails:send"])
        self.client = client.identity
        webhook, _ = await create_webhook(self.store, self.client, url="https://a.example/")
        self.id = webhook.id
        self.leases = [await self.store.client.grant(600) for _ in range(2)]
        now = utc_now()
        for _ in range(notices):
            ref = NoticeRef(self.id, f"{new_email_id()}-0001-delivered")
            value = codec.encode_notice(Notice(msgspec.Raw(b'{"type":"delivered"}'), now))
            await self.store.client.put(self.store.keys.notice(ref), value)

    async def taken(self, worker: int = 0) -> Taken | None:
        return await take(self.store, self.id, worker_id=f"w{worker}", lease_id=self.leases[worker])

    async def token(self) -> int:
        taken = await self.taken()
        assert taken is not None
        return taken.token

    async def ready(self) -> list[StoredNotice]:
        return (await read_ready(self.store, self.id, 1000)).notices

    async def sent(self) -> dict[str, tuple[Notice, int]]:
        """What was sent or has failed, each with its lease."""
        prefix = self.store.keys.webhook_sent_notices(self.id)
        found = await self.store.client.range(prefix, range_end(prefix))
        return {
            self.store.keys.last_part(kv.key): (codec.decode_notice(kv.value), kv.lease)
            for kv in found.kvs
        }


@pytest.fixture
async def owned(rig: Rig) -> Owned:
    owned = Owned(rig.store)
    await owned.begin(3)
    return owned


def ended(stored: StoredNotice, state: str = "sent") -> Outcome:
    notice = codec.decode_notice(stored.value)
    after = replace(notice, tries=1, state=state, last=NoticeResult(utc_now(), 200))
    return Outcome(stored, after)


async def test_webhook_has_one_owner_until_it_gives_it_back(owned: Owned) -> None:
    taken = await owned.taken(0)
    assert taken is not None and taken.secret.secret.startswith("whsec_")
    assert await owned.taken(1) is None
    assert await owned_webhooks(owned.store, owned.leases[1]) == {owned.id}
    assert await owned_webhooks(owned.store, owned.leases[0]) == set(), "it may take its own again"
    again = await owned.taken(0)
    assert again is not None and again.token == taken.token
    await give_back(owned.store, owned.id, taken.token)
    assert await owned.taken(1) is not None


async def test_webhook_of_a_worker_that_is_gone_can_be_taken(owned: Owned) -> None:
    await owned.token()
    await owned.store.client.revoke(owned.leases[0])
    assert await owned.taken(1) is not None
    with pytest.raises(LeaseNotFound):
        await give_back(owned.store, owned.id, 1)
        await owned.store.client.revoke(owned.leases[1])
        await owned.taken(1)


async def test_webhook_that_is_deleted_can_not_be_taken(owned: Owned) -> None:
    await delete_webhook(owned.store, owned.client, owned.id)
    assert await owned.taken() is None


async def test_results_are_written_together_and_only_by_the_owner(owned: Owned) -> None:
    token = await owned.token()
    first, second, third = await owned.ready()
    due = utc_now() + timedelta(seconds=60)
    waits = Outcome(second, replace(codec.decode_notice(second.value), tries=1), due)
    health = WebhookHealth(sent=1)
    assert not await finish(owned.store, owned.id, token + 1, [ended(first), waits], health)
    assert len(await owned.ready()) == 3
    assert await finish(owned.store, owned.id, token, [ended(first), waits], health)
    assert await owned.ready() == [third]
    assert list(await owned.sent()) == [first.event_id]
    assert await read_due(owned.store, owned.id, utc_now(), 10) == ([], due)
    [waiting], none = await read_due(owned.store, owned.id, due, 10)
    assert waiting.event_id == second.event_id and none is None
    stored = await owned.store.client.get(owned.store.keys.webhook_health(owned.id))
    assert stored is not None and codec.decode_state(stored.value, WebhookHealth) == health


async def test_due_notice_that_is_due_again_at_the_same_time_stays(owned: Owned) -> None:
    token = await owned.token()
    [first, *_] = await owned.ready()
    due = utc_now()
    for tries in (1, 2):
        waits = Outcome(first, replace(codec.decode_notice(first.value), tries=tries), due)
        assert await finish(owned.store, owned.id, token, [waits])
        [first], _ = await read_due(owned.store, owned.id, due, 10)
        assert codec.decode_notice(first.value).tries == tries


async def test_result_of_a_webhook_that_is_deleted_meanwhile_is_not_written(owned: Owned) -> None:
    token = await owned.token()
    [first, *_] = await owned.ready()
    await delete_webhook(owned.store, owned.client, owned.id)
    assert not await finish(owned.store, owned.id, token, [ended(first)])
    assert not await owned.sent()


@pytest.mark.parametrize("fault", ["lost", "unanswered", "refused"])
async def test_result_is_written_once_whatever_etcd_answers(
    rig: Rig, owned: Owned, fault: str
) -> None:
    token = await owned.token()
    notices = await owned.ready()
    process = FaultyProcess(rig.settings)
    await process.store.start()
    await process.store.notice_leases.lease(0)

    async def write(store: Store) -> bool:
        return await finish(store, owned.id, token, [ended(one) for one in notices])

    for number in range(1, 5):
        assert await process.do(write, faults={number: fault})  # type: ignore[dict-item]
        assert len(await owned.sent()) == 3 and not await owned.ready()
    await process.store.close()


async def test_results_are_written_though_a_replay_moves_one_amid_a_lost_write(
    rig: Rig, owned: Owned
) -> None:
    token = await owned.token()
    first, *others = notices = await owned.ready()
    await owned.store.client.put(first.key, first.value)  # as a replay writes it again
    process = FaultyProcess(rig.settings)
    await process.store.start()
    await process.store.notice_leases.lease(0)

    async def write(store: Store) -> bool:
        return await finish(store, owned.id, token, [ended(one) for one in notices])

    assert await process.do(write, faults={1: "lost"})
    assert [one.event_id for one in await owned.ready()] == [first.event_id]
    assert set(await owned.sent()) == {one.event_id for one in others}
    await process.store.close()


@pytest.mark.parametrize("again", [False, True])
async def test_due_notice_that_is_replayed_while_it_is_sent_is_ready_and_nowhere_else(
    owned: Owned, again: bool
) -> None:
    token = await owned.token()
    first, second, third = await owned.ready()
    due, later = utc_now(), utc_now() + timedelta(seconds=60)
    waits = [Outcome(one, codec.decode_notice(one.value), due) for one in (first, second)]
    assert await finish(owned.store, owned.id, token, waits)
    found, _ = await read_due(owned.store, owned.id, due, 10)
    replayed, other = found
    assert await replay_ids(owned.store, owned.id, [replayed.event_id]) == [replayed.event_id]
    results = [
        Outcome(one, replace(codec.decode_notice(one.value), tries=2), later)
        if again
        else ended(one)
        for one in found
    ]
    health = WebhookHealth(sent=1)
    assert await finish(owned.store, owned.id, token, [*results, ended(third)], health)
    assert [one.event_id for one in await owned.ready()] == [replayed.event_id]
    waiting, _ = await read_due(owned.store, owned.id, later, 10)
    assert [one.event_id for one in waiting] == ([other.event_id] if again else [])
    assert set(await owned.sent()) == {third.event_id} | (set() if again else {other.event_id})
    stored = await owned.store.client.get(owned.store.keys.webhook_health(owned.id))
    assert stored is not None and codec.decode_state(stored.value, WebhookHealth) == health


def short_of_room(store: Store, monkeypatch: pytest.MonkeyPatch) -> WaitingNotices:
    """No notice may wait."""
    monkeypatch.setattr(waiting_notices, "WAITING", 0.0)
    fullness = _Fake(store.client, 1 << 20)
    fullness.add(Size(100.0, 900_000, 900_000, 1))
    compaction = Compaction(store.client, fullness, store.keys.cluster)
    return WaitingNotices(store, fullness, compaction)


async def test_notice_that_is_given_up_for_room_while_it_is_sent_is_in_one_place(
    owned: Owned, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The result of a ready one counts. One that was due stays failed."""
    token = await owned.token()
    first, second, third = await owned.ready()
    waits = Outcome(first, codec.decode_notice(first.value), utc_now())
    assert await finish(owned.store, owned.id, token, [waits])
    [due], _ = await read_due(owned.store, owned.id, utc_now(), 10)
    room = short_of_room(owned.store, monkeypatch)
    while room.count < 3:
        assert await room.give_up(10_000, 0.9) > 0
    assert not await owned.ready()
    assert {one.last.error for one, _ in (await owned.sent()).values() if one.last} == {
        SHORT_OF_ROOM
    }
    assert all(on_lease for _, on_lease in (await owned.sent()).values())
    for one in (due, second):
        assert await finish(owned.store, owned.id, token, [ended(one)])
    states = {event: one.state for event, (one, _) in (await owned.sent()).items()}
    ids = (first.event_id, second.event_id, third.event_id)
    assert [states[one] for one in ids] == ["failed", "sent", "failed"]
    assert await replay_ids(owned.store, owned.id, [third.event_id]) == [third.event_id]
    assert [one.event_id for one in await owned.ready()] == [third.event_id]


@pytest.mark.parametrize("shed", [False, True])
async def test_notice_that_is_given_up_for_room_does_not_wait_again_by_a_try_that_fails(
    owned: Owned, monkeypatch: pytest.MonkeyPatch, shed: bool
) -> None:
    """``shed``: its failed copy goes before."""
    token, later = await owned.token(), utc_now() + timedelta(seconds=60)
    first, *others = await owned.ready()
    room = short_of_room(owned.store, monkeypatch)
    while not room.count:
        await room.give_up(1, 0.9)
    [(event_id, (failed, on_lease))] = (await owned.sent()).items()
    assert event_id == first.event_id and failed.was_given_up
    if shed:
        await owned.store.client.revoke(on_lease)
    tried = [
        Outcome(one, replace(codec.decode_notice(one.value), tries=1), later)
        for one in (first, others[0])
    ]
    health = WebhookHealth(failed=2)
    assert await finish(owned.store, owned.id, token, [*tried, ended(others[1])], health)
    waiting, _ = await read_due(owned.store, owned.id, later, 10)
    assert [one.event_id for one in waiting] == [others[0].event_id]
    assert not await owned.ready()
    kept = {others[1].event_id} | (set() if shed else {first.event_id})
    assert set(await owned.sent()) == kept


async def test_notice_that_ends_as_its_webhook_is_off_does_not_wait_again_by_a_try_that_fails(
    owned: Owned,
) -> None:
    token, later = await owned.token(), utc_now() + timedelta(seconds=60)
    first, *_ = await owned.ready()
    notice = codec.decode_notice(first.value)
    off = Outcome(first, notice.given_up(SWITCHED_OFF, utc_now()))
    assert await finish(owned.store, owned.id, token, [off])
    assert await finish(owned.store, owned.id, token, [Outcome(first, notice, later)])
    assert await read_due(owned.store, owned.id, later, 10) == ([], None)
    assert (await owned.sent())[first.event_id][0].was_given_up


async def test_notices_that_are_given_up_count_though_etcd_can_not_be_measured(
    owned: Owned, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fails(fullness: Fullness) -> Size:
        raise EtcdUnavailable("no member of etcd answers")

    room = short_of_room(owned.store, monkeypatch)
    monkeypatch.setattr(_Fake, "measure", fails)
    with suppress(EtcdUnavailable):
        await room.give_up(10_000, 0.9)
    assert room.count == len(await owned.sent()) > 0
    assert room.coming > 0


@pytest.mark.parametrize("fault", ["lost", "unanswered", "refused", "full"])
async def test_notices_that_are_given_up_count_though_a_later_move_goes_wrong(
    rig: Rig, owned: Owned, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    """One whose move has no answer takes room all the same, perhaps."""
    monkeypatch.setattr(waiting_notices, "_PAGE", 1)
    async with faulty(rig.settings) as process:
        await process.store.notice_leases.lease(0)
        room = short_of_room(process.store, monkeypatch)

        async def give_up(_: Store) -> float:
            return await room.give_up(1 << 20, 0.9)

        with suppress(EtcdUnavailable, OutcomeUnknown):
            # Webhooks, their notices; then for each page: two reads (due, ready), a move.
            await process.do(give_up, faults={8: fault})  # type: ignore[dict-item]
    assert len(await owned.sent()) == (2 if fault in ("unanswered", "full") else 1)
    assert room.count == (2 if fault in ("lost", "unanswered") else 1)
    assert room.coming > 0


async def test_notice_that_changes_while_it_is_given_up_for_room_stays(
    owned: Owned, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its owner was faster. Those of a webhook that is deleted by then leave nothing, too."""
    token = await owned.token()
    first, *others = await owned.ready()
    submit = owned.store.batcher.submit
    late = [ended(first)]

    async def delayed(txn: Txn, **more: Any) -> TxnResult:
        if late:
            assert await finish(owned.store, owned.id, token, [late.pop()])
        return await submit(txn, **more)

    room = short_of_room(owned.store, monkeypatch)
    monkeypatch.setattr(owned.store.batcher, "submit", delayed)
    await room.give_up(1 << 20, 0.9)
    states = {event: one.state for event, (one, _) in (await owned.sent()).items()}
    assert states[first.event_id] == "sent" and room.count == len(others)


async def test_health_is_written_though_all_results_are_of_notices_that_were_replayed(
    owned: Owned,
) -> None:
    token = await owned.token()
    first, *_ = await owned.ready()
    due, health = utc_now(), WebhookHealth(sent=1)
    waits = Outcome(first, codec.decode_notice(first.value), due)
    assert await finish(owned.store, owned.id, token, [waits])
    [stored], _ = await read_due(owned.store, owned.id, due, 10)
    await replay_ids(owned.store, owned.id, [stored.event_id])
    assert not await finish(owned.store, owned.id, token + 1, [ended(stored)], health)
    assert await finish(owned.store, owned.id, token, [ended(stored)], health)
    assert not await owned.sent() and len(await owned.ready()) == 3
    found = await owned.store.client.get(owned.store.keys.webhook_health(owned.id))
    assert found is not None and codec.decode_state(found.value, WebhookHealth) == health


async def test_large_number_of_results_is_one_transaction(owned: Owned) -> None:
    await owned.begin(100)
    token = await owned.token()
    before = owned.store.batcher.txns
    assert await finish(owned.store, owned.id, token, [ended(one) for one in await owned.ready()])
    assert owned.store.batcher.txns == before + 1 and len(await owned.sent()) == 100


async def test_large_number_of_results_of_due_notices_is_one_transaction(owned: Owned) -> None:
    await owned.begin(100)
    token, due = await owned.token(), utc_now()
    notices = [Outcome(one, codec.decode_notice(one.value), due) for one in await owned.ready()]
    assert await finish(owned.store, owned.id, token, notices)
    found, _ = await read_due(owned.store, owned.id, due, 100)
    before = owned.store.batcher.txns
    assert await finish(owned.store, owned.id, token, [ended(one) for one in found])
    assert owned.store.batcher.txns == before + 1 and len(await owned.sent()) == 100


async def test_what_was_sent_is_kept_for_its_retention_and_what_waits_for_ever(
    owned: Owned, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trusted_clock, "_STEADY", 0.0)
    monkeypatch.setattr(ending, "_LONGEST_PAUSE", 0.0)
    store, token = owned.store, await owned.token()
    first, *_ = await owned.ready()
    await finish(store, owned.id, token, [ended(first)])
    [(_, lease)] = (await owned.sent()).values()
    assert lease and await store.client.granted(lease) >= store.settings.webhook_retention
    await Ending(store, "worker").once()
    assert await owned.sent()
    ago = timedelta(seconds=store.settings.webhook_retention + 3600)
    await store.client.put(store.keys.retention("notices", utc_now() - ago, lease), b"", lease)
    key = store.keys.timeline
    found = await store.client.range(key, key + b"\0")
    timeline = Timeline(1e9)
    timeline.samples = [(utc_now() - ago, found.revision)]
    await store.client.put(key, timeline.value)
    await Ending(store, "worker").once()
    assert not await owned.sent() and len(await owned.ready()) == 2


async def test_sent_notices_are_shed_before_records(owned: Owned) -> None:
    store, token = owned.store, await owned.token()
    first, *_ = await owned.ready()
    await finish(store, owned.id, token, [ended(first)])
    [(_, lease)] = (await owned.sent()).values()
    now = utc_now() - timedelta(hours=1)
    record = await store.client.grant(600)
    for kind, of in (("emails", record), ("notices", lease)):
        await store.client.put(store.keys.retention(kind, now, of), b"10000", of)
    quota = 1_000_000
    fullness = _Fake(store.client, quota)
    shedding = Shedding(
        store, fullness, compaction.Compaction(store.client, fullness, store.keys.cluster)
    )
    shedding.reserve = Reserve(store, _Fake(store.client, 1 << 40))
    fullness.add(Size(100.0, 820_000, 820_000, 1))
    await shedding.once()
    assert shedding.shed["notices"] >= 1 and not shedding.shed["emails"]
    assert not await owned.sent() and len(await owned.ready()) == 2


class _Fake(Fullness):
    """Sizes are given by the test; only the quota is real."""

    async def measure(self) -> Size:
        return self.sizes[-1]
