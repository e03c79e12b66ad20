"""Watches: every event once, in order, whatever happens to the connection."""

from __future__ import annotations

import asyncio
import contextlib
import itertools

import pytest

from babygun.errors import Compacted, EtcdUnavailable, OutcomeUnknown
from babygun.etcd import EtcdClient, Event, Txn, Watch, delete_range, put
from babygun.etcd.versions import parse_version
from tests.etcd.conftest import OwnEtcd
from tests.support.etcd_server import EtcdServer, etcd_version
from tests.support.processes import PATIENCE
from tests.support.proxy import proxy_to


async def events_until(watching: Watch, last: bytes) -> list[Event]:
    """The events up to the one of this key."""
    found: list[Event] = []
    async with asyncio.timeout(PATIENCE):
        async for batch in watching:
            assert batch.revision == batch.events[-1].kv.mod_revision
            found += batch.events
            if batch.events[-1].kv.key == last:
                return found
    raise AssertionError("the watch ended")


async def opened(watching: Watch) -> asyncio.Task[list[Event]]:
    """Collects up to the key ``last`` in the background; returns once etcd has the watch."""
    task = asyncio.create_task(events_until(watching, b"w/last"))
    async with asyncio.timeout(PATIENCE):
        await watching.created.wait()
    return task


async def test_watch_from_a_past_revision_sees_everything_since_inclusive(
    etcd: EtcdClient, etcd_prefix: str
) -> None:
    p = etcd_prefix.encode()
    await etcd.put(p + b"a", b"before")
    since = await etcd.put(p + b"a", b"1")
    await etcd.delete(p + b"a")
    last = await etcd.put(p + b"b", b"2")
    async with Watch(etcd, p, p + b"z", revision=since) as watching:
        events = await events_until(watching, p + b"b")
    assert [(e.type, e.kv.key, e.kv.value) for e in events] == [
        ("put", p + b"a", b"1"),
        ("delete", p + b"a", b""),
        ("put", p + b"b", b"2"),
    ]
    first, deleted, third = (e.kv.mod_revision for e in events)
    assert (first, third) == (since, last) and since < deleted < last  # others write here too


async def test_watch_from_zero_begins_when_it_is_created(server: EtcdServer) -> None:
    async with EtcdClient([server.endpoint]) as client:
        await client.put(b"w/early", b"")
        async with Watch(client, b"w/", b"w0", revision=0) as watching:
            task = await opened(watching)
            await client.put(b"w/last", b"")
            assert [e.kv.key for e in await task] == [b"w/last"]


@pytest.mark.parametrize(
    ("deletes", "expected"),
    [(False, ["put", "put", "put"]), (True, ["put", "delete", "put", "put"])],
)
async def test_watch_without_deletes_sees_puts_only(
    etcd: EtcdClient, etcd_prefix: str, deletes: bool, expected: list[str]
) -> None:
    p = etcd_prefix.encode()
    since = await etcd.put(p + b"a", b"")
    await etcd.delete(p + b"a")
    await etcd.put(p + b"b", b"")
    await etcd.put(p + b"last", b"")
    async with Watch(etcd, p, p + b"z", revision=since, deletes=deletes) as watching:
        assert [e.type for e in await events_until(watching, p + b"last")] == expected


async def test_watch_far_behind_catches_up_in_order_and_goes_on_with_what_is_new(
    etcd: EtcdClient, etcd_prefix: str
) -> None:
    p = etcd_prefix.encode()
    since = (await etcd.range(p, p + b"z")).revision + 1
    for n in range(30):  # etcd brings a watcher up to date in portions of 1,000 revisions, or fewer
        await asyncio.gather(*(etcd.put(p + b"%d/%d" % (n, m), b"") for m in range(100)))
    async with Watch(etcd, p, p + b"z", revision=since) as watching:
        task = asyncio.create_task(events_until(watching, p + b"last"))
        await etcd.put(p + b"last", b"")
        revisions = [e.kv.mod_revision for e in await task]
    assert revisions == sorted(set(revisions))
    assert len(revisions) == 3001


async def test_events_larger_than_a_message_come_in_fragments_and_arrive_whole(
    etcd: EtcdClient, etcd_prefix: str
) -> None:
    p = etcd_prefix.encode()
    since = (await etcd.range(p, p + b"z")).revision + 1
    # 11 MB for the watch to catch up with. etcd makes fragments of 2 MiB: they split revisions.
    for n in range(8):
        await etcd.txn(Txn([], [put(p + b"%d/%d" % (n, m), bytes(450_000)) for m in range(3)]))
    await etcd.put(p + b"last", b"")
    async with Watch(etcd, p, p + b"z", revision=since) as watching:
        batches = []
        async for batch in watching:
            batches.append(batch)
            if batch.events[-1].kv.key == p + b"last":
                break
    keys = [e.kv.key for batch in batches for e in batch.events]
    assert keys == [p + b"%d/%d" % (n, m) for n in range(8) for m in range(3)] + [p + b"last"]
    for batch in batches:
        assert all(
            other is batch
            or not {e.kv.mod_revision for e in batch.events}
            & {e.kv.mod_revision for e in other.events}
            for other in batches
        )


