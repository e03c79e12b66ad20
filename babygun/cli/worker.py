"""``babygun worker``: runs a worker, in one process or several."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from babygun.cli.exit_status import status_of
from babygun.errors import SettingsError
from babygun.routing.routes import load_routes
from babygun.runtime import logs, settings, tracing
from babygun.runtime.processes.copies import run_copies
from babygun.runtime.processes.forks import Copy
from babygun.runtime.settings import Settings

# Seconds after the drain timeout until a process is killed: it gives back the jobs it still has.
_EXTRA = 10.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--concurrency",
        type=int,
        help="e-mails that each process sends at once (default: BABYGUN_WORKER_CONCURRENCY)",
    )
    parser.add_argument(
        "--processes",
        type=int,
        metavar="N",
        help="worker processes, 0: one per core (default: BABYGUN_PROCESSES)",
    )


def run(arguments: argparse.Namespace) -> int:
    given = {"worker_concurrency": arguments.concurrency, "processes": arguments.processes}
    loaded = settings.load(**{name: value for name, value in given.items() if value is not None})
    logs.configure("worker", level=loaded.log_level, format=loaded.log_format)
    routes = load_routes(loaded)
    if not routes.has_destinations:
        raise SettingsError(
            "no route for mail is set: set BABYGUN_RELAY_URL=smtp://host:port,"
            " or BABYGUN_DEFAULT=mx"
        )
    routes.require_machine()
    return _serve(loaded) if loaded.process_count == 1 else _supervise(loaded)


def _serve(loaded: Settings, *, started: Callable[[], None] | None = None) -> int:
    from babygun.webhooks.sender import Sender
    from babygun.worker import serve

    tracing.configure("babygun-worker")
    try:
        serve(loaded, beside=(Sender,), started=started)
    finally:
        tracing.shutdown()
    return 0


def _supervise(loaded: Settings) -> int:
    # Imported once, before the processes are made.
    import babygun.webhooks.sender
    import babygun.worker  # noqa: F401

    def one(copy: Copy) -> int:
        logs.configure(
            "worker", level=loaded.log_level, format=loaded.log_format, process=copy.number
        )
        return status_of(lambda: _serve(loaded.of_process(copy.number), started=copy.up))

    return run_copies(
        loaded.process_count,
        one,
        grace=loaded.drain_timeout + _EXTRA,
        second_signal_kills=False,
    )
