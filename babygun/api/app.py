"""Runs the API until SIGTERM or SIGINT, then ends it in order: no new connections, what is in flight to its end, etcd last."""

from __future__ import annotations

import asyncio
import signal
import ssl
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from babygun.api.application import build_app
from babygun.api.http.context import API
from babygun.api.http.middleware import LIMITS, Runner
from babygun.errors import SettingsError
from babygun.pki import certificates
from babygun.runtime.event_loop import run
from babygun.runtime.listening import base_url, is_loopback, listen
from babygun.runtime.logs import get_logger
from babygun.runtime.settings import Settings

__all__ = ["announce", "build_app", "serve", "serve_until"]

log = get_logger("api")

ANY_PORT = "any free one"  # what 0 means for api_port
CERTIFICATE_LOOK = 10.0  # seconds between two looks at the certificate's files
KEEPALIVE = 75.0  # seconds that an idle connection stays open: longer than the 60 s of the usual load balancers; headers that are not complete by then end it too


def serve(
    settings: Settings, *, started: Callable[[str], None] | None = None, shared: bool = False
) -> None:
    """:func:`serve_until` on a loop of its own."""
    run(serve_until(settings, started=started, shared=shared))


async def serve_until(
    settings: Settings,
    *,
    started: Callable[[str], None] | None = None,
    stop: asyncio.Event | None = None,
    shared: bool = False,
) -> None:
    """Serves until a signal comes or ``stop`` is set. ``started`` gets the API's URL when it answers.

    ``shared``: other processes listen on ``api_port`` too; who started them announces it, and takes care of a second signal.
    Raises SettingsError where the address can't be listened on, or the certificate can't be used.
    """
    tls = _tls(settings)
    app = build_app(settings)
    app[API].shared = shared
    stop = stop or asyncio.Event()
    runner = Runner(
        app,
        access_log=None,
        keepalive_timeout=KEEPALIVE,
        shutdown_timeout=settings.drain_timeout,
        **LIMITS,
    )
    await runner.setup()
    following = asyncio.create_task(_follow_certificate(settings, tls)) if tls else None
    try:
        assert runner.server is not None  # after setup
        host = settings.api_host
        servers = [
            await listen(
                runner.server,
                host,
                settings.api_port,
                setting="api_port",
                zero=ANY_PORT,
                tls=tls,
                shared=shared,
            )
        ]
        url = base_url(servers[0], host, tls=tls is not None)
        if not shared:
            announce(settings, url)
        if settings.api_process_port:
            servers.append(
                await listen(
                    runner.server,
                    host,
                    settings.api_process_port,
                    setting="api_process_port",
                    zero="none",
                    tls=tls,
                )
            )
            log.info("listening on own port", url=base_url(servers[1], host, tls=tls is not None))
        if started:
            started(url)
        await _signalled(stop, again=shared)
        log.info("stopping")
        app[API].stopping = True
        for server in servers:
            server.close()
    finally:
        if following:
            following.cancel()
        await runner.cleanup()
    log.info("stopped")


def announce(settings: Settings, url: str, **more: object) -> None:
    """Logs that the API answers, and what a person should know of that."""
    log.info("listening", url=url, **more)
    if not settings.api_cert and not is_loopback(settings.api_host):
        log.warning(
            "listening without TLS",
            url=url,
            hint="tokens and e-mails cross the network unencrypted: set api_cert and api_key,"
            " or let a proxy on this host do TLS",
        )


async def _signalled(stop: asyncio.Event, *, again: bool) -> None:
    """Waits for SIGTERM, SIGINT or ``stop``. A second signal has its usual, abrupt effect, or with ``again`` none."""
    loop = asyncio.get_running_loop()
    handled: list[signal.Signals] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        with suppress(
            NotImplementedError, RuntimeError, ValueError
        ):  # not in the main thread, or no POSIX
            loop.add_signal_handler(number, stop.set)
            handled.append(number)
    try:
        await stop.wait()
    finally:
        for number in [] if again else handled:
            loop.remove_signal_handler(number)


def _tls(settings: Settings) -> ssl.SSLContext | None:
    if not settings.api_cert:
        return None
    certificates.require(settings, ("api_cert",))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(settings.api_cert, settings.api_key)
    except (OSError, ssl.SSLError) as error:
        raise SettingsError(f"api_cert or api_key can't be used: {error}") from None
    return context


async def _follow_certificate(settings: Settings, context: ssl.SSLContext) -> None:
    """A certificate that was renewed serves from the next connection on; one that can't be used leaves the old one in its place."""
    seen = _stamps(settings)
    while True:
        await asyncio.sleep(CERTIFICATE_LOOK)
        stamps = _stamps(settings)
        if stamps == seen:
            continue
        seen = stamps
        try:
            _tls(
                settings
            )  # a failed load would leave a context without a key: so it is tried on another one first
            context.load_cert_chain(settings.api_cert, settings.api_key)
        except (SettingsError, OSError) as error:
            log.warning("certificate not reloaded", error=str(error))
        else:
            log.info("certificate reloaded")


def _stamps(settings: Settings) -> tuple[int, ...]:
    """Of both files when they changed last; 0 where one is not there, as it may be in the moment of its renewal."""
    stamps = []
    for path in map(Path, (settings.api_cert, settings.api_key)):
        try:
            stamps.append(path.stat().st_mtime_ns)
        except OSError:
            stamps.append(0)
    return tuple(stamps)