async def test_connection_cut_in_the_midst_of_fragments_no_event_is_missing_or_double(
    server: EtcdServer,
) -> None:
    async with (
        proxy_to(server.endpoint) as proxy,
        EtcdClient([server.endpoint]) as direct,
        EtcdClient([proxy.url]) as client,
    ):
        since = (await direct.range(b"w/", b"w0")).revision + 1
        for n in range(16):
            await direct.txn(
                Txn([], [put(b"w/%02d/%d" % (n, m), bytes(500_000)) for m in range(2)])
            )
        await direct.put(b"w/last", b"")
        async with Watch(client, b"w/", b"w0", revision=since) as watching:
            task = await opened(watching)
            for cut_after in (1_000_000, 5_000_000, 9_000_000):
                proxy.cut_after(cut_after)
                await proxy.was_cut()
            proxy.cut_after(None)
            keys = [e.kv.key for e in await task]
    assert keys == [b"w/%02d/%d" % (n, m) for n in range(16) for m in range(2)] + [b"w/last"]


async def test_connection_cut_while_the_watch_catches_up_no_event_is_missing_or_double(
    server: EtcdServer,
) -> None:
    async with (
        proxy_to(server.endpoint) as proxy,
        EtcdClient([server.endpoint]) as direct,
        EtcdClient([proxy.url]) as client,
    ):
        since = (await direct.range(b"w/", b"w0")).revision + 1
        for n in range(40):
            await asyncio.gather(*(direct.put(b"w/%d/%d" % (n, m), bytes(100)) for m in range(100)))
        last = await direct.put(b"w/last", b"")
        async with Watch(client, b"w/", b"w0", revision=since) as watching:
            # 4,000 events of 150 bytes come 1,000 revisions at a time; the header of each has the
            # last revision.
            proxy.cut_after(200_000)
            task = asyncio.create_task(events_until(watching, b"w/last"))
            await proxy.was_cut()
            revisions = [e.kv.mod_revision for e in await task]
    assert revisions == list(range(since, last + 1))


async def test_etcd_killed_and_restarted_under_load_every_acknowledged_event_comes_once(
    server: EtcdServer,
) -> None:
    acknowledged: list[int] = []
    async with (
        EtcdClient([server.endpoint], timeout=90) as client,
        EtcdClient([server.endpoint]) as watcher,
    ):
        since = await client.put(b"w/first", b"")
        stop = asyncio.Event()

        async def write(name: int) -> None:
            for n in itertools.count():
                with contextlib.suppress(OutcomeUnknown):
                    acknowledged.append(await client.put(b"w/%d/%d" % (name, n), b""))
                if stop.is_set():
                    return
                await asyncio.sleep(0.01)

        async with Watch(watcher, b"w/", b"w0", revision=since) as watching:
            task = await opened(watching)
            writers = [asyncio.create_task(write(name)) for name in range(4)]
            for _ in range(2):
                done = len(acknowledged)
                while len(acknowledged) < done + 60:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
                await asyncio.to_thread(server.restart)
            stop.set()
            await asyncio.gather(*writers)
            await client.put(b"w/last", b"")
            revisions = [e.kv.mod_revision for e in await task]
    assert revisions == sorted(set(revisions))
    assert set(acknowledged) <= set(revisions)
    assert revisions == list(range(since, revisions[-1] + 1))  # nobody else writes here


async def test_watch_whose_member_dies_goes_on_with_another_one(own_etcd: OwnEtcd) -> None:
    server = own_etcd()
    async with (
        proxy_to(server.endpoint) as first,
        proxy_to(server.endpoint) as second,
        EtcdClient([server.endpoint]) as direct,
        EtcdClient([first.url, second.url]) as client,
        Watch(client, b"w/", b"w0", revision=0) as watching,
    ):
        task = await opened(watching)
        await direct.put(b"w/1", b"")
        used = (await client.status()).endpoint
        (first if used == first.url else second).cut()
        await direct.put(b"w/2", b"")
        await direct.put(b"w/last", b"")
        assert [e.kv.key for e in await task] == [b"w/1", b"w/2", b"w/last"]


async def test_connection_that_dies_in_silence_is_noticed_and_the_watch_goes_on_elsewhere(
    own_etcd: OwnEtcd,
) -> None:
    server = own_etcd("--grpc-keepalive-min-time=100ms")
    async with (
        proxy_to(server.endpoint) as first,
        proxy_to(server.endpoint) as second,
        EtcdClient([server.endpoint]) as direct,
        EtcdClient([first.url, second.url], keepalive=0.5) as client,
        Watch(client, b"w/", b"w0", revision=0) as watching,
    ):
        task = await opened(watching)
        used = (await client.status()).endpoint
        (first if used == first.url else second).swallow_answers()
        await direct.put(b"w/1", b"")
        await direct.put(b"w/last", b"")
        assert [e.kv.key for e in await task] == [b"w/1", b"w/last"]


