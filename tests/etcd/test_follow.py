"""Following a range: what is there, then every change, also after a compaction or an error."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from babygun.errors import Compacted, EtcdError, PermissionDenied
from babygun.etcd import EtcdClient, Event, Watch, WatchBatch, follow
from babygun.etcd.access import Permission, set_roles
from tests.support.etcd_server import EtcdServer
from tests.support.guarded_etcd import guard
from tests.support.processes import PATIENCE
from tests.support.proxy import proxy_to


class Copy:
    """A copy of the range [start, end), kept up by follow."""

    def __init__(self, client: EtcdClient, start: bytes, end: bytes) -> None:
        self.client, self.start, self.end = client, start, end
        self.keys: dict[bytes, bytes] = {}
        self.events: list[Event] = []
        self.reads = 0
        self.errors: list[EtcdError] = []
        self.news = asyncio.Event()

    async def read(self) -> int:
        found = await self.client.range(self.start, self.end)
        self.keys = {kv.key: kv.value for kv in found.kvs}
        self.reads += 1
        self.news.set()
        return found.revision

    async def changed(self, batch: WatchBatch) -> None:
        for event in batch.events:
            self.events.append(event)
            if event.type == "put":
                self.keys[event.kv.key] = event.kv.value
            else:
                del self.keys[event.kv.key]
        self.news.set()

    def lost(self, error: EtcdError) -> None:
        self.errors.append(error)
        self.news.set()

    async def until(self, done: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not done():
                self.news.clear()
                await self.news.wait()

    def task(self, **options: bool) -> asyncio.Task[None]:
        following = follow(
            self.client,
            self.start,
            self.end,
            what="the test's keys",
            read=self.read,
            changed=self.changed,
            lost=self.lost,
            **options,
        )
        return asyncio.create_task(following)


@asynccontextmanager
async def followed(
    client: EtcdClient, prefix: bytes, **options: bool
) -> AsyncIterator[tuple[Copy, asyncio.Task[None]]]:
    copy = Copy(client, prefix, prefix + b"~")
    task = copy.task(**options)
    try:
        yield copy, task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_follow_a_range_brings_what_was_there_and_every_change(
    etcd: EtcdClient, etcd_prefix: str
) -> None:
    p = etcd_prefix.encode()
    await etcd.put(p + b"a", b"1")
    await etcd.put(p + b"b", b"1")
    async with followed(etcd, p) as (copy, _):
        await copy.until(lambda: copy.reads == 1)
        await etcd.put(p + b"a", b"2")
        await etcd.delete(p + b"b")
        await etcd.put(p + b"c", b"1")
        await copy.until(lambda: p + b"c" in copy.keys)
    assert copy.keys == {p + b"a": b"2", p + b"c": b"1"}
    assert [event.type for event in copy.events] == ["put", "delete", "put"]
    assert copy.reads == 1 and not copy.errors


async def test_follow_key_written_between_the_read_and_the_watch_is_not_missed(
    etcd: EtcdClient, etcd_prefix: str
) -> None:
    p = etcd_prefix.encode()

    class Late(Copy):
        async def read(self) -> int:
            revision = await super().read()
            await etcd.put(p + b"meanwhile", b"")
            return revision

    copy = Late(etcd, p, p + b"~")
    task = copy.task()
    await copy.until(lambda: p + b"meanwhile" in copy.keys)
    task.cancel()


async def test_follow_without_deletes_brings_no_delete(etcd: EtcdClient, etcd_prefix: str) -> None:
    p = etcd_prefix.encode()
    await etcd.put(p + b"a", b"")
    async with followed(etcd, p, deletes=False) as (copy, _):
        await copy.until(lambda: copy.reads == 1)
        await etcd.delete(p + b"a")
        await etcd.put(p + b"b", b"")
        await copy.until(lambda: p + b"b" in copy.keys)
    assert [event.type for event in copy.events] == ["put"]


async def test_follow_history_compacted_while_cut_off_reads_again_and_goes_on(
    server: EtcdServer,
) -> None:
    async with (
        proxy_to(server.endpoint) as proxy,
        EtcdClient([server.endpoint]) as direct,
        EtcdClient([proxy.url]) as client,
        followed(client, b"w/") as (copy, _),
    ):
        await copy.until(lambda: copy.reads == 1)
        await direct.put(b"w/gone", b"")
        await copy.until(lambda: b"w/gone" in copy.keys)
        proxy.cut()
        await direct.delete(b"w/gone")
        await direct.put(b"w/missed", b"")
        await direct.compact(await direct.put(b"w/missed", b""), timeout=20)
        proxy.mend()
        await copy.until(lambda: copy.reads == 2)
        assert [type(error) for error in copy.errors] == [Compacted]
        await direct.put(b"w/last", b"")
        await copy.until(lambda: b"w/last" in copy.keys)
    assert copy.keys.keys() == {b"w/missed", b"w/last"}
    assert [event.kv.key for event in copy.events] == [b"w/gone", b"w/last"]


async def test_follow_refused_by_etcd_goes_on_when_it_is_allowed(server: EtcdServer) -> None:
    await guard(server, {"reader": []})
    async with (
        EtcdClient([server.endpoint], user="root", password="root's") as root,
        EtcdClient([server.endpoint], user="reader", password="reader's") as client,
        followed(client, b"w/") as (copy, _),
    ):
        await copy.until(lambda: bool(copy.errors))
        assert {type(error) for error in copy.errors} == {PermissionDenied}
        assert copy.reads == 0
        async for _change in set_roles(root, {"reader": [Permission(b"w/", b"w/~", write=False)]}):
            pass
        await copy.until(lambda: copy.reads == 1)
        await root.put(b"w/a", b"")
        await copy.until(lambda: b"w/a" in copy.keys)


async def test_follow_cancelled_ends_its_watch(
    etcd: EtcdClient, etcd_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    p = etcd_prefix.encode()
    watching = Watch(etcd, p, p + b"~", revision=0)
    module = sys.modules["babygun.etcd.follow"]  # the package has the function under that name
    monkeypatch.setattr(module, "Watch", lambda *_, **__: watching)
    async with followed(etcd, p) as (copy, task):
        await asyncio.wait_for(watching.created.wait(), PATIENCE)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not watching.created.is_set()
        with pytest.raises(StopAsyncIteration):
            await anext(watching)
    assert not copy.errors


async def test_follow_whose_user_fails_ends_with_that_error(
    etcd: EtcdClient, etcd_prefix: str
) -> None:
    p = etcd_prefix.encode()

    class Failing(Copy):
        async def changed(self, batch: WatchBatch) -> None:
            raise ValueError("a fault of the user's")

    copy = Failing(etcd, p, p + b"~")
    task = copy.task()
    await copy.until(lambda: copy.reads == 1)
    await etcd.put(p + b"a", b"")
    with pytest.raises(ValueError, match="a fault of the user's"):
        await asyncio.wait_for(task, PATIENCE)
