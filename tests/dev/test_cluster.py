"""``babygun dev`` with three etcd members."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from contextlib import closing, suppress
from functools import partial
from typing import Any

import aiohttp
import pytest

from babygun.dev.data_folder import DataFolder
from babygun.dev.etcd.binary import find_etcd
from babygun.dev.etcd.command_line import EmbeddedEtcd
from babygun.dev.etcd.members import EtcdCluster
from babygun.dev.ports import Ports
from babygun.errors import OutcomeUnknown
from babygun.etcd import EtcdClient
from babygun.runtime.settings import Settings
from tests.support.development import (
    PORTS,
    Client,
    Dev,
    all_pids,
    answered,
    etcd_tls,
    status_of,
)
from tests.support.etcd_server import free_row
from tests.support.needs import needs
from tests.support.processes import PATIENCE, is_gone

pytestmark = [
    needs(find_etcd(), "no etcd to test with: run `make install`"),
    pytest.mark.timeout(300),
]


async def test_cluster_of_three_outlives_its_leader_and_its_data_stay(dev: Dev) -> None:
    probes = free_row(2)
    await dev.start(
        *PORTS, "--etcd-members", "3", "--workers", "2", BABYGUN_WORKER_PORT=str(probes)
    )
    state = await dev.running()
    assert {role: len(pids) for role, pids in state["pids"].items()} == {
        "etcd": 3,
        "api": 1,
        "worker": 2,
        "bounced": 1,
        "mailbox": 1,
    }
    async with aiohttp.ClientSession() as session:
        # A worker has checked in; in a moment it knows its slice.
        for url in (f"http://127.0.0.1:{port}/readyz" for port in (probes, probes + 1)):
            await answered(partial(status_of, session, url), lambda status: status == 200)
        leads = await answered(
            partial(_leads, session, state), lambda found: sorted(found) == [False, False, True]
        )
        client = Client(state, session)
        await client.log_in()
        number = leads.index(True)
        os.kill(state["pids"]["etcd"][number], signal.SIGKILL)
        without_it = await client.send("without it")
        await client.completed(without_it)
        await dev.until(f"etcd-{number + 1} ended (SIGKILL)")
        await dev.until(f"etcd-{number + 1} runs again")
        assert len(dev.state()["pids"]["etcd"]) == 3
    last = dev.state()
    assert await dev.interrupt() == 0
    assert all(is_gone(pid) for pid in all_pids(last))
    assert not any("Traceback" in line or "killing it" in line for line in dev.lines), "\n".join(
        dev.lines
    )

    await dev.start(*PORTS, "--etcd-members", "1")
    assert await dev.refused() == 2
    await dev.until("has 3 members, not 1")

    await dev.start()
    async with aiohttp.ClientSession() as session:
        client = Client(await dev.running(), session)
        await client.log_in()
        assert (await client.call("GET", f"/emails/{without_it}"))["subject"] == "without it"
    assert len(dev.state()["pids"]["etcd"]) == 3


async def _leads(session: aiohttp.ClientSession, state: dict[str, Any]) -> list[bool]:
    """Whether each member leads."""
    found = []
    for endpoint in state["etcd_endpoints"]:
        async with session.get(f"{endpoint}/metrics", ssl=etcd_tls(state)) as answer:
            found.append("\netcd_server_is_leader 1\n" in await answer.text())
    return found


async def test_cluster_of_an_earlier_version_goes_on_between_its_members_as_it_did(
    dev: Dev,
) -> None:
    found = find_etcd()
    assert found
    folder = DataFolder(dev.folder / ".babygun").open(print)
    with closing(folder):
        ports = EtcdCluster.of(folder, 3).choose_ports(Ports(print), 0)
        names = {f"babygun-{number}": port for number, port in enumerate(ports.peers, 1)}
        members = [
            EmbeddedEtcd(
                found,
                folder.path / f"etcd-{number}",
                client,
                peer,
                name=f"babygun-{number}",
                cluster=names,
                token="t",
            )
            for number, (client, peer) in enumerate(zip(ports.clients, ports.peers, strict=True), 1)
        ]
        processes = [
            await asyncio.create_subprocess_exec(
                *member.command(), env=member.environment(), stderr=subprocess.DEVNULL
            )
            for member in members
        ]
        async with EtcdClient([member.endpoint for member in members], timeout=60.0) as client:
            async with asyncio.timeout(PATIENCE):
                while not await client.get(b"/babygun/revoked/kept"):
                    with suppress(OutcomeUnknown):  # the leader may change
                        await client.put(b"/babygun/revoked/kept", b"")
        for process in processes:
            process.terminate()
        for process in processes:
            await process.wait()
        kept = {"peer_ports": list(ports.peers), "token": "t", "formed": True}
        folder.write_etcd_cluster(kept)
    await dev.start()
    state = await dev.running()
    assert any("talk to each other without TLS" in line for line in dev.lines)
    settings = Settings(
        etcd_endpoints=tuple(state["etcd_endpoints"]),
        etcd_ca=state["etcd_ca"],
        etcd_cert=state["etcd_cert"],
        etcd_key=state["etcd_key"],
    )
    async with EtcdClient.from_settings(settings) as client:
        assert await client.get(b"/babygun/revoked/kept")
