"""Processes that tests start: Babygun's and others."""

from __future__ import annotations

import asyncio
import gc
import io
import json
import os
import re
import resource
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import aiohttp

from babygun.runtime.settings import Settings, table
from babygun.store import Store
from babygun.store.access.clients import create_client
from babygun.store.records import Scope

PATIENCE = 60.0  # s, for what a process does by itself. A busy machine may need many


def environment(settings: Settings) -> dict[str, str]:
    """The settings as the environment of a child, without the variables of the test run."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("BABYGUN_")}
    default = Settings()
    for row in table():
        value = getattr(settings, row.name)
        if value != getattr(default, row.name):
            environ[row.variable] = row.type.write(value)
    return environ


def is_gone(pid: int) -> bool:
    """Whether a process has ended, even if nobody has taken its status."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):  # the latter: it ended while we read
        return True


class Process:
    """A process, seen by what it prints and how it ends. ``said``: its lines so far."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process, self.pid = process, process.pid
        self.said: list[str] = []
        self._more = asyncio.Condition()
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            async with self._more:
                self.said.append(line.decode().rstrip("\n"))
                self._more.notify_all()
        async with self._more:
            self._more.notify_all()

    @property
    def log(self) -> str:
        """All that it has printed so far."""
        return "\n".join(self.said)

    def lines(self, words: str) -> list[str]:
        """The lines so far that contain these words."""
        return [line for line in self.said if words in line]

    async def until(self, words: str, count: int = 1) -> str:
        """Waits for the ``count``-th line that contains these words."""
        async with asyncio.timeout(PATIENCE), self._more:
            await self._more.wait_for(
                lambda: len(self.lines(words)) >= count or self._reading.done()
            )
            assert len(self.lines(words)) >= count, self.log
            return self.lines(words)[count - 1]

    async def up(self) -> list[int]:
        """The ids of a supervisor's processes, once all of them are up."""
        pids = (await self.until(" pids=")).partition(" pids=")[2]
        return [int(pid) for pid in re.findall(r"\d+", pids)]

    def kill(self) -> None:
        self.process.kill()

    def pause(self) -> None:
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    async def terminate(self, within: float = PATIENCE) -> int:
        """SIGTERM; returns its exit status, as :meth:`ended` does."""
        self.process.terminate()
        return await self.ended(within)

    async def ended(self, within: float = PATIENCE) -> int:
        """Its exit status, once it and all that it started have closed their output."""
        async with asyncio.timeout(within):
            status = await self.process.wait()
            await self._reading
        return status

    async def end(self) -> None:
        """Kills it if it still runs. Fails if it has printed a traceback."""
        if self.process.returncode is None:
            self.process.kill()
        await self.ended()
        assert not self.lines("Traceback"), self.log


@contextmanager
def no_more_descriptors(pid: int | None = None) -> Iterator[None]:
    """A process, by default this one, can open nothing more until the end of the block."""
    if pid is None:
        gc.collect()  # what it would close later would leave room
    used = {int(each.name) for each in Path(f"/proc/{pid or 'self'}/fd").iterdir()}
    if pid is None:  # the folder itself was open just now
        used = {number for number in used if _is_open(number)}
    first_free = next(number for number in count() if number not in used)
    before = resource.prlimit(pid or 0, resource.RLIMIT_NOFILE)
    resource.prlimit(pid or 0, resource.RLIMIT_NOFILE, (first_free, before[1]))
    try:
        yield
    finally:
        resource.prlimit(pid or 0, resource.RLIMIT_NOFILE, before)


def _is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


async def start(
    *command: str, env: dict[str, str] | None = None, cwd: Path | None = None
) -> asyncio.subprocess.Process:
    """Starts a command in a session of its own. What it prints comes from one pipe."""
    return await asyncio.create_subprocess_exec(
        *command,
        env=env,
        cwd=cwd,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
    )


