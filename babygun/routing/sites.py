"""Sites: hosts that take the mail of many domains. Limits belong to a site.

A site is known in memory only, by the names of the hosts: DNS may say something else tomorrow.
"""

from __future__ import annotations

from typing import NamedTuple

from babygun.routing.mx import MailHosts
from babygun.routing.providers import Provider, Providers


class Site(NamedTuple):
    """``name``: of its provider, or of its best host. ``provider``: whose limits hold.

    ``known``: the table has it, so its limits hold for all workers together.
    """

    name: str
    provider: Provider
    known: bool


def site_of(hosts: MailHosts, providers: Providers) -> Site:
    """The site of a domain by its mail hosts.

    Domains whose best hosts have a name in common share a site, whatever their other hosts are.
    """
    names = tuple(host for equal in hosts.by_preference for host in equal)
    provider = providers.of(names)
    if provider is not None:
        return Site(provider.name, provider, known=True)
    return Site(min(hosts.by_preference[0]), providers.default, known=False)
