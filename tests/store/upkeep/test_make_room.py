"""Out of etcd's NOSPACE alarm: by itself, or by one command."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from babygun.errors import EtcdError, OutOfSpace, PermissionDenied
from babygun.etcd import Txn, delete_range
from babygun.etcd.versions import COUNTED_QUOTA
from babygun.intake.quota_guard import QuotaGuard
from babygun.store.upkeep import make_room as module
from babygun.store.upkeep.fullness import Fullness
from babygun.store.upkeep.make_room import Rescue, make_room
from babygun.store.upkeep.reserve import Reserve
from babygun.worker import duties
from tests.support.etcd_server import EtcdServer, needs_ability
from tests.support.full_store import delete_others, fill_by_others
from tests.support.guarded_etcd import as_user, guard, role_permissions
from tests.support.paths import ROOT
from tests.support.procedures import bash, shell_blocks
from tests.support.processes import PATIENCE
from tests.support.rig import Rig, changed, rig_for

QUOTA = 20 << 20


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duties, "_UPKEEP_INTERVAL", 0.1)
    for name, value in (
        ("_FIRST", 0.2),
        ("_OTHERS", 0.2),
        ("_AGAIN", 0.5),
        ("_WAIT", 0.1),
        ("_TIMES", 0.0),
    ):
        monkeypatch.setattr(module, name, value)


@asynccontextmanager
async def full_etcd(rig: Rig) -> AsyncIterator[Rig]:
    """An etcd at its alarm, by keys that are not Babygun's."""
    with EtcdServer(f"--quota-backend-bytes={QUOTA}", fsync=False) as server:
        async with rig_for(
            changed(rig.settings, etcd_endpoints=(server.endpoint,), etcd_quota=QUOTA)
        ) as own:
            await fill_by_others(own.store, 100_000)
            assert await own.store.client.alarms() == ["NOSPACE"]
            yield own


async def sent_unless_full(rig: Rig) -> str | None:
    with suppress(OutOfSpace):
        return await rig.send("bob@example.org")
    return None


@needs_ability(COUNTED_QUOTA)
async def test_worker_lifts_the_alarm_by_itself_and_mail_goes_on(rig: Rig) -> None:
    with EtcdServer(f"--quota-backend-bytes={QUOTA}", fsync=False) as server:
        async with (
            rig_for(
                changed(rig.settings, etcd_endpoints=(server.endpoint,), etcd_quota=QUOTA)
            ) as own,
            own.worker(),
        ):
            await own.ended(
                *[await own.send("ann@example.org", body="x" * 300_000) for _ in range(5)]
            )
            await fill_by_others(own.store, 100_000)
            await own.emptied(own.store.keys.contents)
            await delete_others(own.store)
            async with asyncio.timeout(PATIENCE):
                # The first round may lift the alarm while etcd's file is still too large.
                while (sent := await sent_unless_full(own)) is None:  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
            assert [email.status for email in await own.ended(sent)] == ["complete"]


async def fill_file(rig: Rig, in_use: float) -> None:
    """Lets etcd's file grow to 93 % of its quota, and then frees all but ``in_use`` of that."""
    client, fullness, count = rig.store.client, Fullness(rig.store.client, QUOTA), 0
    while (await fullness.measure()).file < 0.93 * QUOTA:
        count += 1
        await client.put(b"/other/%04d" % count, b"x" * 50_000)
        if count * 50_000 > 0.7 * QUOTA and count % 4 == 0:
            await asyncio.sleep(0.2)  # etcd's file grows at a commit, each 0.1 s: not beyond
    kept = int(count * in_use / fullness.in_use)
    await client.txn(Txn([], [delete_range(b"/other/%04d" % (kept + 1), b"/other0")]))
    await client.compact((await fullness.measure()).revision, timeout=PATIENCE)
    async with asyncio.timeout(PATIENCE):
        while (await fullness.measure()).in_use > (in_use + 0.02) * QUOTA:
            await client.put(b"/beat", b"")  # etcd counts its free pages then
            await asyncio.sleep(0.05)
    assert fullness.file > 0.92 and fullness.in_use > in_use - 0.05


@needs_ability(COUNTED_QUOTA)
@pytest.mark.parametrize("in_use", [0.5, 0.65, 0.75])
async def test_worker_defragments_where_the_file_alone_keeps_new_mail_out(
    rig: Rig, in_use: float
) -> None:
    """What is in use are keys that nobody sheds."""
    with EtcdServer(f"--quota-backend-bytes={QUOTA}", fsync=False) as server:
        small = changed(rig.settings, etcd_endpoints=(server.endpoint,), etcd_quota=QUOTA)
        async with rig_for(small) as own:
            await fill_file(own, in_use)
            guard = QuotaGuard(own.store)
            await guard.measure()
            assert guard.full
            async with own.worker(), asyncio.timeout(PATIENCE):
                while guard.full:
                    await asyncio.sleep(0.05)
                    await guard.measure()


