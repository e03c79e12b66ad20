"""Three hosts, by deploy/systemd/README.md: installed, one member lost, all lost."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import pytest_asyncio

from tests.hosts.host import Host, addresses, host
from tests.hosts.test_one_host import FILES, settings
from tests.support.paths import ROOT
from tests.support.procedures import sections
from tests.support.smtp_server import MisbehavingServer

PAGE = sections(ROOT / "deploy/systemd/README.md")
CERTIFICATES, MEMBER, API, ETCD, ACCESS = PAGE["Several hosts, with TLS"]


@pytest_asyncio.fixture
async def hosts(tmp_path: Path, smtp: MisbehavingServer) -> AsyncIterator[list[Host]]:
    """Three hosts after step 5. The first one is the operator's, with API and worker."""
    found = addresses(3)
    names = {f"etcd{number}.example.net": each for number, each in enumerate(found, 1)}
    names["mail.example.net"] = found[0]
    async with AsyncExitStack() as stack:
        made = [
            await stack.enter_async_context(host(tmp_path / f"host{number}", address, names))
            for number, address in enumerate(found, 1)
        ]
        operator = made[0]
        await operator.sh(CERTIFICATES)
        for number, each in enumerate(made, 1):
            if each is not operator:
                carry(operator, each, "etcd")
            await each.sh(FILES)
            await each.sh(
                MEMBER.replace("NAME=etcd1", f"NAME=etcd{number}").replace(
                    "URLS=https://etcd1", f"URLS=https://etcd{number}"
                )
            )
        await operator.sh(API)
        settings(operator, BABYGUN_RELAY_URL=smtp.url)
        await asyncio.gather(*(each.sh(ETCD) for each in made))
        await operator.sh(ACCESS)
        await operator.sh(
            "systemctl enable --now babygun.target babygun-api babygun-worker@1 babygun-worker@2"
        )
        yield made


def carry(source: Host, target: Host, part: str) -> None:
    """Copies a folder of certificates, as the page asks for."""
    folder = f"/etc/babygun/certificates/{part}"
    shutil.copytree(source.path(folder), target.path(folder))


async def doctor(operator: Host) -> str:
    """What it says once all is well."""
    for _ in range(100):
        try:
            return await operator.sh("as-operator babygun doctor")
        except AssertionError as error:
            said = error
            await asyncio.sleep(0.2)
    raise said


async def until_added(operator: Host, script: str) -> str:
    """Runs a script with ``member add``, again while etcd asks for patience, as the page says."""
    while True:
        try:
            return await operator.sh(script)
        except AssertionError as error:
            assert "unhealthy cluster" in str(error), error
            script = script[script.index("as-operator etcdctl member add") :]
            await asyncio.sleep(0.5)


@pytest.mark.timeout(300)
async def test_lost_member_is_replaced_and_a_lost_cluster_is_restored_by_the_page(
    hosts: list[Host],
) -> None:
    operator, _, third = hosts
    assert "BAD" not in await doctor(operator)
    ended = await operator.sh("as-operator leader-last")
    assert len(ended.split()) == 3

    away, swap, vote = PAGE["Replace a member"]
    await third.sh(away)
    await until_added(operator, swap)
    await third.sh("systemctl start etcd")
    said = await operator.sh(vote)
    assert "etcd3 has its vote" in said and "BAD" not in said

    for each in hosts:
        await each.sh("install -d -m 700 /var/backups/babygun")
    *_, backup = (await operator.sh("as-operator backup-etcd")).split()
    await asyncio.gather(*(each.sh("systemctl stop etcd") for each in hosts))
    for each in hosts:
        if each is not operator:
            shutil.copy(backup, each.path("/var/backups/babygun/"))
        await each.sh(PAGE["Restore"][1])
    await asyncio.gather(*(each.sh("systemctl start etcd") for each in hosts))
    assert "BAD" not in await doctor(operator)
