"""``babygun api``: runs the API and the page, in one process or several."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace

from babygun.cli.exit_status import status_of
from babygun.runtime import logs, settings, tracing
from babygun.runtime.listening import reserved, url_of
from babygun.runtime.processes.copies import run_copies
from babygun.runtime.processes.forks import Copy
from babygun.runtime.settings import Settings

_EXTRA = 5.0  # seconds after the drain timeout until a process is killed


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--host", help="address to listen on (default: BABYGUN_API_HOST)")
    parser.add_argument(
        "--port", type=int, help="port to listen on, 0 for any free one (default: BABYGUN_API_PORT)"
    )
    parser.add_argument(
        "--processes",
        type=int,
        metavar="N",
        help="processes that share the port, 0: one per core (default: BABYGUN_PROCESSES)",
    )


def run(arguments: argparse.Namespace) -> int:
    given = {
        "api_host": arguments.host,
        "api_port": arguments.port,
        "processes": arguments.processes,
    }
    loaded = settings.load(**{name: value for name, value in given.items() if value is not None})
    logs.configure("api", level=loaded.log_level, format=loaded.log_format)
    return _serve(loaded) if loaded.process_count == 1 else _supervise(loaded)


def _serve(
    loaded: Settings, *, started: Callable[[str], None] | None = None, shared: bool = False
) -> int:
    from babygun.api.app import serve

    tracing.configure("babygun-api")
    try:
        serve(loaded, started=started, shared=shared)
    finally:
        tracing.shutdown()
    return 0


def _supervise(loaded: Settings) -> int:
    from babygun.api.http.serving import ANY_PORT, announce

    with reserved(loaded.api_host, loaded.api_port, setting="api_port", zero=ANY_PORT) as port:

        def one(copy: Copy) -> int:
            logs.configure(
                "api", level=loaded.log_level, format=loaded.log_format, process=copy.number
            )
            return status_of(
                lambda: _serve(
                    replace(loaded.of_process(copy.number), api_port=port),
                    started=lambda _: copy.up(),
                    shared=True,
                )
            )

        url = url_of(loaded.api_host, port, tls=bool(loaded.api_cert))
        return run_copies(
            loaded.process_count,
            one,
            grace=loaded.drain_timeout + _EXTRA,
            second_signal_kills=True,
            all_up=lambda: announce(loaded, url),
        )
