"""``babygun dev`` as a person runs it: in a folder of its own, stopped with Ctrl-C."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from babygun.dev.data_folder import DataFolder
from babygun.dev.etcd.binary import find_etcd
from babygun.dev.etcd.command_line import EmbeddedEtcd
from babygun.dev.etcd.members import EtcdCluster
from babygun.dev.ports import Ports
from babygun.etcd import EtcdClient
from babygun.runtime.processes.interpreter import python_command
from babygun.runtime.settings import Settings
from tests.support.certificates import Pem
from tests.support.development import PORTS, Dev, dev_in, environment
from tests.support.needs import needs
from tests.support.processes import is_gone
from tests.support.smtp_server import MisbehavingServer
from tests.support.tls_offers import is_strong, taken

pytestmark = needs(find_etcd(), "no etcd to test with: run `make install`")


@pytest.fixture
async def dev(tmp_path: Path) -> AsyncIterator[Dev]:
    async with dev_in(tmp_path) as dev:
        yield dev


async def answered(what: Callable[[], Awaitable[Any]], wanted: Callable[[Any], bool]) -> Any:
    """Asks until the answer is as wanted. It is another process, which sends no event."""
    value = None
    for _ in range(400):
        value = await what()
        if wanted(value):
            return value
        await asyncio.sleep(0.05)
    raise AssertionError(f"in the end it was {value}")


class Client:
    def __init__(self, state: dict[str, Any], session: aiohttp.ClientSession) -> None:
        self.state, self.session, self.token = state, session, ""

    async def call(self, method: str, path: str, body: Any = None) -> Any:
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        async with self.session.request(
            method, self.state["api_url"] + path, json=body, headers=headers
        ) as answer:
            assert answer.status < 300, await answer.text()
            return await answer.json()

    async def log_in(self) -> None:
        self.token = (
            await self.call(
                "POST",
                "/tokens",
                {
                    "client_id": self.state["client_id"],
                    "client_secret": self.state["client_secret"],
                },
            )
        )["token"]

    async def send(self, subject: str) -> str:
        mail = {
            "sender": "me@example.com",
            "to": "you@example.org",
            "subject": subject,
            "body": "It works.",
        }
        headers = {"Authorization": f"Bearer {self.token}", "Idempotency-Key": subject}

        async def post() -> tuple[int, Any]:
            async with self.session.post(
                f"{self.state['api_url']}/emails", json=mail, headers=headers
            ) as answer:
                return answer.status, await answer.json()

        # Without a leader, etcd may not answer within a call's time. The client repeats it.
        status, answer = await answered(post, lambda got: got[0] != 503)
        assert status == 202, answer
        email_id: str = answer["id"]
        return email_id

    async def completed(self, email_id: str) -> Any:
        return await answered(
            lambda: self.call("GET", f"/emails/{email_id}"),
            lambda email: email["status"] == "complete",
        )

    async def subjects(self) -> list[str]:
        async with self.session.get(self.state["mailbox_url"] + "/messages") as answer:
            return [message["subject"] for message in (await answer.json())["messages"]]


def all_pids(state: dict[str, Any]) -> list[int]:
    return [state["pid"], *(pid for pids in state["pids"].values() for pid in pids)]


async def test_dev_sends_restarts_what_dies_stops_cleanly_and_keeps_its_data(dev: Dev) -> None:
    # The jobs of a killed worker wait as long as its lease.
    await dev.start(*PORTS, "--workers", "2", BABYGUN_LEASE_TTL="3s")
    state = await dev.running()
    assert {role: len(pids) for role, pids in state["pids"].items()} == {
        "etcd": 1,
        "api": 1,
        "worker": 2,
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
            "mailbox": 1,
        }
        assert not {state["pids"]["worker"][0], state["pids"]["api"][0]} & set(all_pids(again))
        await client.completed(await client.send("second"))

        os.kill(state["pids"]["etcd"][0], signal.SIGKILL)
        await dev.until("etcd runs again")
        await answered(
            lambda: _status(session, f"{state['api_url']}/readyz"), lambda status: status == 200
        )
        await client.completed(await client.send("third"))
        assert await client.subjects() == ["third", "second", "first"]

    last = dev.state()
    assert await dev.interrupt() == 0
    assert dev.lines[-1] == "stopped"
    assert all(is_gone(pid) for pid in all_pids(last))
    assert not (dev.folder / ".babygun" / "dev.json").exists()
    assert not any("Traceback" in line for line in dev.lines), "\n".join(dev.lines)

    await dev.start()
    state = await dev.running()
    assert (state["client_id"], state["client_secret"]) == (
        last["client_id"],
        last["client_secret"],
    )
    async with aiohttp.ClientSession() as session:
        client = Client(state, session)
        await client.log_in()
        assert (await client.call("GET", f"/emails/{first}"))["subject"] == "first"
    assert await dev.interrupt() == 0


async def test_cluster_of_three_outlives_its_leader(dev: Dev) -> None:
    probes = Ports(print).lasting()
    await dev.start(
        *PORTS, "--etcd-members", "3", "--workers", "2", BABYGUN_WORKER_PORT=str(probes)
    )
    state = await dev.running()
    assert {role: len(pids) for role, pids in state["pids"].items()} == {
        "etcd": 3,
        "api": 1,
        "worker": 2,
        "mailbox": 1,
    }
    async with aiohttp.ClientSession() as session:
        # A worker has checked in; in a moment it knows its slice.
        for url in (f"http://127.0.0.1:{port}/readyz" for port in (probes, probes + 1)):
            await answered(partial(_status, session, url), lambda status: status == 200)
        leads = [await _leads(session, state, endpoint) for endpoint in state["etcd_endpoints"]]
        assert sorted(leads) == [False, False, True]
        client = Client(state, session)
        await client.log_in()
        number = leads.index(True)
        os.kill(state["pids"]["etcd"][number], signal.SIGKILL)
        await client.completed(await client.send("without it"))
        await dev.until(f"etcd-{number + 1} ended (SIGKILL)")
        await dev.until(f"etcd-{number + 1} runs again")
        assert len(dev.state()["pids"]["etcd"]) == 3
    last = dev.state()
    assert await dev.interrupt() == 0
    assert all(is_gone(pid) for pid in all_pids(last))
    assert not any("Traceback" in line or "killing it" in line for line in dev.lines), "\n".join(
        dev.lines
    )


async def _leads(session: aiohttp.ClientSession, state: dict[str, Any], endpoint: str) -> bool:
    async with session.get(f"{endpoint}/metrics", ssl=_etcd_tls(state)) as answer:
        return "\netcd_server_is_leader 1\n" in await answer.text()


def _etcd_tls(state: dict[str, Any]) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=state["etcd_ca"])
    context.load_cert_chain(state["etcd_cert"], state["etcd_key"])
    return context


async def test_etcd_takes_nothing_without_the_certificate_that_only_its_user_can_read(
    dev: Dev,
) -> None:
    await dev.start()
    state = await dev.running()
    [endpoint] = state["etcd_endpoints"]
    peer = _flag(state["pids"]["etcd"][0], "--listen-peer-urls")
    put = json.dumps({"key": "L2JhYnlndW4veA==", "value": "eA=="}).encode()
    client = Pem(Path(state["etcd_cert"]), Path(state["etcd_key"]))
    offered = ["ECDHE-ECDSA-AES128-SHA", "ECDHE-ECDSA-AES128-GCM-SHA256"]  # etcd itself takes both
    port = int(endpoint.rpartition(":")[2])
    sessions = await asyncio.to_thread(taken, port, client, offered)
    assert len(sessions) == 2 and all(is_strong(*session) for session in sessions)
    async with aiohttp.ClientSession(headers={"Content-Type": "text/plain"}) as session:
        for url in (endpoint, peer):
            for scheme in ("http", "https"):  # what a web page can send, with any Host and Origin
                url = f"{scheme}:{url.partition(':')[2]}"
                with pytest.raises(aiohttp.ClientError):
                    async with session.post(f"{url}/v3/kv/put", data=put, ssl=False) as answer:
                        assert answer.status == 400, "Go's answer to plain HTTP where TLS is"
                        raise aiohttp.ClientError
        async with session.post(f"{endpoint}/v3/kv/put", data=put, ssl=_etcd_tls(state)) as answer:
            assert answer.status == 404, "also a browser that has the certificate"
    doctor = await asyncio.create_subprocess_exec(
        *python_command("babygun"),
        "doctor",
        cwd=dev.folder,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    said = (await doctor.communicate())[0].decode()
    assert doctor.returncode == 0 and f"etcd at {endpoint}" in said, said


def _flag(pid: int, name: str) -> str:
    """The value of a flag of a process's command line."""
    flags = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    return next(flag for flag in flags if flag.startswith(f"{name}=")).partition("=")[2]


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
        async with EtcdClient([member.endpoint for member in members]) as client:
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


