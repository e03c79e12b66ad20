"""Runs a worker until SIGTERM or SIGINT, with its probes beside it."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack

from babygun.consumer.consumer import ConsumerFactory
from babygun.runtime.event_loop import run
from babygun.runtime.logs import get_logger
from babygun.runtime.settings import Settings
from babygun.runtime.watchdog import watched
from babygun.worker.probes import probed
from babygun.worker.worker import Worker

log = get_logger("worker")


def serve(
    settings: Settings,
    *,
    beside: Sequence[ConsumerFactory] = (),
    started: Callable[[], None] | None = None,
) -> None:
    """Runs a worker in this process. ``started`` is called once it can work here.

    ``beside``: what it is to consume beside its mail. Raises SettingsError where it can't listen
    on its address.
    """
    run(_serve(settings, beside, started))


async def _serve(
    settings: Settings, beside: Sequence[ConsumerFactory], started: Callable[[], None] | None
) -> None:
    worker = Worker(settings, beside)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, worker.stop)
    async with AsyncExitStack() as around:
        await around.enter_async_context(watched(settings.watchdog, worker.stands_still))
        if settings.worker_port:
            await around.enter_async_context(probed(worker))
        await worker.run(started)
    log.info("stopped")
