"""``babygun doctor``: looks at everything that a working installation needs, and says what is wrong with it."""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import AsyncIterator
from typing import Literal, NamedTuple, get_args

from babygun.cli.local import load_settings, nothing_runs
from babygun.cli.output import count_of
from babygun.errors import BabygunError, EtcdError, PermissionDenied, SettingsError
from babygun.etcd import clock_ahead, explain
from babygun.pki import certificates
from babygun.routing.routes import load_routes
from babygun.runtime.clock import utc_now
from babygun.runtime.settings import Settings
from babygun.smtp import check_destination
from babygun.store import Store
from babygun.store.access.permissions import explain_denied, missing_rights
from babygun.store.access.rights import Role
from babygun.store.cluster import name as cluster
from babygun.store.cluster import peers
from babygun.store.cluster.health import version_findings
from babygun.store.emails.depth import Depths
from babygun.store.emails.reading import list_workers
from babygun.store.keys import range_end


class Finding(NamedTuple):
    """``bad`` fails the check; ``warn`` is worth a look."""

    level: Literal["ok", "warn", "bad"]
    what: str


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--no-relay", action="store_true", help="don't connect to the relays")
    parser.add_argument(
        "--role",
        choices=get_args(Role),
        help="check that the etcd user has the rights of this role",
    )


def run(arguments: argparse.Namespace) -> int:
    return asyncio.run(_run(load_settings(), relays=not arguments.no_relay, role=arguments.role))


async def _run(loaded: Settings, *, relays: bool, role: Role | None) -> int:
    bad = False
    marks = {"ok": "ok  ", "warn": "WARN", "bad": "BAD "}
    async for finding in examine(loaded, relays=relays, role=role):
        print(f"{marks[finding.level]}  {finding.what}", flush=True)
        bad = bad or finding.level == "bad"
    return 1 if bad else 0


async def examine(
    loaded: Settings, *, relays: bool = True, role: Role | None = None
) -> AsyncIterator[Finding]:
    """The findings, one after the other."""
    for finding in _certificates(loaded):
        yield finding
    if not certificates.check(loaded, certificates.ETCD).faults:
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
                async for finding in _agreement(store, role):
                    yield finding
        for endpoint in loaded.etcd_endpoints:
            yield await _clock(loaded, endpoint)
    if relays:
        async for finding in _relays(loaded):
            yield finding


def _certificates(loaded: Settings) -> list[Finding]:
    verdict = certificates.check(loaded, certificates.API)
    found = [
        *(Finding("bad", sentence) for sentence in verdict.faults),
        *(Finding("warn", sentence) for sentence in verdict.warnings),
    ]
    named = {finding.what.partition(":")[0] for finding in found}
    return found + [
        Finding("ok", f"{use}: good until {end:%Y-%m-%d}")
        for use, end in certificates.expiries(loaded, certificates.API).items()
        if use not in named
    ]


