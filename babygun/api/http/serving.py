"""Listens, serves until a signal comes, and ends in order."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial

from aiohttp import web

from babygun.api.http.context import PROCESS
from babygun.api.http.entrance import entrance
from babygun.pki.served import follow_certificate, tls_context
from babygun.runtime.listening import base_url, is_loopback, listen
from babygun.runtime.logs import get_logger
from babygun.runtime.open_files import allow_open_files
from babygun.runtime.settings import Settings

log = get_logger("api")

ANY_PORT = "any free one"  # what 0 means for api_port
# s, that an idle connection stays open: longer than the 60 s of the usual load balancers. Headers
# that are not complete by then end it too.
KEEPALIVE = 75.0
_OTHER_FILES = 100  # that an API process may have open beside its connections


async def serve_app(
    build: Callable[[Settings], web.Application],
    settings: Settings,
    *,
    started: Callable[[str], None] | None = None,
    stop: asyncio.Event | None = None,
    shared: bool = False,
) -> None:
    """Serves the application that ``build`` makes, until a signal comes or ``stop`` is set.

    Then it takes no new connections, finishes what is in flight, and leaves etcd last.
    ``started`` gets the API's URL when it answers. ``shared``: other processes listen on
    ``api_port`` too. Their supervisor then announces the URL, and handles a second signal. Raises
    SettingsError where the address can't be listened on, or the certificate can't be used.
    """
    tls = tls_context(settings, "api_cert")
    settings = _within_open_files(settings)
    app = build(settings)
    app[PROCESS].shared = shared
    stop = stop or asyncio.Event()
    runner = web.AppRunner(app, shutdown_timeout=settings.drain_timeout)
    await runner.setup()
    following = asyncio.create_task(follow_certificate(settings, "api_cert", tls)) if tls else None
    try:
        enter = partial(entrance, runner, settings, tls, KEEPALIVE)
        host = settings.api_host
        servers = [
            await listen(
                enter(settings.proxy_protocol),
                host,
                settings.api_port,
                setting="api_port",
                zero=ANY_PORT,
                shared=shared,
            )
        ]
        url = base_url(servers[0], host, tls=tls is not None)
        if not shared:
            announce(settings, url)
        if port := settings.api_process_port:
            servers.append(
                await listen(enter(), host, port, setting="api_process_port", zero="none")
            )
            log.info("listening on own port", url=base_url(servers[1], host, tls=tls is not None))
        if started:
            started(url)
        await _until_stopped(stop, ignore_second=shared)
        log.info("stopping")
        app[PROCESS].stopping = True
        for server in servers:
            server.close()
    finally:
        if following:
            following.cancel()
        await runner.cleanup()
    log.info("stopped")


def _within_open_files(settings: Settings) -> Settings:
    """``settings``; api_connections is no more than the system lets this process have."""
    most = allow_open_files(settings.api_connections + _OTHER_FILES) - _OTHER_FILES
    if most >= settings.api_connections:
        return settings
    log.warning("few open files", connections=most, wanted=settings.api_connections)
    return replace(settings, api_connections=max(1, most))


def announce(settings: Settings, url: str) -> None:
    """Logs that the API answers, and a warning where others can call it without TLS."""
    log.info("listening", url=url)
    if not settings.api_cert and not is_loopback(settings.api_host):
        log.warning(
            "listening without TLS",
            url=url,
            hint="tokens and e-mails cross the network unencrypted: set api_cert and api_key,"
            " or let a proxy on this host do TLS (setting trusted_proxies)",
        )


async def _until_stopped(stop: asyncio.Event, *, ignore_second: bool) -> None:
    """Waits for SIGTERM, SIGINT or ``stop``.

    A second signal ends the process at once. With ``ignore_second`` it does nothing.
    """
    loop = asyncio.get_running_loop()
    handled: list[signal.Signals] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        # Not possible outside of the main thread, or without POSIX.
        with suppress(NotImplementedError, RuntimeError, ValueError):
            loop.add_signal_handler(number, stop.set)
            handled.append(number)
    try:
        await stop.wait()
    finally:
        for number in [] if ignore_second else handled:
            loop.remove_signal_handler(number)