async def test_watch_from_a_compacted_revision_raises_it_with_where_history_begins(
    server: EtcdServer,
) -> None:
    async with EtcdClient([server.endpoint]) as client:
        since = await client.put(b"w/1", b"")
        now = await client.put(b"w/2", b"")
        await client.compact(now, timeout=20)
        watching = Watch(client, b"w/", b"w0", revision=since)
        with pytest.raises(Compacted) as compacted:
            await anext(watching)
        assert compacted.value.compact_revision == now
        with pytest.raises(StopAsyncIteration):
            await anext(watching)


async def test_history_compacted_while_the_watch_was_cut_off_raises_compacted(
    server: EtcdServer,
) -> None:
    async with (
        proxy_to(server.endpoint) as proxy,
        EtcdClient([server.endpoint]) as direct,
        EtcdClient([proxy.url]) as client,
    ):
        watching = Watch(client, b"w/", b"w0", revision=0)
        task = await opened(watching)
        proxy.cut()
        for _ in range(3):
            now = await direct.put(b"w/missed", b"")
        await direct.compact(now, timeout=20)
        proxy.mend()
        with pytest.raises(Compacted):
            await task


async def test_progress_notified_to_a_quiet_watch_lets_it_resume_past_a_compaction(
    own_etcd: OwnEtcd,
) -> None:
    since_36 = parse_version(etcd_version() or "3.6.0") >= (3, 6)
    flag = "watch-progress-notify-interval=100ms"
    server = own_etcd(f"--{flag}" if since_36 else f"--experimental-{flag}")
    async with (
        proxy_to(server.endpoint) as proxy,
        EtcdClient([server.endpoint]) as direct,
        EtcdClient([proxy.url]) as client,
        Watch(client, b"w/", b"w0", revision=0) as watching,
    ):
        task = await opened(watching)
        for _ in range(5):
            now = await direct.put(b"elsewhere", b"")
        async with asyncio.timeout(PATIENCE):
            while watching._next <= now:  # noqa: ASYNC110 (a notification wakes nobody)
                await asyncio.sleep(0.02)
        proxy.cut()
        await direct.compact(now, timeout=20)
        proxy.mend()
        await direct.put(b"w/last", b"")
        assert [e.kv.key for e in await task] == [b"w/last"]


async def test_wait_that_is_cancelled_loses_no_event(etcd: EtcdClient, etcd_prefix: str) -> None:
    p = etcd_prefix.encode()
    async with Watch(etcd, p, p + b"z", revision=await etcd.put(p + b"a", b"")) as watching:
        assert [e.kv.key for e in (await anext(watching)).events] == [p + b"a"]
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(anext(watching), 0.05)
        await etcd.put(p + b"b", b"")
        await etcd.put(p + b"c", b"")
        assert [e.kv.key for e in await events_until(watching, p + b"c")] == [p + b"b", p + b"c"]


async def test_watch_closed_while_somebody_waits_ends_for_them(
    etcd: EtcdClient, etcd_prefix: str
) -> None:
    p = etcd_prefix.encode()
    watching = Watch(etcd, p, p + b"z", revision=0)

    async def all_of_it() -> int:
        return len([batch async for batch in watching])

    waiting = asyncio.create_task(all_of_it())
    await watching.created.wait()
    await watching.aclose()
    assert await asyncio.wait_for(waiting, PATIENCE) == 0


async def test_client_closed_the_watch_is_over_with_unavailable(server: EtcdServer) -> None:
    client = EtcdClient([server.endpoint])
    await client.start()
    watching = Watch(client, b"w/", b"w0", revision=0)
    task = await opened(watching)
    await client.close()
    with pytest.raises(EtcdUnavailable):
        await task


async def test_deleted_range_arrives_as_one_revision_in_one_batch(
    etcd: EtcdClient, etcd_prefix: str
) -> None:
    p = etcd_prefix.encode()
    await etcd.txn(Txn([], [put(p + b"%03d" % n, b"") for n in range(100)]))
    async with Watch(
        etcd, p, p + b"z", revision=(await etcd.range(p, p + b"z")).revision + 1
    ) as watching:
        await etcd.txn(Txn([], [delete_range(p, p + b"z")]))
        batch = await anext(watching)
    assert [(e.type, e.kv.key) for e in batch.events] == [
        ("delete", p + b"%03d" % n) for n in range(100)
    ]
    assert {e.kv.mod_revision for e in batch.events} == {batch.revision}
