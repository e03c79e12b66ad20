"""Why the recipients of an e-mail wait, until when, and how much other mail waits with them."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Annotated, Literal

import msgspec
from aiohttp import web
from msgspec import Meta

from babygun.api.emails.fields import QueueName
from babygun.api.emails.services import LOOKUPS
from babygun.api.http.context import SITES
from babygun.email.model import Email, Recipient
from babygun.store.emails.reading import EmailView
from babygun.store.records import Hold, Lowered
from babygun.store.sites.known import KnownSites

MOST = 100  # queues of one e-mail that are explained
# s, that a call waits for what it has to ask. What comes later is there for the next call.
PATIENCE = 0.05

Why = Literal["scheduled", "retry", "held", "limited", "ready", "sending"]

_WHY = """\
scheduled: it was accepted for later. retry: the last try failed softly. held: its site's mail
waits, or that of its sender's domain there. limited: its site takes no more at a time.
ready: it is next in line. sending: a worker has it."""


class QuotedReply(msgspec.Struct, frozen=True):
    """A server's reply, or an operator's own words."""

    reply_class: Annotated[str | None, Meta(examples=["greylisted"])]
    status_code: Annotated[int | None, Meta(examples=[451])]
    enhanced_code: Annotated[str | None, Meta(examples=["4.7.1"])]
    status_reason: Annotated[str | None, Meta(examples=["Greylisted, try again later"])]


class QueueWait(msgspec.Struct, frozen=True, kw_only=True):
    """Why one queue's recipients wait."""

    queue: QueueName
    site: Annotated[
        str | None,
        Meta(
            description="Where its mail goes; null where that has to be looked up first.",
            examples=["default"],
        ),
    ]
    why: Annotated[Why, Meta(description=" ".join(_WHY.split()), examples=["retry"])]
    until: Annotated[
        datetime | None,
        Meta(
            description="When that may change by itself.", examples=["2026-11-25T09:10:00.171000Z"]
        ),
    ]
    reply: Annotated[
        QuotedReply | None, Meta(description="Which said so: of its last try, hold or limit.")
    ]
    others: Annotated[
        int | None,
        Meta(
            description="Jobs that wait for this site now, as its workers say; null: none says.",
            examples=[None, 1204],
        ),
    ]
    explanation: Annotated[
        str,
        Meta(
            description="The same in a sentence.",
            examples=["the last try failed softly; the next one is at 2026-11-25 09:10:00 UTC"],
        ),
    ]


async def waits_of(request: web.Request, view: EmailView) -> list[QueueWait]:
    """Of the queues that are not final, MOST at most; the one that was tried last comes first."""
    email = view.email
    if email.final:
        return []
    sites = request.app[SITES]
    queues = sorted(
        (queue for queue, state in email.queues.items() if not state.final),
        key=lambda queue: (-email.queues[queue].tries, queue),
    )[:MOST]
    lookups = request.app[LOOKUPS]
    await asyncio.gather(sites.read_reports(PATIENCE), lookups.find(queues, PATIENCE))
    return [
        explain(
            email,
            queue,
            lookups.known(queue) or email.queues[queue].site or None,
            queue in view.owners,
            sites,
        )
        for queue in queues
    ]


def explain(
    email: Email, queue: str, site: str | None, sending: bool, sites: KnownSites
) -> QueueWait:
    """Why a queue that is not final waits."""
    sender = email.sender.rpartition("@")[2].lower()
    held = sites.hold_at(site, sender) if site else None
    hold = held.hold if held else None
    limited = sites.limits.by_name.get(site) if site else None
    report = sites.reports.get(site) if site else None
    last = _last_tried(email, queue)
    due = email.queues[queue].not_before
    why: Why
    until: datetime | None = None
    reply: QuotedReply | None = None
    if sending:
        why, sentence = "sending", "a worker is sending it"
    elif hold is not None and (due is None or due <= _end(hold)):
        why, until, reply = "held", _end(hold), quoted(hold)
        sentence = _held(hold)
    elif due is not None and last is None:
        why, until = "scheduled", due
        sentence = f"it is to be sent at {_time(due)}"
    elif due is not None and last is not None:
        why, until, reply = "retry", due, quoted(last)
        sentence = f"the last try failed softly; the next one is at {_time(due)}"
    elif report is not None and report.why:
        lowered = limited.lowered if limited else None
        why, until = "limited", lowered.until if lowered else None
        reply = quoted(lowered) if lowered else None
        sentence = f"{site} takes no more at a time" + (
            f"; its limits are lower until {_time(lowered.until)}" if lowered else ""
        )
    elif site is None:
        why, sentence = "ready", "it is not known here yet to which site it goes: DNS is asked"
    else:
        why, sentence = "ready", "it is next in line"
    others = report.waiting if report else None
    if others and why in ("held", "limited", "ready"):
        jobs = "1 job of this site waits" if others == 1 else f"{others} jobs of this site wait"
        sentence += f"; {jobs}"
    return QueueWait(
        queue=queue,
        site=site,
        why=why,
        until=until,
        reply=reply,
        others=others,
        explanation=sentence,
    )


def _end(hold: Hold) -> datetime:
    """When its mail may go, at the earliest. Mail that is due later waits for its own time."""
    return hold.until if hold.by_operator else hold.probe_at


def _held(hold: Hold) -> str:
    what = f"mail of {hold.sender} to {hold.site}" if hold.sender else hold.site
    if hold.by_operator:
        # Not by whom: clients read this, too.
        return f"{what} is held by an operator until {_time(hold.until)}: {hold.status_reason}"
    if hold.sender:
        return f"{what} is held until {_time(hold.until)}"
    return (
        f"{what} is held until one e-mail gets through; the next one tries at"
        f" {_time(hold.probe_at)}"
    )


def _last_tried(email: Email, queue: str) -> Recipient | None:
    """The recipient of the queue that says most of its last try; None before the first."""
    return next((r for r in email.recipients if r.queue == queue and not r.final and r.tries), None)


def quoted(said: Hold | Lowered | Recipient) -> QuotedReply:
    reply_class = said.reply_class if isinstance(said, Recipient) else said.reason
    return QuotedReply(reply_class, said.status_code, said.enhanced_code, said.status_reason)


def _time(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S} UTC"
