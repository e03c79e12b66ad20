"""One host, by deploy/systemd/README.md: from nothing to mail, and what comes later."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio

from tests.hosts.host import Host, addresses, host
from tests.support.paths import ROOT
from tests.support.procedures import sections
from tests.support.smtp_server import MisbehavingServer

PAGE = sections(ROOT / "deploy/systemd/README.md")
PROGRAM, ETCD, CERTIFICATES, FILES, START, CHECK, CLIENTS, DOMAIN, BACKUPS = PAGE["One host"]
[MONITORING] = PAGE["Monitoring"]
OPERATIONS = sections(ROOT / "docs/operations.md")
UNITS = ("etcd", "babygun-api", "babygun-worker@1", "babygun-worker@2")


@pytest_asyncio.fixture
async def alone(tmp_path: Path, smtp: MisbehavingServer) -> AsyncIterator[Host]:
    """A host after step 6: everything runs. The programs of steps 1 and 2 are those of the test."""
    [address] = addresses(1)
    async with host(tmp_path, address, {}) as made:
        await made.sh(CERTIFICATES)
        await made.sh(FILES)
        settings(made, BABYGUN_RELAY_URL=relay_url(smtp))
        await made.sh(START)
        await until_ready(made)
        yield made


@pytest_asyncio.fixture
async def shop(alone: Host) -> Shop:
    """The application, after step 10: it has its secret and may send."""
    made = Shop(alone, await alone.sh(CLIENTS))
    assert "_domainkey.example.com" in await alone.sh(DOMAIN)
    return made


def relay_url(smtp: MisbehavingServer) -> str:
    """It is not at the address of the host."""
    return smtp.url.replace("127.0.0.1", "localhost")


def settings_of(at: Host) -> str:
    return at.path("/etc/babygun/babygun.env").read_text()


def settings(at: Host, **variables: str) -> None:
    """Sets variables in babygun.env, as an editor would."""
    path = at.path("/etc/babygun/babygun.env")
    text = path.read_text()
    for name, value in variables.items():
        text = re.sub(rf"^#?{name}=.*\n", "", text, flags=re.MULTILINE) + f"{name}={value}\n"
    path.write_text(text)


class Shop:
    """An application. ``numbers``: how many e-mails it has sent."""

    def __init__(self, at: Host, said: str) -> None:
        self._at = at
        self._id, self._secret = (
            re.search(rf"^client_{name} +(\S+)", said, re.MULTILINE)[1]  # type: ignore[index]
            for name in ("id", "secret")
        )
        self.numbers = 0

    async def send(self) -> str:
        """Sends an e-mail, with a new token. Its id."""
        self.numbers += 1
        url = f"http://{self._at.address}:8080"
        credentials = {"client_id": self._id, "client_secret": self._secret}
        email = {
            "sender": "shop@example.com",
            "to": [f"ann-{self.numbers}@example.org"],
            "subject": "Hello",
            "body": "It works.",
        }
        async with aiohttp.ClientSession() as session:
            async with session.post(f"{url}/tokens", json=credentials) as answer:
                token = (await answer.json())["token"]
            headers = {"Authorization": f"Bearer {token}"}
            async with session.post(f"{url}/emails", json=email, headers=headers) as answer:
                assert answer.status == 202, await answer.text()
                return str((await answer.json())["id"])


@pytest.mark.timeout(600)
async def test_host_is_installed_used_and_restored_by_the_page(
    alone: Host, shop: Shop, smtp: MisbehavingServer
) -> None:
    said = await alone.sh(CHECK)
    assert "BAD" not in said and "2 live workers" in said
    secrets = alone.path("/etc/babygun/operator.env")
    assert secrets.stat().st_mode & 0o777 == 0o600
    await shop.send()
    await smtp.wait_for(1)
    for unit in UNITS[1:]:
        assert "WATCHDOG=1" in alone.services.running[f"{unit}.service"].signs

    # From day to day.
    await alone.sh("systemctl enable --now babygun-worker@3")
    await until_ready(alone)
    async with aiohttp.request("GET", f"http://{alone.address}:9093/healthz") as answer:
        assert answer.status == 200
    await alone.sh("systemctl stop babygun.target")
    assert [*alone.services.running] == ["etcd.service"]
    await alone.sh("systemctl start babygun.target")
    await until_ready(alone)
    await alone.sh(MONITORING)
    await until_ready(alone)
    for port in (8081, 9091, 9092):
        async with aiohttp.request("GET", f"http://{alone.address}:{port}/metrics") as answer:
            assert answer.status == 200 and "babygun_" in await answer.text()

    # A backup, and back to it.
    backup = await alone.sh(BACKUPS)
    assert re.fullmatch(r"etcd-\S+\.db", backup.split()[-1])
    assert alone.path("/var/backups/babygun").stat().st_mode & 0o777 == 0o700
    await shop.send()
    await smtp.wait_for(2)
    said = await to_a_good_end(alone, PAGE["Restore"][0])
    assert "restored from" in said and "deleted" in said
    await until_ready(alone)
    await shop.send()
    await smtp.wait_for(3)


@pytest.mark.timeout(600)
async def test_site_is_held_and_limited_by_the_page(alone: Host, shop: Shop) -> None:
    """The site is the relay of the test, which has limits, in place of a provider."""
    [url] = re.findall("^BABYGUN_RELAY_URL=(.*)", settings_of(alone), re.MULTILINE)
    relay = f'{{"default": {{"url": "{url}", "connections": 5}}}}'
    settings(alone, BABYGUN_RELAY_URL="", BABYGUN_RELAYS=f"'{relay}'")
    await alone.sh("systemctl restart babygun-api babygun-worker@1 babygun-worker@2")
    await until_ready(alone)
    email_id = await shop.send()
    look, change = (
        block.replace("babygun ", "as-operator babygun ").replace("mx:google", "default")
        for block in OPERATIONS["When a site is held or slow"]
    )
    said = await alone.sh(look.replace("show ID", f"show {email_id}"))
    assert "complete" in said
    assert "they asked us to pause" in await alone.sh(change)


@pytest.mark.timeout(600)
async def test_host_gets_new_certificates_keys_and_room_by_the_page(
    alone: Host, shop: Shop, smtp: MisbehavingServer
) -> None:
    for number, block in enumerate(PAGE["Certificates"], 1):
        await alone.sh(block, within=200)
        await until_ready(alone)
        await shop.send()
        await smtp.wait_for(number)
    make_room, larger = PAGE["When etcd is full"]
    assert "etcd takes writes" in await alone.sh(make_room)
    assert "etcd takes writes" in await alone.sh(larger)
    assert "12884901888" in alone.path("/etc/etcd/server.yml").read_text()
    assert "BAD" not in await alone.sh("as-operator babygun doctor")


async def to_a_good_end(at: Host, script: str) -> str:
    """Runs a script in which `babygun doctor` follows a restart. It asks again as the page says."""
    before, command, after = script.partition("as-operator babygun doctor\n")
    said = await at.sh(before)
    async with asyncio.timeout(120):
        while True:
            try:
                return said + await at.sh(command) + await at.sh(after)
            except AssertionError as error:
                assert "0 live workers" in str(error) or "does not answer" in str(error), error
                await asyncio.sleep(0.5)


async def until_ready(at: Host) -> None:
    """Waits until the API answers, and until the workers that run have their work."""
    await at.sh("for n in $(seq 100); do as-operator babygun health api && exit; sleep 0.1; done")
    for name, service in at.services.running.items():
        async with asyncio.timeout(60):
            while "worker@" in name and "slice changed" not in service.said:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
