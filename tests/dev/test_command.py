"""``babygun dev`` as a person runs it: in a folder of its own, stopped with Ctrl-C."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import ssl
import subprocess
from typing import Any

import aiohttp
import pytest

from babygun.dev.command import ensure_client
from babygun.dev.etcd.binary import find_etcd
from babygun.runtime.clock import utc_now
from babygun.runtime.processes.interpreter import python_command
from babygun.runtime.settings import Settings
from babygun.store.access.client_secrets import verify_secret
from babygun.store.access.clients import get_client
from tests.support.development import (
    PORTS,
    Client,
    Dev,
    all_pids,
    answered,
    environment,
    status_of,
)
from tests.support.faulty_etcd import FaultyProcess
from tests.support.needs import needs
from tests.support.processes import is_gone
from tests.support.rig import Rig
from tests.support.smtp_server import MisbehavingServer

pytestmark = needs(find_etcd(), "no etcd to test with: run `make install`")


async def test_dev_sends_restarts_what_dies_stops_cleanly_and_keeps_its_data(dev: Dev) -> None:
    # The jobs of a killed worker wait as long as its lease.
    await dev.start(*PORTS, "--workers", "2", BABYGUN_LEASE_TTL="6s")
    state = await dev.running()
    assert {role: len(pids) for role, pids in state["pids"].items()} == {
        "etcd": 1,
        "api": 1,
        "worker": 2,
        "bounced": 1,
        "mailbox": 1,
    }
    assert state["pid"] == dev.run.pid
    async with aiohttp.ClientSession() as session:
        client = Client(state, session)
        await client.log_in()
        first = await client.send("first")
        await client.completed(first)
        assert await client.subjects() == ["first"]

        os.kill(state["pids"]["worker"][0], signal.SIGKILL)
        os.kill(state["pids"]["api"][0], signal.SIGKILL)
        for name in ("worker-1", "api"):
            await dev.until(f"{name} ended (SIGKILL); starting it again in 0.5 s")
            await dev.until(f"{name} runs again")
        again = dev.state()
        assert {role: len(pids) for role, pids in again["pids"].items()} == {
            "etcd": 1,
            "api": 1,
            "worker": 2,
            "bounced": 1,
            "mailbox": 1,
        }
        assert not {state["pids"]["worker"][0], state["pids"]["api"][0]} & set(all_pids(again))
        await client.completed(await client.send("second"))

        os.kill(state["pids"]["etcd"][0], signal.SIGKILL)
        await dev.until("etcd runs again")
        await answered(
            lambda: status_of(session, f"{state['api_url']}/readyz"), lambda status: status == 200
        )
        await client.completed(await client.send("third"))
        assert await client.subjects() == ["third", "second", "first"]

    last = dev.state()
    assert await dev.interrupt() == 0
    assert dev.lines[-1] == "stopped"
    assert all(is_gone(pid) for pid in all_pids(last))
    assert not (dev.folder / ".babygun" / "dev.json").exists()
    assert not any("Traceback" in line for line in dev.lines), "\n".join(dev.lines)

    await dev.start(*PORTS, "--tls")
    state = await dev.running()
    assert (state["client_id"], state["client_secret"]) == (
        last["client_id"],
        last["client_secret"],
    )
    await _serves_tls(dev, state)
    trusted = ssl.create_default_context(cafile=state["api_ca"])
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trusted)) as session:
        client = Client(state, session)
        await client.log_in()
        assert (await client.call("GET", f"/emails/{first}"))["subject"] == "first"
    assert await dev.interrupt() == 0


async def test_asked_port_that_is_busy_is_refused_with_a_sentence(dev: Dev) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])
        for option in ("--port", "--smtp-port", "--etcd-port"):
            await dev.start(*PORTS, option, port)
            assert await dev.refused() == 2
            await dev.until(f"can't have port {port}: something else listens there already")
            assert not any("Traceback" in line or "Warning" in line for line in dev.lines), (
                "\n".join(dev.lines)
            )


async def test_asked_port_that_is_busy_is_refused_before_an_etcd_is_built(dev: Dev) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])
        # There is no etcd and no network here, so an attempt to build one would print lines.
        await dev.start(
            *(*PORTS, "--smtp-port", port),
            BABYGUN_ETCD_BIN="",
            PATH="/nowhere",
            XDG_CACHE_HOME=str(dev.folder),
            GOPROXY="off",
            PIP_NO_INDEX="1",
        )
        assert await dev.refused() == 2
        await dev.until(f"the mailbox can't have port {port}")
    assert len(dev.lines) == 1, "\n".join(dev.lines)


async def test_dev_whose_setting_is_wrong_says_so_and_starts_nothing(dev: Dev) -> None:
    await dev.start(BABYGUN_RETENTION="soon")
    assert await dev.refused() == 2
    await dev.until("BABYGUN_RETENTION: 'soon' is not a duration")
    assert not (dev.folder / ".babygun").exists()


async def test_client_of_dev_is_made_though_etcd_gives_no_answer_at_first(
    rig: Rig, settings: Settings
) -> None:
    process = FaultyProcess(settings)
    await process.store.start()
    try:
        await process.do(
            lambda store: ensure_client(store, "dev-1", "secret"),
            faults={1: "refused", 3: "unanswered"},  # the first look, and the client's write
        )
    finally:
        await process.close()
    client = await get_client(rig.store, "dev-1")
    assert client and verify_secret(client, "secret", utc_now())


async def test_interrupt_while_starting_leaves_nothing_behind(dev: Dev) -> None:
    await dev.start()
    await dev.until("mailbox listening")
    assert await dev.interrupt() == 0
    assert not any("Traceback" in line for line in dev.lines), "\n".join(dev.lines)
    # The mailbox is there though mail would go straight to mail hosts.
    await dev.start(*PORTS, BABYGUN_DEFAULT="mx")
    state = await dev.running()
    async with aiohttp.ClientSession() as session:
        client = Client(state, session)
        await client.log_in()
        await client.completed(await client.send("caught"))
        assert await client.subjects() == ["caught"]
    assert await dev.interrupt() == 0


async def test_killed_dev_takes_its_children_along_and_the_next_one_may_have_a_relay(
    dev: Dev, smtp: MisbehavingServer
) -> None:
    await dev.start()
    before = await dev.running()
    dev.run.kill()
    await dev.run.process.wait()
    await dev.start(BABYGUN_RELAY_URL=smtp.url)
    state = await dev.running()
    assert all(is_gone(pid) for pid in all_pids(before))
    assert state["client_id"] == before["client_id"]
    assert (
        state["smtp_host"],
        state["smtp_port"],
        state["mailbox_url"],
        state["pids"]["mailbox"],
    ) == ("127.0.0.1", smtp.port, None, [])
    async with aiohttp.ClientSession() as session:
        client = Client(state, session)
        await client.log_in()
        await client.completed(await client.send("out"))
    assert [message.recipients for message in smtp.messages] == [("you@example.org",)]


async def test_tls_is_there_where_others_can_call_and_the_commands_trust_it(dev: Dev) -> None:
    await dev.start(*PORTS, BABYGUN_API_HOST="0.0.0.0")
    await _serves_tls(dev, await dev.running())


async def _serves_tls(dev: Dev, state: dict[str, Any]) -> None:
    """It serves TLS alone; its printed lines and the commands trust its certificate."""
    assert state["api_url"].startswith("https://127.0.0.1:")
    with pytest.raises(aiohttp.ClientError):
        async with aiohttp.ClientSession() as session:
            await session.get(state["api_url"].replace("https", "http") + "/healthz")
    words = ("send", "--from", "me@example.com", "--to", "ann@example.org", "--body", "hi")
    sent = await asyncio.create_subprocess_exec(
        *(*python_command("babygun"), *words, "--wait"),
        cwd=dev.folder,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    said = (await sent.communicate())[0].decode()
    assert sent.returncode == 0, said
    assert any("curl --cacert" in line and state["api_ca"] in line for line in dev.lines)
