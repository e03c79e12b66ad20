"""What the calls on warm-ups answer."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from babygun.routing.warm_up import Plan, is_address
from babygun.store.warm_ups.reading import SiteDay, SiteUse, WarmUp


class WarmUpDay(msgspec.Struct, frozen=True):
    """A day (UTC) of a source at one site."""

    date: Annotated[date, Meta(examples=["2026-11-25"])]
    day: Annotated[int, Meta(description="Of the warm-up, from 1.", examples=[3])]
    ceiling: Annotated[
        int | None, Meta(description="The most recipients; null: no limit.", examples=[200])
    ]
    sent: Annotated[
        int,
        Meta(
            description="Recipients that count against the ceiling. Workers take some ahead, and"
            " give back what they do not use.",
            examples=[200],
        ),
    ]
    put_off: Annotated[
        int, Meta(description="Recipients that had to wait for the next day.", examples=[130])
    ]


class WarmUpSite(msgspec.Struct, frozen=True):
    """A provider, or mail hosts that domains share."""

    site: Annotated[str, Meta(examples=["mx:outlook"])]
    waits: Annotated[
        str | None,
        Meta(
            description="Why further mail waits for the next day; null: it does not.",
            examples=["warm-up of 192.0.2.7: day 3, 200 of 200 to outlook today"],
        ),
    ]
    days: Annotated[
        list[WarmUpDay],
        Meta(description="The days with mail since the warm-up began, and today. 31 days at most."),
    ]


class WarmUpDocument(msgspec.Struct, frozen=True, kw_only=True):
    """A source: an address of ours, or a sending domain."""

    source: Annotated[str, Meta(examples=["192.0.2.7"])]
    kind: Annotated[Literal["address", "domain"], Meta(examples=["address"])]
    began: Annotated[
        date | None,
        Meta(description="Its first day (UTC); null: it was not used.", examples=["2026-11-23"]),
    ]
    day: Annotated[int, Meta(description="Today, from 1.", examples=[3])]
    ceiling: Annotated[
        int | None,
        Meta(
            description="The most recipients at each site today; null: it is warm.",
            examples=[200],
        ),
    ]
    warm: bool
    skipped: Annotated[bool, Meta(description="An operator ended the warm-up early.")]
    set_by: Annotated[
        str | None,
        Meta(
            description="Who says when it began: settings, or an operator. null: its first use.",
            examples=[None],
        ),
    ]
    sites: list[WarmUpSite]


SKIPPED = {
    "ceiling": None,
    "warm": True,
    "skipped": True,
    "set_by": "operator console",
    "sites": [{"waits": None, "days": [{"ceiling": None}]}],
}
"""The example of a source whose warm-up an operator has ended."""
RESTARTED = {
    "began": "2026-11-25",
    "day": 1,
    "ceiling": 50,
    "set_by": "operator console",
    "sites": [
        {
            "waits": "warm-up of 192.0.2.7: day 1, 50 of 50 to outlook today",
            "days": [{"day": 1, "ceiling": 50}],
        }
    ],
}
"""The example of a source whose warm-up begins today."""


class WarmUpList(msgspec.Struct, frozen=True):
    """``ceilings``: the table, from the first day. At most 200 sources; warm ones come last."""

    on: Annotated[
        bool,
        Meta(description="false: nothing warms up, by the setting warm_up.", examples=[True]),
    ]
    ceilings: Annotated[list[int], Meta(examples=[[50, 100, 200]])]
    sources: list[WarmUpDocument]


def warm_up_document(warm_up: WarmUp) -> WarmUpDocument:
    return WarmUpDocument(
        source=warm_up.source,
        kind="address" if is_address(warm_up.source) else "domain",
        began=warm_up.began,
        day=warm_up.day,
        ceiling=warm_up.ceiling,
        warm=warm_up.ceiling is None,
        skipped=warm_up.skipped,
        set_by=warm_up.set_by or None,
        sites=list(map(_site, warm_up.sites)),
    )


def warm_up_list(plan: Plan | None, warm_ups: list[WarmUp]) -> WarmUpList:
    return WarmUpList(
        plan is not None,
        list(plan.ceilings) if plan else [],
        list(map(warm_up_document, warm_ups)),
    )


def _site(use: SiteUse) -> WarmUpSite:
    return WarmUpSite(use.site, use.why or None, list(map(_day, use.days)))


def _day(day: SiteDay) -> WarmUpDay:
    return WarmUpDay(day.on, day.number, day.ceiling, day.used.taken, day.used.put_off)
