"""``babygun api``."""

from __future__ import annotations

import argparse

from babygun import logs, settings, tracing


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--host", help="address to listen on (BABYGUN_API_HOST)")
    parser.add_argument("--port", type=int, help="port to listen on, 0 for any free one (BABYGUN_API_PORT)")


def run(arguments: argparse.Namespace) -> int:
    given = {"api_host": arguments.host, "api_port": arguments.port}
    loaded = settings.load(**{name: value for name, value in given.items() if value is not None})
    logs.configure("api", level=loaded.log_level, format=loaded.log_format)
    from babygun.api.app import serve

    tracing.configure("babygun-api")
    try:
        serve(loaded)
    finally:
        tracing.shutdown()
    return 0
