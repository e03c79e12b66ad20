"""``babygun doctor``: checks what a working installation needs, and says what is wrong."""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import get_args

from msgspec.structs import replace

from babygun.cli.audited import command_entry
from babygun.cli.domain_checks import (
    check_bounce_host,
    check_domain,
    check_sealing_key,
    check_tls_reports,
)
from babygun.cli.finding import Finding
from babygun.cli.local import hint_to_start_etcd, load_settings
from babygun.cli.mail_checks import check_mail
from babygun.cli.output import count_of
from babygun.cli.warm_up_checks import check_warm_ups
from babygun.errors import EtcdError, PermissionDenied, SettingsError
from babygun.etcd import Status, clock_ahead, explain
from babygun.pki import certificates
from babygun.routing.routes import load_routes
from babygun.runtime.clock import utc_now
from babygun.runtime.settings import Settings
from babygun.store import Store
from babygun.store.access.permissions import explain_denied, missing_rights
from babygun.store.access.rights import Role
from babygun.store.audit.entries import write
from babygun.store.cluster import findings, worker_checks
from babygun.store.cluster.cluster_name import check_cluster
from babygun.store.cluster.processes import list_workers
from babygun.store.cluster.worker_clocks import wrong_clocks
from babygun.store.emails.depth import Depths
from babygun.store.keys import range_end
from babygun.store.upkeep.fullness import Fullness
from babygun.store.upkeep.make_room import make_room
from babygun.store.upkeep.reserve import Reserve, file_is_near

_NEARLY_FULL, _FULL = 0.7, 0.9  # parts of etcd's quota: worth a warning, and wrong
_OVERDUE = 60.0  # seconds that a waiting job may be late
_LABELS = {"ok": "ok  ", "warn": "WARN", "bad": "BAD "}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--no-relay", action="store_true", help="don't connect to the relays")
    parser.add_argument(
        "--mx",
        metavar="DOMAIN",
        default="",
        help="also connect to the mail hosts of this domain, from here; no mail is sent",
    )
    parser.add_argument(
        "--make-room",
        action="store_true",
        help="make room in a full etcd and lift its alarm, as root, and check nothing",
    )
    parser.add_argument(
        "--role",
        choices=get_args(Role),
        help="also check that the etcd user has the rights of this role",
    )
    subjects = parser.add_subparsers(dest="subject", metavar="[subject]")
    domain = subjects.add_parser(
        "domain",
        help="check a domain as receivers of its mail do: DNS records, names, port 25",
    )
    domain.add_argument("domain", help="e.g. example.com")
    domain.add_argument(
        "--selector",
        action="append",
        default=[],
        dest="selectors",
        help="also look at this DKIM key, such as one of a relay; repeat for several",
    )


def run(arguments: argparse.Namespace) -> int:
    """1 if a finding is bad, or no room could be made."""
    if arguments.make_room:
        return asyncio.run(_make_room(load_settings()))
    if arguments.subject == "domain":
        found = check_domain(load_settings(), arguments.domain, arguments.selectors)
        return asyncio.run(_report(found))
    relays, mx, role = not arguments.no_relay, arguments.mx, arguments.role
    return asyncio.run(_report(examine(load_settings(), relays=relays, mx=mx, role=role)))


async def _report(findings: AsyncIterator[Finding]) -> int:
    bad = False
    async for finding in findings:
        print(f"{_LABELS[finding.level]}  {finding.sentence}", flush=True)
        bad = bad or finding.level == "bad"
    return 1 if bad else 0


async def _make_room(loaded: Settings) -> int:
    async with Store(loaded) as store:
        try:
            async for sentence in make_room(store):
                print(sentence, flush=True)
            # Before it, a full etcd would not have taken the entry.
            await write(store, replace(command_entry("makeRoom"), outcome="done"))
        except PermissionDenied:
            print(
                "etcd lets only root make room. Show root's certificate (BABYGUN_ETCD_CERT,"
                " BABYGUN_ETCD_KEY) or give root's password (BABYGUN_ETCD_USER,"
                " BABYGUN_ETCD_PASSWORD).",
                file=sys.stderr,
            )
            return 1
        except EtcdError as error:
            print(f"No room was made: {error}", file=sys.stderr)
            return 1
    return 0