async def test_data_of_a_cluster_stay_and_so_does_the_number_of_members(dev: Dev) -> None:
    await dev.start(*PORTS, "--etcd-members", "3")
    async with aiohttp.ClientSession() as session:
        client = Client(await dev.running(), session)
        await client.log_in()
        first = await client.send("first")
    assert await dev.interrupt() == 0

    await dev.start(*PORTS, "--etcd-members", "1")
    assert await dev.refused() == 2
    await dev.until("has 3 members, not 1")

    await dev.start()
    async with aiohttp.ClientSession() as session:
        client = Client(await dev.running(), session)
        await client.log_in()
        assert (await client.call("GET", f"/emails/{first}"))["subject"] == "first"
    assert len(dev.state()["pids"]["etcd"]) == 3


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--workers", "0"),
        ("--workers", "many"),
        ("--workers", "65"),
        ("--etcd-members", "2"),
        ("--etcd-members", "three"),
    ],
)
async def test_number_that_cannot_be_is_refused_with_a_sentence(
    dev: Dev, option: str, value: str
) -> None:
    await dev.start(option, value)
    assert await dev.refused() == 2
    await dev.until(f"argument {option}: '{value}' is n")
    assert not (dev.folder / ".babygun").exists()


async def _status(session: aiohttp.ClientSession, url: str) -> int:
    try:
        async with session.get(url) as answer:
            return answer.status
    except aiohttp.ClientError:
        return 0


