"""The processes of ``babygun dev``: how each is started, and how it shows that it is ready.

API, workers, bounced and mailbox are this program's own commands (``babygun api`` and so on).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence

import aiohttp

from babygun.dev.etcd.command_line import readable
from babygun.dev.installation import Installation
from babygun.dev.log_file import LogFile
from babygun.dev.terminal import Terminal
from babygun.runtime.processes.interpreter import python_command, python_environment
from babygun.runtime.processes.programs import Program
from babygun.runtime.tls import unverified_context
from babygun.store import Store
from babygun.store.cluster.processes import list_workers

_COLOURS = {"api": "cyan", "worker": "green", "bounced": "yellow", "mailbox": "magenta"}
_RANKS = {"api": 0, "worker": 1, "bounced": 1, "mailbox": 2, "etcd": 3}  # the order of stopping

Ready = Callable[[int], Awaitable[bool]]  # takes the process id


class Components:
    """``close`` closes the log files; until then they take what etcd prints."""

    def __init__(self, installation: Installation, terminal: Terminal) -> None:
        self._installation, self._terminal = installation, terminal
        self._variables = installation.child_variables()
        self._settings = installation.child_settings()
        self._logs = {
            name: LogFile(installation.folder.logs / f"{name}.log")
            for name in _names("etcd", len(installation.members))
        }

    def close(self) -> None:
        for log in self._logs.values():
            log.close()

    def etcd(self) -> list[Program]:
        """The members. Start them together: none is ready before the cluster has a leader."""
        return [self._member(number, name) for number, name in enumerate(self._logs)]

    def mailbox(self) -> Program:
        at = self._installation.listeners
        ports = {"smtp": at.smtp_port, "http": at.view_port, "bounce": at.bounce_port}
        arguments = [word for name, n in ports.items() for word in (f"--{name}-port", str(n))]
        ready = _answers(f"{at.mailbox_url}/healthz")
        return self._own("mailbox", "mailbox", arguments, ready=ready, stop_within=20)

    def api(self) -> Program:
        return self._own(
            "api",
            "api",
            ready=_answers(f"{self._installation.listeners.api_url}/healthz"),
            stop_within=self._settings.drain_timeout + 5,
        )

    def workers(self) -> list[Program]:
        return [
            self._own(
                name,
                "worker",
                ready=self._checked_in,
                stop_within=self._settings.drain_timeout + 10,
                more=self._worker_port(number),
            )
            for number, name in enumerate(_names("worker", self._installation.workers))
        ]

    def bounced(self) -> Program:
        port = self._installation.listeners.bounce_port
        return self._own(
            "bounced",
            "bounced",
            ready=_greets(port),
            stop_within=self._settings.drain_timeout + 5,
        )

    def _member(self, number: int, name: str) -> Program:
        member = self._installation.members[number]

        async def healthy(pid: int) -> bool:
            async with aiohttp.ClientSession() as session:
                return await member.healthy(session)

        return Program(
            name=name,
            role="etcd",
            command=member.command(),
            environment=member.environment(),
            ready=healthy,
            # Members stop one after the other: a leader hands over to a member that stays.
            rank=_RANKS["etcd"] + number,
            output=self._logs[name].write,
            readable=readable,
            stop_within=60,
        )

    def _own(
        self,
        name: str,
        role: str,
        arguments: Sequence[str] = (),
        *,
        ready: Ready,
        stop_within: float,
        more: Mapping[str, str] | None = None,
    ) -> Program:
        """``more``: further environment variables."""
        width = max(len("mailbox"), len(f"worker-{self._installation.workers}"))
        label = self._terminal.style(_COLOURS[role], f"{name:<{width}}")
        environment = {**python_environment(), "PYTHONUNBUFFERED": "1", **self._variables}
        return Program(
            name=name,
            role=role,
            command=python_command("babygun", role, *arguments),
            environment={**environment, **(more or {})},
            ready=ready,
            rank=_RANKS[role],
            output=lambda line: self._terminal.say(f"{label} | {line}"),
            stop_within=stop_within,
        )

    def _worker_port(self, number: int) -> dict[str, str]:
        """The HTTP port of each worker, counted up from the one in the settings, if one is set."""
        port = self._settings.worker_port
        return {"BABYGUN_WORKER_PORT": str(port + number)} if port else {}

    async def _checked_in(self, pid: int) -> bool:
        async with Store(self._settings) as store:
            return any(worker.pid == pid for worker in await list_workers(store))


def _names(role: str, count: int) -> list[str]:
    """``["worker"]``, or ``["worker-1", "worker-2", …]``."""
    return [f"{role}-{number}" for number in range(1, count + 1)] if count > 1 else [role]


def _greets(port: int) -> Ready:
    async def ready(pid: int) -> bool:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"QUIT\r\n")
        try:
            return (await reader.readline()).startswith(b"220 ")
        finally:
            writer.close()

    return ready


def _answers(url: str) -> Ready:
    # Our own process on this machine is asked, so the certificate needn't name 127.0.0.1.
    unverified = unverified_context()

    async def ready(pid: int) -> bool:
        async with aiohttp.ClientSession() as session, session.get(url, ssl=unverified) as answer:
            return answer.status == 200

    return ready
