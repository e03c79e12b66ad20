"""``babygun health``: whether the API or worker of this container or host is ready, for health checks. Quick, and silent when all is well."""

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
        "--live", action="store_true", help="ask only whether it is alive, not whether it is ready"
    )
    parser.add_argument("--timeout", type=float, default=5.0, metavar="SECONDS")


def run(arguments: argparse.Namespace) -> int:
    """0 where it is, and of several processes with a port of their own each one; else what it says."""
    for address in _addresses(arguments.role):
        _ask(f"{address}/{'healthz' if arguments.live else 'readyz'}", arguments.timeout)
    return 0


def _ask(url: str, timeout: float) -> None:
    # It is asked of this very host: whom the certificate names doesn't matter.
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
    host, first, count = loaded.worker_host, loaded.worker_port, loaded.process_count
    if role == "api":
        alone = loaded.process_count > 1 and loaded.api_process_port
        host, first, count = (
            loaded.api_host,
            loaded.api_process_port if alone else loaded.api_port,
            count if alone else 1,
        )
    return [
        url_of(host, port, tls=role == "api" and bool(loaded.api_cert))
        for port in range(first, first + count)
    ]


def _reason(body: bytes) -> str:
    try:
        problem = json.loads(body)
    except ValueError:
        problem = None
    if not isinstance(problem, dict):
        return "no reason given"
    reasons = problem.get("reasons")
    return (
        "; ".join(map(str, reasons))
        if isinstance(reasons, list) and reasons
        else str(problem.get("detail") or "no reason given")
    )
