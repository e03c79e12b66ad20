"""``babygun worker``."""

from __future__ import annotations

import argparse

from babygun import logs, settings, tracing
from babygun.errors import SettingsError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--concurrency", type=int, help="sends at once (BABYGUN_WORKER_CONCURRENCY)")


def run(arguments: argparse.Namespace) -> int:
    loaded = settings.load(**({"worker_concurrency": arguments.concurrency} if arguments.concurrency is not None else {}))
    logs.configure("worker", level=loaded.log_level, format=loaded.log_format)
    if not loaded.relay_url and not loaded.relays:
        raise SettingsError("no relay is set, so there is nobody to deliver to: set BABYGUN_RELAY_URL=smtp://host:port")
    from babygun.worker import serve

    tracing.configure("babygun-worker")
    try:
        serve(loaded)
    finally:
        tracing.shutdown()
    return 0
