"""``babygun health``: whether a process of this host is ready, for health checks.

It is quick, and prints nothing if all is well.
"""

from __future__ import annotations

import argparse
import json
import socket
import ssl
import urllib.error
import urllib.request
from urllib.parse import SplitResult, urlsplit

from babygun.errors import BabygunError, SettingsError
from babygun.runtime import settings
from babygun.runtime.listening import url_of


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("role", choices=("api", "worker", "bounced"))
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
        why = getattr(error, "reason", error)
        parts = urlsplit(url)
        if parts.scheme == "https" and "WRONG_VERSION_NUMBER" in str(why):
            why = "the port speaks http. Set BABYGUN_API_CERT and BABYGUN_API_KEY for the API, too"
        elif isinstance(why, ConnectionError) and _speaks_tls(parts, timeout):
            why = "the port speaks https. Set BABYGUN_API_CERT and BABYGUN_API_KEY as the API has"
            why += " them"
        raise BabygunError(f"{url} does not answer: {why}") from None


def _speaks_tls(parts: SplitResult, timeout: float) -> bool:
    """Whether a TLS handshake with a URL's host and port succeeds."""
    context = ssl._create_unverified_context()  # noqa: S323
    where = (parts.hostname or "", parts.port or 0)
    try:
        with (
            socket.create_connection(where, timeout) as plain,
            context.wrap_socket(plain),
        ):
            return True
    except OSError:
        return False


def _addresses(role: str) -> list[str]:
    loaded = settings.load()
    if role == "worker" and not loaded.worker_port:
        raise SettingsError("the worker serves no health check: set BABYGUN_WORKER_PORT")
    if role == "bounced":
        if not loaded.bounce_probe_port:
            raise SettingsError(
                "babygun bounced serves no health check: set BABYGUN_BOUNCE_PROBE_PORT"
            )
        return [url_of(loaded.bounce_probe_host, loaded.bounce_probe_port)]
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
