"""E-mails to domains that enforce a TLS policy. Some of their hosts do not do what it demands."""

from __future__ import annotations

from scripts.chaos.load.straight import Straight
from scripts.chaos.policies import POLICY_DOMAINS


class Enforcing(Straight):
    name = "enforcing"
    sentence = (
        "Sends e-mails to domains that enforce MTA-STS, some of which break their own policy."
    )
    share = 0.5
    domains = POLICY_DOMAINS


ENFORCING = Enforcing()
