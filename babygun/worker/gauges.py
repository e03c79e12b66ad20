"""Puts a worker's present state into the metrics."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import get_args

from babygun.consumer.membership import Membership
from babygun.email.sending_domains import DomainStatus, SendingDomain
from babygun.runtime import metrics
from babygun.runtime.clock import since_boot
from babygun.smtp import SmtpPool
from babygun.worker.dispatch import Dispatch


def show_jobs(dispatch: Dispatch, known: Iterable[str]) -> None:
    """``known``: relays that are shown even without jobs. Many sites may have one label."""
    in_use, ready = dispatch.slots.by_label(), dispatch.ready.by_label()
    labels = dict.fromkeys((*known, *in_use, *ready))
    metrics.JOBS_IN_FLIGHT.show({(label,): in_use[label] for label in labels})
    metrics.JOBS_READY.show({(label,): ready[label] for label in labels})


def show_connections(pools: Iterable[SmtpPool], known: Iterable[str]) -> None:
    """``known``: relays that are shown even without a pool. Many pools may have one label."""
    pools = list(pools)
    connections: dict[tuple[str, str], int] = {}
    waiting: dict[tuple[str], int] = {}
    for queue in (*known, *(pool.destination.site.label for pool in pools)):
        connections[queue, "busy"] = connections[queue, "idle"] = waiting[(queue,)] = 0
    for pool in pools:
        queue = pool.destination.site.label
        connections[queue, "busy"] += pool.connections.in_use
        connections[queue, "idle"] += pool.connections.open - pool.connections.in_use
        waiting[(queue,)] += pool.connections.waiting
    metrics.SMTP_CONNECTIONS.show(connections)
    metrics.SMTP_WAITING.show(waiting)


def show_membership(membership: Membership) -> None:
    identity = membership.identity
    margin = 0.0
    if identity is not None and identity.trusted:
        margin = max(0.0, identity.trusted_until - since_boot())
    metrics.LEASE_MARGIN.show(margin)
    metrics.SLICE_SHARDS.show(membership.slice.end - membership.slice.first)


def show_domains(domains: Iterable[SendingDomain]) -> None:
    found = Counter(one.status for one in domains)
    metrics.SENDING_DOMAINS.show({(status,): found[status] for status in get_args(DomainStatus)})
