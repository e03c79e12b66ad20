"""What the calls on sites answer."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated

import msgspec
from msgspec import Meta

from babygun.api.emails.site_states import HoldDocument, SiteStateDocument, hold_fields
from babygun.routing.providers import Limits
from babygun.routing.routes import Routes
from babygun.routing.sites import MX
from babygun.runtime.clock import utc_now
from babygun.store.emails.depth import Depth
from babygun.store.records import Hold, Lowered, SiteReport
from babygun.store.sites.known import KnownSites

MOST = 1000  # sites that are listed


class LimitsDocument(msgspec.Struct, frozen=True):
    """``connections``: at once. For all workers together, where the site is ``shared``."""

    connections: Annotated[int, Meta(examples=[5])]
    messages_per_connection: Annotated[int, Meta(examples=[50])]
    rate: Annotated[str, Meta(examples=["100/s"])]


class SiteHold(HoldDocument, frozen=True, kw_only=True):
    """A site's mail waits. The codes and ``status_reason`` are the server's last reply."""

    set_by: Annotated[str, Meta(examples=["mail-1-8f3a1c9e20"])]
    by_operator: bool
    probe_at: Annotated[
        datetime | None,
        Meta(
            description="When one e-mail tries next whether mail goes again.",
            examples=["2026-11-25T09:00:30Z"],
        ),
    ]
    until: Annotated[
        datetime,
        Meta(description="When it ends by itself.", examples=["2026-11-25T10:00:30Z"]),
    ]


class LimitsForAWhile(SiteStateDocument, frozen=True, kw_only=True):
    """Who lowered the limits, why, and until when."""

    set_by: Annotated[str, Meta(examples=["mail-1-8f3a1c9e20"])]
    by_operator: bool
    until: Annotated[datetime, Meta(examples=["2026-11-25T09:30:00Z"])]


class SiteDocument(msgspec.Struct, frozen=True, kw_only=True):
    """A relay, or mail hosts that many domains share: limits and holds belong to it.

    What waits is ready to be sent; mail that waits for its next try is not in it.
    """

    site: Annotated[str, Meta(examples=["mx:google"])]
    waiting: Annotated[int, Meta(description="Jobs.", examples=[1204])]
    queues: Annotated[int, Meta(description="Their domains.", examples=[311])]
    oldest_seconds: Annotated[
        float | None,
        Meta(description="Since the oldest of them was accepted.", examples=[12.4]),
    ]
    why: Annotated[
        str | None,
        Meta(
            description="Why they wait: held, limit, pace (the rate) or slot (other workers have"
            " the connections).",
            examples=["pace"],
        ),
    ]
    connections: Annotated[int, Meta(description="Open now, of all workers.", examples=[5])]
    sent: Annotated[int, Meta(description="Messages taken in the last minute.", examples=[2900])]
    deferred: Annotated[int, Meta(description="Other replies in the last minute.", examples=[12])]
    shared: Annotated[
        bool,
        Meta(description="Whether the limits hold for all workers together.", examples=[True]),
    ]
    limits: Annotated[LimitsDocument | None, Meta(description="Those that hold now.")]
    table: Annotated[
        LimitsDocument | None, Meta(description="The site's own, by the table or its route.")
    ]
    limited: Annotated[
        LimitsForAWhile | None, Meta(description="Why others hold now.", examples=[None])
    ]
    hold: Annotated[SiteHold | None, Meta(examples=[None])]
    held_senders: Annotated[
        list[SiteHold], Meta(description="Sender domains whose mail waits here.", examples=[[]])
    ]


HELD = {
    "why": "held",
    "hold": {
        "reason": "operator",
        "status_code": None,
        "enhanced_code": None,
        "status_reason": "they asked us to pause",
        "since": "2026-11-25T09:00:00.120000Z",
        "sender": None,
        "probes": 0,
        "set_by": "operator console",
        "by_operator": True,
        "probe_at": None,
        "until": "2026-11-25T11:00:00.120000Z",
    },
}
"""The example of a site that an operator holds."""
LIMITED = {
    "limits": {"connections": 2, "messages_per_connection": 50, "rate": "20/min"},
    "limited": {
        "reason": "operator",
        "status_code": None,
        "enhanced_code": None,
        "status_reason": None,
        "since": "2026-11-25T09:00:00.120000Z",
        "set_by": "operator console",
        "by_operator": True,
        "until": "2026-11-26T09:00:00.120000Z",
    },
}
"""The example of a site that an operator has limited."""


class SiteList(msgspec.Struct, frozen=True):
    """The sites with the most mail first, at most 1,000; held and limited ones are all there."""

    sites: list[SiteDocument]


def site_names(sites: KnownSites, routing: Routes) -> list[str]:
    """Held and limited sites, relays, and those that workers report."""
    steered = {held.hold.site for held in sites.holds.by_name.values()} | set(sites.limits.by_name)
    names = [*sorted(steered), *sites.reports, *routing.destinations]
    return list(dict.fromkeys(names))[: max(MOST, len(steered))]


def site_document(
    name: str, sites: KnownSites, routing: Routes, depth: Depth | None
) -> SiteDocument:
    """``depth``: for relays without limits, which workers don't report."""
    report = sites.reports.get(name) or _of_relay(name, depth)
    kept = sites.limits.by_name.get(name)
    lowered = kept.lowered if kept else None
    held = sites.holds.by_name.get(name)
    table = routing.limits_of_site(name)
    now = lowered.instead_of(table) if lowered and table else report.limits or table
    return SiteDocument(
        site=name,
        waiting=report.waiting,
        queues=report.queues,
        oldest_seconds=(
            round((utc_now() - report.oldest).total_seconds(), 1) if report.oldest else None
        ),
        why="held" if held else report.why or None,
        connections=report.connections,
        sent=report.sent,
        deferred=report.deferred,
        shared=report.shared,
        limits=_limits(now),
        table=_limits(table),
        limited=_limited(lowered) if lowered else None,
        hold=_hold(held.hold) if held else None,
        held_senders=[
            _hold(each.hold)
            for each in sites.holds.by_name.values()
            if each.hold.sender and each.hold.site == name
        ],
    )


def _of_relay(name: str, depth: Depth | None) -> SiteReport:
    if depth is None or name.startswith(MX):
        return SiteReport(site=name)
    waiting = depth.jobs[name, "ready"]
    oldest = depth.oldest.get((name, "ready"), 0.0)
    return SiteReport(
        site=name,
        queues=int(bool(waiting)),
        waiting=waiting,
        oldest=utc_now() - timedelta(seconds=oldest) if waiting else None,
    )


def _limits(limits: Limits | None) -> LimitsDocument | None:
    if limits is None:
        return None
    return LimitsDocument(limits.connections, limits.messages_per_connection, str(limits.rate))


def _hold(hold: Hold) -> SiteHold:
    return SiteHold(
        **hold_fields(hold),
        set_by=hold.set_by,
        by_operator=hold.by_operator,
        probe_at=None if hold.by_operator else hold.probe_at,
        until=hold.until,
    )


def _limited(lowered: Lowered) -> LimitsForAWhile:
    return msgspec.convert(lowered, LimitsForAWhile, from_attributes=True)
