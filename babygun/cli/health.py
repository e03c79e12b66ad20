"""``babygun health``: whether the API or worker of this host is ready, for health checks.

It is quick, and prints nothing if all is well.
"""

from __future__ import annotations

import argparse
import json
import ssl
import urllib.error
import urllib.request

from babygun.errors import BabygunError, SettingsError
from babygun.runtime import settings
from babygun.runtime.listening import url_of


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("role", choices=("api", "worker"))
    parser.add_argument(
        "--live", action="store_true", help="ask whether it is alive, not whether it is ready"
    )
    parser.add_argument(
        "--timeout", type=float, default=5.0, metavar="SECONDS", help="of one call (default: 5)"
    )


def run(arguments: argparse.Namespace) -> int:
    """0 if it is ready. Several processes with ports of their own must all be ready.

    Raises BabygunError with the reason that a process answers.
    """
    for address in _addresses(arguments.role):
        _ask(f"{address}/{'healthz' if arguments.live else 'readyz'}", arguments.timeout)
    return 0


def _ask(url: str, timeout: float) -> None:
    # The server is on this host, so its certificate needn't be checked.
    context = ssl._create_unverified_context() if url.startswith("https") else None  # noqa: S323
    try:
        with urllib.request.urlopen(url, timeout=timeout, context=context):  # noqa: S310 (http or https)
            return
    except urllib.error.HTTPError as error:
        raise BabygunError(f"{url} answered {error.code}: {_reason(error.read())}") from None
    except OSError as error:
        raise BabygunError(f"{url} does not answer: {getattr(error, 'reason', error)}") from None


def _addresses(role: str) -> list[str]:
    loaded = settings.load()
    if role == "worker" and not loaded.worker_port:
        raise SettingsError("the worker serves no health check: set BABYGUN_WORKER_PORT")
    host, first, count, tls = loaded.worker_host, loaded.worker_port, loaded.process_count, False
    if role == "api":
        host, tls = loaded.api_host, bool(loaded.api_cert)
        if loaded.process_count > 1 and loaded.api_process_port:
            first = loaded.api_process_port
        else:
            first, count = loaded.api_port, 1
    return [url_of(host, port, tls=tls) for port in range(first, first + count)]


def _reason(body: bytes) -> str:
    try:
        problem = json.loads(body)
    except ValueError:
        problem = None
    if not isinstance(problem, dict):
        return "no reason given"
    reasons = problem.get("reasons")
    if isinstance(reasons, list) and reasons:
        return "; ".join(map(str, reasons))
    return str(problem.get("detail") or "no reason given")
