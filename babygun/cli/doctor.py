"""``babygun doctor``: looks at everything that a working installation needs, and says what is wrong with it."""

from __future__ import annotations

import argparse
import asyncio
import email.utils
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from typing import Literal, NamedTuple

from babygun.cli.local import load_settings, nothing_runs
from babygun.cli.output import count_of
from babygun.clock import utc_now
from babygun.errors import BabygunError, EtcdError, PermissionDenied
from babygun.etcd_versions import is_lossy
from babygun.keys import range_end
from babygun.routing import load_routes
from babygun.settings import Settings
from babygun.smtp import check_relay
from babygun.store import Store
from babygun.store.reading import list_workers

_SKEW = 5.0  # seconds between two clocks that are worth a word; HTTP's Date header counts whole seconds


class Finding(NamedTuple):
    """``bad`` fails the check; ``warn`` is worth a look."""

    level: Literal["ok", "warn", "bad"]
    what: str


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--no-relay", action="store_true", help="don't connect to the relays")


def run(arguments: argparse.Namespace) -> int:
    return asyncio.run(_run(load_settings(), relays=not arguments.no_relay))


async def _run(loaded: Settings, *, relays: bool) -> int:
    bad = False
    marks = {"ok": "ok  ", "warn": "WARN", "bad": "BAD "}
    async for finding in examine(loaded, relays=relays):
        print(f"{marks[finding.level]}  {finding.what}", flush=True)
        bad = bad or finding.level == "bad"
    return 1 if bad else 0


async def examine(loaded: Settings, *, relays: bool = True) -> AsyncIterator[Finding]:
    """The findings, one after the other."""
    async with Store(loaded) as store:
        reachable = False
        async for finding in _etcd(store):
            reachable = reachable or finding.level != "bad"
            yield finding
        if not reachable and (hint := nothing_runs()):
            yield Finding("warn", hint)
        if reachable:
            async for finding in _state(store):
                yield finding
    for endpoint in loaded.etcd_endpoints:
        yield await asyncio.to_thread(_clock, loaded, endpoint)
    if relays:
        async for finding in _relays(loaded):
            yield finding


async def _etcd(store: Store) -> AsyncIterator[Finding]:
    for endpoint, status in (await store.client.statuses()).items():
        if isinstance(status, EtcdError):
            yield Finding("bad", f"etcd at {endpoint} does not answer: {status}")
            continue
        if is_lossy(status.version):
            yield Finding("warn", f"etcd at {endpoint} is {status.version}, which can lose acknowledged writes when it crashes (etcd issue 13766)")
        else:
            yield Finding("ok", f"etcd at {endpoint} is {status.version}")
        if not status.leader:
            yield Finding("bad", f"etcd at {endpoint} has no leader")
        for error in status.errors:
            yield Finding("bad", f"etcd at {endpoint} reports: {error}")
        quota = status.quota or store.settings.etcd_quota
        full = status.db_size / quota
        words = f"etcd at {endpoint} uses {status.db_size / 2**20:.1f} MiB ({status.db_size_in_use / 2**20:.1f} MiB of it in use), {full:.1%} of its quota"
        yield Finding("ok" if full < 0.7 else "warn" if full < 0.95 else "bad", words)


async def _state(store: Store) -> AsyncIterator[Finding]:
    try:
        for alarm in await store.client.alarms():
            yield Finding("bad", f"etcd has raised its {alarm} alarm: see etcd/schema.md, 'When etcd is full'")
        async for finding in _api_clients(store):
            yield finding
        keys = store.keys
        workers = await list_workers(store)
        yield Finding("ok" if workers else "bad", count_of(len(workers), "live worker") + ("" if workers else ": nothing is delivered until one runs"))
        for worker in workers:
            ahead = (worker.last_checkin - utc_now()).total_seconds()
            if ahead > _SKEW:
                yield Finding("bad", f"the clock of worker {worker.id} is {ahead:.0f} s ahead of this machine's")
        ready = await store.client.range(keys.jobs, range_end(keys.jobs), limit=1, keys_only=True)
        waiting = await store.client.range(keys.waiting, range_end(keys.waiting), limit=1, keys_only=True)
        yield Finding("ok", f"{count_of(ready.count, 'job')} ready or being sent, {waiting.count} waiting")
        overdue = (utc_now() - keys.parse_not_before(waiting.kvs[0].key)[0]).total_seconds() if waiting.kvs else 0
        if overdue > 60:
            yield Finding("bad", f"a job is overdue by {overdue:.0f} s: do the workers run, and is their clock right?")
    except EtcdError as error:
        yield Finding("bad", f"etcd refused to be read: {error}")


async def _api_clients(store: Store) -> AsyncIterator[Finding]:
    keys = store.keys
    try:
        signing = await store.client.range(keys.signing_keys, range_end(keys.signing_keys), keys_only=True)
        yield Finding("ok" if signing.kvs else "warn", count_of(len(signing.kvs), "token signing key") + ("" if signing.kvs else ": the API makes one when it starts"))
        clients = await store.client.range(keys.clients, range_end(keys.clients), keys_only=True)
        yield Finding("ok" if clients.kvs else "warn", count_of(len(clients.kvs), "API client") + ("" if clients.kvs else ": babygun client create NAME"))
    except PermissionDenied:  # an inspector's user
        yield Finding("ok", "token signing keys and API clients are not for this etcd user to see")


def _clock(loaded: Settings, endpoint: str) -> Finding:
    """Compares this machine's clock with the Date header of an etcd server."""
    context = None
    if endpoint.startswith("https"):
        context = ssl.create_default_context(cafile=loaded.etcd_ca or None)
        if loaded.etcd_cert:
            context.load_cert_chain(loaded.etcd_cert, loaded.etcd_key)
    try:
        with urllib.request.urlopen(endpoint.rstrip("/") + "/version", timeout=loaded.etcd_timeout, context=context) as answer:  # noqa: S310 (http or https, by the settings' check)
            date = email.utils.parsedate_to_datetime(answer.headers["Date"])
    except (OSError, TypeError, ValueError, urllib.error.URLError) as error:
        return Finding("warn", f"the clock of {endpoint} can't be read: {error}")
    skew = time.time() - date.timestamp()
    return Finding(
        "ok" if abs(skew) < _SKEW else "bad", f"this machine's clock and that of {endpoint} differ by {'less than' if abs(skew) < _SKEW else 'about'} {max(_SKEW, abs(skew)):.0f} s"
    )


async def _relays(loaded: Settings) -> AsyncIterator[Finding]:
    routes = load_routes(loaded)
    if not routes.relays:
        yield Finding("bad", "no relay is set: BABYGUN_RELAY_URL=smtp://host:port")
    for relay in routes.relays.values():
        try:
            offered = await check_relay(relay, hostname=loaded.smtp_hostname, timeout=loaded.smtp_connect_timeout)
            yield Finding("ok", f"relay {relay.name} at {relay.host}:{relay.port} takes connections ({offered})")
        except BabygunError as error:
            yield Finding("bad", f"relay {relay.name} at {relay.host}:{relay.port}: {error}")
