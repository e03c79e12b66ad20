"""The watch of a run, on a real etcd: every revision is written, and what is lost is noted."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from babygun.etcd import EtcdClient
from scripts.chaos.history import KEYS, Gap, History, Reached, Recorder, Revision
from scripts.chaos.watcher import Watcher
from tests.support.etcd_server import EtcdServer
from tests.support.processes import PATIENCE

FIRST, SECOND = KEYS.hold("first"), KEYS.hold("second")


@pytest.fixture
def server() -> Iterator[EtcdServer]:
    server = EtcdServer(fsync=False).start()
    yield server
    server.stop()


async def test_watcher_writes_every_revision_with_its_time_and_lease(
    server: EtcdServer, tmp_path: Path
) -> None:
    async with EtcdClient([server.endpoint], timeout=PATIENCE) as client:
        with closing(Recorder(tmp_path / "history")) as recorder:
            async with Watcher(recorder, (server.endpoint,)) as watcher:
                lease = await client.grant(60)
                await client.put(FIRST, b"1", lease)
                await client.put(FIRST, b"2")
                await client.delete(FIRST)
                await client.put(SECOND, b"3")
                await watcher.caught_up()
                assert watcher.live == {SECOND}
    history = History(tmp_path / "history")
    seen = list(history.events(Revision))
    assert [(each.key, each.value, each.gone) for each in seen] == [
        (FIRST, b"1", False),
        (FIRST, b"2", False),
        (FIRST, b"", True),
        (SECOND, b"3", False),
    ]
    assert [each.lease for each in seen] == [lease, 0, 0, 0]
    assert list(history.events(Reached))
    for each in seen:
        earliest, latest = history.made(each)
        assert 0 <= earliest <= latest <= each.at


async def test_watcher_that_finds_its_revisions_compacted_notes_a_gap_and_reads_the_state(
    server: EtcdServer, tmp_path: Path
) -> None:
    async with EtcdClient([server.endpoint], timeout=PATIENCE) as client:
        await client.put(FIRST, b"1")
        await client.delete(FIRST)
        newest = await client.put(SECOND, b"2")
        await client.compact(newest, timeout=PATIENCE)
        with closing(Recorder(tmp_path / "history")) as recorder:
            async with Watcher(recorder, (server.endpoint,)) as watcher:
                await watcher.caught_up()
    history = History(tmp_path / "history")
    [gap] = history.events(Gap)
    assert (gap.after, gap.until) == (0, newest)
    [seen] = history.events(Revision)
    assert (seen.key, seen.value) == (SECOND, b"2")
