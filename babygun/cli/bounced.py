"""``babygun bounced``: takes bounce messages and complaints by SMTP."""

from __future__ import annotations

import argparse

from babygun.runtime import logs, settings, tracing


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--host", help="address to listen on (default: BABYGUN_BOUNCE_HOST)")
    parser.add_argument(
        "--port", type=int, help="port to listen on, 0 for any free one (default: 25)"
    )


def run(arguments: argparse.Namespace) -> int:
    from babygun.bounces.server import serve

    given = {"bounce_host": arguments.host, "bounce_port": arguments.port}
    loaded = settings.load(**{name: value for name, value in given.items() if value is not None})
    logs.configure("bounced", level=loaded.log_level, format=loaded.log_format)
    tracing.configure("babygun-bounced")
    try:
        serve(loaded)
    finally:
        tracing.shutdown()
    return 0
