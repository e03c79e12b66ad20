"""``babygun dev``: everything on this machine, in the foreground.

    etcd ─▶ mailbox ─▶ api ─▶ workers        the order of starting; each waits for the one before
    api ─▶ workers ─▶ mailbox ─▶ etcd        the order of stopping

If a relay is set there is no mailbox: mail goes to that relay, for real. ``<data-dir>/dev.json``
says what runs (docs/development.md lists its members). It exists while everything is up, and is
written again after each restart of a process.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Sequence

from babygun.dev.banner import banner
from babygun.dev.components import Components
from babygun.dev.data_folder import DataFolder
from babygun.dev.installation import Installation
from babygun.dev.options import Options, RelayAddress
from babygun.dev.supervisor import Supervisor
from babygun.dev.terminal import Terminal
from babygun.runtime.settings import Settings
from babygun.store import Store
from babygun.store.access.clients import create_client, delete_client, get_client, verify_secret
from babygun.store.records import SCOPES

ROLES = ("etcd", "api", "worker", "mailbox")


def run(settings: Settings, options: Options, relays: Sequence[RelayAddress]) -> int:
    """Runs everything until a signal comes; returns the exit status.

    ``relays``: those of the settings, the default one last. Raises BabygunError.
    """
    terminal = Terminal()
    folder = DataFolder(options.data_dir).open(terminal.say)
    try:
        installation = Installation.prepare(settings, options, relays, folder, terminal.say)
        return asyncio.run(_Run(installation, terminal).run())
    finally:
        folder.close()


class _Run:
    def __init__(self, installation: Installation, terminal: Terminal) -> None:
        self._installation, self._terminal = installation, terminal
        self._components = Components(installation, terminal)
        self._up = False
        self._supervisor = Supervisor(
            lambda line: terminal.say(terminal.style("yellow", line)),
            self._write_dev_json,
            inherit=[installation.folder.lock],
        )

    async def run(self) -> int:
        stopping = asyncio.Event()
        signals = 0

        def stop() -> None:
            nonlocal signals
            signals += 1
            if signals == 1:
                self._terminal.say("stopping (once more kills at once)")
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
            self._components.close()
        self._terminal.say("stopped")
        return 0 if signals < 2 else 130

    async def _start(self) -> None:
        start, components = self._supervisor.start, self._components
        await asyncio.gather(*map(start, components.etcd()))
        self._installation.cluster.formed()
        async with Store(self._installation.child_settings()) as store:
            await self._ensure_client(store)
        if self._installation.listeners.mailbox_url:
            await start(components.mailbox())
        await start(components.api())
        await asyncio.gather(*map(start, components.workers()))
        self._up = True
        self._write_dev_json()
        self._terminal.say(banner(self._installation, self._terminal.style))

    async def _ensure_client(self, store: Store) -> None:
        """Makes the API client of client.json in etcd, unless etcd has it already."""
        client_id, secret = self._installation.client_id, self._installation.client_secret
        client = await get_client(store, client_id)
        if client and not verify_secret(client, secret):
            await delete_client(store, client_id)
            client = None
        if not client:
            await create_client(
                store, name="babygun dev", scopes=SCOPES, client_id=client_id, secret=secret
            )

    def _write_dev_json(self) -> None:
        if not self._up:
            return
        installation, at = self._installation, self._installation.listeners
        api_ca = installation.settings.api_ca
        pids = self._supervisor.pids()
        installation.folder.write_dev_json(
            {
                "api_url": at.api_url,
                **({"api_ca": api_ca} if api_ca else {}),
                "etcd_endpoints": installation.etcd_endpoints,
                "smtp_host": at.smtp_host,
                "smtp_port": at.smtp_port,
                "mailbox_url": at.mailbox_url,
                "client_id": installation.client_id,
                "client_secret": installation.client_secret,
                "pid": os.getpid(),
                "pids": {role: pids.get(role, []) for role in ROLES},
            }
        )
