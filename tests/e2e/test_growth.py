"""One etcd member becomes three and loses the first, by docs/operations.md, while mail flows."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from babygun.dev.etcd.binary import find_etcd
from tests.support.etcd_server import EtcdServer, NoEtcd
from tests.support.invariants import check_invariants
from tests.support.needs import missing
from tests.support.paths import ROOT
from tests.support.processes import PATIENCE
from tests.support.rig import Rig, changed, rig_for
from tests.support.smtp_server import MisbehavingServer

SCRIPT = ROOT / "scripts/promote-etcd"
# A member that stands still for two seconds causes no election. A write during one would fail.
PATIENT = ("--heartbeat-interval=100", "--election-timeout=3000")


@pytest.fixture
def first() -> Iterator[EtcdServer]:
    try:
        server = EtcdServer(*PATIENT, name="etcd1")
    except NoEtcd as reason:
        missing(str(reason))
    with server:
        yield server


async def etcdctl(server: EtcdServer, *words: str) -> str:
    """What it prints; an AssertionError with what it said where it fails."""
    found = find_etcd()
    program = found.program("etcdctl") if found else None
    if program is None:
        missing("there is no etcdctl")
    process = await asyncio.create_subprocess_exec(
        program,
        f"--endpoints={server.endpoint}",
        *words,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said = (await process.communicate())[0].decode()
    assert process.returncode == 0, said
    return said


async def promote(*members: EtcdServer, name: str) -> str:
    """What scripts/promote-etcd prints; an AssertionError with what it said where it fails."""
    found = find_etcd()
    program = found.program("etcdctl") if found else None
    if program is None:
        missing("there is no etcdctl")
    environment = os.environ | {
        "PATH": f"{program.parent}:{os.environ['PATH']}",
        "ETCDCTL_ENDPOINTS": ",".join(member.endpoint for member in members),
    }
    process = await asyncio.create_subprocess_exec(
        SCRIPT,
        name,
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said = (await process.communicate())[0].decode()
    assert process.returncode == 0, said
    return said


async def members(server: EtcdServer) -> dict[str, dict[str, object]]:
    """Those that have started, by name."""
    return {
        member.get("name", ""): member
        for member in json.loads(await etcdctl(server, "member", "list", "--write-out=json"))[
            "members"
        ]
    }


async def once(server: EtcdServer, refusal: str, *words: str) -> None:
    """``etcdctl …`` until it is no longer refused for this reason."""
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                await etcdctl(server, *words)
            except AssertionError as error:
                assert refusal in str(error), error
                await asyncio.sleep(0.1)
            else:
                return


async def join(leader: EtcdServer, server: EtcdServer, *others: EtcdServer) -> None:
    """Makes it a member: a learner first, a voter once it has caught up."""
    # etcd wants the member before to have been connected for 5 s.
    await once(
        leader,
        "unhealthy cluster",
        "member",
        "add",
        server.name,
        "--learner",
        f"--peer-urls={server.peer}",
    )
    server.cluster = ",".join(f"{each.name}={each.peer}" for each in (leader, *others, server))
    server.launch()
    assert (await promote(leader, *others, name=server.name)) == f"{server.name} has its vote\n"
    assert await asyncio.to_thread(server.answers), server.log()[-4000:]


@asynccontextmanager
async def flow(rig: Rig, sent: list[str]) -> AsyncIterator[None]:
    """E-mails all the time, into ``sent``. None may fail."""

    stop = asyncio.Event()

    async def run() -> None:
        while not stop.is_set():
            sent.append(await rig.send(f"r{len(sent)}@example.org"))
            await asyncio.sleep(0.05)

    task = asyncio.create_task(run())
    try:
        yield
    finally:
        stop.set()
        await task


async def more(sent: list[str], count: int) -> None:
    wanted = len(sent) + count
    async with asyncio.timeout(PATIENCE):
        while len(sent) < wanted:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_one_member_becomes_three_under_load_and_the_first_may_leave(
    first: EtcdServer, rig: Rig, smtp: MisbehavingServer
) -> None:
    second, third = (
        EtcdServer(*PATIENT, "--initial-cluster-state=existing", name=name)
        for name in ("etcd2", "etcd3")
    )
    alone = changed(rig.settings, etcd_endpoints=(first.endpoint,), etcd_timeout=30.0)
    grown = changed(alone, etcd_endpoints=(first.endpoint, second.endpoint, third.endpoint))
    sent: list[str] = []
    try:
        async with rig_for(alone) as before, before.worker_process() as old, flow(before, sent):
            await more(sent, 10)
            await join(first, second)
            await more(sent, 10)
            await join(first, third, second)
            await more(sent, 10)
            # All clients learn of the new members, one after the other: then the first may go.
            async with rig_for(grown) as after, after.worker_process() as new, flow(after, sent):
                assert await old.terminate() == 0
                await more(sent, 10)
                assert await new.terminate() == 0
        assert await promote(second, name="etcd3") == "etcd3 has a vote already\n"
        found = await members(second)
        assert found.keys() == {"etcd1", "etcd2", "etcd3"} and not any(
            member.get("isLearner") for member in found.values()
        )
        async with rig_for(grown) as after, after.worker_process():
            await asyncio.to_thread(first.terminate)  # it waits for the ends of open watches
            async with flow(after, sent):
                await more(sent, 20)
            emails = await after.ended(*sent)
            assert {email.status for email in emails} == {"complete"}
            assert len(smtp.messages) == len(sent)
            await check_invariants(after.store)
    finally:
        second.stop()
        third.stop()
