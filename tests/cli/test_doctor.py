"""``babygun doctor``, on installations that work and that do not."""

from __future__ import annotations

from babygun.store.access.clients import create_client
from tests.support.commands import Command
from tests.support.rig import Rig, changed
from tests.support.smtp_server import MisbehavingServer


async def test_doctor_finds_a_working_installation_working(
    rig: Rig, babygun: Command, smtp: MisbehavingServer
) -> None:
    await create_client(rig.store, name="x", scopes=("admin",))
    async with rig.worker():
        result = await babygun("doctor")
        assert result.status == 0, result.out
        assert "relay main" in result.out and "1 live worker" in result.out
        assert "BAD" not in result.out


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
