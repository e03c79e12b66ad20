"""The MTA-STS policy of a domain, as its mail is to heed it now (RFC 8461, 5.1).

The TXT record is looked up whenever mail goes, and DNS's answer is remembered for its TTL. Only a
record with another id leads to a fetch. Without a record, or while DNS is silent, the policy counts
that is kept. So a domain without a policy costs one lookup per TTL.
"""

from __future__ import annotations

import asyncio
import time
from datetime import datetime, timedelta

from msgspec.structs import replace

from babygun.dns import LookupFailed, NoSuchName, Resolver
from babygun.errors import EtcdError, OutOfResources
from babygun.routing.domain_policies import FoundSts
from babygun.routing.sts import policy_id
from babygun.routing.tls_policy import Violation
from babygun.runtime.logs import get_logger
from babygun.runtime.metrics import STS_FETCHES
from babygun.runtime.tasks import cancel_all
from babygun.store import Store
from babygun.store.tls_policies.known import KnownPolicies, StoredPolicy, ends, write
from babygun.tls_policies.fetch import FetchFailed, PolicyFetcher

log = get_logger("tls")

PATIENCE = 10.0  # s, that mail waits for a policy; the fetch goes on
FETCH_AGAIN = 300.0  # s, after a fetch that failed; also the least time that a policy holds
_FAILURES = 10_000  # domains of which a failed fetch is remembered
_USED_AGAIN = timedelta(days=7)  # after which it is written again that mail goes by a policy


async def announced_id(resolver: Resolver, domain: str) -> str | None:
    """The id that DNS has; empty: the domain announces no policy. None: nobody knows.

    Raises OutOfResources.
    """
    try:
        answer = await resolver.lookup(f"_mta-sts.{domain}", "TXT")
    except NoSuchName:
        return ""
    except LookupFailed:
        return None
    return policy_id(record.value for record in answer.records)


class StsPolicies:
    """Run :meth:`run` as a task. ``resolver``: that of the mail.

    ``known``: what is kept. ``marking``: by domain, tasks that write that mail goes
    by a policy.
    """

    def __init__(self, store: Store, resolver: Resolver) -> None:
        self._store, self.resolver = store, resolver
        self.known = KnownPolicies(store)
        self._fetcher = PolicyFetcher(store.settings, resolver)
        self._renewing: dict[str, asyncio.Task[StoredPolicy | None]] = {}
        self._failed: dict[str, tuple[float, Violation]] = {}  # by domain, with its end
        self.marking: dict[str, asyncio.Task[None]] = {}

    async def run(self) -> None:
        """Follows what is kept until cancelled."""
        await self.known.run()

    async def close(self) -> None:
        await cancel_all(*self._renewing.values(), *self.marking.values())
        await self._fetcher.close()

    async def of(self, domain: str) -> FoundSts:
        """The policy of a domain in ASCII and lower case. Raises OutOfResources."""
        announced = await announced_id(self.resolver, domain)
        await self.known.complete.wait()
        now = await self._store.clock.now()
        stored = self._kept(domain, now)
        if announced and (stored is None or stored.id != announced):
            renewing = self.renew(domain, announced, now)
            await asyncio.wait([renewing], timeout=PATIENCE)
            stored = (renewing.result() if renewing.done() else None) or stored
        if stored is None:
            return FoundSts(None, self._failure(domain))
        if now - stored.used_at >= _USED_AGAIN:
            self._mark_used(stored, now)
        return FoundSts(stored.policy, self._failure(domain))

    def renew(
        self, domain: str, announced: str, used_at: datetime
    ) -> asyncio.Task[StoredPolicy | None]:
        """Fetches and stores a policy. The result is None if it could not be had, now or lately.

        It raises nothing. Equal ones at the same time are one.
        """
        task = self._renewing.get(domain)
        if task is None:
            task = self._renewing[domain] = asyncio.create_task(
                self._renew(domain, announced, used_at), name=f"TLS policy of {domain}"
            )
            task.add_done_callback(lambda _: self._renewing.pop(domain))
        return task

    async def _renew(self, domain: str, announced: str, used_at: datetime) -> StoredPolicy | None:
        if self._failure(domain):
            return None
        before = self.known.by_name.get(domain)
        try:
            policy = await self._fetcher.fetch(domain)
        except FetchFailed as failed:
            self._remember(domain, failed.violation)
            return None
        except OutOfResources as error:  # not the domain's fault: it is tried again at once
            log.warning("TLS policy not fetched", domain=domain, error=str(error))
            return None
        now = await self._store.clock.now()
        stored = StoredPolicy(
            domain=domain,
            id=announced,
            policy=policy,
            fetched_at=now,
            until=ends(policy, now, least=FETCH_AGAIN),
            used_at=used_at,
        )
        STS_FETCHES["fetched"].inc()
        if before is None or before.stored.policy != policy:
            log.info("TLS policy fetched", domain=domain, mode=policy.mode, mx=list(policy.mx[:5]))
        try:
            if kept := await write(self._store, stored, before):
                self.known.learn(kept)
        except EtcdError as error:
            log.warning("TLS policy not stored", domain=domain, error=str(error))
        return stored

    # --- what is known ---

    def _kept(self, domain: str, now: datetime) -> StoredPolicy | None:
        """The policy that is kept, unless it has ended."""
        kept = self.known.by_name.get(domain)
        return kept.stored if kept is not None and kept.stored.until > now else None

    def _failure(self, domain: str) -> Violation | None:
        """Why the newest policy could not be fetched a moment ago."""
        until, violation = self._failed.get(domain, (0.0, None))
        return violation if until > time.monotonic() else None

    def _remember(self, domain: str, violation: Violation) -> None:
        STS_FETCHES["failed"].inc()
        log.warning("TLS policy not fetched", domain=domain, error=violation.text)
        self._failed.pop(domain, None)
        self._failed[domain] = time.monotonic() + FETCH_AGAIN, violation
        if len(self._failed) > _FAILURES:
            del self._failed[next(iter(self._failed))]

    def _mark_used(self, stored: StoredPolicy, now: datetime) -> None:
        domain, kept = stored.domain, self.known.by_name.get(stored.domain)
        if domain in self.marking or kept is None or kept.stored != stored:
            return

        async def mark() -> None:
            try:
                if marked := await write(self._store, replace(stored, used_at=now), kept):
                    self.known.learn(marked)
            except EtcdError as error:
                log.warning("TLS policy not stored", domain=domain, error=str(error))

        task = asyncio.create_task(mark(), name=f"TLS policy of {domain} in use")
        self.marking[domain] = task
        task.add_done_callback(lambda _: self.marking.pop(domain))