async def start_babygun(settings: Settings, *words: str) -> asyncio.subprocess.Process:
    """Starts ``babygun …`` with these settings."""
    return await start(sys.executable, "-m", "babygun", *words, env=environment(settings))


@asynccontextmanager
async def running(*command: str, env: dict[str, str] | None = None) -> AsyncIterator[Process]:
    """A process that runs a command, and is killed at the end of the block."""
    process = Process(await start(*command, env=env))
    try:
        yield process
    finally:
        await process.end()


@asynccontextmanager
async def babygun(settings: Settings, *words: str) -> AsyncIterator[Process]:
    """``babygun …`` with these settings. It need not start: a test may want it to fail."""
    process = Process(await start_babygun(settings, *words))
    try:
        yield process
    finally:
        await process.end()


class Api:
    """An API process, and a client of it that has a token."""

    def __init__(self, process: Process, url: str, session: aiohttp.ClientSession) -> None:
        self.process, self.url, self.session = process, url, session
        self.token = ""

    async def post(self, **email: Any) -> dict[str, Any]:
        """Sends an e-mail; the answer."""
        given = {"sender": "me@example.com", "subject": "hello", "body": "Hello\n"} | email
        data = io.BytesIO(json.dumps(given).encode())
        async with self.session.post(
            self.url + "/emails", data=data, headers={"Content-Type": "application/json"}
        ) as answer:
            assert answer.status == 202, await answer.text()
            accepted: dict[str, Any] = await answer.json()
            return accepted

    async def get(self, path: str) -> dict[str, Any]:
        async with self.session.get(self.url + path) as answer:
            assert answer.status == 200, await answer.text()
            body: dict[str, Any] = await answer.json()
            return body

    async def ready(self) -> None:
        """Waits until the API is ready."""
        async with asyncio.timeout(PATIENCE):
            while True:
                async with self.session.get(self.url + "/readyz") as answer:
                    if answer.status == 200:
                        return
                await asyncio.sleep(0.02)

    async def authorize(self, client_id: str, secret: str) -> None:
        """Calls with a token of this client from now on."""
        async with self.session.post(
            self.url + "/tokens", json={"client_id": client_id, "client_secret": secret}
        ) as answer:
            assert answer.status == 200, await answer.text()
            self.token = (await answer.json())["token"]
        self.session.headers["Authorization"] = f"Bearer {self.token}"


# ``babygun …`` that dies as soon as etcd has answered a large write with the words {words}.
_DIES = """
import os, signal, sys
from babygun.cli.main import main
from babygun.etcd import EtcdClient

send = EtcdClient._request

async def send_and_die(client, rpc_name, request, *rest):
    answer = await send(client, rpc_name, request, *rest)
    if rpc_name == "txn" and len(request) > 10_000 and {words} in request:
        os.kill(os.getpid(), signal.SIGKILL)
    return answer

EtcdClient._request = send_and_die
sys.exit(main(sys.argv[1:]))
"""


@asynccontextmanager
async def api_process(
    store: Store, settings: Settings, *scopes: Scope, dies_after: bytes = b""
) -> AsyncIterator[Api]:
    """A ready API process, which gets SIGTERM at the end of the block.

    Its client has these scopes, or those to send and to read. ``dies_after``: words of a key. Once
    etcd has answered its first write of such a key, of more than 10 kB in all, the process dies as
    by SIGKILL.
    """
    program = ("-c", _DIES.format(words=dies_after)) if dies_after else ("-m", "babygun")
    command = (sys.executable, *program, "api", "--port", "0")
    async with running(*command, env=environment(replace(settings, log_format="text"))) as process:
        url = (await process.until("api listening url=")).partition("url=")[2].split()[0]
        client, secret = await create_client(
            store, name="test", scopes=scopes or ("emails:send", "emails:read")
        )
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=100)) as session:
            api = Api(process, url, session)
            await api.ready()
            await api.authorize(client.id, secret)
            yield api
        if process.process.returncode is None:
            await process.terminate()
