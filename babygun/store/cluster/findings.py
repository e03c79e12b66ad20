"""What an operator should know of an installation: one finding for each thing that is wrong.

These are the checks of what changes slowly. :mod:`babygun.store.cluster.health` runs them.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from babygun.errors import EtcdError, PermissionDenied
from babygun.etcd import Status, clock_ahead, explain, versions
from babygun.pki import certificates
from babygun.routing.routes import Routes
from babygun.runtime import metrics
from babygun.runtime.clock import utc_now
from babygun.runtime.settings import Settings
from babygun.store.access.permissions import missing_rights
from babygun.store.access.rights import Role
from babygun.store.cluster import worker_checks
from babygun.store.cluster.processes import list_workers
from babygun.store.cluster.worker_clocks import wrong_clocks
from babygun.store.emails.depth import Depths
from babygun.store.sites.holds import list_holds
from babygun.store.store import Store


class Finding(NamedTuple):
    """One sentence. ``key`` stays the same while the sentence's numbers change.

    ``blocks``: this process can't work because of it, and is not ready. ``fatal``: the process must
    not start either.
    """

    key: str
    sentence: str
    blocks: bool = False
    fatal: bool = False


def of_certificates(
    settings: Settings, uses: Sequence[certificates.Use], shown_to_etcd: datetime | None
) -> list[Finding]:
    """``shown_to_etcd``: the end of the client certificate that this process uses."""
    problems = certificates.check(settings, uses)
    found = [
        Finding(f"certificate {sentence.partition(':')[0]}", sentence)
        for sentence in problems.errors + problems.warnings
    ]
    ends = certificates.expiries(settings, ("etcd_cert", *uses))
    if (
        shown_to_etcd
        and ends.get("etcd_cert", shown_to_etcd) > shown_to_etcd
        and shown_to_etcd - utc_now() < certificates.SOON
    ):
        sentence = (
            "etcd_cert: this process shows a certificate that expires on"
            f" {shown_to_etcd:%Y-%m-%d %H:%M} UTC; the file holds a newer one: restart it"
        )
        found.append(Finding("certificate in use", sentence))
    served = (("api", ends.get("api_cert")), ("bounces", ends.get("bounce_cert")))
    for use, end in (("etcd", shown_to_etcd), *served):
        if end:
            metrics.CERTIFICATE_EXPIRY[use].set(end.timestamp())
    return found


async def of_members(store: Store) -> list[Finding]:
    """The members of etcd that do not answer while others do, or whose version lacks something."""
    settings = store.settings
    if len(settings.etcd_endpoints) < 2:
        return []
    statuses = await store.client.statuses()
    silent = [
        endpoint
        for endpoint, status in statuses.items()
        if isinstance(status, EtcdError) and not isinstance(status, PermissionDenied)
    ]
    if len(silent) == len(statuses):
        return []
    sentences = await asyncio.gather(*(explain(settings, endpoint) for endpoint in silent))
    found = {status.version for status in statuses.values() if isinstance(status, Status)}
    return [
        Finding(f"member {endpoint}", sentence or f"etcd at {endpoint} does not answer")
        for endpoint, sentence in zip(silent, sentences, strict=True)
    ] + [finding for version in sorted(found) for finding in of_version(version, settings)]


async def of_rights(store: Store, role: Role) -> list[Finding]:
    """The rights that etcd does not give this process."""
    return [
        Finding(sentence, sentence, blocks=True, fatal=True)
        for sentence in await missing_rights(store, role)
    ]


async def of_workers(
    store: Store, role: Role, routes: Routes, depths: Depths, *, count: bool
) -> list[Finding]:
    """What the live workers' records show. ``count``: also whether there are enough."""
    settings, workers = store.settings, await list_workers(store)
    sentences = {
        "routing": worker_checks.other_routing(settings.prefix, routes, workers),
        "settings": worker_checks.other_settings(workers),
    }
    if count and (few := worker_checks.too_few(settings.expected_workers, workers)):
        sentences["workers"] = {"": few}
    if role == "api" and workers:  # few processes do it, since it costs several reads
        depth = await depths.read(time.monotonic() + settings.etcd_timeout)
        sentences["queue"] = worker_checks.unsent_queues(depth, workers)
    sentences["clock"] = await wrong_clocks(store, workers)
    return [
        Finding(f"{what} {name}", sentence)
        for what, by_name in sentences.items()
        for name, sentence in by_name.items()
    ]


async def of_holds(store: Store) -> list[Finding]:
    """The held sites."""
    sentences = worker_checks.held_sites(await list_holds(store))
    return [Finding(f"hold {name}", sentence) for name, sentence in sentences.items()]


async def of_clock(settings: Settings) -> list[Finding]:
    """This machine's clock, by the member whose clock is nearest: one of them may be wrong."""
    differences = [
        ahead
        for ahead in await asyncio.gather(
            *(clock_ahead(settings, endpoint) for endpoint in settings.etcd_endpoints)
        )
        if ahead is not None
    ]
    sentence = worker_checks.wrong_clock(min(differences, key=abs)) if differences else ""
    return [Finding("clock", sentence)] if sentence else []


def of_version(version: str, settings: Settings) -> list[Finding]:
    """What is wrong with this version of etcd."""
    if versions.is_too_old(version):
        sentence = f"etcd is {version}, which is too old: use {versions.remedy(version)} or newer"
        return [Finding("version", sentence, blocks=True, fatal=True)]
    has_users = bool(settings.etcd_user or settings.etcd_cert)
    newer = versions.remedy(version)
    return [
        Finding(f"version {each.name}", f"etcd {version} {each.lack}: use {newer} or newer")
        for each in versions.lacking(version)
        if has_users or each not in versions.OF_ROLES
    ]
