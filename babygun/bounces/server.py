"""``babygun bounced``: takes bounce messages and complaints by SMTP until SIGTERM or SIGINT.

It holds nothing: a message is acknowledged after what it says is in etcd. Any number of such
processes can run, behind one name or several.
"""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack, suppress
from typing import Any

from babygun.bounces.limits import ConnectionCount
from babygun.bounces.reception import Reception
from babygun.bounces.session import Sessions
from babygun.errors import SettingsError
from babygun.pki.served import follow_certificate, tls_context
from babygun.runtime import metrics
from babygun.runtime.event_loop import run
from babygun.runtime.identifiers import new_process_id
from babygun.runtime.listening import listen
from babygun.runtime.logs import get_logger
from babygun.runtime.probes import probes
from babygun.runtime.settings import Settings
from babygun.runtime.tasks import cancel_all
from babygun.runtime.watchdog import watched
from babygun.smtp.classifier import Classifier
from babygun.store import Store
from babygun.store.audit.runs import note_run_soon
from babygun.store.cluster.health import Checkup
from babygun.store.return_path_keys import ReturnPathKeys

log = get_logger("bounced")

_ANY_PORT = "any free one"  # the meaning of port 0


class BounceServer:
    """One such process. :meth:`run` until :meth:`stop`."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.store = Store(settings, for_calls=True)
        self.keys = ReturnPathKeys(self.store)
        self.health = Checkup(self.store, "bounced", self.store.routes)
        hostname = settings.bounce_hostname or settings.smtp_hostname or socket.getfqdn()
        reception = Reception(
            self.store,
            self.keys,
            Classifier.load(settings.reply_rules),
            [each.lower() for each in settings.complaint_addresses] or [f"complaints@{hostname}"],
        )
        self._tls = tls_context(settings, "bounce_cert")
        self._sessions = Sessions(
            reception, ConnectionCount(settings.bounce_connections), hostname, self._tls
        )
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """Begins the graceful stop: no new connections; messages under way are finished."""
        self._stopping.set()

    async def readiness(self) -> tuple[list[str], list[str]]:
        """Why a message would not be taken now, and warnings; a sentence each."""
        found = await self.health.check()
        reasons = list(found.reasons)
        if self._stopping.is_set():
            reasons.append("this process is stopping: it finishes what it has, and takes no more")
        elif not self.keys.known:
            reasons.append("the keys of return paths are not read yet")
        return reasons, list(found.warnings)

    @property
    def connections(self) -> int:
        """How many are open."""
        return self._sessions.count.total

    def show_state(self) -> None:
        """Puts the present state into the metrics."""
        metrics.RETURNED_CONNECTIONS.show(self.connections)

    async def run(self, started: Callable[[int], None] | None = None) -> None:
        """Serves until stopped. ``started`` gets the port.

        Raises SettingsError where it can't listen, or can't work with this etcd.
        """
        async with self.store:
            await self.health.require()
            server = await listen(
                self._sessions.protocol(),
                self._settings.bounce_host,
                self._settings.bounce_port,
                setting="bounce_port",
                zero=_ANY_PORT,
            )
            port = server.sockets[0].getsockname()[1]
            log.info("bounces awaited", port=port, tls=self._tls is not None)
            services = [
                asyncio.create_task(service, name=name) for name, service in self._services()
            ]
            stopping = asyncio.create_task(self._stopping.wait(), name="stopping")
            if started:
                started(port)
            try:
                done, _ = await asyncio.wait(
                    [*services, stopping], return_when=asyncio.FIRST_COMPLETED
                )
                for task in done - {stopping}:
                    task.result()
            finally:
                self._stopping.set()
                server.close()
                await self._drain()
                await cancel_all(*services, stopping)
        log.info("stopped")

    def _services(self) -> list[tuple[str, Coroutine[Any, Any, None]]]:
        """All that runs as long as the process does. If one fails, the process ends."""
        services = [
            ("return path keys", self.keys.run()),
            ("webhooks known", self.store.webhooks.run()),
            ("health", self.health.run()),
            ("settings", self._note_settings()),
        ]
        if self._tls:
            following = follow_certificate(self._settings, "bounce_cert", self._tls)
            services.append(("certificate", following))
        return services

    async def _note_settings(self) -> None:
        """For the audit, once etcd answers; then it waits for the end."""
        with suppress(SettingsError):  # another cluster's prefix: /readyz says so
            await self.health.join()
            process_id = new_process_id(socket.gethostname(), "bounced")
            await note_run_soon(self.store, "bounced", process_id)
        await self._stopping.wait()

    async def _drain(self) -> None:
        """Ends the sessions: idle ones at once, the others after their message."""
        sessions = self._sessions
        sessions.stop()
        try:
            async with asyncio.timeout(self._settings.drain_timeout):
                while sessions.open:
                    sessions.ended.clear()
                    await sessions.ended.wait()
        except TimeoutError:
            log.warning("sessions cut off", sessions=len(sessions.open))
            for session in list(sessions.open):
                session.give_up()


def serve(settings: Settings) -> None:
    """Runs such a process here. Raises SettingsError as :meth:`BounceServer.run` does."""
    run(_serve(settings))


async def _serve(settings: Settings) -> None:
    server = BounceServer(settings)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, server.stop)
    async with AsyncExitStack() as around:
        await around.enter_async_context(watched(settings.watchdog))
        if settings.bounce_probe_port:
            await around.enter_async_context(
                probes(
                    "bounced",
                    server,
                    settings.bounce_probe_host,
                    settings.bounce_probe_port,
                    setting="bounce_probe_port",
                    metrics_token=settings.metrics_token,
                )
            )
        await server.run()
