"""The services that the calls on e-mails use, each under its key."""

from __future__ import annotations

from dataclasses import dataclass

from aiohttp import web

from babygun.intake.quota_guard import Space
from babygun.intake.rate_limit import RateLimits
from babygun.routing.routes import Routes


@dataclass(slots=True)
class AcceptedEmails:
    """How many e-mails this process has accepted since its start."""

    count: int = 0


ROUTING = web.AppKey("routing", Routes)
QUOTA_GUARD = web.AppKey("quota guard", Space)
RATE_LIMITS = web.AppKey("rate limits", RateLimits)
ACCEPTED = web.AppKey("accepted", AcceptedEmails)
