"""The store's connection to etcd, and what every operation on it shares."""

from __future__ import annotations

from functools import cached_property
from typing import Self

from babygun.etcd import Batcher, EtcdClient
from babygun.pki import certificates
from babygun.pki.sealing import Sealer, load_sealer
from babygun.routing.routes import Routes, load_routes
from babygun.runtime.settings import Settings
from babygun.store.domains.known import KnownDomains
from babygun.store.keys import Keys
from babygun.store.steady_clock import SteadyClock
from babygun.store.upkeep.retention import NOTICE_BYTES, LeasePool
from babygun.store.webhooks.known import KnownWebhooks

# Transactions of calls that wait for etcd: more than a second's worth at full speed.
_MOST_WAITING = 4096

_USAGE_SHARED = 3600.0  # s, that one lease takes what counts towards clients' limits

# s, that one lease takes suppressions: few come, and they stay for months.
_SUPPRESSIONS_SHARED = 86400.0

# s, for which it is kept how much of a warm-up's days was used, and that one lease takes such keys.
WARM_UPS_KEPT = 31 * 86400.0
_WARM_UPS_SHARED = 86400.0


class Store:
    """Access to etcd, which need not be up to start or close it.

    ``for_calls``: for those that want an answer soon, whatever it is. While etcd is away it refuses
    all at once, and it bounds the writes that wait.
    """

    def __init__(self, settings: Settings, *, for_calls: bool = False) -> None:
        self.settings = settings
        self.keys = Keys(settings.prefix)
        self.clock = SteadyClock(settings)
        self.client = EtcdClient.from_settings(settings, breaker=for_calls)
        self.batcher = Batcher(self.client, most_waiting=_MOST_WAITING if for_calls else None)
        self.webhooks = KnownWebhooks(self.client, self.keys)
        self.domains = KnownDomains(self.client, self.keys)
        self.record_leases = LeasePool(self.client, self.keys, "emails", settings.retention)
        self.idempotency_leases = LeasePool(
            self.client, self.keys, "idempotency", settings.idempotency_retention
        )
        # Of those that end; each also says in its value when that is.
        self.suppression_leases = LeasePool(
            self.client,
            self.keys,
            "suppressions",
            max(settings.suppress_hard_bounces, settings.suppress_others),
            shared=_SUPPRESSIONS_SHARED,
        )
        # A day's counts outlive the day.
        self.usage_leases = LeasePool(
            self.client, self.keys, "usage", 86400.0, shared=_USAGE_SHARED
        )
        self.notice_leases = LeasePool(
            self.client, self.keys, "notices", settings.webhook_retention, key_bytes=NOTICE_BYTES
        )

        self.warm_up_leases = LeasePool(
            self.client, self.keys, "warm-ups", WARM_UPS_KEPT, shared=_WARM_UPS_SHARED
        )

    @cached_property
    def routes(self) -> Routes:
        """Those of the settings. Raises SettingsError, which names the route and the field."""
        return load_routes(self.settings)

    @cached_property
    def sealer(self) -> Sealer | None:
        """Seals and opens secrets; None: the settings have no key for that.

        Raises SettingsError where a key can't be used.
        """
        return load_sealer(self.settings)

    async def start(self) -> None:
        """Opens the connections. Raises SettingsError where a file or a key can't be used."""
        certificates.require(self.settings, certificates.ETCD)
        _ = self.sealer
        await self.client.start()

    async def close(self) -> None:
        await self.batcher.close()
        await self.client.close()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
