"""``babygun dev`` as a person runs it: in a folder of its own, stopped with Ctrl-C."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import ssl
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from babygun.runtime.processes.interpreter import python_command, python_environment
from tests.support.processes import PATIENCE, Process, start

PORTS = ("--port", "0", "--smtp-port", "0", "--etcd-port", "0")


def environment(**more: str) -> dict[str, str]:
    """The variables of the test run, without Babygun's settings."""
    clean = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("BABYGUN_") or name == "BABYGUN_ETCD_BIN"
    }
    return python_environment({**clean, "PYTHONWARNINGS": "default", **more})


class Dev:
    """``babygun dev`` in a folder. ``run``: its latest process."""

    run: Process

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    async def start(self, *arguments: str, **variables: str) -> None:
        """Starts it with these arguments, or on free ports."""
        command = (*python_command("babygun"), "dev", *(arguments or PORTS))
        self.run = Process(await start(*command, env=environment(**variables), cwd=self.folder))

    @property
    def lines(self) -> list[str]:
        """What it has printed so far."""
        return self.run.said

    async def until(self, words: str) -> None:
        """Waits for a line that contains ``words``."""
        await self.run.until(words)

    async def running(self) -> dict[str, Any]:
        """Its state, once all is up."""
        await self.until("Ctrl-C stops everything")
        return self.state()

    async def paste(self, script: str) -> str:
        """What a shell in its folder prints for these lines, none of which may fail."""
        shell = await asyncio.create_subprocess_exec(
            "sh",
            "-eu",
            cwd=self.folder,
            env=environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        async with asyncio.timeout(90):
            out, err = await shell.communicate(script.encode())
        assert shell.returncode == 0, err.decode()
        return out.decode()

    def state(self) -> dict[str, Any]:
        state: dict[str, Any] = json.loads((self.folder / ".babygun" / "dev.json").read_text())
        return state

    async def refused(self) -> int:
        """Its exit status, once it has ended by itself."""
        return await self.run.ended()

    async def interrupt(self) -> int:
        """Ctrl-C; returns its exit status."""
        self.run.process.send_signal(signal.SIGINT)
        return await self.run.ended()


@asynccontextmanager
async def dev_in(folder: Path) -> AsyncIterator[Dev]:
    """``babygun dev``, not started yet. It gets Ctrl-C at the end of the block."""
    dev = Dev(folder)
    try:
        yield dev
    finally:
        if dev.run.process.returncode is None:
            await dev.interrupt()


async def answered(what: Callable[[], Awaitable[Any]], wanted: Callable[[Any], bool]) -> Any:
    """Asks until the answer is as wanted. It is another process, which sends no event."""
    value = None
    try:
        async with asyncio.timeout(PATIENCE):
            while not wanted(value := await what()):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise AssertionError(f"in the end it was {value}") from None
    return value


class Client:
    """Calls the API of a ``babygun dev`` by its state."""

    def __init__(self, state: dict[str, Any], session: aiohttp.ClientSession) -> None:
        self.state, self.session, self.token = state, session, ""

    async def call(self, method: str, path: str, body: Any = None, key: str | None = None) -> Any:
        """The answer. Without a leader, etcd may not answer in time: 503, and the call is repeated.

        ``key``: the Idempotency-Key.
        """
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        if key:
            headers["Idempotency-Key"] = key

        async def once() -> tuple[int, Any]:
            async with self.session.request(
                method, self.state["api_url"] + path, json=body, headers=headers
            ) as answer:
                return answer.status, await answer.json()

        status, answer = await answered(once, lambda got: got[0] != 503)
        assert status < 300, answer
        return answer

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
        email_id: str = (await self.call("POST", "/emails", mail, key=subject))["id"]
        return email_id

    async def completed(self, email_id: str) -> Any:
        return await answered(
            lambda: self.call("GET", f"/emails/{email_id}"),
            lambda email: email["status"] == "complete",
        )

    async def subjects(self) -> list[str]:
        async with self.session.get(self.state["mailbox_url"] + "/messages") as answer:
            return [message["subject"] for message in (await answer.json())["messages"]]


async def status_of(session: aiohttp.ClientSession, url: str) -> int:
    """The status of a GET; 0 where nothing answers."""
    try:
        async with session.get(url) as answer:
            return answer.status
    except aiohttp.ClientError:
        return 0


def etcd_tls(state: dict[str, Any]) -> ssl.SSLContext:
    """With the certificate that etcd asks for."""
    context = ssl.create_default_context(cafile=state["etcd_ca"])
    context.load_cert_chain(state["etcd_cert"], state["etcd_key"])
    return context


def all_pids(state: dict[str, Any]) -> list[int]:
    """The ids of its processes, and its own."""
    return [state["pid"], *(pid for pids in state["pids"].values() for pid in pids)]
