"""``babygun dev``: everything on this machine, in the foreground.

    etcd ─▶ mailbox ─▶ api ─▶ workers        the order of starting; each waits for the one before
    api ─▶ workers ─▶ mailbox ─▶ etcd        the order of stopping

``babygun bounced`` starts and stops with the workers.

If a relay is set there is no mailbox: mail goes to that relay, for real. ``<data-dir>/dev.json``
says what runs (docs/development.md lists its members). It exists while everything is up, and is
written again after each restart of a process.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Sequence

from babygun.dev.banner import banner
from babygun.dev.components import Components
from babygun.dev.data_folder import DataFolder
from babygun.dev.installation import Installation
from babygun.dev.options import Options, RelayAddress
from babygun.dev.report import SentenceLog
from babygun.dev.terminal import Terminal
from babygun.errors import Conflict, EtcdUnavailable, OutcomeUnknown
from babygun.runtime.clock import utc_now
from babygun.runtime.processes.programs import Programs
from babygun.runtime.processes.supervisor import Supervisor
from babygun.runtime.settings import Settings
from babygun.store import Store
from babygun.store.access.client_secrets import verify_secret
from babygun.store.access.clients import create_client, delete_client, get_client
from babygun.store.records import SCOPES

ROLES = ("etcd", "api", "worker", "bounced", "mailbox")
_PATIENCE = 60.0  # s, until etcd has made the client


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


async def ensure_client(store: Store, client_id: str, secret: str) -> None:
    """Makes the API client of client.json in etcd, unless etcd has it already.

    It tries again while etcd does not answer: its members have just come up, and may choose a
    new leader.
    """
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            client = await get_client(store, client_id)
            if client and verify_secret(client, secret, utc_now()):
                return
            if client:
                await delete_client(store, client_id)
            await create_client(
                store, name="babygun dev", scopes=SCOPES, client_id=client_id, secret=secret
            )
            return
        except (EtcdUnavailable, OutcomeUnknown, Conflict):  # a write may come late
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.2)


class _Run:
    def __init__(self, installation: Installation, terminal: Terminal) -> None:
        self._installation, self._terminal = installation, terminal
        self._components = Components(installation, terminal)
        self._up = False
        self._programs = Programs(inherit=[installation.folder.lock])
        self._supervisor = Supervisor(
            self._programs.launch,
            SentenceLog(lambda line: terminal.say(terminal.style("yellow", line))),
            changed=self._write_dev_json,
        )

    async def run(self) -> int:
        try:
            await self._supervisor.run(
                self._start(),
                (signal.SIGINT, signal.SIGTERM, signal.SIGHUP),
                second_signal_kills=True,
            )
        finally:
            await self._programs.close()
            self._components.close()
        self._terminal.say("stopped")
        return 130 if self._supervisor.killed_by else 0

    async def _start(self) -> None:
        start, components = self._supervisor.start, self._components
        has_mailbox = self._installation.listeners.mailbox_url
        mailbox = [components.mailbox()] if has_mailbox else []
        await start(*components.etcd(), *mailbox)  # the workers find it when they begin
        self._installation.cluster.formed()
        async with Store(self._installation.child_settings()) as store:
            await ensure_client(
                store, self._installation.client_id, self._installation.client_secret
            )
        await start(components.api(), *components.workers(), components.bounced())
        self._up = True
        self._write_dev_json()
        self._terminal.say(banner(self._installation, self._terminal.style))

    def _write_dev_json(self) -> None:
        if not self._up:
            return
        installation, at = self._installation, self._installation.listeners
        api_ca = installation.settings.api_ca
        pids = self._supervisor.pids()
        endpoints = installation.etcd_endpoints
        installation.folder.write_etcdctl_env(installation.access.etcdctl(endpoints))
        installation.folder.write_dev_json(
            {
                "api_url": at.api_url,
                **({"api_ca": api_ca} if api_ca else {}),
                "etcd_endpoints": endpoints,
                **installation.access.settings,
                "secrets_key_file": installation.secrets_key_file,
                "smtp_host": at.smtp_host,
                "smtp_port": at.smtp_port,
                "bounce_port": at.bounce_port,
                "mailbox_url": at.mailbox_url,
                "client_id": installation.client_id,
                "client_secret": installation.client_secret,
                "pid": os.getpid(),
                "pids": {role: pids.get(role, []) for role in ROLES},
            }
        )
