"""E-mails to a site that takes few connections and few messages, of all workers together."""

from __future__ import annotations

from scripts.chaos.load.straight import Straight
from scripts.chaos.mail_hosts import LIMITED_DOMAINS, RATE


class Limited(Straight):
    name = "limited"
    sentence = "Sends e-mails to ten domains of a site with limits for all workers together."
    share = 0.8
    domains = LIMITED_DOMAINS
    most = RATE * 0.3  # one slot of two can carry them, with their retries


LIMITED = Limited()
