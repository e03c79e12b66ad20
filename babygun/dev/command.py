"""``babygun dev``: everything on this machine, in the foreground.

    etcd ─▶ mailbox ─▶ api ─▶ workers        started in this order, each when the one before it answers
    api ─▶ workers ─▶ mailbox ─▶ etcd        stopped in this order

The children are this program's own commands (``babygun api`` and so on), told by ``BABYGUN_*`` variables where the others are.
With a relay in the settings there is no mailbox: mail goes to that relay, for real. ``<data-dir>/dev.json`` says what runs
(docs/development.md has its members); it exists while everything is up, and follows each restart.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shlex
import shutil
import signal
import ssl
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import aiohttp

from babygun.dev.banner import banner, coloured, plain
from babygun.dev.certificate import with_tls
from babygun.dev.data_folder import DataFolder
from babygun.dev.etcd.binary import EtcdBinary
from babygun.dev.etcd.build import LOSSY_WARNING, prepare_etcd
from babygun.dev.etcd.command_line import readable
from babygun.dev.etcd.members import CLIENT_PORT, SIZES, EtcdCluster
from babygun.dev.interpreter import python_command, python_environment
from babygun.dev.listeners import API_PORT, Listeners
from babygun.dev.log_file import LogFile
from babygun.dev.mailbox.server import SMTP_PORT
from babygun.dev.supervisor import Component, Supervisor
from babygun.etcd.versions import is_lossy
from babygun.routing.routes import load_routes
from babygun.runtime import settings
from babygun.runtime.settings import Settings
from babygun.store import Store
from babygun.store.access.clients import create_client, delete_client, get_client, verify_secret
from babygun.store.emails.reading import list_workers
from babygun.store.records import SCOPES

MOST_WORKERS = 64
MAILBOX_CONNECTIONS = 200  # of one worker; the mailbox is ours, so nobody minds
_COLOURS = {"api": "cyan", "worker": "green", "mailbox": "magenta", "etcd": "blue"}
_RANKS = {"api": 0, "worker": 1, "mailbox": 2, "etcd": 3}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--port", type=int, help=f"the API's port (default: {API_PORT} or the next free one)"
    )
    parser.add_argument(
        "--smtp-port",
        type=int,
        help=f"the mailbox's port for mail (default: {SMTP_PORT} or the next free one)",
    )
    parser.add_argument(
        "--etcd-port",
        type=int,
        help=f"etcd's port for clients, the first member's (default: {CLIENT_PORT} or the next free one)",
    )
    parser.add_argument(
        "--etcd-members",
        type=_etcd_members,
        metavar="|".join(map(str, SIZES)),
        help="number of etcd members (default: what the data folder has, else 1)",
    )
    parser.add_argument(
        "--data-dir",
        type=Path,
        default=Path(".babygun"),
        help="where data and dev.json are (default: .babygun)",
    )
    parser.add_argument(
        "--tls",
        action=argparse.BooleanOptionalAction,
        help="https for the API, by a certificate of its own (default: where other machines can reach it)",
    )
    parser.add_argument(
        "--workers", type=_workers, metavar="N", default=1, help="number of workers (default: 1)"
    )


def run(arguments: argparse.Namespace) -> int:
    loaded = settings.load()
    load_routes(loaded)  # a wrong relay is told before anything starts
    say = _say()
    folder = DataFolder(arguments.data_dir).open(say)
    try:
        loaded = with_tls(loaded, arguments.tls, folder.path / "certificates", say)
        cluster = EtcdCluster.of(folder, arguments.etcd_members)
        Listeners.choose(
            arguments, loaded, cluster, lambda line: None
        )  # a refusal must not come after an etcd has been built, for minutes
        etcd = prepare_etcd(say)
        if is_lossy(etcd.version):
            say(LOSSY_WARNING.format(version=etcd.version))
        listeners = Listeners.choose(arguments, loaded, cluster, say)
        return asyncio.run(
            _Dev(loaded, folder, cluster, etcd, listeners, arguments.workers, say).run()
        )
    finally:
        folder.close()


def _workers(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= MOST_WORKERS:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to {MOST_WORKERS}")
    return int(text)


def _etcd_members(text: str) -> int:
    if text not in map(str, SIZES):
        raise argparse.ArgumentTypeError(f"{text!r} is none of {', '.join(map(str, SIZES))}")
    return int(text)


def _say() -> Callable[[str], None]:
    def say(line: str) -> None:
        try:
            print(line, flush=True)
        except (BrokenPipeError, ValueError):  # whoever read it is gone; that is no reason to stop
            sys.stdout = open(os.devnull, "w")  # noqa: SIM115, PTH123

    return say


class _Dev:
    """One run."""

    def __init__(
        self,
        loaded: Settings,
        folder: DataFolder,
        cluster: EtcdCluster,
        etcd: EtcdBinary,
        listeners: Listeners,
        workers: int,
        say: Callable[[str], None],
    ) -> None:
        (
            self._settings,
            self._folder,
            self._cluster,
            self._etcd,
            self._at,
            self._workers,
            self._say,
        ) = loaded, folder, cluster, etcd, listeners, workers, say
        colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ
        self._style = coloured if colour else plain
        self._client_id, self._client_secret = folder.credentials()
        self._members = cluster.members(listeners.etcd, etcd, loaded.etcd_quota)
        self._endpoints = [member.endpoint for member in self._members]
        self._logs = [
            LogFile(folder.logs / f"{name}.log") for name in self._names("etcd", len(self._members))
        ]
        self._up = False
        self._supervisor = Supervisor(
            lambda line: say(self._style("yellow", line)), self._write_state, inherit=[folder.lock]
        )

    # --- the run ---

    async def run(self) -> int:
        stopping = asyncio.Event()
        signals = 0

        def stop() -> None:
            nonlocal signals
            signals += 1
            if signals == 1:
                self._say("stopping (once more kills at once)")
                stopping.set()
            else:
                self._supervisor.kill()

        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, stop)
        starting = asyncio.create_task(self._start(), name="start")
        waiting = asyncio.create_task(stopping.wait(), name="stopping")
        try:
            await asyncio.wait([starting, waiting], return_when=asyncio.FIRST_COMPLETED)
            if starting.done():
                starting.result()
                await waiting
        finally:
            for task in (starting, waiting):
                task.cancel()
            await asyncio.wait([starting, waiting])
            self._up = False
            await self._supervisor.stop()
            for log in self._logs:
                log.close()
        self._say("stopped")
        return 0 if signals < 2 else 130

    async def _start(self) -> None:
        names = self._names("etcd", len(self._members))
        # all at once: none is ready before the cluster has a leader
        await asyncio.gather(
            *(
                self._supervisor.start(self._etcd_component(name, number))
                for number, name in enumerate(names)
            )
        )
        self._cluster.formed()
        async with Store(self._child_settings()) as store:
            await self._ensure_client(store)
            if mailbox_url := self._at.mailbox_url:
                await self._supervisor.start(
                    self._component(
                        "mailbox",
                        "mailbox",
                        self._mailbox_arguments(),
                        self._answers(f"{mailbox_url}/healthz"),
                        5,
                    )
                )
            drain = self._settings.drain_timeout
            await self._supervisor.start(
                self._component(
                    "api", "api", (), self._answers(f"{self._at.api_url}/healthz"), drain + 5
                )
            )
            workers = enumerate(self._names("worker", self._workers))
            await asyncio.gather(
                *(
                    self._supervisor.start(
                        self._component(
                            name, "worker", (), self._registered, drain + 10, self._probes(n)
                        )
                    )
                    for n, name in workers
                )
            )
            self._up = True
            self._write_state()
            self._say(self._banner())

    async def _ensure_client(self, store: Store) -> None:
        """The client of client.json, in etcd too: at the first start, and where etcd's data were deleted."""
        client = await get_client(store, self._client_id)
        if client and not verify_secret(client, self._client_secret):
            await delete_client(store, self._client_id)
            client = None
        if not client:
            await create_client(
                store,
                name="babygun dev",
                scopes=SCOPES,
                client_id=self._client_id,
                secret=self._client_secret,
            )

    # --- the components ---

    @staticmethod
    def _names(role: str, count: int) -> list[str]:
        return [f"{role}-{number}" for number in range(1, count + 1)] if count > 1 else [role]

    def _etcd_component(self, name: str, number: int) -> Component:
        member = self._members[number]

        async def healthy(pid: int) -> bool:
            async with aiohttp.ClientSession() as session:
                return await member.healthy(session)

        # One after the other: a leader hands over before it ends, and would wait in vain for one that is ending as well.
        rank = _RANKS["etcd"] + number
        return Component(
            name,
            "etcd",
            member.command(),
            member.environment(),
            healthy,
            rank,
            self._logs[number].write,
            readable,
            stop_within=20,
        )

    def _probes(self, number: int) -> dict[str, str]:
        """A port of its own for each worker, from the one in the settings on, where that asks for any."""
        port = self._settings.worker_port
        return {"BABYGUN_WORKER_PORT": str(port + number)} if port else {}

    def _component(
        self,
        name: str,
        role: str,
        arguments: tuple[str, ...],
        ready: Callable[[int], Any],
        stop_within: float,
        more: Mapping[str, str] | None = None,
    ) -> Component:
        label = self._style(_COLOURS[role], f"{name:<{max(7, len(f'worker-{self._workers}'))}}")
        return Component(
            name,
            role,
            python_command("babygun", role, *arguments),
            {**self._child_environment(), **(more or {})},
            ready,
            _RANKS[role],
            lambda line: self._say(f"{label} | {line}"),
            stop_within=stop_within,
        )

    def _mailbox_arguments(self) -> tuple[str, ...]:
        return ("--smtp-port", str(self._at.smtp_port), "--http-port", str(self._at.view_port))

    def _answers(self, url: str) -> Callable[[int], Any]:
        async def ready(pid: int) -> bool:
            # our own process on our own machine: whether the certificate names 127.0.0.1 is no matter here
            async with (
                aiohttp.ClientSession() as session,
                session.get(url, ssl=_unverified()) as answer,
            ):
                return answer.status == 200

        return ready

    async def _registered(self, pid: int) -> bool:
        async with Store(self._child_settings()) as store:
            return any(worker.pid == pid for worker in await list_workers(store))

    def _child_variables(self) -> dict[str, str]:
        variables = {
            "BABYGUN_ETCD_ENDPOINTS": ",".join(self._endpoints),
            "BABYGUN_API_PORT": str(self._at.api_port),
            "BABYGUN_PROCESSES": "1",  # each process here is watched by itself
            "BABYGUN_API_CERT": self._settings.api_cert,
            "BABYGUN_API_KEY": self._settings.api_key,
            # the embedded etcd asks for none of these, whatever the one of the user's settings does
            **{
                f"BABYGUN_{name}": ""
                for name in ("ETCD_USER", "ETCD_PASSWORD", "ETCD_CA", "ETCD_CERT", "ETCD_KEY")
            },
        }
        if self._at.mailbox_url:
            relay = {
                "url": f"smtp://127.0.0.1:{self._at.smtp_port}",
                "tls": "none",
                "max_connections": MAILBOX_CONNECTIONS,
            }
            variables["BABYGUN_RELAYS"] = json.dumps({"mailbox": relay})
        return variables

    def _child_environment(self) -> dict[str, str]:
        return {**python_environment(), "PYTHONUNBUFFERED": "1", **self._child_variables()}

    def _child_settings(self) -> Settings:
        return settings.load({**os.environ, **self._child_variables()})

    # --- what is told ---

    def _write_state(self) -> None:
        if not self._up:
            return
        pids = {
            role: self._supervisor.pids().get(role, [])
            for role in ("etcd", "api", "worker", "mailbox")
        }
        self._folder.write_dev_json(
            {
                "api_url": self._at.api_url,
                **({"api_ca": self._settings.api_ca} if self._settings.api_ca else {}),
                "etcd_endpoints": self._endpoints,
                "smtp_host": self._at.smtp_host,
                "smtp_port": self._at.smtp_port,
                "mailbox_url": self._at.mailbox_url,
                "client_id": self._client_id,
                "client_secret": self._client_secret,
                "pid": os.getpid(),
                "pids": pids,
            }
        )

    def _banner(self) -> str:
        etcdctl = self._etcd.program("etcdctl")
        relays = ", ".join(
            f"{relay.name} ({relay.address})"
            for relay in load_routes(self._child_settings()).destinations.values()
        )
        return banner(
            style=self._style,
            api_url=self._at.api_url,
            client_id=self._client_id,
            client_secret=self._client_secret,
            delivery=f"the mailbox (smtp://{self._at.smtp_host}:{self._at.smtp_port}), nowhere else"
            if self._at.mailbox_url
            else relays,
            mailbox_url=self._at.mailbox_url,
            etcd=f"{self._etcd.version}, {_short(self._etcd.path)}",
            etcd_endpoint=",".join(self._endpoints),
            etcdctl=_short(etcdctl) if etcdctl else None,
            prefix=self._settings.prefix,
            data=str(self._folder.path),
            curl=f"curl --cacert {shlex.quote(self._settings.api_ca or self._settings.api_cert)}"
            if self._settings.api_cert
            else "curl",
        )


def _unverified() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def _short(program: Path) -> str:
    """How a person would call it from any folder: by its name where the PATH has it, by this environment's link, by its path."""
    found = shutil.which(program.name)
    if found and Path(found).resolve() == program.resolve():
        return program.name
    link = Path(sys.prefix) / "bin" / program.name
    return str(link if link.is_symlink() and link.resolve() == program.resolve() else program)
