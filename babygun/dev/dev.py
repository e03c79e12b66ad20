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
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp

from babygun import settings
from babygun.dev.banner import banner, coloured, plain
from babygun.dev.data_folder import DataFolder
from babygun.dev.embedded_etcd import EmbeddedEtcd, readable
from babygun.dev.etcd_binary import EtcdBinary
from babygun.dev.etcd_build import LOSSY_WARNING, prepare_etcd
from babygun.dev.interpreter import python_command, python_environment
from babygun.dev.log_file import LogFile
from babygun.dev.mailbox import HTTP_PORT, SMTP_PORT
from babygun.dev.ports import Ports
from babygun.dev.supervisor import Component, Supervisor
from babygun.errors import SettingsError
from babygun.etcd_versions import is_lossy
from babygun.model import SCOPES
from babygun.routing import load_routes
from babygun.settings import Settings
from babygun.store import Store
from babygun.store.clients import create_client, delete_client, get_client, verify_secret
from babygun.store.reading import list_workers

API_PORT = 8080
ETCD_PORT = 2379
MAILBOX_CONNECTIONS = 200  # of one worker; the mailbox is ours, so nobody minds
_COLOURS = {"api": "cyan", "worker": "green", "mailbox": "magenta", "etcd": "blue"}
_RANKS = {"api": 0, "worker": 1, "mailbox": 2, "etcd": 3}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--port", type=int, help=f"the API's port (default: {API_PORT} or the next free one)")
    parser.add_argument("--smtp-port", type=int, help=f"the mailbox's port for mail (default: {SMTP_PORT} or the next free one)")
    parser.add_argument("--etcd-port", type=int, help=f"etcd's port for clients (default: {ETCD_PORT} or the next free one)")
    parser.add_argument("--data-dir", type=Path, default=Path(".babygun"), help="where data and dev.json are (default: .babygun)")
    parser.add_argument("--workers", type=int, default=1, help="number of workers (default: 1)")


def run(arguments: argparse.Namespace) -> int:
    loaded = settings.load()
    load_routes(loaded)  # a wrong relay is told before anything starts
    if not 0 <= arguments.workers <= 64:
        raise SettingsError("--workers must be between 0 and 64")
    say = _say()
    folder = DataFolder(arguments.data_dir).open(say)
    try:
        etcd = prepare_etcd(say)
        if is_lossy(etcd.version):
            say(LOSSY_WARNING.format(version=etcd.version))
        return asyncio.run(_Dev(arguments, loaded, folder, etcd, say).run())
    finally:
        folder.close()


def _say() -> Callable[[str], None]:
    def say(line: str) -> None:
        try:
            print(line, flush=True)
        except (BrokenPipeError, ValueError):  # whoever read it is gone; that is no reason to stop
            sys.stdout = open(os.devnull, "w")  # noqa: SIM115, PTH123

    return say