async def _etcd(store: Store) -> AsyncIterator[Finding]:
    for endpoint, status in (await store.client.statuses()).items():
        if isinstance(status, PermissionDenied):
            yield Finding("bad", explain_denied(store.settings, status))
            continue
        if isinstance(status, EtcdError):
            yield Finding(
                "bad",
                await explain(store.settings, endpoint)
                or f"etcd at {endpoint} does not answer: {status}",
            )
            continue
        for wrong in (against := version_findings(status.version)):
            yield Finding(
                "bad" if wrong.reason else "warn", f"etcd at {endpoint}: {wrong.sentence}"
            )
        if not against:
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
            yield Finding(
                "bad", f"etcd has raised its {alarm} alarm: see etcd/schema.md, 'When etcd is full'"
            )
        async for finding in _api_clients(store):
            yield finding
        keys = store.keys
        workers = await list_workers(store)
        yield Finding(
            "ok" if workers else "bad",
            count_of(len(workers), "live worker")
            + ("" if workers else ": nothing is delivered until one runs"),
        )
        for sentence in peers.wrong_clocks(workers, utc_now(), store.settings.lease_ttl).values():
            yield Finding("bad", sentence)
        for sentence in peers.other_routing(
            store.settings.prefix, load_routes(store.settings), workers
        ).values():
            yield Finding("warn", sentence)
        if workers:
            depth = await Depths(store).read(time.monotonic() + store.settings.etcd_timeout)
            for sentence in peers.unsent_queues(depth, workers).values():
                yield Finding("bad", sentence)
        ready = await store.client.range(keys.jobs, range_end(keys.jobs), limit=1, keys_only=True)
        waiting = await store.client.range(
            keys.waiting, range_end(keys.waiting), limit=1, keys_only=True
        )
        yield Finding(
            "ok", f"{count_of(ready.count, 'job')} ready or being sent, {waiting.count} waiting"
        )
        overdue = (
            (utc_now() - keys.parse_not_before(waiting.kvs[0].key)[0]).total_seconds()
            if waiting.kvs
            else 0
        )
        if overdue > 60:
            yield Finding(
                "bad",
                f"a job is overdue by {overdue:.0f} s: do the workers run, and is their clock right?",
            )
    except EtcdError as error:
        yield Finding("bad", f"etcd refused to be read: {error}")


async def _api_clients(store: Store) -> AsyncIterator[Finding]:
    keys = store.keys
    try:
        signing = await store.client.range(
            keys.signing_keys, range_end(keys.signing_keys), keys_only=True
        )
        yield Finding(
            "ok" if signing.kvs else "warn",
            count_of(len(signing.kvs), "token signing key")
            + ("" if signing.kvs else ": the API makes one when it starts"),
        )
        clients = await store.client.range(keys.clients, range_end(keys.clients), keys_only=True)
        yield Finding(
            "ok" if clients.kvs else "warn",
            count_of(len(clients.kvs), "API client")
            + ("" if clients.kvs else ": babygun client create NAME"),
        )
    except PermissionDenied:  # an inspector's user
        yield Finding("ok", "token signing keys and API clients are not for this etcd user to see")


async def _agreement(store: Store, role: Role | None) -> AsyncIterator[Finding]:
    """Whether a process with these settings may work under this prefix."""
    try:
        if role:
            lacking = await missing_rights(store, role)
            for sentence in lacking:
                yield Finding("bad", sentence)
            if not lacking:
                yield Finding("ok", f"the etcd user has the rights of the role {role}")
        if warning := await cluster.belongs(store):
            yield Finding("warn", warning)
    except SettingsError as error:
        yield Finding("bad", str(error))
    except EtcdError as error:
        yield Finding("bad", f"etcd refused to be read: {error}")


async def _clock(loaded: Settings, endpoint: str) -> Finding:
    """Compares this machine's clock with that of an etcd member."""
    ahead = await clock_ahead(loaded, endpoint)
    if ahead is None:
        return Finding("warn", f"the clock of {endpoint} can't be read")
    if wrong := peers.wrong_clock(ahead):
        return Finding("bad", f"{wrong} ({endpoint})")
    return Finding(
        "ok", f"this machine's clock and that of {endpoint} differ by less than {peers.SKEW:.0f} s"
    )


async def _relays(loaded: Settings) -> AsyncIterator[Finding]:
    routes = load_routes(loaded)
    if not routes.destinations:
        yield Finding("bad", "no relay is set: BABYGUN_RELAY_URL=smtp://host:port")
    for relay in routes.destinations.values():
        try:
            offered = await check_destination(
                relay, hostname=loaded.smtp_hostname, timeout=loaded.smtp_connect_timeout
            )
            yield Finding(
                "ok",
                f"relay {relay.name} at {relay.address} takes connections ({offered})",
            )
        except BabygunError as error:
            yield Finding("bad", f"relay {relay.name} at {relay.address}: {error}")
