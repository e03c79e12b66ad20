"""Sites: hosts that take the mail of many domains. Limits belong to a site.

A site is known in memory only, by the names of the hosts: DNS may say something else tomorrow.
A relay is a site of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from babygun.email.model import MX as MX
from babygun.routing.providers import Limits, Provider, Providers

if TYPE_CHECKING:  # it brings DNS, which few processes need
    from babygun.routing.mx import MailHosts

ALL_MX = "mx:*"  # all queues of domains together: there are too many to name each
# All queues of domains are this one site where the settings have no mx route any more. A hold for
# each domain would flood etcd.
NO_ROUTE = "mx:no-route"


class Site(NamedTuple):
    """``name``: of a relay, or ``mx:`` and its provider or its best host.

    ``provider``: whose rules hold for replies; None: a relay, which has none. ``limits``: None for
    a relay without any; each worker then keeps to its own. ``shared``: the limits hold for all
    workers together. Otherwise each worker takes its part of them.
    """

    name: str
    provider: Provider | None
    limits: Limits | None
    shared: bool

    @property
    def label(self) -> str:
        """How metrics call it: there are too many hosts for a label each."""
        return MX + self.provider.name if self.provider else self.name


def site_of(hosts: MailHosts, providers: Providers) -> Site:
    """The site of a domain by its mail hosts.

    Domains whose best hosts have a name in common share a site, whatever their other hosts are.
    """
    provider = providers.of(hosts.names)
    if provider is not None:
        return Site(MX + provider.name, provider, provider.limits, shared=True)
    default = providers.default
    return Site(_name(min(hosts.by_preference[0])), default, default.limits, shared=False)


def site_of_domain(domain: str, providers: Providers) -> Site:
    """The site of a domain whose mail has no host now: it gets its result without others."""
    return Site(_name(domain), providers.default, providers.default.limits, shared=False)


def _name(host: str) -> str:
    """Of a host's site. A name without a dot ends in DNS's root: it may be a provider's as well."""
    return MX + host if "." in host else f"{MX}{host}."


def site_of_relay(name: str, limits: Limits | None) -> Site:
    """The site that a relay is."""
    return Site(name, None, limits, shared=limits is not None)
