"""``--processes``: API and worker as several processes of one supervisor."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
from contextlib import suppress
from functools import partial
from pathlib import Path

import aiohttp
import pytest

from babygun.store import codec
from babygun.store.access.clients import create_client
from babygun.store.cluster.processes import list_workers
from babygun.store.keys import range_end
from babygun.store.records import ApiProcess, Worker
from tests.support.commands import Command
from tests.support.development import answered
from tests.support.etcd_server import free_ports, free_row
from tests.support.invariants import check_invariants
from tests.support.processes import babygun
from tests.support.rig import Rig, changed
from tests.support.scraping import Scraped
from tests.support.smtp_server import MisbehavingServer


async def get(url: str) -> tuple[int, str]:
    """A GET on a connection of its own."""
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        return answer.status, await answer.text()


async def scrape(port: int) -> Scraped:
    status, text = await get(f"http://127.0.0.1:{port}/metrics")
    assert status == 200, text
    return Scraped(text)


async def api_processes(rig: Rig) -> list[ApiProcess]:
    found = await rig.store.client.range(rig.store.keys.apis, range_end(rig.store.keys.apis))
    return [codec.decode_state(kv.value, ApiProcess) for kv in found.kvs]


async def token_header(rig: Rig, url: str) -> dict[str, str]:
    client, secret = await create_client(
        rig.store, name="test", scopes=("emails:send", "emails:read")
    )
    async with (
        aiohttp.ClientSession() as session,
        session.post(
            f"{url}/tokens", json={"client_id": client.id, "client_secret": secret}
        ) as answer,
    ):
        return {"Authorization": f"Bearer {(await answer.json())['token']}"}


async def post(url: str, headers: dict[str, str], n: int) -> str:
    """Sends one e-mail, again and again with the same Idempotency-Key until it is accepted."""
    email = {
        "sender": "me@example.com",
        "to": "ann@example.org",
        "subject": f"number {n}",
        "body": "Hello\n",
    }
    while True:
        with suppress(aiohttp.ClientError):
            async with (
                aiohttp.ClientSession() as session,
                session.post(
                    f"{url}/emails", json=email, headers={**headers, "Idempotency-Key": f"k{n}"}
                ) as answer,
            ):
                if answer.status == 503:  # a new process that does not know the clients yet
                    continue
                assert answer.status == 202, await answer.text()
                return str((await answer.json())["id"])


async def test_api_processes_share_a_port_and_a_dead_one_comes_back_while_mail_goes_on(
    rig: Rig, tmp_path: Path
) -> None:
    own = free_row(2)
    settings = changed(rig.settings, api_process_port=own, processes=2, lease_ttl=20.0)
    async with babygun(settings, "api", "--port", "0") as run:
        pids = await run.up()
        url = (await run.until("api listening url=")).partition("url=")[2].split()[0]
        await rig.counted(rig.store.keys.apis, 2)
        for port in (own, own + 1):  # it knows the key that signs tokens
            await answered(partial(get, f"http://127.0.0.1:{port}/readyz"), lambda a: a[0] == 200)
        assert sorted(process.pid for process in await api_processes(rig)) == sorted(pids)

        assert [status for status, _ in [await get(f"{url}/healthz") for _ in range(40)]] == [
            200
        ] * 40
        labels = {"method": "GET", "route": "/healthz", "status": "200"}
        counts = [
            (await scrape(port)).get("babygun_http_requests_total", **labels)
            for port in (own, own + 1)
        ]
        assert all(counts) and sum(count or 0 for count in counts) == 40
        status, text = await get(f"{url}/metrics")
        assert status == 404 and "setting api_process_port" in json.loads(text)["detail"]

        headers, accepted, over = await token_header(rig, url), list[str](), asyncio.Event()

        async def send(first: int) -> None:
            n = first
            while not over.is_set():
                accepted.append(await post(url, headers, n := n + 2))
                await asyncio.sleep(0.02)  # else they take the CPU that the new process needs

        senders = [asyncio.create_task(send(first)) for first in (0, 1)]
        os.kill(pids[1], signal.SIGKILL)
        again = await run.until("process up again process=2")
        assert f"process=2 pid={pids[1]} status=SIGKILL pause_seconds=0.5" in (
            await run.until("process ended")
        )
        pids[1] = int(re.findall(r"pid=(\d+)", again)[0])
        over.set()
        await asyncio.gather(*senders)
        found = await rig.store.client.range(
            rig.store.keys.emails, range_end(rig.store.keys.emails), keys_only=True
        )
        assert len(accepted) == len(set(accepted)) == len(found.kvs) > 2

        # By default systemd sends SIGTERM to each process and to the supervisor. The open stream
        # ends in order.
        async with (
            aiohttp.ClientSession(headers=headers) as session,
            session.get(f"{url}/events") as stream,
        ):
            assert stream.status == 200
            for pid in (*pids, run.process.pid, *pids):
                with suppress(ProcessLookupError):  # the first signal may have ended it already
                    os.kill(pid, signal.SIGTERM)
            await stream.content.read()
        assert await run.ended() == 0
        # Each has given its lease back.
        assert not {process.pid for process in await api_processes(rig)} & set(pids)


async def test_busy_port_ends_the_api_with_one_sentence_though_it_could_be_shared(
    rig: Rig,
) -> None:
    settings = changed(rig.settings, processes=2)
    with socket.socket() as generous:
        generous.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)  # it would share the port
        generous.bind(("127.0.0.1", 0))
        generous.listen()
        taken = generous.getsockname()[1]
        async with babygun(changed(settings, api_port=taken), "api") as run:
            assert await run.ended() == 2
            assert run.said == [
                f"babygun: something listens on 127.0.0.1:{taken} already; stop it,"
                " or set api_port to another port (0: any free one)"
            ]


async def test_api_whose_supervisor_is_killed_frees_the_port_and_an_api_beside_it_is_refused(
    rig: Rig,
) -> None:
    [port] = free_ports(1)
    settings = changed(rig.settings, processes=2, api_port=port, lease_ttl=20.0)
    async with babygun(settings, "api") as first:
        await first.up()
        async with babygun(settings, "api") as second:
            assert await second.ended() == 2 and "something listens on" in second.said[0]
        first.process.kill()
        assert await first.ended() == -signal.SIGKILL
        assert await api_processes(rig) == []
        with socket.create_server(("127.0.0.1", port)):
            pass


@pytest.mark.parametrize("words", [("api", "--port", "0"), ("worker",)], ids=["api", "worker"])
async def test_setting_that_can_not_be_used_ends_all_processes_with_one_sentence(
    rig: Rig, tmp_path: Path, words: tuple[str, ...]
) -> None:
    result = await Command(changed(rig.settings, etcd_ca="/nowhere/ca.pem"), tmp_path)(
        *words, "--processes", "3"
    )
    assert (result.status, result.error) == (
        2,
        "babygun: etcd_ca: /nowhere/ca.pem can't be read: No such file or directory\n",
    )


async def test_second_process_whose_port_is_busy_ends_the_worker(rig: Rig) -> None:
    first = free_row(2)
    with socket.create_server(("127.0.0.1", first + 1)):
        async with babygun(
            changed(rig.settings, worker_port=first, lease_ttl=20.0), "worker", "--processes", "2"
        ) as run:
            assert await run.ended() == 2
            assert (
                f"babygun: something listens on 127.0.0.1:{first + 1} already; stop it,"
                " or set worker_port to another port (0: no server at all)" in run.said
            )
    assert await list_workers(rig.store) == []


async def test_worker_processes_share_the_load_and_each_is_seen(
    rig: Rig, smtp: MisbehavingServer, tmp_path: Path
) -> None:
    own = free_row(2)
    # The jobs of the killed one wait as long as its lease.
    settings = changed(rig.settings, worker_port=own, processes=2, lease_ttl=6.0)
    health = Command(settings, tmp_path)
    slices: dict[str, tuple[int, int]] = {}

    def shared(value: bytes) -> bool | None:
        """Whether each has its half."""
        worker = codec.decode_state(value, Worker)
        slices[worker.id] = worker.slice
        return True if {(0, 128), (128, 256)} <= set(slices.values()) else None

    async with babygun(settings, "worker") as run:
        pids = await run.up()
        await rig.counted(rig.store.keys.workers, 2)
        workers = await list_workers(rig.store)
        assert (
            sorted(worker.pid for worker in workers) == sorted(pids)
            and len({worker.id for worker in workers}) == 2
        )
        await rig.seen(rig.store.keys.workers, shared, within=60.0)

        ids = [await rig.send(f"r{n}@example.org") for n in range(40)]
        emails = await rig.ended(*ids, within=60.0)
        assert {email.status for email in emails} == {"complete"}
        assert {email.worker_id for email in emails} == {worker.id for worker in workers}
        counts = [0.0]
        async with asyncio.timeout(60):
            while sum(counts) < 40:  # counted once etcd has answered, a little later
                counts = [
                    (await scrape(port)).get(
                        "babygun_recipients_total",
                        site="main",
                        outcome="delivered",
                        class_="delivered",
                    )
                    or 0
                    for port in (own, own + 1)
                ]
        assert all(counts) and sum(counts) == 40
        assert run.lines("process=1") and run.lines("process=2")

        assert (await health("health", "--timeout", "60", "worker")).status == 0
        os.kill(pids[0], signal.SIGSTOP)  # the first one is asked first
        assert (
            f"http://127.0.0.1:{own}/healthz does not answer"
            in (await health("health", "--live", "--timeout", "0.3", "worker")).error
        )
        os.kill(pids[0], signal.SIGKILL)
        await run.until("process up again process=1")

        hanging = await rig.send("hang@example.org")
        async with asyncio.timeout(60):
            await smtp.hung.wait()
        run.process.send_signal(signal.SIGTERM)
        await run.until("stopping processes")
        run.process.send_signal(signal.SIGTERM)  # a worker ignores further signals
        smtp.release()
        assert await run.ended() == 0
        assert [email.status for email in await rig.ended(hanging)] == ["complete"]
    assert all(worker.pid not in pids[1:] for worker in await list_workers(rig.store))
    await check_invariants(rig.store)