@needs(shutil.which("curl"), "the lines to paste need curl")
async def test_lines_that_dev_prints_work_when_pasted(dev: Dev) -> None:
    await dev.start()
    state = await dev.running()
    start = next(number for number, line in enumerate(dev.lines) if line.startswith("Try it"))
    script = "\n".join(line for line in dev.lines[start + 1 :] if line.startswith("  "))
    async with aiohttp.ClientSession() as session:
        lines = (await dev.paste(script)).splitlines()
        email_id = lines[0]
        assert json.loads(lines[1])["id"] == email_id
        assert lines[2].startswith("{")
        assert any(line == f"/babygun/emails/{email_id}" for line in lines) or not shutil.which(
            "etcdctl"
        )
        client = Client(state, session)
        await client.log_in()
        assert (await client.completed(email_id))["recipients"][0]["email"] == "you@example.org"


async def test_second_dev_in_the_same_folder_is_refused_with_a_sentence(dev: Dev) -> None:
    await dev.start()
    await dev.running()
    second = Dev(dev.folder)
    await second.start()
    assert await second.refused() == 1
    await second.until(f"babygun: another babygun dev (process {dev.run.pid}) uses")
    assert dev.state()["pid"] == dev.run.pid


async def test_asked_port_that_is_busy_is_refused_with_a_sentence(dev: Dev) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])
        for option in ("--port", "--smtp-port", "--etcd-port"):
            await dev.start(option, port)
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
            "--smtp-port",
            port,
            BABYGUN_ETCD_BIN="",
            PATH="/nowhere",
            XDG_CACHE_HOME=str(dev.folder),
            GOPROXY="off",
            PIP_NO_INDEX="1",
        )
        assert await dev.refused() == 2
        await dev.until(f"the mailbox can't have port {port}")
    assert len(dev.lines) == 1, "\n".join(dev.lines)


async def test_dev_with_a_relay_set_delivers_there_and_has_no_mailbox(
    dev: Dev, smtp: MisbehavingServer
) -> None:
    await dev.start(BABYGUN_RELAY_URL=smtp.url)
    state = await dev.running()
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


async def test_dev_whose_setting_is_wrong_says_so_and_starts_nothing(dev: Dev) -> None:
    await dev.start(BABYGUN_RETENTION="soon")
    assert await dev.refused() == 2
    await dev.until("BABYGUN_RETENTION: 'soon' is not a duration")
    assert not (dev.folder / ".babygun").exists()


async def test_interrupt_while_starting_leaves_nothing_behind(dev: Dev) -> None:
    await dev.start()
    await dev.until("mailbox listening")
    assert await dev.interrupt() == 0
    assert not any("Traceback" in line for line in dev.lines), "\n".join(dev.lines)
    await dev.start()
    await dev.running()
    assert await dev.interrupt() == 0


async def test_killed_dev_takes_its_children_along_and_the_next_one_starts(dev: Dev) -> None:
    await dev.start()
    state = await dev.running()
    dev.run.kill()
    await dev.run.process.wait()
    await dev.start()
    again = await dev.running()
    assert all(is_gone(pid) for pid in all_pids(state))
    assert again["client_id"] == state["client_id"]


@pytest.mark.parametrize(("options", "host"), [(("--tls",), "127.0.0.1"), ((), "0.0.0.0")])
async def test_tls_is_there_where_asked_for_or_where_others_can_call_and_the_commands_trust_it(
    dev: Dev, options: tuple[str, ...], host: str
) -> None:
    await dev.start(*PORTS, *options, BABYGUN_API_HOST=host)
    state = await dev.running()
    assert state["api_url"].startswith("https://127.0.0.1:")
    with pytest.raises(aiohttp.ClientError):
        async with aiohttp.ClientSession() as session:
            await session.get(state["api_url"].replace("https", "http") + "/healthz")
    send = [
        *python_command("babygun"),
        "send",
        "--from",
        "me@example.com",
        "--to",
        "ann@example.org",
        "--body",
        "hi",
        "--wait",
    ]
    sent = await asyncio.create_subprocess_exec(
        *send, cwd=dev.folder, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    said = (await sent.communicate())[0].decode()
    assert sent.returncode == 0, said
    assert any("curl --cacert" in line and state["api_ca"] in line for line in dev.lines)
