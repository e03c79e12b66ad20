"""The services that the calls on e-mails use, each under its key."""

from __future__ import annotations

from aiohttp import web

from babygun.api.emails.site_lookups import SiteLookups
from babygun.intake.accept import Intake
from babygun.intake.quota_guard import QuotaGuard
from babygun.routing.routes import Routes

ROUTING = web.AppKey("routing", Routes)
LOOKUPS = web.AppKey("site lookups", SiteLookups)
QUOTA_GUARD = web.AppKey("quota guard", QuotaGuard)
INTAKE = web.AppKey("intake", Intake)
