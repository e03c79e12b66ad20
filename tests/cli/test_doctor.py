"""``babygun doctor``, on installations that work and that do not."""

from __future__ import annotations

import pytest

from babygun.cli.doctor import examine
from babygun.errors import OutOfSpace
from babygun.etcd.versions import NESTED_RIGHTS
from babygun.store.access.clients import create_client
from tests.support.commands import Command
from tests.support.etcd_server import EtcdServer, needs_ability
from tests.support.guarded_etcd import as_user, guarded_etcd
from tests.support.rig import Rig, changed, rig_for
from tests.support.smtp_server import MisbehavingServer


async def test_doctor_finds_a_working_installation_working(
    rig: Rig, babygun: Command, smtp: MisbehavingServer
) -> None:
    await create_client(rig.store, name="x", scopes=("admin",))
    async with rig.worker(lease_ttl=20.0):
        result = await babygun("doctor")
        assert result.status == 0, result.out
        assert "relay main" in result.out and "1 live worker" in result.out
        assert "BAD" not in result.out


async def test_doctor_names_the_settings_that_workers_do_not_share(rig: Rig) -> None:
    other = {"warm_up_table": (10, 20), "worker_concurrency": 7}
    async with rig.worker(lease_ttl=20.0), rig.worker(lease_ttl=20.0, **other):
        found = [each async for each in examine(rig.settings, relays=False)]
    [differing] = [each for each in found if "has another" in each.sentence]
    assert differing.level == "warn" and " has another warm_up_table than " in differing.sentence


async def test_doctor_names_what_is_wrong(babygun: Command) -> None:
    settings = changed(
        babygun.settings,
        etcd_endpoints=("http://127.0.0.1:1",),
        relays={"main": {"url": "smtp://127.0.0.1:1"}},
        etcd_timeout=0.5,
    )
    result = await Command(settings, babygun.folder)("doctor")
    assert result.status == 1
    assert "BAD   etcd at http://127.0.0.1:1 does not answer" in result.out
    assert "BAD   relay main" in result.out


async def test_doctor_lifts_the_alarm_of_a_full_etcd_and_then_finds_nothing_wrong(
    rig: Rig, babygun: Command
) -> None:
    quota = 40 << 20
    with EtcdServer(f"--quota-backend-bytes={quota}", fsync=False) as server:
        # An etcd before 3.6 does not report its quota.
        settings = changed(rig.settings, etcd_endpoints=(server.endpoint,), etcd_quota=quota)
        command = Command(settings, babygun.folder)
        async with rig_for(settings) as own:
            client = own.store.client
            with pytest.raises(OutOfSpace):
                for n in range(200):
                    await client.put(b"/other/%d" % n, b"x" * 900_000)
            found = await command("doctor", "--no-relay")
            assert found.status == 1 and "run babygun doctor --make-room" in found.out
            for n in range(200):
                await client.delete(b"/other/%d" % n)
            made = await command("doctor", "--make-room")
            assert made.status == 0 and made.out.splitlines()[-1] == "etcd takes writes"
            assert await client.alarms() == []
            found = await command("doctor", "--no-relay")
            assert "new e-mails have 36 MiB of room; 4 MiB are reserved" in found.out, found.out


@needs_ability(NESTED_RIGHTS)  # those without it let every user make room
async def test_doctor_that_may_not_make_room_says_who_may(rig: Rig, babygun: Command) -> None:
    async with guarded_etcd(rig.settings) as guarded:
        made = await Command(as_user(guarded, "babygun-worker"), babygun.folder)(
            "doctor", "--make-room"
        )
    assert made.status == 1 and "etcd lets only root make room" in made.error
