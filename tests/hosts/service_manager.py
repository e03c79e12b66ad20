"""A stand-in for systemd: it runs units as plain processes, with their settings and credentials.

It knows what our units use: environments, credentials, drop-ins, instances, ``PartOf``, types and
the watchdog. It confines nothing and starts nothing again.
"""

from __future__ import annotations

import asyncio
import fnmatch
import os
import shlex
import shutil
import signal
import socket
from pathlib import Path

from tests.hosts import environment_files
from tests.support.unit_files import Unit

_START, _STOP = 60.0, 60.0  # s


class Service:
    """A unit that runs. ``signs``: what it has reported by its notify socket, up to ``closing``."""

    closing: asyncio.Task[None]

    def __init__(
        self, name: str, process: asyncio.subprocess.Process, log: Path, begun: int
    ) -> None:
        self.name, self.process = name, process
        self._log, self._begun = log, begun
        self.signs: list[str] = []

    @property
    def said(self) -> str:
        """What it has printed since this start."""
        return self._log.read_bytes()[self._begun :].decode(errors="replace")

    def __str__(self) -> str:
        return f"{self.name}: {self.said[-3000:]}"


class ServiceManager:
    """``folder`` has the units. ``root``: the folder that stands for ``/``."""

    def __init__(self, root: Path, variables: dict[str, str]) -> None:
        self._root, self._variables = root, variables
        self._folder = root / "etc/systemd/system"
        self._enabled: set[str] = set()
        self.running: dict[str, Service] = {}
        self._started: list[Service] = []  # all that ever ran

    async def do(self, words: list[str]) -> str:
        """What ``systemctl`` does with these words. Raises AssertionError where it fails."""
        verb, *names = [word for word in words if not word.startswith("--")]
        units = [name if "." in name else f"{name}.service" for name in names]
        match verb:
            case "daemon-reload":
                return ""
            case "status" | "is-active":
                return self._status(units)
            case "enable":
                self._enabled.update(units)
                if "--now" in words:
                    await self._start(units)
            case "start":
                await self._start(units)
            case "stop":
                await self._stop(units)
            case "restart":
                await self._stop(units)
                await self._start(units)
            case _:
                raise AssertionError(f"the stand-in for systemctl can't {verb}")
        return ""

    async def close(self) -> None:
        """Kills what still runs, and closes all sockets."""
        for service in self._started:
            if service.process.returncode is None:
                service.process.kill()
            await service.closing

    def _status(self, patterns: list[str]) -> str:
        lines = []
        for pattern in patterns:
            names = [name for name in self.running if fnmatch.fnmatch(name, pattern)]
            assert names, f"{pattern}: nothing of it runs"
            for name in names:
                assert self.running[name].process.returncode is None, str(self.running[name])
                lines.append(f"{name} active\n")
        return "".join(lines)

    async def _start(self, names: list[str]) -> None:
        for name in names:
            if name.endswith(".timer"):
                assert self._unit(name)["Timer"]
            elif name.endswith(".target"):
                await self._start([each for each in sorted(self._enabled) if self._is_of(each)])
            elif name not in self.running:
                await self._start_service(name)

    async def _stop(self, names: list[str]) -> None:
        for name in names:
            if name.endswith(".target"):
                await self._stop([each for each in self.running if self._is_of(each)])
            elif service := self.running.pop(name, None):
                if service.process.returncode is None:
                    service.process.terminate()
                async with asyncio.timeout(_STOP):
                    assert await service.process.wait() in (0, -signal.SIGTERM), str(service)

    def _is_of(self, name: str) -> bool:
        """Whether a unit is part of babygun.target."""
        return "babygun.target" in self._unit(name).get("Unit", {}).get("PartOf", [])

    def _unit(self, name: str) -> Unit:
        """A unit with its drop-ins; ``%i`` is filled in."""
        stem, at, instance = name.partition("@")
        instance, _, suffix = instance.partition(".") if at else ("", "", "")
        file = self._folder / (f"{stem}@.{suffix}" if at else name)
        unit = Unit(file)
        for drop_in in sorted(self._folder.glob(f"{name}.d/*.conf")):
            for section, values in Unit(drop_in).items():
                for key, lines in values.items():
                    known = unit.setdefault(section, {}).setdefault(key, [])
                    known[:] = lines[1:] if lines[0] == "" else [*known, *lines]
        for values in unit.values():
            for lines in values.values():
                lines[:] = [line.replace("%i", instance) for line in lines]
        return unit

    async def _start_service(self, name: str) -> None:
        service = self._unit(name)["Service"]
        credentials = self._credentials(name, service.get("LoadCredential", []))
        for folder in service.get("StateDirectory", []):
            (self._root / "var/lib" / folder).mkdir(mode=0o700, parents=True, exist_ok=True)
        variables = dict(self._variables)
        for line in service.get("Environment", []):
            variables |= environment_files.assignments(line.replace("%d", str(credentials)))
        for path in service.get("EnvironmentFile", []):
            variables |= environment_files.read(Path(path))
        [command] = service["ExecStart"]
        seconds = int(service.get("WatchdogSec", ["0"])[0])
        reports = _Reports(f"babygun-test-{os.getpid()}-{id(self)}-{name}")
        variables["NOTIFY_SOCKET"] = f"@{reports.name}"
        words = shlex.split(command.replace("%d", str(credentials)))
        if seconds:
            variables["WATCHDOG_USEC"] = str(seconds * 1_000_000)
            words = ["sh", "-c", 'WATCHDOG_PID=$$ exec "$@"', "sh", *words]
        said = self._root / f"{name}.log"
        with said.open("ab") as log:
            begun = log.tell()
            process = await asyncio.create_subprocess_exec(
                *words, env=variables, cwd="/", stdout=log, stderr=log, start_new_session=True
            )
        self.running[name] = started = Service(name, process, said, begun)
        started.closing = reports.follow(started)
        self._started.append(started)
        await self._until_started(started, service.get("Type", ["simple"])[0], reports)

    async def _until_started(self, service: Service, kind: str, reports: _Reports) -> None:
        ended = asyncio.create_task(service.process.wait())
        async with asyncio.timeout(_START):
            if kind == "oneshot":
                assert await ended == 0, str(service)
                del self.running[service.name]
            elif kind == "notify":
                ready = asyncio.create_task(reports.ready.wait())
                await asyncio.wait([ended, ready], return_when=asyncio.FIRST_COMPLETED)
                ready.cancel()
                assert service.process.returncode is None, str(service)
        ended.cancel()

    def _credentials(self, name: str, lines: list[str]) -> Path:
        folder = self._root / "run/credentials" / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for line in lines:
            credential, _, path = line.partition(":")
            shutil.copy(path, folder / credential)
        return folder


class _Reports:
    """The socket to which a service reports (sd_notify(3))."""

    def __init__(self, name: str) -> None:
        self.name, self.ready = name, asyncio.Event()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(f"\0{name}")
        self._socket.setblocking(False)

    def follow(self, service: Service) -> asyncio.Task[None]:
        """Reads what it reports. The task ends when the service has, and the socket is closed."""
        loop = asyncio.get_running_loop()

        def read() -> None:
            said = self._socket.recv(4096).decode()
            service.signs += said.splitlines()
            if "READY=1" in said:
                self.ready.set()

        async def close() -> None:
            await service.process.wait()
            loop.remove_reader(self._socket)
            self._socket.close()

        loop.add_reader(self._socket, read)
        return asyncio.create_task(close())