async def examine(
    loaded: Settings, *, relays: bool = True, mx: str = "", role: Role | None = None
) -> AsyncIterator[Finding]:
    """The findings, one after the other as they are made."""
    for finding in _certificates(loaded):
        yield finding
    if not certificates.check(loaded, certificates.ETCD).errors:
        async with Store(loaded) as store:
            reachable = False
            async for finding in _members(store):
                reachable = reachable or finding.level != "bad"
                yield finding
            if reachable:
                for checks in (_state(store), _agreement(store, role)):
                    async for finding in _or_error(checks):
                        yield finding
            elif hint := hint_to_start_etcd():
                yield Finding("warn", hint)
        for endpoint in loaded.etcd_endpoints:
            yield await _clock(loaded, endpoint)
    for checks in (check_mail(loaded, relays=relays, mx=mx), check_bounce_host(loaded)):
        async for finding in _or_error(checks):
            yield finding


def _certificates(loaded: Settings) -> Iterator[Finding]:
    problems = certificates.check(loaded, certificates.API)
    for sentence in problems.errors:
        yield Finding("bad", sentence)
    for sentence in problems.warnings:
        yield Finding("warn", sentence)
    named = {sentence.partition(":")[0] for sentence in problems.errors + problems.warnings}
    for use, end in certificates.expiries(loaded, certificates.API).items():
        if use not in named:
            yield Finding("ok", f"{use}: good until {end:%Y-%m-%d}")


# --- etcd's members ---


async def _members(store: Store) -> AsyncIterator[Finding]:
    for endpoint, status in (await store.client.statuses()).items():
        if isinstance(status, PermissionDenied):
            yield Finding("bad", explain_denied(store.settings, status))
        elif isinstance(status, EtcdError):
            explanation = await explain(store.settings, endpoint)
            yield Finding("bad", explanation or f"etcd at {endpoint} does not answer: {status}")
        else:
            for finding in _member(store, f"etcd at {endpoint}", status):
                yield finding


def _member(store: Store, member: str, status: Status) -> Iterator[Finding]:
    problems = findings.of_version(status.version, store.settings)
    for problem in problems:
        yield Finding("bad" if problem.blocks else "warn", f"{member}: {problem.sentence}")
    if not problems:
        yield Finding("ok", f"{member} is {status.version}")
    if not status.leader:
        yield Finding("bad", f"{member} has no leader")
    for error in status.errors:
        yield Finding("bad", f"{member} reports: {error}")
    full = status.db_size / (status.quota or store.settings.etcd_quota)
    yield Finding(
        "ok" if full < _NEARLY_FULL else "warn" if full < _FULL else "bad",
        f"{member} uses {status.db_size / 2**20:.1f} MiB"
        f" ({status.db_size_in_use / 2**20:.1f} MiB of it in use), {full:.1%} of its quota",
    )


async def _clock(loaded: Settings, endpoint: str) -> Finding:
    """Compares this machine's clock with that of an etcd member."""
    ahead = await clock_ahead(loaded, endpoint)
    if ahead is None:
        return Finding("warn", f"the clock of {endpoint} can't be read")
    if wrong := worker_checks.wrong_clock(ahead):
        return Finding("bad", f"{wrong} ({endpoint})")
    return Finding(
        "ok",
        f"this machine's clock and that of {endpoint}"
        f" differ by less than {worker_checks.SKEW:.0f} s",
    )


# --- what etcd holds ---


async def _or_error(checks: AsyncIterator[Finding]) -> AsyncIterator[Finding]:
    """An error ends the checks, as the last finding."""
    try:
        async for finding in checks:
            yield finding
    except SettingsError as error:
        yield Finding("bad", str(error))
    except EtcdError as error:
        yield Finding("bad", f"etcd can't be read: {error}")


