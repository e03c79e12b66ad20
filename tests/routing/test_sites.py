"""Which site a domain belongs to."""

from __future__ import annotations

import pytest

from babygun.routing.mx import MailHosts
from babygun.routing.providers import load_providers
from babygun.routing.sites import site_of

PROVIDERS = load_providers()


@pytest.mark.parametrize(
    ("hosts", "name", "shared"),
    [
        ((("aspmx.l.google.com",), ("alt1.aspmx.l.google.com",)), "google", True),
        ((("a-com.mail.protection.outlook.com",),), "microsoft365", True),
        ((("b-org.mail.protection.outlook.com",),), "microsoft365", True),
        ((("a-com.olc.protection.outlook.com",),), "outlook", True),
        ((("b.host.example", "a.host.example"), ("0.example",)), "a.host.example", False),
        ((("a.host.example",), ("backup.example",)), "a.host.example", False),
        ((("aspmx.l.google.com",), ("a.host.example",)), "aspmx.l.google.com", False),
        ((("google",),), "google.", False),
    ],
)
def test_site_is_the_providers_or_that_of_the_best_host(
    hosts: tuple[tuple[str, ...], ...], name: str, shared: bool
) -> None:
    site = site_of(MailHosts(hosts), PROVIDERS)
    assert (site.name, site.shared, site.limits) == (f"mx:{name}", shared, site.provider.limits)
    assert (site.provider is PROVIDERS.default) == (not shared)