@needs_ability(COUNTED_QUOTA)
async def test_worker_that_starts_under_the_alarm_lifts_it_too(rig: Rig) -> None:
    async with full_etcd(rig) as own:
        await delete_others(own.store)
        async with own.worker(), asyncio.timeout(PATIENCE):  # it can't check in before
            # The first round may lift it while etcd's file is still too large; then it comes back.
            while await own.store.client.alarms():  # noqa: ASYNC110
                await asyncio.sleep(0.05)


@needs_ability(COUNTED_QUOTA)
async def test_room_is_made_in_one_call_that_says_what_it_did(rig: Rig) -> None:
    async with full_etcd(rig) as own:
        await delete_others(own.store)
        said = [sentence async for sentence in make_room(own.store)]
        words = [sentence.split()[0] for sentence in said]
        assert (words[0], words[-1]) == ("compacted:", "etcd")
        # etcd frees compacted pages a little later, so it may take a second round. The first one
        # may have lifted the alarm for good.
        assert {"defragmented", "lifted"} <= set(words)
        assert (await own.store.client.status()).db_size < QUOTA / 10
        await own.send("ann@example.org")


@needs_ability(COUNTED_QUOTA)
async def test_etcd_full_of_mail_that_waits_takes_it_all_with_the_quota_that_is_named(
    rig: Rig,
) -> None:
    with EtcdServer(f"--quota-backend-bytes={QUOTA}", fsync=False) as server:
        full = changed(rig.settings, etcd_endpoints=(server.endpoint,), etcd_quota=QUOTA)
        async with rig_for(full) as own:
            accepted = []
            with pytest.raises(OutOfSpace):
                while True:
                    accepted.append(await own.send("ann@example.org", body="x" * 200_000))
            said = []
            with pytest.raises(OutOfSpace, match="set quota-backend-bytes to ") as refused:
                async for sentence in make_room(own.store, rounds=2):
                    said.append(sentence)
            assert said[-1] == "etcd is still full after round 2 of 2"
            quota = re.search(r"bytes to (\d+) or more", str(refused.value))
            assert quota and QUOTA < int(quota[1]) < 3 * QUOTA
            await asyncio.to_thread(server.restart, f"--quota-backend-bytes={quota[1]}")
            assert [each async for each in make_room(own.store)][-1] == "etcd takes writes"
            async with own.worker():
                ended = await own.ended(*accepted, within=90)
            assert {email.status for email in ended} == {"complete"}


@needs_ability(COUNTED_QUOTA)
async def test_steps_by_hand_lift_the_alarm_as_the_page_has_them(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with full_etcd(rig) as own:
        monkeypatch.setenv("ETCDCTL_ENDPOINTS", own.settings.etcd_endpoints[0])
        monkeypatch.setenv("ETCDCTL_DIAL_TIMEOUT", f"{PATIENCE:.0f}s")
        page = (ROOT / "etcd/schema.md").read_text()
        foreign, room = shell_blocks(page.partition("## When etcd is full")[2])
        assert (await bash(foreign)).split()[1:] == ["other"]
        await delete_others(own.store)
        said = await bash(room)
        assert "Finished defragmenting" in said and "alarm:NOSPACE" in said
        assert await own.store.client.alarms() == []
        await own.send("ann@example.org")


@needs_ability(COUNTED_QUOTA)
async def test_room_is_made_by_root_alone_where_authentication_is_on(rig: Rig) -> None:
    with EtcdServer(f"--quota-backend-bytes={QUOTA}", fsync=False) as server:
        open_to_all = changed(rig.settings, etcd_endpoints=(server.endpoint,), etcd_quota=QUOTA)
        async with rig_for(open_to_all) as own:
            await guard(server, role_permissions(own.settings.prefix))
        async with rig_for(as_user(open_to_all, "babygun-worker")) as own:
            with pytest.raises(PermissionDenied):
                async for _ in make_room(own.store):
                    pass
        async with rig_for(as_user(open_to_all, "root")) as own:
            assert [s async for s in make_room(own.store)][-1] == "etcd takes writes"


async def test_room_is_not_made_without_an_etcd(rig: Rig) -> None:
    lost = changed(rig.settings, etcd_endpoints=("http://127.0.0.1:1",), etcd_timeout=0.3)
    async with rig_for(lost) as own:
        with pytest.raises(EtcdError):
            async for _ in make_room(own.store):
                pass


class FileIsNear(Reserve):
    """The file alone keeps new e-mails out, whatever is done."""

    file_alone_refuses = True


@pytest.mark.parametrize(("times", "runs"), [(0.0, 2), (1e9, 1)])
async def test_worker_pauses_for_some_times_as_long_as_it_took_before_it_defragments_again(
    rig: Rig,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    times: float,
    runs: int,
) -> None:
    for name, value in (("_FIRST", 0.0), ("_AGAIN", 0.0), ("_TIMES", times)):
        monkeypatch.setattr(module, name, value)
    fullness = Fullness(rig.store.client, QUOTA)
    await fullness.measure()
    rescue = Rescue(rig.store, fullness, FileIsNear(rig.store, fullness))
    for _ in range(2):
        await rescue.once(leads=True)
    assert [record.getMessage() for record in caplog.records].count("making room") == runs
