"""Three members: any one may die, be cut off or stand still, and the clients go on."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import suppress

import pytest

from babygun.errors import EtcdUnavailable, OutcomeUnknown
from babygun.etcd import Batcher, EtcdClient, Lease, Txn, Watch, absent, put
from tests.support.counting import Count
from tests.support.etcd_server import EtcdCluster, EtcdServer, NoEtcd
from tests.support.needs import missing
from tests.support.processes import PATIENCE


@pytest.fixture
def cluster() -> Iterator[EtcdCluster]:
    try:
        cluster = EtcdCluster()
    except NoEtcd as reason:
        missing(str(reason))
    try:
        yield cluster.start()
    finally:
        cluster.stop()


async def leader_of(cluster: EtcdCluster) -> EtcdServer:
    """The member that leads. On a busy machine another may take over while they are asked."""
    async with asyncio.timeout(PATIENCE):
        while True:
            for member in cluster.members:
                async with EtcdClient([member.endpoint]) as client:
                    status = await client.status()
                    if status.leader == status.member:
                        return member


async def create(client: EtcdClient, key: bytes) -> None:
    """Makes a key, and only once: on a busy machine the leader may change under any request."""
    async with asyncio.timeout(PATIENCE):
        while True:
            with suppress(OutcomeUnknown, EtcdUnavailable):
                await client.txn(Txn([absent(key)], [put(key, b"")]))
                return


@pytest.mark.parametrize("fault", ["kill", "pause"])
async def test_leader_lost_under_load_what_was_acknowledged_is_there_and_the_watch_saw_all(
    cluster: EtcdCluster, fault: str
) -> None:
    acknowledged: list[bytes] = []
    acknowledgements = Count()
    async with (
        EtcdClient(cluster.endpoints) as client,
        EtcdClient(cluster.endpoints[::-1], keepalive=2) as watcher,
    ):
        batcher = Batcher(client)
        leader = await leader_of(cluster)
        stop = asyncio.Event()

        async def write(name: int) -> None:
            n = 0
            while not stop.is_set():
                n += 1
                key = b"w/%d/%d" % (name, n)
                try:
                    await batcher.submit(Txn([absent(key)], [put(key, b"")]))
                    acknowledged.append(key)
                    acknowledgements.add()
                except (OutcomeUnknown, EtcdUnavailable):
                    pass  # it may be there, so only what was acknowledged counts
                await asyncio.sleep(0.002)  # a pace that a watch keeps up with

        lease = Lease(client, 60)
        await lease.start()
        client.timeout = 6.0
        alive = asyncio.create_task(lease.run())
        async with Watch(watcher, b"w/", b"w0", revision=0) as watching:
            seen: list[bytes] = []

            async def collect() -> None:
                async for batch in watching:
                    for event in batch.events:
                        seen.append(event.kv.key)
                        if event.kv.key == b"w/last":
                            return

            collecting = asyncio.create_task(collect())
            await watching.created.wait()
            writers = [asyncio.create_task(write(name)) for name in range(8)]
            await acknowledgements.reached(200)
            getattr(leader, fault)()
            await acknowledgements.reached(acknowledgements.value + 200)
            stop.set()
            await asyncio.gather(*writers)
            await create(client, b"w/last")
            await asyncio.wait_for(collecting, PATIENCE)
        client.timeout = PATIENCE
        assert lease.trusted
        assert await client.keep_alive(lease.lease_id) == 60
        await lease.close()
        await alive
        last = await client.get(b"w/last")
        assert last is not None
        kvs = (await client.range(b"w/", b"w0", keys_only=True)).kvs
        # A write that was given up may come after all others.
        there = {kv.key for kv in kvs if kv.mod_revision <= last.mod_revision}
        assert set(acknowledged) <= there
        assert len(seen) == len(set(seen))
        assert set(seen) == there


async def test_majority_lost_writes_are_refused_as_not_applied_once_that_is_known(
    cluster: EtcdCluster,
) -> None:
    async with EtcdClient(cluster.endpoints) as client:
        await create(client, b"first")
        client.timeout = 4.0
        for member in cluster.members[1:]:
            member.kill()
        with pytest.raises((OutcomeUnknown, EtcdUnavailable)):
            await client.put(b"k", b"2")
        with pytest.raises(EtcdUnavailable):
            async with asyncio.timeout(PATIENCE):
                while True:
                    try:
                        await client.put(b"k", b"3")
                    except OutcomeUnknown:
                        continue
        with pytest.raises(EtcdUnavailable):
            await client.get(b"k")
        for member in cluster.members[1:]:
            member.launch()
        for member in cluster.members[1:]:
            assert await asyncio.to_thread(member.answers)
        client.timeout = PATIENCE
        await create(client, b"last")
        assert await client.get(b"last")
