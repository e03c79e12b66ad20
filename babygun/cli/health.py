"""``babygun health``: whether the API or worker of this container or host is ready, for health checks. Quick, and silent when all is well."""

from __future__ import annotations

import argparse
import json
import ssl
import urllib.error
import urllib.request

from babygun import settings
from babygun.errors import BabygunError, SettingsError
from babygun.listening import EVERYWHERE


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("role", choices=("api", "worker"))
    parser.add_argument("--live", action="store_true", help="ask only whether it is alive, not whether it is ready")
    parser.add_argument("--timeout", type=float, default=5.0, metavar="SECONDS")


def run(arguments: argparse.Namespace) -> int:
    """0 where it is; else what it says."""
    url = f"{_address(arguments.role)}/{'healthz' if arguments.live else 'readyz'}"
    # It is asked of this very host: whom the certificate names doesn't matter.
    context = ssl._create_unverified_context() if url.startswith("https") else None  # noqa: S323
    try:
        with urllib.request.urlopen(url, timeout=arguments.timeout, context=context):  # noqa: S310 (http or https)
            return 0
    except urllib.error.HTTPError as error:
        raise BabygunError(f"{url} answered {error.code}: {_reason(error.read())}") from None
    except OSError as error:
        raise BabygunError(f"{url} does not answer: {getattr(error, 'reason', error)}") from None


def _address(role: str) -> str:
    loaded = settings.load()
    if role == "worker" and not loaded.worker_port:
        raise SettingsError("the worker serves no health check: set BABYGUN_WORKER_PORT")
    host, port = (loaded.api_host, loaded.api_port) if role == "api" else (loaded.worker_host, loaded.worker_port)
    host = "127.0.0.1" if host in EVERYWHERE else f"[{host}]" if ":" in host else host
    return f"{'https' if role == 'api' and loaded.api_cert else 'http'}://{host}:{port}"


def _reason(body: bytes) -> str:
    try:
        problem = json.loads(body)
    except ValueError:
        problem = None
    if not isinstance(problem, dict):
        return "no reason given"
    reasons = problem.get("reasons")
    return "; ".join(map(str, reasons)) if isinstance(reasons, list) and reasons else str(problem.get("detail") or "no reason given")
