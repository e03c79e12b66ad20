"""Looks sending domains up in DNS, and writes what it finds."""

from __future__ import annotations

import asyncio

from babygun.dns import Resolver
from babygun.domains.verify import check
from babygun.domains.wanted import required, sending_of, with_last_look
from babygun.email.sending_domains import DnsRecord, SendingDomain
from babygun.runtime import metrics
from babygun.runtime.clock import utc_now
from babygun.runtime.logs import get_logger
from babygun.store import Store
from babygun.store.domains.change import checked, no_such_domain, read_domain

log = get_logger("domains")

_AT_ONCE = 8


class Verifier:
    """One for a process. Looks at one domain at the same time are one."""

    def __init__(self, store: Store) -> None:
        self._store, self._sending = store, sending_of(store.settings)
        self._looking: dict[str, asyncio.Task[SendingDomain]] = {}
        self._line = asyncio.Semaphore(_AT_ONCE)

    def wanted(self, domain: SendingDomain) -> tuple[DnsRecord, ...]:
        """The records of a domain, each as the last look found it."""
        return with_last_look(domain, self._sending)

    async def verify(self, name: str) -> SendingDomain:
        """The domain after a look into DNS. Answers of DNS from before are not used.

        It takes half a minute at most. Raises NotFound, EtcdError.
        """
        task = self._looking.get(name)
        if task is None:
            task = asyncio.create_task(self._look(name), name=f"look at {name}")
            self._looking[name] = task
            task.add_done_callback(lambda _: self._looking.pop(name, None))
        return await asyncio.shield(task)  # another call may wait for it, too

    async def _look(self, name: str) -> SendingDomain:
        async with self._line:
            before = await read_domain(self._store, name)
            if before is None:
                raise no_such_domain(name)
            resolver = Resolver(self._store.settings.resolvers)
            found = await check(resolver, before, self._sending)
            after = await checked(
                self._store, name, found.records, found.status, found.seen, utc_now()
            )
        metrics.DOMAIN_LOOKS[after.status].inc()
        _log(before, after)
        return after


def _log(before: SendingDomain, after: SendingDomain) -> None:
    """What has changed."""
    signed = {one.name for one in before.selectors if one.state == "signing"}
    for selector in after.selectors:
        if selector.state == "signing" and selector.name not in signed:
            log.info("key signs", domain=after.name, selector=selector.name)
    if after.status == before.status:
        return
    if after.status == "verified":
        log.info("domain verified", domain=after.name, before=before.status)
        return
    records = after.verified.records if after.verified else ()
    wrong = [one for one in required(before, records) if one.status != "verified"]
    log.warning(
        "domain not verified",
        domain=after.name,
        status=after.status,
        before=before.status,
        error="; ".join(f"{one.name} {one.type}: {one.sentence}" for one in wrong),
    )