class _Dev:
    """One run."""

    def __init__(self, arguments: argparse.Namespace, loaded: Settings, folder: DataFolder, etcd: EtcdBinary, say: Callable[[str], None]) -> None:
        self._settings, self._folder, self._say, self._workers = loaded, folder, say, arguments.workers
        colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ
        self._style = coloured if colour else plain
        self._with_mailbox = not loaded.relay_url and not loaded.relays
        self._choose_ports(arguments, etcd)
        self._client_id, self._client_secret = folder.credentials()
        self._etcd_log = LogFile(folder.logs / "etcd.log")
        self._up = False
        self._supervisor = Supervisor(lambda line: say(self._style("yellow", line)), self._write_state, inherit=[folder.lock])

    def _choose_ports(self, arguments: argparse.Namespace, etcd: EtcdBinary) -> None:
        ports, loaded = Ports(self._say), self._settings
        asked = arguments.port
        if asked is None and ("BABYGUN_API_PORT" in os.environ or loaded.api_port != API_PORT):
            asked = loaded.api_port
        host = loaded.api_host or "0.0.0.0"  # noqa: S104
        self._api_port = ports.choose("the API", asked=asked, default=API_PORT, option="--port", host=host)
        client = ports.choose("etcd", asked=arguments.etcd_port, default=ETCD_PORT, option="--etcd-port")
        self._etcd = EmbeddedEtcd(etcd, self._folder.etcd, client, ports.any(), loaded.etcd_quota)
        shown = "127.0.0.1" if loaded.api_host in ("", "0.0.0.0", "::") else f"[{loaded.api_host}]" if ":" in loaded.api_host else loaded.api_host  # noqa: S104
        self._api_url = f"{'https' if loaded.api_cert else 'http'}://{shown}:{self._api_port}"
        if self._with_mailbox:
            self._smtp_host, self._smtp_port = "127.0.0.1", ports.choose("the mailbox", asked=arguments.smtp_port, default=SMTP_PORT, option="--smtp-port")
            self._view_port = ports.choose("the mailbox's view", asked=None, default=HTTP_PORT, option="")
        else:
            relay = list(load_routes(loaded).relays.values())[-1]  # the default one, or the last
            self._smtp_host, self._smtp_port = relay.host, relay.port
            if arguments.smtp_port is not None:
                self._say("note: --smtp-port has no effect, since a relay is set and so there is no mailbox")

    @property
    def _mailbox_url(self) -> str | None:
        return f"http://127.0.0.1:{self._view_port}" if self._with_mailbox else None

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
            self._etcd_log.close()
        self._say("stopped")
        return 0 if signals < 2 else 130

    async def _start(self) -> None:
        await self._supervisor.start(self._etcd_component())
        async with Store(self._child_settings()) as store:
            await self._ensure_client(store)
            if self._with_mailbox:
                await self._supervisor.start(self._component("mailbox", "mailbox", self._mailbox_arguments(), self._answers(f"{self._mailbox_url}/healthz"), 5))
            drain = self._settings.drain_timeout
            await self._supervisor.start(self._component("api", "api", (), self._answers(f"{self._api_url}/healthz"), drain + 5))
            names = [f"worker-{number}" if self._workers > 1 else "worker" for number in range(1, self._workers + 1)]
            await asyncio.gather(*(self._supervisor.start(self._component(name, "worker", (), self._registered, drain + 10)) for name in names))
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
            await create_client(store, name="babygun dev", scopes=SCOPES, client_id=self._client_id, secret=self._client_secret)

    # --- the components ---

    def _etcd_component(self) -> Component:
        async def healthy(pid: int) -> bool:
            async with aiohttp.ClientSession() as session:
                return await self._etcd.healthy(session)

        return Component("etcd", "etcd", self._etcd.command(), self._etcd.environment(), healthy, _RANKS["etcd"], self._etcd_log.write, readable, stop_within=20)

    def _component(self, name: str, role: str, arguments: tuple[str, ...], ready: Callable[[int], Any], stop_within: float) -> Component:
        label = self._style(_COLOURS[role], f"{name:<{max(7, len(f'worker-{self._workers}'))}}")
        return Component(
            name,
            role,
            python_command("babygun", role, *arguments),
            self._child_environment(),
            ready,
            _RANKS[role],
            lambda line: self._say(f"{label} | {line}"),
            stop_within=stop_within,
        )

    def _mailbox_arguments(self) -> tuple[str, ...]:
        return ("--smtp-port", str(self._smtp_port), "--http-port", str(self._view_port))

    def _answers(self, url: str) -> Callable[[int], Any]:
        async def ready(pid: int) -> bool:
            # our own process on our own machine: whether the certificate names 127.0.0.1 is no matter here
            async with aiohttp.ClientSession() as session, session.get(url, ssl=_unverified()) as answer:
                return answer.status == 200

        return ready

    async def _registered(self, pid: int) -> bool:
        async with Store(self._child_settings()) as store:
            return any(worker.pid == pid for worker in await list_workers(store))

    def _child_variables(self) -> dict[str, str]:
        variables = {
            "BABYGUN_ETCD_ENDPOINTS": self._etcd.endpoint,
            "BABYGUN_API_PORT": str(self._api_port),
            # the embedded etcd asks for none of these, whatever the one of the user's settings does
            **{f"BABYGUN_{name}": "" for name in ("ETCD_USER", "ETCD_PASSWORD", "ETCD_CA", "ETCD_CERT", "ETCD_KEY")},
        }
        if self._with_mailbox:
            relay = {"url": f"smtp://127.0.0.1:{self._smtp_port}", "tls": "none", "max_connections": MAILBOX_CONNECTIONS}
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
        pids = {role: self._supervisor.pids().get(role, []) for role in ("etcd", "api", "worker", "mailbox")}
        self._folder.write_dev_json(
            {
                "api_url": self._api_url,
                "etcd_endpoints": [self._etcd.endpoint],
                "smtp_host": self._smtp_host,
                "smtp_port": self._smtp_port,
                "mailbox_url": self._mailbox_url,
                "client_id": self._client_id,
                "client_secret": self._client_secret,
                "pid": os.getpid(),
                "pids": pids,
            }
        )

    def _banner(self) -> str:
        etcdctl = self._etcd.binary.program("etcdctl")
        relays = ", ".join(f"{relay.name} ({relay.host}:{relay.port})" for relay in load_routes(self._child_settings()).relays.values())
        return banner(
            style=self._style,
            api_url=self._api_url,
            client_id=self._client_id,
            client_secret=self._client_secret,
            delivery=f"the mailbox (smtp://{self._smtp_host}:{self._smtp_port}), nowhere else" if self._with_mailbox else relays,
            mailbox_url=self._mailbox_url,
            etcd=f"{self._etcd.binary.version}, {_short(self._etcd.binary.path)}",
            etcd_endpoint=self._etcd.endpoint,
            etcdctl=_short(etcdctl) if etcdctl else None,
            prefix=self._settings.prefix,
            data=str(self._folder.path),
            curl=f"curl --cacert {shlex.quote(self._settings.api_cert)}" if self._settings.api_cert else "curl",
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
