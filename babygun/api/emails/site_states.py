"""How answers show what holds for a site for a while: a hold, or limits."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from babygun.store.records import Hold


class SiteStateDocument(msgspec.Struct, frozen=True, kw_only=True):
    """The codes and ``status_reason`` are the server's last reply."""

    reason: Annotated[
        str,
        Meta(description="How the reply was classified, or operator.", examples=["authentication"]),
    ]
    status_code: Annotated[int | None, Meta(examples=[535])]
    enhanced_code: Annotated[str | None, Meta(examples=["5.7.8"])]
    status_reason: Annotated[
        str | None,
        Meta(description="An operator's own words, if it is by one.", examples=["Login failed"]),
    ]
    since: Annotated[datetime, Meta(examples=["2026-11-25T09:00:00.171000Z"])]


class HoldDocument(SiteStateDocument, frozen=True, kw_only=True):
    """A site's mail waits: the server refuses us and not an e-mail, or an operator holds it."""

    sender: Annotated[
        str | None,
        Meta(description="Then only mail of this sender domain waits.", examples=[None]),
    ]
    probes: Annotated[
        int,
        Meta(description="How often one e-mail tried whether mail goes again.", examples=[3]),
    ]


class HeldSite(HoldDocument, frozen=True, kw_only=True):
    """A site whose mail waits: the server refuses the session or the login, not the e-mail.

    The codes and ``status_reason`` are from the server's last reply, in its own words. Or an
    operator holds it.
    """

    site: Annotated[
        str,
        Meta(
            description="A relay, or mail hosts that many domains share.",
            examples=["default"],
        ),
    ]
    probe_at: Annotated[
        datetime,
        Meta(
            description="When one e-mail tries next whether mail goes again. If an operator holds"
            " it, or for one sender domain only: when it ends.",
            examples=["2026-11-25T09:00:30.171000Z"],
        ),
    ]


def hold_fields(hold: Hold) -> dict[str, Any]:
    """Those of a :class:`HoldDocument`."""
    shown = {name: getattr(hold, name) for name in HoldDocument.__struct_fields__}
    return shown | {"sender": hold.sender or None}


def held_site(hold: Hold) -> HeldSite:
    return HeldSite(**hold_fields(hold), site=hold.site, probe_at=hold.probe_at)