async def _state(store: Store) -> AsyncIterator[Finding]:
    alarms = await store.client.alarms()
    for alarm in alarms:
        yield Finding(
            "bad",
            f"etcd has raised its {alarm} alarm"
            + (": run babygun doctor --make-room, as root" if alarm == "NOSPACE" else ""),
        )
    for checks in (
        _room(store),
        _api_clients(store),
        check_sealing_key(store),
        check_tls_reports(store),
        _workers(store),
        _holds(store),
        check_warm_ups(store),
        _jobs(store, alarms),
    ):
        async for finding in checks:
            yield finding


async def _room(store: Store) -> AsyncIterator[Finding]:
    """What new e-mails may take, and what is kept for those in the store."""
    fullness = Fullness(store.client, store.settings.etcd_quota)
    reserve = Reserve(store, fullness)
    await fullness.measure()
    await reserve.measure()
    kept = f"{reserve.share * fullness.quota / 2**20:.0f} MiB are reserved to end stored ones"
    if reserve.room:
        yield Finding("ok", f"new e-mails have {reserve.room / 2**20:.0f} MiB of room; {kept}")
    elif file_is_near(fullness):
        yield Finding(
            "bad",
            "new e-mails are refused, as etcd's file is too near its quota:"
            " run babygun doctor --make-room, as root",
        )
    else:
        yield Finding("bad", f"new e-mails are refused until others are sent or deleted; {kept}")


async def _api_clients(store: Store) -> AsyncIterator[Finding]:
    parts = (
        (store.keys.signing_keys, "token signing key", "the API makes one when it starts"),
        (store.keys.clients, "API client", "babygun clients create NAME"),
    )
    try:
        for prefix, noun, if_none in parts:
            found = (await store.client.range(prefix, range_end(prefix), keys_only=True)).count
            sentence = count_of(found, noun)
            yield Finding("ok", sentence) if found else Finding("warn", f"{sentence}: {if_none}")
    except PermissionDenied:  # the inspector's user
        yield Finding("ok", "this etcd user may not see token signing keys and API clients")


async def _workers(store: Store) -> AsyncIterator[Finding]:
    settings = store.settings
    workers = await list_workers(store)
    if not workers:
        yield Finding("bad", "0 live workers: nothing is delivered until one runs")
        return
    few = worker_checks.too_few(settings.expected_workers, workers)
    yield Finding("warn", few) if few else Finding("ok", count_of(len(workers), "live worker"))
    for sentence in (await wrong_clocks(store, workers)).values():
        yield Finding("bad", sentence)
    other_routing = worker_checks.other_routing(settings.prefix, load_routes(settings), workers)
    for sentence in (*other_routing.values(), *worker_checks.other_settings(workers).values()):
        yield Finding("warn", sentence)
    depth = await Depths(store).read(time.monotonic() + settings.etcd_timeout)
    for sentence in worker_checks.unsent_queues(depth, workers).values():
        yield Finding("bad", sentence)


async def _holds(store: Store) -> AsyncIterator[Finding]:
    for finding in await findings.of_holds(store):
        yield Finding("bad", finding.sentence)


async def _jobs(store: Store, alarms: Sequence[str]) -> AsyncIterator[Finding]:
    keys = store.keys
    jobs, waiting = [
        await store.client.range(prefix, range_end(prefix), limit=1, keys_only=True)
        for prefix in (keys.jobs, keys.waiting)
    ]
    yield Finding(
        "ok", f"{count_of(jobs.count, 'job')} ready or being sent, {waiting.count} waiting"
    )
    if waiting.kvs:
        due, _ = keys.parse_not_before(waiting.kvs[0].key)
        overdue = (utc_now() - due).total_seconds()
        if overdue > _OVERDUE:
            why = "" if alarms else ": do workers run, and are clocks right?"
            yield Finding("bad", f"a job is {overdue:.0f} s overdue{why}")


async def _agreement(store: Store, role: Role | None) -> AsyncIterator[Finding]:
    """Whether a process with these settings may work under this prefix."""
    if role:
        lacking = await missing_rights(store, role)
        for sentence in lacking:
            yield Finding("bad", sentence)
        if not lacking:
            yield Finding("ok", f"the etcd user has the rights of the role {role}")
    if warning := await check_cluster(store):
        yield Finding("warn", warning)
