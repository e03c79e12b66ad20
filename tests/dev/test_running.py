"""What holds while ``babygun dev`` runs. All tests here share one that runs."""

from __future__ import annotations

import asyncio
import json
import shlex
import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio

from babygun.dev.etcd.binary import find_etcd
from babygun.runtime.processes.interpreter import python_command
from tests.support.certificates import Pem
from tests.support.development import Client, Dev, answered, dev_in, environment, etcd_tls
from tests.support.needs import needs
from tests.support.tls_offers import is_strong, taken
from tests.support.webhook_receivers import receiving

SECRET = "whsec_" + "A" * 43 + "="

pytestmark = [
    needs(find_etcd(), "no etcd to test with: run `make install`"),
    pytest.mark.asyncio(loop_scope="module"),
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def dev(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Dev]:
    async with dev_in(tmp_path_factory.mktemp("dev")) as dev:
        await dev.start()
        await dev.running()
        yield dev


async def test_etcd_takes_nothing_without_the_certificate_that_only_its_user_can_read(
    dev: Dev,
) -> None:
    state = dev.state()
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
        async with session.post(f"{endpoint}/v3/kv/put", data=put, ssl=etcd_tls(state)) as answer:
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


@needs(shutil.which("curl"), "the lines to paste need curl")
async def test_lines_that_dev_prints_work_when_pasted(dev: Dev) -> None:
    state = dev.state()
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


async def test_webhook_of_the_documents_gets_what_happens(dev: Dev) -> None:
    async with receiving("receiver.py", dev.folder, SECRET) as receiver:
        babygun = " ".join(map(shlex.quote, python_command("babygun")))
        made = await dev.paste(f"{babygun} webhooks create {receiver.url} --secret {SECRET} --json")
        id = json.loads(made)["id"]
        tested = await dev.paste(f"{babygun} webhooks test {id}")
        event_id = tested.splitlines()[1].split()[0]
        assert "sent" in tested and "204" in tested
        assert await receiver.line() == ["test", event_id]
        send = "send --from me@example.com --to you@example.org --subject Hello"
        email_id = (await dev.paste(f"{babygun} {send}")).strip()
        happened = {tuple(await receiver.line()) for _ in range(2)}  # in any order
        assert happened == {
            ("accepted", f"{email_id}-0000-accepted"),
            ("delivered", f"{email_id}-0001-delivered"),
        }
        await answered(
            lambda: dev.paste(f"{babygun} webhooks deliveries {id} --state sent"),
            lambda listed: f"{email_id}-0001-delivered" in listed,
        )
        again = await dev.paste(f"{babygun} webhooks replay {id} --event {email_id}-0001-delivered")
        assert again == "1 to be sent again\n"
        assert await receiver.line() == ["delivered", f"{email_id}-0001-delivered"]
        await dev.paste(f"{babygun} webhooks delete {id}")


async def test_second_dev_in_the_same_folder_is_refused_with_a_sentence(dev: Dev) -> None:
    second = Dev(dev.folder)
    await second.start()
    assert await second.refused() == 1
    await second.until(f"babygun: another babygun dev (process {dev.run.pid}) uses")
    assert dev.state()["pid"] == dev.run.pid
