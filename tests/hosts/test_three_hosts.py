"""Three hosts, by deploy/systemd/README.md: installed, one member lost, all lost."""

from __future__ import annotations

import asyncio
import re
import shutil
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import pytest_asyncio

from tests.hosts import test_one_host as one_host
from tests.hosts.host import Host, addresses, host
from tests.hosts.test_one_host import FILES, settings
from tests.support.paths import ROOT
from tests.support.procedures import sections
from tests.support.smtp_server import MisbehavingServer

PAGE = sections(ROOT / "deploy/systemd/README.md")
SEVERAL = PAGE["Several hosts, with TLS"]
CERTIFICATES, MEMBER, MEMBERS, API, ETCD, ACCESS, BALANCER, CLIENTS = SEVERAL


@pytest_asyncio.fixture
async def hosts(tmp_path: Path) -> AsyncIterator[list[Host]]:
    """Three hosts, with nothing but the programs. The first one is the operator's."""
    found = addresses(3)
    names = {f"etcd{number}.example.net": each for number, each in enumerate(found, 1)}
    names["mail.example.net"] = found[0]
    async with AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(host(tmp_path / f"host{number}", address, names))
            for number, address in enumerate(found, 1)
        ]


@pytest_asyncio.fixture
async def cluster(hosts: list[Host], smtp: MisbehavingServer) -> list[Host]:
    """The hosts after step 6: three members, an API process, workers."""
    operator = hosts[0]
    await operator.sh(CERTIFICATES)
    for number, each in enumerate(hosts, 1):
        if each is not operator:
            carry(operator, each, "etcd")
        await each.sh(FILES)
        await each.sh(of_member(MEMBER, "etcd1", number))
    await operator.sh(MEMBERS)
    await operator.sh(API)
    settings(operator, BABYGUN_RELAY_URL=one_host.relay_url(smtp))
    await asyncio.gather(*(each.sh(ETCD) for each in hosts))
    await operator.sh(ACCESS)
    await operator.sh(f"{one_host.START}systemctl status babygun-api")
    return hosts


def of_member(script: str, name: str, number: int) -> str:
    """A script of the page for another member than the one that it names."""
    other = f"etcd{number}"
    for words in ("NAME={}\n", "URLS=https://{}.", "add {} ", "peer-urls=https://{}."):
        script = script.replace(words.format(name), words.format(other))
    return script


def carry(source: Host, target: Host, part: str) -> None:
    """Copies a folder of certificates, as the page asks for."""
    folder = f"/etc/babygun/certificates/{part}"
    shutil.copytree(source.path(folder), target.path(folder))


async def doctor(operator: Host) -> str:
    """What it says once all is well."""
    return await one_host.to_a_good_end(operator, "as-operator babygun doctor\n")


async def until_added(operator: Host, script: str) -> str:
    """Runs a script with ``member add``, again while etcd asks for patience, as the page says."""
    while True:
        try:
            return await operator.sh(script)
        except AssertionError as error:
            assert "unhealthy cluster" in str(error), error
            script = script[script.index("as-operator etcdctl member add") :]
            await asyncio.sleep(0.5)


@pytest.mark.timeout(600)
async def test_lost_member_is_replaced_and_a_lost_cluster_is_restored_by_the_page(
    cluster: list[Host],
) -> None:
    operator, _, third = hosts = cluster
    assert "BAD" not in await doctor(operator)
    # There is no load balancer.
    own = CLIENTS.replace("https://mail.example.net", f"https://{operator.address}:8080")
    assert "_domainkey.example.com" in await operator.sh(own)
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


@pytest.mark.timeout(600)
async def test_one_member_becomes_three_by_the_page(
    hosts: list[Host], smtp: MisbehavingServer
) -> None:
    first = hosts[0]
    await first.sh(one_host.CERTIFICATES)
    await first.sh(FILES)
    settings(first, BABYGUN_RELAY_URL=one_host.relay_url(smtp))
    await first.sh(one_host.START)

    real_address, add, join, vote, all_three = PAGE["From one member to three"]
    await first.sh(real_address)
    for number, each in enumerate(hosts[1:], 2):
        await each.sh(FILES)
        carry(first, each, "etcd")
        await each.sh(MEMBER.partition("cat >")[0])
        said = await until_added(first, of_member(add, "etcd2", number))
        printed = re.search(r'^ETCD_INITIAL_CLUSTER="(.*)"$', said, re.MULTILINE)
        assert printed
        script = re.sub("(?m)^ETCD_INITIAL_CLUSTER=.*$", printed[0].replace('"', ""), join)
        await each.sh(of_member(script, "etcd2", number))
        assert f"etcd{number} has its vote" in await first.sh(
            vote.replace("etcd2", f"etcd{number}")
        )
    said = await one_host.to_a_good_end(first, all_three)
    assert "BAD" not in said and said.count("is 3.") == 3
